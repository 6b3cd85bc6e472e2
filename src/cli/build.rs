//! `hygge build`: plan, then run what is stale.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use clap::Args as ClapArgs;
use tokio_util::sync::CancellationToken;

use super::args::{GlobalArgs, OutputFormat};
use super::depfile::Syntax;
use super::output_files::OutputFiles;
use super::wait_options::{
    BUILD_INTERRUPT_NOTE, WaitOptions, watch_for_interrupts, without_waiting,
};
use super::{depfile, load_project, runtime, select};
use crate::cache::gc::GcLimits;
use crate::cache::index::IndexReset;
use crate::cache::{Cache, CacheAccess, CacheError, set_index_aside};
use crate::config::loader::LoadedConfig;
use crate::config::schema::CacheKeep;
use crate::error::{ErrorKind, Result, Retry};
use crate::execute;
use crate::execute::event::Summary;
use crate::flow::FlowName;
use crate::fs::{self, LockError};
use crate::graph::selection::Selection;
use crate::home::SliceRange;
use crate::plan::project::Project;
use crate::plan::stale::Verdict;
use crate::plan::{HashProgress, Plan, PlanRequest, PlannedFlow, Planner};
use crate::report::json::JsonReport;
use crate::report::output::{self, OutputStream};
use crate::report::plain::PlainReport;
use crate::report::progress::Progress;
use crate::report::terminal::TerminalReport;
use crate::report::{Notices, Report};
use crate::store::context::KeepStaged;

/// What `--check` exits with where work is pending.
pub(super) const PENDING_EXIT_CODE: u8 = 10;

/// Build what is stale
#[derive(Debug, ClapArgs)]
pub(super) struct Build {
    /// Flows with all they need; NAME+ also what depends on them; tag:NAME, globs; a*,tag:b for
    /// what is both
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
    /// Read slices of the selected flows again and replace their parts: 2026-09, 2026-01..2026-09,
    /// 5000..9000
    #[arg(
        long,
        value_name = "SLICES",
        requires = "selection",
        conflicts_with = "force",
        allow_hyphen_values = true
    )]
    slice: Option<SliceRange>,
    /// Begin nothing new when a flow has failed
    #[arg(long)]
    fail_fast: bool,
    /// Publish sets from which more rows vanish than max_shrink allows
    #[arg(long)]
    accept_shrink: bool,
    /// Build although N entities are gone that were published before, more than max_lost allows
    #[arg(long, value_name = "N")]
    accept_lost: Option<usize>,
    /// How many parts are made at once [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    #[command(flatten)]
    patience: WaitOptions,
    /// How to show what happens
    #[arg(long, value_enum, default_value = "text")]
    format: OutputFormat,
    /// Touch FILE when the build ends well
    #[arg(long, value_name = "FILE")]
    stamp: Option<PathBuf>,
    /// Touch FILE when something was built, or when the build ends well and FILE is missing
    #[arg(long, value_name = "FILE")]
    changed_stamp: Option<PathBuf>,
    /// Write what the build depends on to FILE, for make or ninja
    #[arg(long, value_name = "FILE", requires = "stamp")]
    depfile: Option<PathBuf>,
    /// Who reads the depfile [default: whichever of the two runs hygge, else make]
    #[arg(long, value_enum, requires = "depfile")]
    depfile_syntax: Option<Syntax>,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, build: &Build) -> Result<u8> {
    // What changes from here on is newer than the stamps, so that make sees it.
    let began = (SystemTime::now(), Instant::now());
    let (found, project) = load_project(global.file.as_deref())?;
    let places = build.output_files();
    if !(build.dry_run || build.check) {
        places.check_writable()?;
    }
    runtime()?.block_on(async {
        let interrupted = watch_for_interrupts(BUILD_INTERRUPT_NOTE);
        let folder = project.cache_folder().real_path;
        let mut attempt = BuildAttempt {
            build,
            output_files: places,
            loaded: &found,
            began,
            interrupted,
            reset_index: None,
        };
        match attempt.run(project).await {
            // It may only show when it is written to: what was published by then is found fresh.
            Err(error) if error.retry() == Retry::NewIndex && !(build.dry_run || build.check) => {
                attempt.reset_index = Some(IndexReset::Damaged(set_index_aside(&folder).await?));
                attempt.run(load_project(global.file.as_deref())?.1).await
            }
            ended => ended,
        }
    })
}

impl Build {
    fn output_files(&self) -> OutputFiles<'_> {
        let syntax = self
            .depfile
            .is_some()
            .then(|| Syntax::or_detect(self.depfile_syntax));
        OutputFiles {
            stamp: self.stamp.as_deref(),
            changed_stamp: self.changed_stamp.as_deref(),
            depfile: self.depfile.as_deref(),
            syntax,
        }
    }
}

