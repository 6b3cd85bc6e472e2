//! Homes: a block makes a home that is written as that block, looking changes nothing, what did not
//! change looks the same, and every row comes once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polars_arrow::array::PrimitiveArray;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use hygge::config::loader;
use hygge::config::variables::Variables;
use hygge::connection::Databases;
use hygge::flow::factory::{Factory, formats};
use hygge::format::batch::RecordBatch;
use hygge::format::{Compression, Format, InputFiles, PartPieces, Piece};
use hygge::home::{
    FileSource, Home, HomeError, PartBatch, PreviousRead, ReadSession, RowSource, Source,
    TableState,
};
use hygge::plan::project::Project;

use super::{OnlyFile, decode, encode};
use crate::common::databases::{Database, Kind};
use crate::common::sandbox::Sandbox;

/// How long something may take that is done at once.
const LONGEST: Duration = Duration::from_secs(60);

/// The tests of a home: what every home holds, and what is besides.
macro_rules! home_tests {
    ($make:expr; $($tests:ident::{$($test:ident),* $(,)?})?) => {
        use crate::conformance::home::*;

        #[test]
        fn its_settings_are_a_block_that_makes_it_again() {
            check_settings(&$make);
        }

        $($(#[test] fn $test() { $tests::$test(&$make); })*)?
    };
}

/// A home of files.
macro_rules! home_of_files {
    ($make:expr) => {
        home_tests!($make; files::{
            a_listing_is_sorted_and_changes_nothing,
            another_version_is_that_of_a_file_that_changed,
            every_row_of_its_files_is_read_once,
            what_is_not_there_is_named,
        });
    };
}

/// A home of rows, in each database.
macro_rules! home_of_rows {
    ($make:path) => {
        mod sqlite { home_of_rows!(@one $make, Sqlite); }
        mod postgres { home_of_rows!(@one $make, Postgres); }
        mod mysql { home_of_rows!(@one $make, MySql); }
    };
    (@one $make:path, $kind:ident) => {
        home_tests!($make(Kind::$kind); rows::{
            a_probe_changes_nothing_and_differs_where_rows_do,
            partitions_have_every_row_once,
            parts_have_no_more_rows_than_they_may,
            a_table_without_rows_has_its_columns,
            a_session_is_of_one_moment,
            a_reading_that_is_dropped_ends,
            what_is_not_there_is_named,
        });
    };
}

mod parquet {
    home_of_files!(FilesPlace::new("parquet"));
}

mod ipc {
    home_of_files!(FilesPlace::new("ipc"));
}

mod table {
    home_of_rows!(TablePlace::table);
}

mod query {
    home_of_rows!(TablePlace::query);
}

mod flow {
    home_tests!(FlowPlace::new(););

    #[test]
    fn it_is_the_flow_that_it_names() {
        let place = FlowPlace::new();
        let home = place.home(&place.block());
        assert!(matches!(home.source(), Source::Flow("upstream")));
        assert_eq!(home.as_flow(), Some("upstream"));
        assert!(home.as_files().is_none() && home.as_rows().is_none());
    }
}

/// Where a home lies.
trait Place {
    fn sandbox(&self) -> &Sandbox;

    /// What the config has besides the flow that is looked at.
    fn surroundings(&self) -> Value {
        json!({})
    }

    /// The block of the home that is looked at.
    fn block(&self) -> Value;

    /// Blocks of other homes.
    fn others(&self) -> Vec<Value>;

    /// The home of a block.
    fn home(&self, block: &Value) -> Arc<dyn Home> {
        let mut config = self.surroundings();
        // What grows by a watermark cannot be made as a whole.
        let mode = match block.get("watermark") {
            Some(_) => "append",
            None => "replace",
        };
        config["flows"]["looked_at"] =
            json!({ "home": block, "store": "out/looked_at", "mode": mode });
        self.sandbox().write("hygge.yml", config.to_string());
        let loaded = loader::load(
            Some(&self.sandbox().path("hygge.yml")),
            &self.sandbox().path(""),
            &Variables::new(),
        );
        let project = Project::new(Arc::new(loaded.expect("a config"))).expect("a project");
        let mut flows = project.graph.flows();
        let flow = flows.find(|flow| flow.name.as_str() == "looked_at");
        flow.expect("the flow").home.clone()
    }
}

/// Files of a format, in a folder.
struct FilesPlace {
    sandbox: Sandbox,
    format: Arc<dyn Format>,
}

impl FilesPlace {
    fn new(id: &str) -> Self {
        Self {
            sandbox: Sandbox::new(""),
            format: formats()
                .find(|format| format.id() == id)
                .expect("a format"),
        }
    }

    /// The name of a file of the format.
    fn name(&self, stem: &str) -> String {
        format!("{stem}.{}", self.format.extensions()[0])
    }

    /// Writes rows with these numbers; gives the file's name below the home.
    fn put(&self, stem: &str, ids: std::ops::Range<i64>) -> String {
        let schema: ArrowSchema = [("id", ArrowDataType::Int64)]
            .map(|(name, dtype)| (name.into(), Field::new(name.into(), dtype, false)))
            .into_iter()
            .collect();
        let ids = PrimitiveArray::from_vec(ids.collect::<Vec<i64>>());
        let batch = RecordBatch::new(ids.len(), Arc::new(schema), vec![ids.boxed()]);
        let compression = Compression {
            name: "zstd",
            level: None,
        };
        let name = self.name(stem);
        let bytes = encode(self.format.as_ref(), compression, &[batch]);
        self.sandbox.write(&format!("home/{name}"), bytes);
        name
    }

    fn glob(&self) -> String {
        self.name("**/*")
    }
}

impl Place for FilesPlace {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn block(&self) -> Value {
        json!({ "type": self.format.id(), "path": "home", "glob": self.glob() })
    }

    fn others(&self) -> Vec<Value> {
        let id = self.format.id();
        vec![
            json!({ "type": id, "path": "home" }),
            json!({ "type": id, "path": "elsewhere", "glob": self.glob() }),
            json!({ "type": id, "path": "home", "glob": self.glob(), "batch_size": 7 }),
        ]
    }
}

/// A table of a database with a row in each month, and one without a day.
struct TablePlace {
    database: Database,
    sandbox: Sandbox,
    relation: Value,
    missing: Value,
}

/// How many rows it has.
const ROWS: i64 = 40;

impl TablePlace {
    fn table(kind: Kind) -> Self {
        Self::new(
            kind,
            json!({ "table": "orders" }),
            json!({ "table": "no_such_table" }),
        )
    }

    fn query(kind: Kind) -> Self {
        Self::new(
            kind,
            json!({ "query": "select id, name, at from orders where id > 0" }),
            json!({ "query": "select id from no_such_table" }),
        )
    }

    fn new(kind: Kind, relation: Value, missing: Value) -> Self {
        let database = Database::new(kind);
        database.run("CREATE TABLE orders (id integer PRIMARY KEY, name varchar(40), at date)");
        Self {
            database,
            sandbox: Sandbox::new(""),
            relation,
            missing,
        }
    }

    /// Adds a row in a month of 2024; without a day where that is 0.
    fn add(&self, ids: std::ops::RangeInclusive<i64>) {
        let row = |id: i64| match id % 10 {
            0 => format!("({id}, 'name {id}', NULL)"),
            month => format!("({id}, 'name {id}', '2024-0{month}-15')"),
        };
        let rows: Vec<String> = ids.map(row).collect();
        self.database
            .run(&format!("INSERT INTO orders VALUES {}", rows.join(", ")));
    }

    fn with(&self, relation: &Value, more: Value) -> Value {
        let mut block = json!({ "connection": "shop" });
        for keys in [relation, &more] {
            let keys = keys.as_object().expect("keys").clone();
            block.as_object_mut().expect("a block").extend(keys);
        }
        block
    }

    /// The home that is looked at, and what its database is opened by.
    fn opened(&self) -> Opened {
        self.open(&self.block())
    }

    fn open(&self, block: &Value) -> Opened {
        Opened {
            home: self.home(block),
            databases: Databases::new(&self.sandbox.path("")),
            runtime: Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime"),
        }
    }
}

impl Place for TablePlace {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// One session is all that there is: who does not give it back is found out.
    fn surroundings(&self) -> Value {
        json!({ "connections": { "shop": { "url": self.database.url(), "pool_size": 1 } } })
    }

    fn block(&self) -> Value {
        self.with(
            &self.relation,
            json!({
                "slice": { "column": "at", "by": "month" },
                "probe": { "columns": ["name"] },
                "batch_size": 3,
            }),
        )
    }

    fn others(&self) -> Vec<Value> {
        vec![
            self.with(&self.relation, json!({})),
            self.with(&self.relation, json!({ "columns": ["id"] })),
            self.with(&self.relation, json!({ "where": "id < 5" })),
            self.with(&self.relation, json!({ "types": { "id": "text" } })),
            self.with(
                &self.relation,
                json!({ "watermark": { "column": "id", "lag": 3 } }),
            ),
            self.with(&self.relation, json!({ "probe": { "every": "1h" } })),
            self.with(&self.missing, json!({})),
        ]
    }
}

/// A home of rows, and what it is asked by.
struct Opened {
    home: Arc<dyn Home>,
    databases: Databases,
    runtime: Runtime,
}

impl Opened {
    fn rows(&self) -> &dyn RowSource {
        self.home.as_rows().expect("rows")
    }

    fn try_probe(&self) -> Result<TableState, hygge::error::Error> {
        let before = PreviousRead::default();
        self.wait_for(self.rows().probe(&self.databases, &before))
    }

    fn probe(&self) -> TableState {
        self.try_probe().expect("an answer")
    }

    fn session(&self) -> Arc<dyn ReadSession> {
        let before = PreviousRead::default();
        self.wait_for(self.rows().open_session(&self.databases, &before))
            .expect("a session")
    }

    /// Everything that comes of a partition, and how many rows are said to.
    fn read(
        &self,
        session: &Arc<dyn ReadSession>,
        partition: usize,
        rows_per_part: u64,
    ) -> (Vec<PartBatch>, u64) {
        let (sender, mut receiver) = mpsc::channel(1);
        let reading = session
            .clone()
            .read_partition(partition, rows_per_part, sender);
        // Who reads may hold up its task, so that who receives needs another one.
        let reading = self.runtime.spawn(reading);
        self.wait_for(async {
            let mut batches = Vec::new();
            while let Some(batch) = receiver.recv().await {
                batches.push(batch);
            }
            (batches, reading.await.expect("no panic").expect("rows"))
        })
    }

    /// What comes of something, which does not take long.
    fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        let waited = async { tokio::time::timeout(LONGEST, work).await };
        self.runtime.block_on(waited).expect("an end")
    }

    /// The numbers of all rows of all partitions, sorted; each partition is read to its end.
    fn read_all(&self, session: &Arc<dyn ReadSession>) -> Vec<i64> {
        let mut ids = Vec::new();
        for partition in 0..session.table_state().partitions.len() {
            let (batches, rows) = self.read(session, partition, u64::MAX);
            let sent: usize = batches.iter().map(|batch| batch.rows.height()).sum();
            assert_eq!(sent as u64, rows, "rows read are rows sent");
            ids.extend(batches.iter().flat_map(|batch| ids_of_batch(&batch.rows)));
        }
        ids.sort_unstable();
        ids
    }

    fn close(&self, session: &Arc<dyn ReadSession>) {
        self.wait_for(session.close());
    }
}

/// A home that is another flow of the config.
struct FlowPlace(Sandbox);

impl FlowPlace {
    fn new() -> Self {
        Self(Sandbox::new(""))
    }
}

impl Place for FlowPlace {
    fn sandbox(&self) -> &Sandbox {
        &self.0
    }

    fn surroundings(&self) -> Value {
        let flow = |store: &str| json!({ "home": "home", "store": store });
        json!({ "flows": { "upstream": flow("out/upstream"), "other": flow("out/other") } })
    }

    fn block(&self) -> Value {
        json!({ "flow": "upstream" })
    }

    fn others(&self) -> Vec<Value> {
        vec![json!({ "flow": "other" })]
    }
}

/// The first column of a batch, whatever the width of its numbers.
fn ids_of_batch(batch: &RecordBatch) -> Vec<i64> {
    let ids = batch.columns()[0].as_any();
    if let Some(ids) = ids.downcast_ref::<PrimitiveArray<i64>>() {
        return ids.values_iter().copied().collect();
    }
    let ids = ids.downcast_ref::<PrimitiveArray<i32>>().expect("numbers");
    ids.values_iter().map(|id| i64::from(*id)).collect()
}

/// The settings of a home are a block that makes an equal home; those of another make another.
fn check_settings(place: &dyn Place) {
    let home = place.home(&place.block());
    let kinds: BTreeSet<&str> = Factory::homes()
        .iter()
        .flat_map(|kind| kind.type_names())
        .collect();
    assert!(kinds.contains(home.kind()), "{}", home.kind());
    let mut seen = vec![home];
    for block in place.others() {
        let other = place.home(&block);
        assert!(seen.iter().all(|home| *home.as_ref() != *other), "{block}");
        seen.push(other);
    }
    for home in seen {
        let mut block = json!(home.settings());
        block["type"] = json!(home.kind());
        let again = place.home(&block);
        assert_eq!(again.settings(), home.settings(), "{block}");
        assert!(*again == *home, "{block}");
    }
}

mod files {
    use super::*;

    fn source(home: &dyn Home) -> &dyn FileSource {
        home.as_files().expect("files")
    }

    /// Every file below a folder, with its bytes and the time at which they were written.
    fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.extend(contents(&path));
            } else {
                let changed = fs::metadata(&path).and_then(|found| found.modified());
                let bytes = fs::read(&path).expect("a file");
                found.insert(path, (bytes, changed.expect("a time")));
            }
        }
        found
    }

    pub(super) fn a_listing_is_sorted_and_changes_nothing(place: &FilesPlace) {
        let names = ["b", "a", "größe", "deep/er/c", "deep/d"].map(|stem| place.put(stem, 0..3));
        place.sandbox.write("home/notes.txt", "not of the format");
        let home = place.home(&place.block());
        let before = contents(&place.sandbox.path(""));
        let listing = source(home.as_ref()).list().expect("a listing");
        let mut wanted = names.to_vec();
        wanted.sort();
        let listed: Vec<&str> = listing
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        assert_eq!(listed, wanted);
        assert_eq!(source(home.as_ref()).list().expect("a listing"), listing);
        assert_eq!(contents(&place.sandbox.path("")), before);
        for file in &listing.files {
            let found = listing.location(&file.name).head().expect("a look");
            assert_eq!(found.expect("a file").version, file.version);
        }
        // Of folders that are not chosen no file is listed, and all of them can be chosen from.
        let deep = |folders: &[String]| {
            assert_eq!(folders, ["", "deep", "deep/er"]);
            Some(["deep/er".to_string()].into())
        };
        let chosen = source(home.as_ref()).list_in(&deep).expect("a listing");
        assert_eq!(chosen.files, listing.files[3..4]);
        assert_eq!(chosen.folders, listing.folders);
        let all = source(home.as_ref()).list_in(&|_| None).expect("a listing");
        assert_eq!(all, listing);
        // Without `**`, the folder alone is meant; a file is a home of its own.
        let shallow = place.home(&json!({ "type": place.format.id(), "path": "home" }));
        let listing = source(shallow.as_ref()).list().expect("a listing");
        assert_eq!(listing.files.len(), 3);
        let one = format!("home/{}", names[0]);
        let single = place.home(&json!({ "type": place.format.id(), "path": one }));
        let listing = source(single.as_ref()).list().expect("a listing");
        assert_eq!(listing.files[0].name, names[0]);
    }

    pub(super) fn another_version_is_that_of_a_file_that_changed(place: &FilesPlace) {
        let [changed, same] = ["a", "b"].map(|stem| place.put(stem, 0..3));
        let home = place.home(&place.block());
        let versions = || {
            let listing = source(home.as_ref()).list().expect("a listing");
            let files = listing.files.into_iter();
            files
                .map(|file| (file.name, file.version))
                .collect::<BTreeMap<_, _>>()
        };
        let before = versions();
        assert_eq!(versions(), before);
        place.put("a", 0..400);
        let after = versions();
        assert_ne!(after[&changed], before[&changed]);
        assert_eq!(after[&same], before[&same]);
    }

    pub(super) fn every_row_of_its_files_is_read_once(place: &FilesPlace) {
        for (stem, ids) in [("b", 0..10), ("deep/a", 10..25), ("c", 25..25)] {
            place.put(stem, ids);
        }
        let home = place.home(&place.block());
        let source = source(home.as_ref());
        let listing = source.list().expect("a listing");
        let mut found = Vec::new();
        for file in &listing.files {
            let inputs = OnlyFile(listing.location(&file.name));
            let opened = inputs.open(0).expect("a file");
            let layout = source.format().reader().inspect(&opened);
            let rows = layout.expect("a sound file").rows;
            let part = PartPieces {
                inputs: &inputs,
                pieces: &[Piece {
                    file: 0,
                    group: None,
                    rows: None,
                }],
                interrupted: &CancellationToken::new(),
            };
            let batches = decode(source.format().as_ref(), &part).expect("rows");
            let ids: Vec<i64> = batches.iter().flat_map(ids_of_batch).collect();
            assert_eq!(ids.len() as u64, rows.expect("rows"), "{}", file.name);
            found.extend(ids);
        }
        found.sort_unstable();
        assert!(found.iter().copied().eq(0..25), "{found:?}");
    }

    pub(super) fn what_is_not_there_is_named(place: &FilesPlace) {
        let home = place.home(&place.block());
        let list = || source(home.as_ref()).list();
        let folder = place.sandbox.path("home");
        let named = |error: HomeError, what: &str| {
            assert!(error.to_string().contains(what), "{error}");
            error
        };
        let error = named(list().expect_err("nothing is there"), "home");
        assert!(matches!(error, HomeError::Missing(path) if path.ends_with("home")));
        fs::create_dir(&folder).expect("a folder");
        let error = named(list().expect_err("it is empty"), &place.glob());
        assert!(matches!(error, HomeError::NothingMatches { .. }));
        place.sandbox.write("home/notes.txt", "");
        named(list().expect_err("nothing matches"), "notes.txt");
        let dangling = folder.join(place.name("dangling"));
        std::os::unix::fs::symlink("nowhere", &dangling).expect("a link");
        let error = named(list().expect_err("it leads nowhere"), "dangling");
        assert!(matches!(error, HomeError::NotAFile(path) if path == dangling));
        fs::remove_file(&dangling).expect("a link");
        let mut name = b"\xff".to_vec();
        name.extend(place.name("").into_bytes());
        let name = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(name);
        fs::write(folder.join(&name), "").expect("a file");
        let error = named(list().expect_err("it has no name"), "UTF-8");
        assert!(matches!(error, HomeError::NotUtf8(path) if path.ends_with(&name)));
    }
}

