//! A build whose parts other processes make, through the library.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use hygge::cache::{CacheAccess, CacheLockWait, WaitCallback};
use hygge::config::loader;
use hygge::error::Result;
use hygge::execute::event::{Event, Outcome, Summary};
use hygge::execute::executor::Executor;
use hygge::execute::job::FinishedPart;
use hygge::execute::part_task::{MadeParts, PartTask};
use hygge::execute::{self, RunOptions};
use hygge::graph::selection::Selection;
use hygge::plan::project::Project;
use hygge::plan::{HashProgress, Plan, PlanRequest, Planner};
use hygge::store::context::KeepStaged;

use super::assert_success;
use super::sandbox::Sandbox;

/// A planner that has planned everything, and what it found.
pub(crate) async fn plan(
    sandbox: &Sandbox,
    variables: &BTreeMap<String, String>,
    access: CacheAccess,
) -> (Planner, Plan) {
    let config = sandbox.path("hygge.yml");
    let found = loader::load(Some(&config), &sandbox.path(""), variables);
    let project = Project::new(Arc::new(found.expect("a config"))).expect("a project");
    let selected = Selection::default().resolve(&project.graph).expect("flows");
    let request = PlanRequest::new(
        selected,
        CancellationToken::new(),
        Arc::new(HashProgress::default()),
    );
    let planner = Planner::new(project, request, access).await;
    let mut planner = planner.expect("a planner");
    let plan = planner.plan().await.expect("a plan");
    (planner, plan)
}

pub(crate) fn runtime() -> Runtime {
    let built = Builder::new_multi_thread().enable_all().build();
    built.expect("a runtime")
}

/// Makes each part by `hygge part` in a process of its own, where another process can.
#[derive(Clone)]
pub(crate) struct ProcessExecutor {
    pub(crate) folder: PathBuf,
    /// What the processes have of the environment.
    pub(crate) variables: BTreeMap<String, String>,
    /// How many processes there were.
    started: Arc<AtomicUsize>,
    /// What somebody does before a process begins, by its number.
    pub(crate) before: Arc<dyn Fn(usize) + Send + Sync>,
    /// What somebody does to what a process has made.
    pub(crate) after: fn(&Path, &mut Vec<FinishedPart>),
}

impl fmt::Debug for ProcessExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessExecutor")
    }
}

impl ProcessExecutor {
    pub(crate) fn new(sandbox: &Sandbox, variables: BTreeMap<String, String>) -> Self {
        Self {
            folder: sandbox.path("executor"),
            variables,
            started: Arc::default(),
            before: Arc::new(|_| {}),
            after: |_, _| {},
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    fn make(&self, part: &PartTask, runtime: &Handle) -> Result<MadeParts> {
        let Some(job) = part.job() else {
            return part.make(runtime);
        };
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let file = self.folder.join(format!("{number}.json"));
        let into = self.folder.join(number.to_string());
        fs::create_dir_all(&self.folder).expect("a folder");
        fs::write(&file, serde_json::to_string(&job).expect("JSON")).expect("a job");
        (self.before)(number);
        let ran = Command::new(env!("CARGO_BIN_EXE_hygge"))
            .args(["part".as_ref(), "--job".as_ref(), file.as_os_str()])
            .args(["--into".as_ref(), into.as_os_str()])
            .env_clear()
            .envs(&self.variables)
            .output()
            .expect("the binary runs");
        assert_success(&ran);
        let text = String::from_utf8(ran.stdout).expect("text");
        let lines = text.lines().map(serde_json::from_str);
        let mut finished: Vec<FinishedPart> = lines.collect::<Result<_, _>>().expect("parts");
        (self.after)(&into, &mut finished);
        part.take_finished(&into, &finished)
    }
}

impl Executor for ProcessExecutor {
    fn submit(&self, part: PartTask) -> BoxFuture<'static, Result<MadeParts>> {
        let (executor, runtime) = (self.clone(), Handle::current());
        let making = tokio::task::spawn_blocking(move || executor.make(&part, &runtime));
        Box::pin(async move { making.await.expect("a job that does not panic") })
    }
}

/// Builds everything with parts that this makes; gives why flows failed.
pub(crate) fn build(sandbox: &Sandbox, executor: &ProcessExecutor) -> (Summary, Vec<String>) {
    let wait = CacheLockWait {
        limit: None,
        interrupted: CancellationToken::new(),
        on_wait: WaitCallback::default(),
    };
    let options = RunOptions {
        executor: Arc::new(executor.clone()),
        jobs: 2,
        fail_fast: false,
        continue_on_error: true,
        lock_timeout: None,
        accept_shrink: false,
        keep_staged: KeepStaged::Never,
        interrupted: CancellationToken::new(),
    };
    runtime().block_on(async {
        let access = CacheAccess::Build(wait);
        let (mut planner, plan) = plan(sandbox, &executor.variables, access).await;
        let mut failed = Vec::new();
        let mut on_event = |event| {
            if let Event::Ended {
                outcome: Outcome::Failed(error),
                ..
            } = event
            {
                failed.push(error.to_string());
            }
        };
        let summary = execute::run(&mut planner, plan, options, &mut on_event).await;
        planner.close().await.expect("a closed index");
        (summary.expect("a run"), failed)
    })
}
