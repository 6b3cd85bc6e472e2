//! Parts are made in other processes, by what their jobs say and nothing else, and have the same
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use hygge::cache::{CacheAccess, CacheLockWait, WaitCallback};
use hygge::config::loader;
use hygge::error::Result;
use hygge::execute::event::{Event, Outcome, Summary};
use hygge::execute::executor::Executor;
use hygge::execute::job::{FinishedPart, JobSpec};
use hygge::execute::part_task::{MadeParts, PartTask};
use hygge::execute::{self, RunOptions};
use hygge::graph::selection::Selection;
use hygge::plan::project::Project;
use hygge::plan::work::PlannedPart;
use hygge::plan::{HashProgress, Plan, PlanRequest, PlannedFlow, Planner};
use hygge::store::context::KeepStaged;

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built};

/// Flows of each way in which files become parts.
const CONFIG: &str = "flows:\n  \
     whole: {home: numbers, store: out/whole}\n  \
     packed: {home: numbers, store: {path: out/packed, rows_per_file: 100000}}\n  \
     repacked: {home: numbers, store: {path: out/repacked, compression: zstd, compression_level: \
     7}}\n  \
     cut: {home: numbers, store: {path: out/cut, rows_per_file: 15, compression: gzip}}\n  \
     arrow: {home: numbers, store: {type: ipc, path: out/arrow, container: stream, compression: \
     lz4}}\n  \
     back: {home: {type: ipc, path: arrow}, store: {path: out/back, rows_per_file: 15}}\n";

fn project() -> Sandbox {
    let sandbox = Sandbox::new(CONFIG);
    for name in ["north", "south", "east"] {
        sandbox.sample(name, &format!("numbers/{name}.parquet"));
    }
    let write = "import pyarrow as pa, pyarrow.ipc as ipc, os, sys; os.makedirs(sys.argv[1]); \
                 table = pa.table({'id': range(70), 'name': pa.array(['a', 'b'] * \
                 35).dictionary_encode()}); \
                 writer = ipc.new_file(sys.argv[1] + '/a.arrow', table.schema); \
                 writer.write_table(table, 20); writer.close()";
    let wrote = peers::run(write, &[sandbox.path("arrow").as_os_str()]);
    assert_success(&wrote);
    sandbox
}

/// A planner that has planned everything, and what it found.
async fn plan(sandbox: &Sandbox, access: CacheAccess) -> (Planner, Plan) {
    let config = sandbox.path("hygge.yml");
    let found = loader::load(Some(&config), &sandbox.path(""), &BTreeMap::new());
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

fn runtime() -> Runtime {
    let built = Builder::new_multi_thread().enable_all().build();
    built.expect("a runtime")
}

/// The jobs of all flows that are to be built.
fn jobs(sandbox: &Sandbox) -> BTreeMap<String, JobSpec> {
    runtime().block_on(async {
        let (planner, plan) = plan(sandbox, CacheAccess::Inspect).await;
        let job = |step: &PlannedFlow| {
            let flow = planner.context.flow(&step.flow).expect("a flow");
            let work = step.work.as_ref()?;
            let home = planner.context.project.input_format(&flow);
            let parts: Vec<&PlannedPart> = work.parts.iter().collect();
            Some((
                step.flow.to_string(),
                JobSpec::new(
                    work.files()?,
                    &parts,
                    home.as_ref(),
                    &flow.store.output_spec(),
                ),
            ))
        };
        plan.flows.iter().filter_map(job).collect()
    })
}

/// Makes each part by `hygge part` in a process of its own.
#[derive(Clone, Debug)]
struct ProcessExecutor {
    folder: PathBuf,
    /// How many processes there were.
    started: Arc<AtomicUsize>,
}

impl ProcessExecutor {
    fn new(sandbox: &Sandbox) -> Self {
        Self {
            folder: sandbox.path("executor"),
            started: Arc::default(),
        }
    }

    fn make(&self, part: &PartTask) -> Result<MadeParts> {
        let job = part.job().expect("a part that another process can make");
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let (file, into) = (
            self.folder.join(format!("{number}.json")),
            self.folder.join(format!("{number}")),
        );
        fs::create_dir_all(&self.folder).expect("a folder");
        fs::write(&file, serde_json::to_string(&job).expect("JSON")).expect("a job");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
        command
            .args(["part", "--job"])
            .arg(&file)
            .arg("--into")
            .arg(&into);
        let ran = command.env_clear().output().expect("the binary runs");
        assert_success(&ran);
        let text = String::from_utf8(ran.stdout).expect("text");
        let lines = text.lines().map(serde_json::from_str);
        let finished: Vec<FinishedPart> = lines.collect::<Result<_, _>>().expect("parts");
        part.take_finished(&into, &finished)
    }
}

impl Executor for ProcessExecutor {
    fn submit(&self, part: PartTask) -> BoxFuture<'static, Result<MadeParts>> {
        let executor = self.clone();
        let making = tokio::task::spawn_blocking(move || executor.make(&part));
        Box::pin(async move { making.await.expect("a job that does not panic") })
    }
}