mod rows {
    use super::*;

    fn partitions(state: &TableState) -> BTreeMap<&str, String> {
        let partitions = state.partitions.iter();
        partitions
            .map(|partition| (partition.name.as_str(), partition.digest.to_string()))
            .collect()
    }

    pub(super) fn a_probe_changes_nothing_and_differs_where_rows_do(place: &TablePlace) {
        place.add(1..=ROWS);
        let all = "SELECT id, name, at FROM orders ORDER BY id";
        let before = place.database.ask(all);
        let opened = place.opened();
        opened.rows().check_database_known().expect("a database");
        assert!(opened.rows().detects_changes());
        let (first, again) = (opened.probe(), opened.probe());
        assert_eq!(first.schema_digest, again.schema_digest);
        assert_eq!(first.inputs, again.inputs);
        assert_eq!(partitions(&first), partitions(&again));
        assert_eq!(partitions(&first).len(), first.partitions.len(), "names");
        assert_eq!(place.database.ask(all), before);
        let differing = |change: &str| {
            place.database.run(change);
            let changed = opened.probe();
            assert_ne!(changed.inputs, first.inputs, "{change}");
            let (old, new) = (partitions(&first), partitions(&changed));
            let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
            let differing = names
                .into_iter()
                .filter(|name| old.get(name) != new.get(name));
            differing.map(String::from).collect::<Vec<_>>()
        };
        let one = differing("UPDATE orders SET name = 'other' WHERE id = 3");
        assert_eq!(one, ["2024-03"]);
        let two = differing("UPDATE orders SET name = 'more' WHERE id = 10");
        assert_eq!(two, ["2024-03", "null"]);
        let three = differing("DELETE FROM orders WHERE id = 4");
        assert_eq!(three, ["2024-03", "2024-04", "null"]);
    }

