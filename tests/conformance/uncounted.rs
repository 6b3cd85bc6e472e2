//! Files that do not say how many rows they have: each is one part, whose rows are known once it is
//! made.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use polars_arrow::array::PrimitiveArray;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use hygge::cache::index::PartRecord;
use hygge::cache::{CacheAccess, CacheLockWait, WaitCallback};
use hygge::config::loader;
use hygge::error::Error;
use hygge::execute::job::JobSpec;
use hygge::execute::part_task::PartTask;
use hygge::fingerprint::Fingerprint;
use hygge::flow::Flow;
use hygge::format::batch::RecordBatch;
use hygge::format::{
    Compression, FileColumn, Format, FormatError, Layout, OpenFile, PartPieces, Passthrough, Piece,
    Reader, TransferMode, Writer,
};
use hygge::graph::selection::Selection;
use hygge::plan::file_work::FileWork;
use hygge::plan::planned_part::PlannedPart;
use hygge::plan::probe::Input;
use hygge::plan::project::Project;
use hygge::plan::slice::{Slice, SlicedFile, part_key, slices};
use hygge::plan::work::{FlowWork, WorkSource};
use hygge::plan::{HashProgress, PlanRequest, Planner};
use hygge::publish::assemble;

use super::{encode, written_formats};
use crate::common::sandbox::{Sandbox, built};

type Keyed = Vec<Vec<(Fingerprint, PartRecord)>>;

/// Another format whose files do not say how many rows they have.
#[derive(Clone, Debug)]
struct Uncounted {
    inner: Arc<dyn Format>,
    id: &'static str,
    /// Rows that its reader counts although they are not there.
    surplus: u64,
}

impl Format for Uncounted {
    fn id(&self) -> &'static str {
        self.id
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.inner.extensions()
    }

    fn version(&self) -> u32 {
        self.inner.version()
    }

    fn output_version(&self) -> u32 {
        self.inner.output_version()
    }

    fn reader(&self) -> &dyn Reader {
        self
    }

    fn writer(&self) -> Option<&dyn Writer> {
        None
    }

    fn passthrough(&self) -> Option<&dyn Passthrough> {
        None
    }
}

impl Reader for Uncounted {
    fn inspect(&self, source: &OpenFile) -> Result<Layout, FormatError> {
        Ok(Layout {
            rows: None,
            groups: Vec::new(),
            packing_digest: None,
            ..self.inner.reader().inspect(source)?
        })
    }

    fn check_readable(&self, source: &OpenFile) -> Result<(), FormatError> {
        self.inner.reader().check_readable(source)
    }

    fn arrow_schema(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        self.inner.reader().arrow_schema(source)
    }

    fn column_names(&self, source: &OpenFile) -> Result<Vec<String>, FormatError> {
        self.inner.reader().column_names(source)
    }

    fn columns(&self, source: &OpenFile) -> Result<Vec<FileColumn>, FormatError> {
        self.inner.reader().columns(source)
    }

