//! `hygge cache stats|gc|verify`: what the cache has, what it lets go of, and whether it is sound.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use super::args::{GlobalArgs, OutputFormat};
use super::wait_options::wait_unless;
use super::{open_session, parse_duration, print_line, runtime};
use crate::app::Session;
use crate::cache::gc::GcLimits;
use crate::cache::{Cache, CacheAccess, CacheError};
use crate::config::value_types::{Percentage, parse_bytes};
use crate::error::{ErrorKind, Result};
use crate::fs;
use crate::report::json::JsonReport;
use crate::report::plain::{format_bytes, pluralize};

/// Look after the cache
#[derive(Debug, ClapArgs)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    action: Action,
    /// How to show it
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: OutputFormat,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what the cache has
    Stats,
    /// Remove parts that no store has any more and that are too old or too many; a build does so at
    /// its end
    Gc {
        /// Show what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// How much the parts may have together, such as 500MB [default: options.cache.max_size]
        #[arg(long, value_name = "BYTES", value_parser = parse_size)]
        max_size: Option<u64>,
        /// How long a part stays, such as 7d [default: options.cache.max_age]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        max_age: Option<Duration>,
        /// End with 4 where a build is under way, instead of waiting for it
        #[arg(long)]
        no_wait: bool,
    },
    /// Read every part and compare it with its digest; what is damaged is set aside, and made again
    /// by the next build
    Verify {
        /// Read only some of the parts, such as 10%
        #[arg(long, value_name = "PERCENT", value_parser = parse_sample)]
        sample: Option<Percentage>,
        /// End with 4 where a build is under way, instead of waiting for it
        #[arg(long)]
        no_wait: bool,
    },
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, cache: &CacheArgs) -> Result<u8> {
    let session = open_session(global)?;
    let out = CacheOutput {
        format: cache.format,
    };
    runtime()?.block_on(async {
        match &cache.action {
            Action::Stats => stats(&session, &out).await,
            Action::Gc {
                dry_run,
                max_size,
                max_age,
                no_wait,
            } => {
                let options = &session.project.config.options;
                let limits = GcLimits {
                    size: max_size.unwrap_or(options.cache_size.0),
                    age: max_age.unwrap_or(options.cache_age.0),
                };
                gc(&session, limits, *dry_run, *no_wait, &out).await
            }
            Action::Verify { sample, no_wait } => verify(&session, *sample, *no_wait, &out).await,
        }
    })
}

/// Where the answer goes.
struct CacheOutput {
    format: OutputFormat,
}

impl CacheOutput {
    fn show(&self, event: &str, fields: serde_json::Value, lines: &[String]) {
        match self.format {
            OutputFormat::Json => JsonReport.write_object(event, fields),
            OutputFormat::Text => lines.iter().for_each(|line| print_line(line)),
        }
    }
}

async fn stats(session: &Session, out: &CacheOutput) -> Result<u8> {
    let cache = Arc::new(session.open_cache(CacheAccess::Inspect).await?);
    let (mut parts, mut size, mut shared) = (0, 0, 0);
    let mut staged: HashMap<_, u64> = HashMap::new();
    for (digest, path, found) in cache.staging.parts()? {
        parts += 1;
        size += found.stat.size;
        shared += if fs::reclaimable_bytes(&path)? == 0 {
            found.stat.size
        } else {
            0
        };
        staged.insert(digest, found.stat.size);
    }
    let mut flows: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    let mut of_flows = HashSet::new();
    for flow in session.project.graph.flows() {
        let sets = cache
            .index
            .past_sets(session.project.store_id(flow))
            .await?;
        let digests: HashSet<_> = sets
            .iter()
            .flat_map(|set| &set.published.manifest.parts)
            .map(|part| part.digest)
            .collect();
        let there: Vec<_> = digests
            .iter()
            .filter_map(|digest| staged.get(digest))
            .collect();
        if !there.is_empty() {
            flows.insert(
                flow.name.to_string(),
                (there.len(), there.into_iter().sum()),
            );
        }
        of_flows.extend(digests);
    }
    let rest: Vec<u64> = staged
        .iter()
        .filter(|(digest, _)| !of_flows.contains(*digest))
        .map(|(_, size)| *size)
        .collect();
    let by_flow: BTreeMap<&String, _> = flows
        .iter()
        .map(|(flow, (parts, size))| (flow, json!({ "parts": parts, "bytes": size })))
        .collect();
    let mut lines = vec![
        format!("cache    {}", cache.folder().display()),
        format!(
            "staging  {}, {}, of which {} are shared with another name",
            pluralize(parts, "part"),
            format_bytes(size),
            format_bytes(shared)
        ),
    ];
    lines.extend(flows.iter().map(|(flow, (parts, size))| {
        format!(
            "         {flow}: {} of earlier sets, {}",
            pluralize(*parts, "part"),
            format_bytes(*size)
        )
    }));
    if !rest.is_empty() {
        lines.push(format!(
            "         of no set that is remembered: {}, {}",
            pluralize(rest.len(), "part"),
            format_bytes(rest.iter().sum())
        ));
    }
    let options = &session.project.config.options;
    lines.push(format!(
        "limits   {}, {}",
        format_bytes(options.cache_size.0),
        format_duration(options.cache_age.0)
    ));
    let fields = json!({ "folder": cache.folder(), "parts": parts, "bytes": size, "shared_bytes": shared, "flows": by_flow, "unpublished": { "parts": rest.len(), "bytes": rest.iter().sum::<u64>() } });
    out.show("cache_stats", fields, &lines);
    Ok(0)
}

