//! `hygge clean`: empties the cache, or removes what flows have published.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::args::Args;
use super::{load, open_cache, runtime, say, select};
use crate::cache::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::Flow;
use crate::graph::selection::Selection;
use crate::plan::{Planner, Request};
use crate::report::plain::{bytes, count};
use crate::store::Clearing;

/// Empty the cache; what is fresh stays fresh. With --stores or --orphans, remove what was published
#[derive(Debug, ClapArgs)]
pub(super) struct Clean {
    /// Remove what these flows have published, and their receipts, instead
    #[arg(long, value_name = "FLOW", num_args = 1.., conflicts_with = "orphans")]
    stores: Vec<String>,
    /// Remove the stores of this project that no flow of the config has any more, instead
    #[arg(long)]
    orphans: bool,
    /// Really remove stores; without it they are only listed
    #[arg(long)]
    yes: bool,
    /// End with 4 where another process builds, instead of waiting for it
    #[arg(long)]
    no_wait: bool,
}

/// How many files of a store are listed.
const LISTED: usize = 5;

/// Runs the command; gives the exit code.
pub(super) fn run(args: &Args, clean: &Clean) -> Result<u8> {
    let (_, project) = load(args.file.as_deref())?;
    runtime()?.block_on(async {
        let wait = clean.no_wait.then_some(Duration::ZERO);
        if clean.stores.is_empty() && !clean.orphans {
            let cache = open_cache(&project, Access::Look).await?;
            let freed = cache.empty(wait)?;
            say(&format!("the cache is empty: {}, {}", count(freed.0, "file"), bytes(freed.1)));
            return Ok(0);
        }
        let stores: Vec<(String, PathBuf, Arc<Flow>)> = if clean.orphans {
            let selected = select(&Selection::default(), &project)?;
            let request = Request { selected, force: false, put_back: None, interrupted: Arc::default() };
            let mut planner = Planner::new(project, request, Access::Look).await?;
            let orphans = planner.plan().await?.orphans;
            let mut stores = Vec::new();
            for orphan in orphans {
                let mut flows = planner.project.graph.flows();
                if let Some(reader) = flows.find(|flow| planner.project.reads(flow, &orphan.store)) {
                    say(&format!("left alone: {}: flow {} reads it", orphan.store.display(), reader.name));
                    continue;
                }
                // Whoever can read its receipt can clear it.
                let mut flows = planner.project.graph.flows();
                let keeper = flows.find(|flow| matches!(flow.store.receipt(&orphan.store), Ok(Some(_))));
                stores.extend(keeper.map(|flow| (orphan.flow, orphan.store.clone(), flow.clone())));
            }
            stores
        } else {
            let selection = Selection { include: clean.stores.clone(), only: true, ..Selection::default() };
            let named = select(&selection, &project)?.named;
            let flows = named.iter().filter_map(|name| project.graph.flow(name.as_str()));
            flows.map(|flow| (flow.name.to_string(), project.store_path(flow).to_path_buf(), flow.clone())).collect()
        };
        clear(&stores, clean.yes)
    })
}

fn clear(stores: &[(String, PathBuf, Arc<Flow>)], is_sure: bool) -> Result<u8> {
    let mut failed = None;
    let mut cleared = 0;
    for (name, path, flow) in stores {
        match clear_one(name, path, flow, is_sure) {
            Ok(had_any) => cleared += usize::from(had_any),
            Err(error) => {
                say(&format!("left alone: {}: {error}", path.display()));
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if error.kind() == ErrorKind::Locked => Err(error),
        Some(error) => Err(Error::new(ErrorKind::Flow, "not every store was removed").with_hint(error.hint().unwrap_or("see above"))),
        None if cleared == 0 => {
            say("there is nothing to remove");
            Ok(0)
        }
        None if !is_sure => Err(Error::new(ErrorKind::Config, "nothing was removed yet").with_hint("--yes removes what is listed above")),
        None => Ok(0),
    }
}

/// Lists what would go, and removes it if that is sure. False where there is nothing.
fn clear_one(name: &str, path: &Path, flow: &Flow, is_sure: bool) -> Result<bool> {
    if flow.store.receipt_stat(path)?.is_none() {
        return Ok(false);
    }
    let _lock = flow.store.lock(path, &format!("hygge, process {}, which cleans it", std::process::id()))?;
    let Clearing { files, bytes: size } = flow.store.clearing(path)?;
    if files.is_empty() {
        return Ok(false);
    }
    if is_sure {
        flow.store.clear(path)?;
    }
    say(&format!(
        "{} store {} of flow {name}: {}, {}",
        if is_sure { "removed" } else { "would remove" },
        path.display(),
        count(files.len(), "file"),
        bytes(size)
    ));
    for file in files.iter().take(LISTED) {
        say(&format!("  {}", file.display()));
    }
    if files.len() > LISTED {
        say(&format!("  and {} more", files.len() - LISTED));
    }
    Ok(true)
}
