//! `hygge build`: plan, then run what is stale.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use clap::Args as ClapArgs;
use tokio_util::sync::CancellationToken;

use super::args::{GlobalArgs, OutputFormat};
use super::depfile::Syntax;
use super::output_files::OutputFiles;
use super::wait_options::{BUILD_INTERRUPT_NOTE, WaitOptions, watch_for_interrupts};
use super::{config_source, depfile, runtime};
use crate::app::{Run, Session};
use crate::cache::index::IndexReset;
use crate::cache::{Cache, CacheAccess, set_index_aside};
use crate::config::schema::CacheKeep;
use crate::error::{ErrorKind, Result, Retry};
use crate::execute::RunOptions;
use crate::execute::event::Summary;
use crate::execute::executor::ThreadExecutor;
use crate::fs;
use crate::graph::selection::Selection;
use crate::home::SliceRange;
use crate::plan::stale::Verdict;
use crate::plan::{HashProgress, Plan, PlanRequest, PlannedFlow};
use crate::report::Report;
use crate::report::json::JsonReport;
use crate::report::output::{self, OutputStream};
use crate::report::plain::PlainReport;
use crate::report::progress::Progress;
use crate::report::terminal::TerminalReport;
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
    /// Publish sets whose columns have changed, whatever on_drift says
    #[arg(long)]
    accept_drift: bool,
    /// Forget which columns the selected flows had: with schema: union or first those of today's
    /// files are the schema, and types of texts are inferred anew
    #[arg(long, visible_alias = "infer", requires = "selection")]
    forget_schema: bool,
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
    let source = config_source(global.file.as_deref(), global.offline)?;
    let session = Session::open(&source)?;
    let places = build.output_files();
    if !build.only_plans() {
        places.check_writable()?;
    }
    runtime()?.block_on(async {
        let interrupted = watch_for_interrupts(BUILD_INTERRUPT_NOTE);
        let folder = session.project.real_cache_folder().to_path_buf();
        let mut attempt = BuildAttempt {
            build,
            output_files: places,
            began,
            interrupted,
            reset_index: None,
        };
        match attempt.run(session).await {
            // It may only show when it is written to: what was published by then is found fresh.
            Err(error) if error.retry() == Retry::NewIndex && !build.only_plans() => {
                attempt.reset_index = Some(IndexReset::Damaged(set_index_aside(&folder).await?));
                attempt.run(Session::open(&source)?).await
            }
            ended => ended,
        }
    })
}

impl Build {
    /// True where nothing is built.
    fn only_plans(&self) -> bool {
        self.dry_run || self.check
    }

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
    began: (SystemTime, Instant),
    interrupted: CancellationToken,
    /// What became of the index in the one before.
    reset_index: Option<IndexReset>,
}

impl BuildAttempt<'_> {
    async fn run(&self, session: Session) -> Result<u8> {
        let build = self.build;
        let hashing: Arc<HashProgress> = Arc::default();
        let report = &mut new_reports(build.format, &hashing);
        let mut run = self.start(session, hashing).await?;
        if let Some(number) = build.accept_lost {
            run.planner.accept_lost(number)?;
        }
        let plan = run.planner.plan().await?;
        let unselected = if build.only {
            run.stale_unselected().await?
        } else {
            Vec::new()
        };
        let table_changes = run.table_changes().await?;
        let notices = (unselected.as_slice(), table_changes.as_slice());
        run.report_notices(&plan, notices, self.reset_index.as_ref(), report);
        for (flow, said) in &run.planner.context.project.config.near_misses {
            if build.only_plans() || run.planner.publishes_first_entity(&plan, flow) {
                report.warn(&format!("flow {flow}: {said}"));
            }
        }
        if build.only_plans() {
            report.plan(&plan);
            run.planner.write_back().await?;
            if !plan.is_fresh() {
                Cache::check(&run.planner.context.project.cache_folder()).await?;
            }
            return Ok(pending_code(build, &plan));
        }
        self.output_files.check_not_inputs(&run)?;
        run.remember_tables().await?;
        let options = self.run_options(&run);
        let mut summary = run.execute(plan, options, report).await?;
        summary.took = self.began.1.elapsed();
        // What was built is said, whatever becomes of these.
        let written = self.write_files(&run, &summary);
        written.iter().flatten().for_each(|text| report.warn(text));
        report.summary(&summary, run.planner.hashed_bytes());
        run.close(&summary, report).await?;
        written.map(|_| exit_code(&summary))
    }

    /// Opens the cache for the flows that were selected.
    async fn start(&self, session: Session, hashing: Arc<HashProgress>) -> Result<Run> {
        let build = self.build;
        let selected = session.select(&Selection {
            include: build.selection.clone(),
            exclude: build.exclude.clone(),
            only: build.only,
        })?;
        if let Some(slices) = &build.slice {
            let flows = selected
                .named
                .iter()
                .filter_map(|name| session.project.graph.flow(name.as_str()));
            flows
                .map(|flow| flow.partition_filter(slices))
                .collect::<Result<Vec<_>>>()?;
        }
        let access = if build.only_plans() {
            CacheAccess::Inspect
        } else {
            CacheAccess::Build(build.patience.to_wait(&self.interrupted, build.format))
        };
        let request = PlanRequest {
            force: build.force,
            slices: build.slice.clone(),
            accept_shrink: build.accept_shrink,
            accept_drift: build.accept_drift,
            forget_schema: build.forget_schema,
            ..PlanRequest::new(selected, self.interrupted.clone(), hashing)
        };
        session.start(request, access).await
    }

    fn run_options(&self, run: &Run) -> RunOptions {
        let build = self.build;
        let config = &run.planner.context.project.config.options;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        RunOptions {
            executor: Arc::new(ThreadExecutor::default()),
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
            interrupted: self.interrupted.clone(),
        }
    }

    /// The stamp last: what has it is done. Gives what is to be warned of.
    fn write_files(&self, run: &Run, summary: &Summary) -> Result<Vec<String>> {
        let warnings = self.write_depfile(run);
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
    fn write_depfile(&self, run: &Run) -> Result<Vec<String>> {
        match self.output_files {
            OutputFiles {
                depfile: Some(path),
                stamp: Some(stamp),
                syntax: Some(syntax),
                ..
            } => depfile::write(path, stamp, syntax, run),
            _ => Ok(Vec::new()),
        }
    }
}

/// What shows a run, from its planning on.
pub(super) fn new_reports(
    format: OutputFormat,
    hashing: &Arc<HashProgress>,
) -> Vec<Box<dyn Report>> {
    let report: Box<dyn Report> = match format {
        OutputFormat::Text if output::is_terminal() => {
            Box::new(TerminalReport::new(Progress::new(hashing.clone())))
        }
        OutputFormat::Text => Box::new(PlainReport::new(OutputStream::Error)),
        OutputFormat::Json => Box::new(JsonReport),
    };
    vec![report]
}

/// What becomes of staged parts that are published.
pub(super) fn keep_staged(word: CacheKeep) -> KeepStaged {
    match word {
        CacheKeep::Auto => KeepStaged::Auto,
        CacheKeep::Always => KeepStaged::Always,
        CacheKeep::Never => KeepStaged::Never,
    }
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
