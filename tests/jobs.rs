//! Parts are made in other processes, by what their jobs say and nothing else, and have the same
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hygge::cache::CacheAccess;
use hygge::execute::job::{FinishedPart, JobSpec};
use hygge::fingerprint::Fingerprint;
use hygge::plan::PlannedFlow;
use hygge::plan::planned_part::PlannedPart;

use crate::common::assert_success;
use crate::common::executor::{ProcessExecutor, build, plan, runtime};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built};

/// Flows of each way in which files become parts.
const CONFIG: &str = "flows:\n  \
    whole: {home: numbers, store: out/whole}\n  \
    packed: {home: numbers, store: {path: out/packed, rows_per_file: 100000}}\n  \
    repacked: {home: numbers, store: {path: out/repacked, compression: zstd, compression_level: 7}}\n  \
    cut: {home: numbers, store: {path: out/cut, rows_per_file: 15, compression: gzip}}\n  \
    arrow: {home: numbers, store: {type: ipc, path: out/arrow, container: stream, compression: lz4}}\n  \
    back: {home: {type: ipc, path: arrow}, store: {path: out/back, rows_per_file: 15}}\n  \
    none: {home: none, store: {path: out/none, rows_per_file: 15}}\n  \
    folders: {home: {path: folders, glob: \"**/*.parquet\"}, store: {path: out/folders, rows_per_file: 15}}\n  \
    parted: {home: numbers, store: {path: out/parted, partition_by: [boolean], rows_per_file: 100}}\n  \
    grouped: {home: numbers, store: {path: out/grouped, row_groups: {rows: 40}}}\n  \
    united: {home: {path: united, schema: union}, store: out/united}\n  \
    csv: {home: {path: in.csv, delimiter: \";\", null_values: [NA, \"1\"], decimal_comma: true, date_formats: [\"%d.%m.%Y\"], types: {total: \"decimal(9,2)\", day: date}}, store: out/csv}\n  \
    export: {home: {path: in.csv, header: false}, store: {type: csv, path: out/export}}\n  \
    quoted: {home: {path: in.csv, header: false, quote: none}, store: {type: csv, path: out/quoted, null_value: NA, delimiter: \"|\"}}\n  \
    shaped: {home: numbers, store: {path: out/shaped, rows_per_file: 15}, where: \"int64 > 0 or int64 is null\", cast: {int64: text}, add: {from: \"{file.name}\"}, columns: [int64, string]}\n";

fn project() -> Sandbox {
    let sandbox = Sandbox::new(CONFIG);
    sandbox.write("in.csv", "id;total;day\n1;NA;NA\n2;2,50;29.02.2024\n");
    for name in ["north", "south", "east"] {
        sandbox.sample(name, &format!("numbers/{name}.parquet"));
        sandbox.sample(name, &format!("folders/of={name}/a.parquet"));
    }
    let write = "import pyarrow as pa, pyarrow.ipc as ipc, os, sys; os.makedirs(sys.argv[1]); \
                 table = pa.table({'id': range(70), 'name': pa.array(['a', 'b'] * 35).dictionary_encode()}); \
                 writer = ipc.new_file(sys.argv[1] + '/a.arrow', table.schema); writer.write_table(table, 20); writer.close(); \
                 import pyarrow.parquet as parquet; os.makedirs(sys.argv[2]); \
                 parquet.write_table(table.slice(0, 0), sys.argv[2] + '/a.parquet'); os.makedirs(sys.argv[3]); \
                 parquet.write_table(pa.table({'id': pa.array([1], pa.int32()), 'g': [{'x': [1]}]}), sys.argv[3] + '/a.parquet'); \
                 parquet.write_table(pa.table({'id': [2**40], 'h': [None]}), sys.argv[3] + '/b.parquet')";
    let folders = ["arrow", "none", "united"].map(|name| sandbox.path(name));
    let wrote = peers::run(write, &folders.each_ref().map(|folder| folder.as_os_str()));
    assert_success(&wrote);
    sandbox
}

/// The digests of all parts in all stores.
fn published(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let flows = [
        "whole", "packed", "repacked", "cut", "arrow", "back", "none", "folders", "united",
        "shaped", "grouped", "parted", "csv", "export", "quoted",
    ];
    let mut parts = BTreeMap::new();
    for store in flows.map(|flow| format!("out/{flow}")) {
        for (name, digest) in sandbox.digests(&store) {
            parts.insert(format!("{store}/{name}"), digest);
        }
    }
    parts
}