/// Builds everything with these parts.
fn build(sandbox: &Sandbox, executor: Arc<dyn Executor>) -> Summary {
    let wait = CacheLockWait {
        limit: None,
        interrupted: CancellationToken::new(),
        on_wait: WaitCallback::default(),
    };
    runtime().block_on(async {
        let (mut planner, plan) = plan(sandbox, CacheAccess::Build(wait)).await;
        let options = RunOptions {
            executor,
            jobs: 2,
            fail_fast: false,
            continue_on_error: true,
            lock_timeout: None,
            accept_shrink: false,
            keep_staged: KeepStaged::Never,
            interrupted: CancellationToken::new(),
        };
        let mut failed = Vec::new();
        let mut on_event = |event| {
            if let Event::Ended {
                outcome: Outcome::Failed(error),
                ..
            } = event
            {
                failed.push(error);
            }
        };
        let summary = execute::run(&mut planner, plan, options, &mut on_event).await;
        planner.close().await.expect("a closed index");
        assert!(failed.is_empty(), "{failed:?}");
        summary.expect("a run")
    })
}

#[test]
fn parts_that_other_processes_make_have_the_same_bytes() {
    let sandbox = project();
    let jobs = jobs(&sandbox);
    assert_eq!(jobs.len(), 6, "{:?}", jobs.keys());
    let mut made: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (flow, job) in &jobs {
        let file = format!("jobs/{flow}.json");
        sandbox.write(&file, serde_json::to_string(job).expect("JSON"));
        let ran = sandbox.run(&["part", "--job", &file, "--into", &format!("made/{flow}")]);
        assert_eq!(ran.code, 0, "{flow}: {}", ran.text);
        for line in ran.text.lines() {
            let part: FinishedPart = serde_json::from_str(line).expect("a part");
            let record = part.outputs[0].record;
            let path = sandbox
                .find(&format!("made/{flow}"), &record.digest.to_string())
                .unwrap_or_else(|| panic!("{flow}: {line}"));
            let bytes = fs::read(path).expect("a part");
            assert_eq!(
                (blake3::hash(&bytes).to_string(), bytes.len() as u64),
                (record.digest.to_string(), record.bytes),
                "{flow}"
            );
            made.entry(flow)
                .or_default()
                .insert(record.digest.to_string());
        }
        assert_eq!(job.parts.len(), ran.text.lines().count(), "{flow}");
        // What was made is not made again.
        let part = made[flow.as_str()].first().expect("a part");
        let written = || {
            let found = sandbox.find(&format!("made/{flow}"), part).expect("a part");
            let metadata = fs::metadata(found).expect("a file");
            metadata.modified().ok()
        };
        let before = written();
        let again = sandbox.run(&["part", "--job", &file, "--into", &format!("made/{flow}")]);
        assert_eq!(again.text, ran.text, "{flow}");
        assert_eq!(before, written(), "{flow}");
    }
    // Nothing was published by that, and no cache was begun.
    assert!(!sandbox.path("out").exists() && !sandbox.path(".hygge-cache").exists());
    built(&sandbox);
    for flow in jobs.keys() {
        let published: BTreeSet<String> = sandbox
            .digests(&format!("out/{flow}"))
            .into_values()
            .collect();
        assert_eq!(published, made[flow.as_str()], "{flow}");
    }
}

#[test]
fn a_build_whose_parts_other_processes_make_publishes_the_same() {
    let sandbox = project();
    let executor = ProcessExecutor::new(&sandbox);
    let summary = build(&sandbox, Arc::new(executor.clone()));
    assert_eq!((summary.built, summary.failed), (6, 0), "{summary:?}");
    let parts = sandbox.digests("out");
    assert_eq!(executor.started.load(Ordering::Relaxed), parts.len());
    // What they made is what a build makes by itself, and nothing of it is made again.
    let again = sandbox.build(&[]);
    assert!(again.text.contains("6 fresh"), "{}", again.text);
    let own = project();
    built(&own);
    assert_eq!(parts, own.digests("out"));
}

#[test]
fn a_job_that_is_not_as_it_was_planned_is_refused() {
    let sandbox = project();
    let mut jobs = jobs(&sandbox);
    let job = serde_json::to_string(&jobs.remove("cut").expect("a job")).expect("JSON");
    let refused = |text: &str, said: &str| {
        sandbox.write("job.json", text);
        let ran = sandbox.run(&["part", "--job", "job.json", "--into", "made"]);
        assert!(
            ran.code > 0 && ran.text.contains(said),
            "{said}: {}",
            ran.text
        );
        assert_eq!(sandbox.digests("made/done").len(), 0, "{said}");
    };
    refused("{", "the job cannot be read");
    refused(
        // Whatever else such a job says.
        &job.replace("\"version\":2,\"home\"", "\"version\":1,\"new\":0,\"home\""),
        "the job has version 1, which this hygge does not know",
    );
    refused(
        &job.replace("\"id\":\"parquet\"", "\"id\":\"orc\""),
        "the job has the format orc",
    );
    refused(
        &job.replace("\"word\":\"gzip\"", "\"word\":\"zip\""),
        "the job has the compression zip",
    );
    refused(
        &job.replace("\"file\":0", "\"file\":9"),
        "a part of a file that is not in it",
    );
    sandbox.sample("north", "numbers/east.parquet");
    refused(&job, "east.parquet changed while it was read");
}