async fn gc(
    session: &Session,
    limits: GcLimits,
    is_dry: bool,
    no_wait: bool,
    out: &CacheOutput,
) -> Result<u8> {
    let cache = session.open_cache(CacheAccess::Inspect).await?;
    if !is_dry && !cache.is_writable() && fs::stat(cache.folder())?.is_some() {
        fs::check_folder_writable(cache.folder()).map_err(CacheError::from)?;
    }
    let freed = if is_dry || !cache.is_writable() {
        cache.collect_garbage(limits, true).await?
    } else {
        let _alone = cache
            .lock_exclusive(&wait_unless(no_wait, out.format))
            .await?;
        let freed = cache.collect_garbage(limits, false).await?;
        cache.forget_unusable().await?;
        freed
    };
    let (verb, free) = if is_dry {
        ("would remove", "would be free")
    } else {
        ("removed", "are free")
    };
    let line = format!(
        "{verb} {}, {} {free}; {} stay, with {}",
        pluralize(freed.parts, "part"),
        format_bytes(freed.bytes),
        pluralize(freed.kept, "part"),
        format_bytes(freed.kept_bytes)
    );
    let fields = json!({ "dry_run": is_dry, "parts": freed.parts, "bytes": freed.bytes, "parts_kept": freed.kept, "bytes_kept": freed.kept_bytes });
    out.show("cache_gc", fields, &[line]);
    Ok(0)
}

async fn verify(
    session: &Session,
    sample: Option<Percentage>,
    no_wait: bool,
    out: &CacheOutput,
) -> Result<u8> {
    let cache: Cache = session.open_cache(CacheAccess::Inspect).await?;
    let wait = wait_unless(no_wait, out.format);
    let _alone = if cache.is_writable() {
        Some(cache.lock_exclusive(&wait).await?)
    } else {
        None
    };
    let verified = cache
        .verify(sample.map_or(100, |sample| sample.0), &wait.interrupted)
        .await?;
    let mut lines: Vec<String> = verified
        .damaged
        .iter()
        .map(|(digest, place)| {
            format!(
                "damaged  part {}: it is {} now",
                digest.short(),
                place.display()
            )
        })
        .collect();
    lines.push(format!(
        "verified {}, {}: {} damaged",
        pluralize(verified.parts, "part"),
        format_bytes(verified.bytes),
        verified.damaged.len()
    ));
    let damaged: Vec<_> = verified
        .damaged
        .iter()
        .map(|(digest, place)| json!({ "digest": digest, "now": place }))
        .collect();
    out.show(
        "cache_verify",
        json!({ "parts": verified.parts, "bytes": verified.bytes, "damaged": damaged }),
        &lines,
    );
    Ok(
        match (wait.interrupted.is_cancelled(), verified.damaged.is_empty()) {
            (true, _) => ErrorKind::Interrupted.exit_code(),
            (false, true) => 0,
            (false, false) => ErrorKind::Flow.exit_code(),
        },
    )
}

/// A time in its largest whole unit.
fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let (size, unit) = units
        .into_iter()
        .find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size))
        .unwrap_or((1, "second"));
    pluralize(usize::try_from(seconds / size).unwrap_or(usize::MAX), unit)
}

fn parse_size(text: &str) -> std::result::Result<u64, String> {
    parse_bytes(text)
        .ok_or_else(|| "expected a number of bytes such as 500MB, 10GB or 1TiB".to_string())
}

fn parse_sample(text: &str) -> std::result::Result<Percentage, String> {
    let number = text
        .strip_suffix('%')
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|number| (1..=100).contains(number));
    number
        .map(Percentage)
        .ok_or_else(|| "expected a percentage from 1% to 100%".to_string())
}