/// The jobs of all flows that are to be built.
fn jobs(sandbox: &Sandbox) -> BTreeMap<String, JobSpec> {
    runtime().block_on(async {
        let (planner, plan) = plan(sandbox, &BTreeMap::new(), CacheAccess::Inspect).await;
        let job = |step: &PlannedFlow| {
            let flow = planner.context.flow(&step.flow).expect("a flow");
            let work = step.work.as_ref()?;
            let parts: Vec<&PlannedPart> = work.parts.iter().collect();
            Some((
                step.flow.to_string(),
                JobSpec::for_files(work.files()?, &parts, &flow.store.output_spec()),
            ))
        };
        plan.flows.iter().filter_map(job).collect()
    })
}

#[test]
fn parts_that_other_processes_make_have_the_same_bytes() {
    let sandbox = project();
    let jobs = jobs(&sandbox);
    assert_eq!(jobs.len(), 15, "{:?}", jobs.keys());
    let mut made: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (flow, job) in &jobs {
        let file = format!("jobs/{flow}.json");
        sandbox.write(&file, serde_json::to_string(job).expect("JSON"));
        let ran = sandbox.run(&["part", "--job", &file, "--into", &format!("made/{flow}")]);
        assert_eq!(ran.code, 0, "{flow}: {}", ran.text);
        for line in ran.text.lines() {
            let part: FinishedPart = serde_json::from_str(line).expect("a part");
            for record in part.outputs.iter().map(|output| &output.record) {
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
        }
        let job = serde_json::to_value(job).expect("JSON");
        let parts = job["work"]["files"]["parts"].as_array().map(Vec::len);
        assert_eq!(parts, Some(ran.text.lines().count()), "{flow}");
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
    let executor = ProcessExecutor::new(&sandbox, BTreeMap::new());
    let (summary, failed) = build(&sandbox, &executor);
    assert_eq!((summary.built, failed), (15, Vec::new()));
    let parts = published(&sandbox);
    // One part of files becomes several where its rows go to folders.
    let in_folders = parts.keys().filter(|name| name.contains("/boolean="));
    let slices: BTreeSet<&str> = in_folders
        .clone()
        .filter_map(|name| name.rsplit('/').next())
        .collect();
    assert!(slices.len() < in_folders.clone().count());
    assert_eq!(
        executor.count(),
        parts.len() - in_folders.count() + slices.len()
    );
    // Nothing of it is made again, and a build makes the same by itself.
    let again = sandbox.build(&[]);
    assert!(again.text.contains("\"fresh\":15"), "{}", again.text);
    let own = project();
    built(&own);
    assert_eq!(parts, published(&own));
}

#[test]
fn what_another_process_hands_back_is_compared_with_what_it_was_asked_for() {
    let sandbox = project();
    let mut executor = ProcessExecutor::new(&sandbox, BTreeMap::new());
    let mut refused = |after, said: &str| {
        executor.after = after;
        let (summary, failed) = build(&sandbox, &executor);
        assert_eq!(summary.failed, 15, "{failed:?}");
        assert!(
            failed.iter().all(|error| error.contains(said)),
            "{failed:?}"
        );
        assert!(published(&sandbox).is_empty(), "{said}");
    };
    refused(
        |into, finished| {
            let digest = finished[0].outputs[0].record.digest.to_string();
            let path = into.join(&digest[..2]).join(&digest);
            let mut bytes = fs::read(&path).expect("a part");
            bytes[8] ^= 1;
            fs::write(path, bytes).expect("a part");
        },
        "is not what it says",
    );
    refused(
        |_, finished| finished[0].outputs[0].record.bytes += 1,
        "is not what it says",
    );
    refused(
        |_, finished| finished[0].outputs[0].record.rows += 1,
        "rows were read, and",
    );
    refused(
        |_, finished| finished[0].filtered += 1,
        "rows were read, and",
    );
    refused(
        |_, finished| finished[0].key = Fingerprint::hash_bytes(b"another"),
        "has made something else",
    );
    refused(|_, finished| finished.clear(), "has made something else");
    refused(
        |_, finished| finished.extend(finished.clone()),
        "has made something else",
    );
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
        &job.replace("\"version\":8,\"work\"", "\"version\":1,\"new\":0,\"work\""),
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
    refused(
        &job.replacen("\"group\":0", "\"group\":99", 1),
        "a part of a group that its file does not have",
    );
    refused(
        &job.replacen("\"rows\":[0,", "\"rows\":[18446744073709551615,", 1),
        "a part of rows that its group does not have",
    );
    refused(
        &job.replacen("\"key\":", "\"more\":0,\"key\":", 1),
        "unknown field `more`",
    );
    refused(
        &job.replacen("\"rows_per_file\":15", "\"rows_per_file\":0", 1),
        "parts of no rows",
    );
    refused(
        &job.replace("\"level\":null", "\"level\":99"),
        "the compression gzip of level 99",
    );
    sandbox.sample("north", "numbers/east.parquet");
    refused(&job, "east.parquet changed while it was read");
}