/// One way through the command: where the index turns out to be damaged there are two.
struct BuildAttempt<'a> {
    build: &'a Build,
    output_files: OutputFiles<'a>,
    loaded: &'a LoadedConfig,
    began: (SystemTime, Instant),
    interrupted: CancellationToken,
    /// What became of the index in the one before.
    reset_index: Option<IndexReset>,
}

impl BuildAttempt<'_> {
    async fn run(&self, project: Project) -> Result<u8> {
        let build = self.build;
        let folder = project.cache_folder().real_path;
        let hashing: Arc<HashProgress> = Arc::default();
        let mut report = new_report(build.format, &hashing);
        let (mut planner, plan) = plan(build, project, &self.interrupted, hashing).await?;
        let left_alone = if build.only {
            stale_unselected(&mut planner).await?
        } else {
            Vec::new()
        };
        let index = self
            .reset_index
            .as_ref()
            .or_else(|| planner.index_reset())
            .map(|begun| (begun, planner.known_stores().len()));
        report.notices(
            &plan,
            &Notices {
                unselected: &left_alone,
                without_entities: &planner.context.project.config.without_entities,
                rebuilt_index: index,
            },
        );
        for (flow, said) in &planner.context.project.config.near_misses {
            if build.dry_run || build.check || planner.publishes_first_entity(&plan, flow) {
                report.warn(&format!("flow {flow}: {said}"));
            }
        }
        if build.dry_run || build.check {
            report.plan(&plan);
            planner.write_back().await?;
            if plan.flows.iter().any(|step| step.verdict != Verdict::Fresh) {
                Cache::check(&planner.context.project.cache_folder()).await?;
            }
            return Ok(pending_code(build, &plan));
        }
        self.output_files.check_not_inputs(self.loaded, &planner)?;
        let options = execute_options(build, &planner, self.interrupted.clone());
        let mut summary = if plan.flows.iter().all(|step| step.verdict == Verdict::Fresh) {
            planner.write_back().await?;
            Summary {
                fresh: plan.flows.len(),
                ..Summary::default()
            }
        } else {
            let mut tell = |event| report.event(&event);
            execute::run(&mut planner, plan, options, &mut tell).await?
        };
        summary.took = self.began.1.elapsed();
        // What was built is said, whatever becomes of these.
        let written = self.write_files(&planner, &summary);
        written.iter().flatten().for_each(|text| report.warn(text));
        report.summary(&summary, planner.hashed_bytes());
        if summary
            .unrecorded
            .as_ref()
            .is_some_and(|error| error.retry() == Retry::NewIndex)
        {
            // The next build begins a new one.
            set_index_aside(&folder).await?;
        } else if summary.flows_with_work() > 0 {
            if let Err(error) = collect_garbage(&planner).await {
                report.warn(&format!("the cache was not cleaned: {error}"));
            }
            // An index that cannot be closed is closed with the process.
            drop(planner.close().await);
        } else {
            // The process ends: to take apart what planning knows would cost a tenth of the time.
            std::mem::forget(planner);
        }
        written.map(|_| exit_code(&summary))
    }

    /// The stamp last: what has it is done. Gives what is to be warned of.
    fn write_files(&self, planner: &Planner, summary: &Summary) -> Result<Vec<String>> {
        let warnings = self.write_depfile(planner);
        // What was published has changed, whatever else failed: the next build finds it fresh, and
        // would not say so.
        touch_changed_stamp(self.build, summary, self.began.0)?;
        let warnings = warnings?;
        if let Some(path) = self.build.stamp.as_ref().filter(|_| summary.is_success()) {
            fs::touch(path, self.began.0)?;
        }
        Ok(warnings)
    }

    /// Gives what its reader is to be warned of.
    fn write_depfile(&self, planner: &Planner) -> Result<Vec<String>> {
        match self.output_files {
            OutputFiles {
                depfile: Some(path),
                stamp: Some(stamp),
                syntax: Some(syntax),
                ..
            } => depfile::write(path, stamp, syntax, self.loaded, planner),
            _ => Ok(Vec::new()),
        }
    }
}

