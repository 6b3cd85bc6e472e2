//! Parts are made in other processes, by what their jobs say and nothing else, and have the same
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use hygge::cache::CacheAccess;
use hygge::config::loader;
use hygge::execute::job::{FinishedPart, JobSpec};
use hygge::graph::selection::Selection;
use hygge::plan::project::Project;
use hygge::plan::{HashProgress, PlanRequest, Planner};

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built};

/// Flows of each way in which files become parts.
const CONFIG: &str = "flows:\n  \
    whole: {home: numbers, store: out/whole}\n  \
    packed: {home: numbers, store: {path: out/packed, rows_per_file: 100000}}\n  \
    repacked: {home: numbers, store: {path: out/repacked, compression: zstd, compression_level: 7}}\n  \
    cut: {home: numbers, store: {path: out/cut, rows_per_file: 15, compression: gzip}}\n  \
    arrow: {home: numbers, store: {type: ipc, path: out/arrow, container: stream, compression: lz4}}\n  \
    back: {home: {type: ipc, path: arrow}, store: {path: out/back, rows_per_file: 15}}\n";

fn project() -> Sandbox {
    let sandbox = Sandbox::new(CONFIG);
    for name in ["north", "south", "east"] {
        sandbox.sample(name, &format!("numbers/{name}.parquet"));
    }
    let write = "import pyarrow as pa, pyarrow.ipc as ipc, os, sys; os.makedirs(sys.argv[1]); \
                 table = pa.table({'id': range(70), 'name': pa.array(['a', 'b'] * 35).dictionary_encode()}); \
                 writer = ipc.new_file(sys.argv[1] + '/a.arrow', table.schema); writer.write_table(table, 20); writer.close()";
    let wrote = peers::run(write, &[sandbox.path("arrow").as_os_str()]);
    assert_success(&wrote);
    sandbox
}

/// The jobs of all flows that are to be built.
fn jobs(sandbox: &Sandbox) -> BTreeMap<String, JobSpec> {
    let found = loader::load(
        Some(&sandbox.path("hygge.yml")),
        &sandbox.path(""),
        &BTreeMap::new(),
    )
    .expect("a config");
    let project = Project::new(Arc::new(found)).expect("a project");
    let selected = Selection::default().resolve(&project.graph).expect("flows");
    let request = PlanRequest::new(
        selected,
        CancellationToken::new(),
        Arc::new(HashProgress::default()),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut planner = Planner::new(project, request, CacheAccess::Inspect)
            .await
            .expect("a planner");
        let plan = planner.plan().await.expect("a plan");
        let job = |step: &hygge::plan::PlannedFlow| {
            let (flow, work) = (
                planner.context.flow(&step.flow).expect("a flow"),
                step.work.as_ref()?,
            );
            let home = planner.context.project.input_format(&flow);
            Some((
                step.flow.to_string(),
                JobSpec::new(work, home.as_ref(), &flow.store.output_spec())?,
            ))
        };
        plan.flows.iter().filter_map(job).collect()
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
