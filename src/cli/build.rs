//! `hygge build`: plan, then run what is stale.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use clap::Args as ClapArgs;

use super::args::{Args, Format};
use super::{depfile, load, runtime, select};
use crate::config::schema::CacheKeep;
use crate::config::words;
use crate::error::{ErrorKind, Result};
use crate::execute;
use crate::execute::event::Summary;
use crate::flow::FlowName;
use crate::fs;
use crate::graph::selection::Selection;
use crate::plan::stale::Verdict;
use crate::plan::{Plan, Planner, Request};
use crate::report::Report;
use crate::report::fancy::Fancy;
use crate::report::json::Json;
use crate::report::plain::Plain;
use crate::store::Keep;

/// What `--check` exits with where work is pending.
const PENDING: u8 = 10;

/// Build what is stale
#[derive(Debug, ClapArgs)]
pub(super) struct Build {
    /// Flows with all they need; NAME+ also what depends on them; tag:NAME, globs; a*,tag:b for what is both
    selection: Vec<String>,
    /// Leave these out
    #[arg(long, value_name = "SELECTION")]
    exclude: Vec<String>,
    /// Leave alone what is not selected, even if it is needed
    #[arg(long)]
    only: bool,
    /// Show what would be done, with reasons, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Like --dry-run, and exit with 10 where work is pending
    #[arg(long)]
    check: bool,
    /// Make the selected flows anew, whatever is recorded
    #[arg(long)]
    force: bool,
    /// Begin nothing new when a flow has failed
    #[arg(long)]
    fail_fast: bool,
    /// Publish sets from which more rows vanish than max_shrink allows
    #[arg(long)]
    accept_shrink: bool,
    /// How many parts are made at once [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// End with 4 where another process builds into a store, instead of waiting for it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// How long to wait for another process, such as 90s, 10m or 1h [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    wait: Option<Duration>,
    /// How to show what happens
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Touch FILE when the build ends well
    #[arg(long, value_name = "FILE")]
    stamp: Option<PathBuf>,
    /// Touch FILE when the build ends well and something was built, or FILE is missing
    #[arg(long, value_name = "FILE")]
    changed_stamp: Option<PathBuf>,
    /// Write what the build depends on to FILE, as rules of make
    #[arg(long, value_name = "FILE", requires = "stamp")]
    depfile: Option<PathBuf>,
}

/// Runs the command; gives the exit code.
pub(super) fn run(args: &Args, build: &Build) -> Result<u8> {
    // What changes from here on is newer than the stamps, so that make sees it.
    let began = SystemTime::now();
    let (found, project) = load(args.file.as_deref())?;
    let selection = Selection { include: build.selection.clone(), exclude: build.exclude.clone(), only: build.only };
    let selected = select(&selection, &project)?;
    runtime()?.block_on(async {
        let interrupted = Arc::new(AtomicBool::new(false));
        watch_for_interrupts(interrupted.clone());
        let mut planner = Planner::new(project, Request { selected, force: build.force, interrupted: interrupted.clone() }).await?;
        let plan = planner.plan().await?;
        let mut report: Box<dyn Report> = match build.format {
            Format::Text if io::stderr().is_terminal() => Box::new(Fancy::new()),
            Format::Text => Box::new(Plain::new(Box::new(io::stderr()))),
            Format::Json => Box::new(Json::new(Box::new(io::stdout()))),
        };
        let left_alone = if build.only { stale_elsewhere(&mut planner).await? } else { Vec::new() };
        report.notes(&plan, &left_alone, &planner.project.config.without_entities);
        if build.dry_run || build.check {
            report.plan(&plan);
            planner.write_back().await?;
            return Ok(pending_code(build, &plan));
        }
        let options = options(build, &planner, interrupted);
        let summary = if plan.steps.iter().all(|step| step.verdict == Verdict::Fresh) {
            planner.write_back().await?;
            Summary { fresh: plan.steps.len(), ..Summary::default() }
        } else {
            let mut tell = |event| report.event(&event);
            execute::run(&mut planner, plan, options, &mut tell).await?
        };
        if summary.is_good() {
            write_stamps(build, &summary, began)?;
        }
        if let (Some(path), Some(stamp)) = (&build.depfile, &build.stamp) {
            depfile::write(path, stamp, &found, &planner)?;
        }
        report.summary(&summary, planner.hashed_bytes());
        if summary.ran() > 0 {
            // An index that cannot be closed is closed with the process.
            drop(planner.close().await);
        } else {
            // The process ends: to take apart what planning knows would cost a tenth of the time.
            std::mem::forget(planner);
        }
        Ok(exit_code(&summary))
    })
}