    pub(super) fn partitions_have_every_row_once(place: &TablePlace) {
        place.add(1..=ROWS);
        let opened = place.opened();
        let session = opened.session();
        assert_eq!(session.table_state().partitions.len(), 10);
        let found = opened.read_all(&session);
        assert!(found.iter().copied().eq(1..=ROWS), "{found:?}");
        opened.close(&session);
    }

    pub(super) fn parts_have_no_more_rows_than_they_may(place: &TablePlace) {
        place.add(1..=ROWS);
        let opened = place.open(&place.with(&place.relation, json!({ "batch_size": 3 })));
        let session = opened.session();
        assert_eq!(session.table_state().partitions.len(), 1);
        let (batches, rows) = opened.read(&session, 0, 7);
        let mut parts = vec![0];
        for batch in &batches {
            *parts.last_mut().expect("a part") += batch.rows.height();
            if batch.ends_part {
                parts.push(0);
            }
        }
        assert_eq!(parts, [7, 7, 7, 7, 7, 5, 0], "the last ends, too");
        assert_eq!(rows, ROWS.unsigned_abs());
        opened.close(&session);
    }

    pub(super) fn a_table_without_rows_has_its_columns(place: &TablePlace) {
        let opened = place.opened();
        let session = opened.session();
        let state = session.table_state().clone();
        let names: Vec<&str> = state
            .recorded_columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(names, ["id", "name", "at"]);
        assert_eq!(state.partitions.len(), 1);
        let (batches, rows) = opened.read(&session, 0, u64::MAX);
        assert_eq!((batches.len(), rows), (1, 0));
        let batch = &batches[0].rows;
        assert_eq!((batch.height(), batch.columns().len()), (0, 3));
        assert_eq!(*batch.schema(), state.arrow_schema);
        opened.close(&session);
    }