    fn schema_difference(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError> {
        self.inner.reader().schema_difference(one, other)
    }

    fn decode(
        &self,
        part: &PartPieces<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<u64, FormatError> {
        Ok(self.inner.reader().decode(part, each)? + self.surplus)
    }
}

/// Rows of the files of a home; one has none.
const ROWS: [u64; 3] = [7, 0, 30];

/// A file of numbers, in two groups.
fn write(format: &dyn Format, rows: u64, path: &Path) {
    let field = Field::new("id".into(), ArrowDataType::Int64, false);
    let schema: Arc<ArrowSchema> = Arc::new([(field.name.clone(), field)].into_iter().collect());
    let batch = |ids: std::ops::Range<u64>| {
        let ids = ids.map(|id| i64::try_from(id).expect("a number"));
        let ids = PrimitiveArray::from_vec(ids.collect::<Vec<_>>());
        RecordBatch::new(ids.values().len(), schema.clone(), vec![Box::new(ids)])
    };
    let compression = Compression {
        name: "uncompressed",
        level: None,
    };
    let bytes = encode(
        format,
        compression,
        &[batch(0..rows / 2), batch(rows / 2..rows)],
    );
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("a written file");
}

/// A flow from files of one format to another, of which everything is to be made.
struct Bench {
    runtime: Runtime,
    planner: Planner,
    flow: Arc<Flow>,
    /// The work as it is planned where the rows are known.
    counted: FlowWork,
}

impl Bench {
    fn new(sandbox: &Sandbox) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let config = sandbox.path("hygge.yml");
        let found = loader::load(Some(&config), &sandbox.path(""), &Default::default());
        let project = Project::new(Arc::new(found.expect("a config"))).expect("a project");
        let mut request = PlanRequest::new(
            Selection::default().resolve(&project.graph).expect("flows"),
            CancellationToken::new(),
            Arc::new(HashProgress::default()),
        );
        request.force = true;
        let access = CacheAccess::Build(CacheLockWait {
            limit: None,
            interrupted: CancellationToken::new(),
            on_wait: WaitCallback::default(),
        });
        let (planner, step) = runtime.block_on(async {
            let planner = Planner::new(project, request, access).await;
            let mut planner = planner.expect("a planner");
            let mut plan = planner.plan().await.expect("a plan");
            (planner, plan.flows.pop().expect("a flow"))
        });
        Self {
            flow: planner.context.flow(&step.flow).expect("a flow"),
            counted: FlowWork::clone(&step.work.expect("work")),
            planner,
            runtime,
        }
    }

    /// The same work where `home` is the format of the files.
    fn work(&self, home: &Uncounted) -> FlowWork {
        let target = self.flow.store.output_spec();
        let inspect = |file: &Input| {
            let opened = OpenFile::new(&file.location).expect("a file");
            home.reader().inspect(&opened).expect("a layout")
        };
        let counted = self.counted.files().expect("files");
        let files = &counted.files;
        let layouts: Vec<Layout> = files.iter().map(inspect).collect();
        let known: Vec<&Layout> = layouts.iter().collect();
        let transfer = TransferMode::new(home, &known, &target).expect("a mode");
        let sizes: Vec<u64> = files.iter().map(|file| file.version.size()).collect();
        let sliced = files.iter().map(|file| SlicedFile {
            digest: file.digest,
            projection: None,
        });
        let sliced: Vec<SlicedFile> = sliced.collect();
        let version = target.format.output_version();
        let can_share = |one: usize, other: usize| known[one].can_pack_with(known[other]);
        let slices = slices(&known, &sizes, target.rows_per_file, &can_share);
        let part = |slice: Slice| PlannedPart {
            key: part_key(&self.counted.key, transfer, &slice, &sliced, version),
            slice,
            existing: None,
            ..self.counted.parts[0].clone()
        };
        let source = FileWork {
            format: Arc::new(home.clone()),
            layouts,
            transfer,
            ..counted.clone()
        };
        FlowWork {
            parts: slices.into_iter().map(part).collect(),
            source: WorkSource::Files(source),
            ..self.counted.clone()
        }
    }

    /// Makes all parts, each by its key.
    fn make(&self, work: &FlowWork) -> Result<Keyed, Error> {
        let part = |number: usize| PartTask {
            flow: self.flow.clone(),
            work: Arc::new(work.clone()),
            number,
            cache: self.planner.context.cache.clone(),
            config: self.planner.context.project.config_path(),
            interrupted: CancellationToken::new(),
        };
        (0..work.parts.len())
            .map(|number| Ok(part(number).make(self.runtime.handle())?.parts))
            .collect()
    }

    /// The rows of the set that these parts become.
    fn assemble(&self, work: &FlowWork, made: &Keyed, accept_shrink: bool) -> Result<u64, Error> {
        let target = self.flow.store.output_spec();
        let (work, made) = work.with_made_parts(made, &target);
        let receipt = self.planner.flows.receipt(&self.flow.name).map(Arc::as_ref);
        let set = assemble(&self.flow, &work, &made, receipt, accept_shrink)?;
        assert_eq!(work.total_rows(), Some(set.manifest.rows()));
        Ok(set.manifest.rows())
    }
}

/// Each format as a home and each as a store, with and without packing.
fn for_each_pair(each: impl Fn(&str, &Sandbox, Arc<dyn Format>)) {
    for home in written_formats() {
        for target in written_formats() {
            for asked in ["", ", rows_per_file: 4"] {
                let what = format!("{} to {}{asked}", home.id(), target.id());
                let sandbox = Sandbox::new(&format!(
                    "flows:\n  a:\n    max_shrink: 10%\n    home: {{type: {}, path: in}}\n    \
                     store: {{type: {}, path: out{asked}}}\n",
                    home.id(),
                    target.id()
                ));
                for (number, rows) in ROWS.into_iter().enumerate() {
                    let name = format!("in/{number}.{}", home.extensions()[0]);
                    write(home.as_ref(), rows, &sandbox.path(&name));
                }
                each(&what, &sandbox, home.clone());
            }
        }
    }
}

#[test]
fn a_file_that_does_not_say_its_rows_is_one_part_with_all_of_them() {
    for_each_pair(|what, sandbox, inner| {
        let bench = Bench::new(sandbox);
        // Called as it is, its files may pass undecoded.
        for id in [inner.id(), "uncounted"] {
            let home = Uncounted {
                inner: inner.clone(),
                id,
                surplus: 0,
            };
            let work = bench.work(&home);
            let slices = work.parts.iter().map(|part| &part.slice);
            let pieces = slices.map(|slice| (slice.rows, slice.pieces.clone()));
            let whole = |file| Piece {
                file,
                group: None,
                rows: None,
            };
            let expected: Vec<_> = (0..ROWS.len())
                .map(|file| (None, vec![whole(file)]))
                .collect();
            assert_eq!(pieces.collect::<Vec<_>>(), expected, "{what}");
            assert_eq!(
                (work.total_rows(), work.rows_to_make()),
                (None, None),
                "{what}"
            );
            let made = bench.make(&work);
            let made = made.unwrap_or_else(|error| panic!("{what}: {error}"));
            let rows: Vec<u64> = made
                .iter()
                .flatten()
                .map(|(_, record)| record.rows)
                .collect();
            assert_eq!(rows, ROWS, "{what}");
            assert_eq!(
                bench.assemble(&work, &made, false).expect(what),
                37,
                "{what}"
            );
            // A job says it too.
            let (files, parts) = (
                work.files().expect(what),
                work.parts.iter().collect::<Vec<_>>(),
            );
            let job = JobSpec::for_files(files, &parts, &bench.flow.store.output_spec());
            let text = serde_json::to_string(&job).expect("JSON");
            let again = serde_json::to_string(&JobSpec::read(&text).expect(what)).expect("JSON");
            assert!(
                again == text && text.contains("\"rows\":null"),
                "{what}: {text}"
            );
        }
    });
}

#[test]
fn rows_that_were_read_and_not_written_are_an_error() {
    for_each_pair(|what, sandbox, inner| {
        let bench = Bench::new(sandbox);
        let home = Uncounted {
            inner,
            id: "uncounted",
            surplus: 1,
        };
        let made = bench.make(&bench.work(&home));
        let error = made.expect_err(what).to_string();
        assert_eq!(error, "8 rows were read, and 7 written", "{what}");
    });
}

#[test]
fn too_many_rows_that_would_vanish_are_noticed_once_the_parts_are_made() {
    for_each_pair(|what, sandbox, inner| {
        built(sandbox);
        let bench = Bench::new(sandbox);
        let home = Uncounted {
            inner,
            id: "uncounted",
            surplus: 0,
        };
        let mut work = bench.work(&home);
        work.parts.truncate(2);
        let made = bench.make(&work).expect(what);
        let error = bench
            .assemble(&work, &made, false)
            .expect_err(what)
            .to_string();
        let expected = "the store has 37 rows, and would have 7: more than max_shrink (10%) allows";
        assert_eq!(error, expected, "{what}");
        assert_eq!(bench.assemble(&work, &made, true).expect(what), 7, "{what}");
    });
}