fn options(build: &Build, planner: &Planner, interrupted: Arc<AtomicBool>) -> execute::Options {
    let config = &planner.project.config.options;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    execute::Options {
        jobs: build.jobs.map(usize::from).or(config.concurrency).unwrap_or(processors),
        fail_fast: build.fail_fast,
        continue_on_error: config.continue_on_error,
        wait: if build.no_wait { Some(Duration::ZERO) } else { build.wait },
        accept_shrink: build.accept_shrink,
        keep: match config.cache_keep {
            CacheKeep::Auto => Keep::Auto,
            CacheKeep::Always => Keep::Always,
            CacheKeep::Never => Keep::Never,
        },
        interrupted,
    }
}

/// The first Ctrl-C or SIGTERM lets what is being published finish; the second ends the process.
fn watch_for_interrupts(interrupted: Arc<AtomicBool>) {
    tokio::spawn(async move {
        let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
        loop {
            let received = tokio::select! {
                received = tokio::signal::ctrl_c() => received.is_ok(),
                received = terminated.recv() => received.is_some(),
            };
            if !received {
                return;
            }
            if interrupted.swap(true, Ordering::Relaxed) {
                std::process::exit(ErrorKind::Interrupted.exit_code().into());
            }
        }
    });
}

/// Flows that are not selected and would have something to do.
async fn stale_elsewhere(planner: &mut Planner) -> Result<Vec<String>> {
    let selected = planner.selected().flows.clone();
    let mut names = Vec::new();
    for step in planner.judge_others().await? {
        if step.verdict != Verdict::Fresh && !selected.contains(&step.flow) {
            names.push(FlowName::as_str(&step.flow).to_string());
        }
    }
    Ok(names)
}

fn pending_code(build: &Build, plan: &Plan) -> u8 {
    let is_blocked = plan.steps.iter().any(|step| matches!(step.verdict, Verdict::Blocked { .. }));
    let is_pending = plan.steps.iter().any(|step| step.verdict != Verdict::Fresh);
    match (build.check, is_pending, is_blocked) {
        (true, true, _) => PENDING,
        (false, _, true) => ErrorKind::Flow.exit_code(),
        _ => 0,
    }
}

fn exit_code(summary: &Summary) -> u8 {
    if summary.interrupted {
        ErrorKind::Interrupted.exit_code()
    } else if summary.failed > 0 && summary.failed == summary.locked {
        ErrorKind::Locked.exit_code()
    } else if summary.is_good() {
        0
    } else {
        ErrorKind::Flow.exit_code()
    }
}

fn write_stamps(build: &Build, summary: &Summary, began: SystemTime) -> Result<()> {
    // The changed stamp first: for make it may never be newer than the stamp of the same build.
    if let Some(path) = &build.changed_stamp
        && (summary.changed() || fs::stat(path)?.is_none())
    {
        fs::touch(path, began)?;
    }
    if let Some(path) = &build.stamp {
        fs::touch(path, began)?;
    }
    Ok(())
}

/// A time as the config has it; none at all is one too.
fn parse_time(text: &str) -> std::result::Result<Duration, String> {
    words::parse_time(text).ok_or_else(|| "expected a time such as 90s, 10m or 1h".to_string())
}