    pub(super) fn a_session_is_of_one_moment(place: &TablePlace) {
        place.add(1..=ROWS);
        let opened = place.opened();
        let session = opened.session();
        place.add(ROWS + 1..=ROWS + 20);
        place.database.run("DELETE FROM orders WHERE id < 5");
        let found = opened.read_all(&session);
        assert!(found.iter().copied().eq(1..=ROWS), "{found:?}");
        opened.close(&session);
        let later = opened.session();
        let found = opened.read_all(&later);
        assert!(found.iter().copied().eq(5..=ROWS + 20), "{found:?}");
        opened.close(&later);
    }

    pub(super) fn a_reading_that_is_dropped_ends(place: &TablePlace) {
        place.add(1..=ROWS);
        let opened = place.open(&place.with(&place.relation, json!({ "batch_size": 1 })));
        let session = opened.session();
        let (sender, mut receiver) = mpsc::channel(1);
        let reading = session.clone().read_partition(0, u64::MAX, sender);
        let reading = opened.runtime.spawn(reading);
        let first = opened.wait_for(receiver.recv()).expect("rows");
        assert_eq!(first.rows.height(), 1);
        drop(receiver);
        let read = opened.wait_for(reading).ok().and_then(Result::ok);
        assert_ne!(read, Some(ROWS.unsigned_abs()), "it went on to the end");
        opened.close(&session);
        drop(session);
        // The one session that there is can be had again.
        let again = opened.session();
        let found = opened.read_all(&again);
        assert!(found.iter().copied().eq(1..=ROWS), "{found:?}");
        opened.close(&again);
    }

    pub(super) fn what_is_not_there_is_named(place: &TablePlace) {
        place.add(1..=ROWS);
        for (block, named) in [
            (place.with(&place.missing, json!({})), "no_such_table"),
            (
                place.with(&place.relation, json!({ "columns": ["no_such_column"] })),
                "no_such_column",
            ),
            (
                place.with(
                    &place.relation,
                    json!({ "probe": { "columns": ["no_such_column"] } }),
                ),
                "no_such_column",
            ),
        ] {
            let opened = place.open(&block);
            let error = opened.try_probe().expect_err("nothing to be read");
            let said = error.to_string();
            assert!(said.contains(named), "{block}: {said}");
            // An error leaves nothing open.
            assert!(opened.try_probe().is_err(), "{block}");
        }
    }
}