async fn plan(
    build: &Build,
    project: Project,
    interrupted: &CancellationToken,
    hashing: Arc<HashProgress>,
) -> Result<(Planner, Plan)> {
    let selection = Selection {
        include: build.selection.clone(),
        exclude: build.exclude.clone(),
        only: build.only,
    };
    let selected = select(&selection, &project)?;
    if let Some(slices) = &build.slice {
        let flows = selected
            .named
            .iter()
            .filter_map(|name| project.graph.flow(name.as_str()));
        flows
            .map(|flow| flow.partition_filter(slices))
            .collect::<Result<Vec<_>>>()?;
    }
    let access = if build.dry_run || build.check {
        CacheAccess::Inspect
    } else {
        CacheAccess::Build(build.patience.to_wait(interrupted, build.format))
    };
    let (force, slices, accept_shrink) = (build.force, build.slice.clone(), build.accept_shrink);
    let request = PlanRequest {
        force,
        slices,
        accept_shrink,
        ..PlanRequest::new(selected, interrupted.clone(), hashing)
    };
    let mut planner = Planner::new(project, request, access).await?;
    if let Some(number) = build.accept_lost {
        planner.accept_lost(number)?;
    }
    let plan = planner.plan().await?;
    Ok((planner, plan))
}

fn execute_options(
    build: &Build,
    planner: &Planner,
    interrupted: CancellationToken,
) -> execute::RunOptions {
    let config = &planner.context.project.config.options;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    execute::RunOptions {
        jobs: build
            .jobs
            .map(usize::from)
            .or(config.concurrency)
            .unwrap_or(processors),
        fail_fast: build.fail_fast,
        continue_on_error: config.continue_on_error,
        lock_timeout: build.patience.limit(),
        accept_shrink: build.accept_shrink,
        keep_staged: keep_staged(config.cache_keep),
        interrupted,
    }
}

/// What shows a run, from its planning on.
pub(super) fn new_report(format: OutputFormat, hashing: &Arc<HashProgress>) -> Box<dyn Report> {
    match format {
        OutputFormat::Text if output::is_terminal() => {
            Box::new(TerminalReport::new(Progress::new(hashing.clone())))
        }
        OutputFormat::Text => Box::new(PlainReport::new(OutputStream::Error)),
        OutputFormat::Json => Box::new(JsonReport),
    }
}

/// What becomes of staged parts that are published.
pub(super) fn keep_staged(word: CacheKeep) -> KeepStaged {
    match word {
        CacheKeep::Auto => KeepStaged::Auto,
        CacheKeep::Always => KeepStaged::Always,
        CacheKeep::Never => KeepStaged::Never,
    }
}

/// Flows that are not selected and would have something to do.
async fn stale_unselected(planner: &mut Planner) -> Result<Vec<String>> {
    let selected = &planner.context.request.selected.flows.clone();
    let mut names = Vec::new();
    for step in planner.judge_others().await? {
        if step.verdict != Verdict::Fresh && !selected.contains(&step.flow) {
            names.push(FlowName::as_str(&step.flow).to_string());
        }
    }
    Ok(names)
}

/// How often a build also takes out of the index what is of no use any more.
const PRUNE_INTERVAL: i64 = 100;

/// Keeps the cache within its limits, if nobody else is building: then the next who ends does it.
async fn collect_garbage(planner: &Planner) -> Result<()> {
    let config = &planner.context.project.config.options;
    let cache = &planner.context.cache;
    let alone = match cache.lock_exclusive(&without_waiting()).await {
        Err(CacheError::Lock(LockError::Held(_))) => return Ok(()),
        alone => alone?,
    };
    let limits = GcLimits {
        size: config.cache_size.0,
        age: config.cache_age.0,
    };
    let freed = cache.collect_garbage(limits, false).await?;
    if freed.parts > 0 || cache.index.last_run().await? % PRUNE_INTERVAL == 0 {
        cache.forget_unusable().await?;
    }
    drop(alone);
    Ok(())
}

fn pending_code(build: &Build, plan: &Plan) -> u8 {
    let is_blocked = plan
        .flows
        .iter()
        .any(|step| matches!(step.verdict, Verdict::Blocked { .. }));
    let is_work =
        |step: &PlannedFlow| !matches!(step.verdict, Verdict::Fresh | Verdict::Blocked { .. });
    match (build.check, plan.flows.iter().any(is_work), is_blocked) {
        (true, true, _) => PENDING_EXIT_CODE,
        (_, _, true) => ErrorKind::Flow.exit_code(),
        _ => 0,
    }
}

pub(super) fn exit_code(summary: &Summary) -> u8 {
    if summary.interrupted {
        ErrorKind::Interrupted.exit_code()
    } else if summary.failed > 0 && summary.failed == summary.locked {
        ErrorKind::Locked.exit_code()
    } else if summary.is_success() {
        0
    } else {
        ErrorKind::Flow.exit_code()
    }
}

/// Before the other stamp: for make it may never be newer than that of the same build.
fn touch_changed_stamp(build: &Build, summary: &Summary, began: SystemTime) -> Result<()> {
    if let Some(path) = &build.changed_stamp
        && (summary.has_published() || summary.is_success() && fs::stat(path)?.is_none())
    {
        fs::touch(path, began)?;
    }
    Ok(())
}
