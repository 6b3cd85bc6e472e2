//! Stores: a block makes a store that is written as that block, looking changes nothing, one lock
//! is held at a time, and what is published is there as a whole until it is cleared.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use polars_arrow::array::PrimitiveArray;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use hygge::cache::staging::Staging;
use hygge::config::loader;
use hygge::config::variables::Variables;
use hygge::fingerprint::Fingerprint;
use hygge::fingerprint::key::Components;
use hygge::format::batch::RecordBatch;
use hygge::format::{Compression, Format};
use hygge::fs::{Barriers, LockError};
use hygge::plan::project::Project;
use hygge::store::context::{KeepStaged, PublishContext};
use hygge::store::receipt::{Manifest, Part, PublishedSet, Receipt};
use hygge::store::{
    PartNaming, Publication, Store, StoreError, StoreId, StoreSession, StoreUpdate,
};

use super::encode;
use crate::common::databases::{Database, Kind};
use crate::common::sandbox::Sandbox;

/// The tests that every store passes.
macro_rules! store_tests {
    ($make:expr) => {
        use crate::conformance::store::*;

        #[test]
        fn its_settings_are_a_block_that_makes_it_again() {
            check_settings(&$make);
        }

        #[test]
        fn nothing_is_there_before_a_publication_and_looking_changes_nothing() {
            check_empty(&$make);
        }

        #[test]
        fn one_holds_the_lock_at_a_time() {
            check_lock(&$make);
        }

        #[test]
        fn what_is_published_is_there_and_takes_the_place_of_what_was() {
            check_publication(&$make);
        }

        #[test]
        fn a_receipt_is_found_beside_the_store() {
            check_siblings(&$make);
        }

        #[test]
        fn what_others_put_there_is_theirs_unless_it_is_adopted() {
            check_foreign(&$make);
        }

        #[test]
        fn only_what_hygge_made_is_cleared() {
            check_clear(&$make);
        }
    };
}

mod parquet {
    store_tests!(FolderPlace::new("parquet", "exchange"));
}

mod parquet_in_place {
    store_tests!(FolderPlace::new("parquet", "in_place"));
}

mod ipc {
    store_tests!(FolderPlace::new("ipc", "exchange"));
}

mod table {
    mod sqlite {
        store_tests!(TablePlace::new(Kind::Sqlite));
    }
    mod postgres {
        store_tests!(TablePlace::new(Kind::Postgres));
    }
    mod mysql {
        store_tests!(TablePlace::new(Kind::MySql));
    }
}

/// Where a store lies.
trait Place {
    fn sandbox(&self) -> &Sandbox;

    fn connections(&self) -> Value {
        json!({})
    }

    /// The block of the store that is looked at.
    fn block(&self) -> Value;

    /// Blocks of other stores.
    fn others(&self) -> Vec<Value>;

    /// The format that its parts have.
    fn format(&self) -> Arc<dyn Format> {
        self.open(&self.block()).store.output_spec().format
    }

    /// The numbers that a reader finds there, sorted; nothing where there is no store.
    fn ids(&self) -> Option<Vec<i64>>;

    /// What else is in the place besides files of the project.
    fn others_there(&self) -> String {
        String::new()
    }

    /// Puts something there that hygge did not make.
    fn put_foreign(&self);

    /// The store of a block.
    fn open(&self, block: &Value) -> Opened {
        let config = json!({
            "name": "shop",
            "connections": self.connections(),
            "flows": { "looked_at": { "home": "home", "store": block } },
        });
        self.sandbox().write("hygge.yml", config.to_string());
        let loaded = loader::load(
            Some(&self.sandbox().path("hygge.yml")),
            &self.sandbox().path(""),
            &Variables::new(),
        );
        let project = Project::new(Arc::new(loaded.expect("a config"))).expect("a project");
        let flow = project.graph.flows().next().expect("a flow").clone();
        Opened {
            session: project.open_store(&flow).expect("a store"),
            id: project.store_id(&flow).clone(),
            store: flow.store.clone(),
        }
    }
}

/// A store with its session.
struct Opened {
    id: StoreId,
    store: Arc<dyn Store>,
    session: Arc<dyn StoreSession>,
}

/// A folder of files of a format.
struct FolderPlace {
    sandbox: Sandbox,
    id: &'static str,
    strategy: &'static str,
}

impl FolderPlace {
    fn new(id: &'static str, strategy: &'static str) -> Self {
        Self {
            sandbox: Sandbox::new(""),
            id,
            strategy,
        }
    }
}

impl Place for FolderPlace {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn block(&self) -> Value {
        json!({ "type": self.id, "path": "out/orders", "publish": self.strategy })
    }

    fn others(&self) -> Vec<Value> {
        let with = |key: &str, value: Value| {
            let mut block = self.block();
            block[key] = value;
            block
        };
        vec![
            with("path", json!("out/other")),
            with("compression", json!("zstd")),
            with("file_pattern", json!("{digest}.x")),
            with("rows_per_file", json!(7)),
            with("adopt", json!(true)),
        ]
    }

    fn ids(&self) -> Option<Vec<i64>> {
        let folder = self.sandbox.path("out/orders");
        let names = fs::read_dir(&folder).ok()?.map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("UTF-8")
        });
        let mut ids = Vec::new();
        for name in names.filter(|name| !name.starts_with(['.', '_'])) {
            let bytes = fs::read(folder.join(&name)).expect("a file");
            let range = PARTS.iter().find(|range| self.part_bytes(range) == bytes);
            ids.extend(range.expect("a part").clone());
        }
        ids.sort_unstable();
        Some(ids)
    }

    fn put_foreign(&self) {
        self.sandbox.write("out/orders/mine.txt", "mine");
    }
}

/// A table of a database.
struct TablePlace {
    sandbox: Sandbox,
    database: Database,
}

impl TablePlace {
    fn new(kind: Kind) -> Self {
        Self {
            sandbox: Sandbox::new(""),
            database: Database::new(kind),
        }
    }
}

impl Place for TablePlace {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn connections(&self) -> Value {
        json!({ "shop": { "url": self.database.url() } })
    }

    fn block(&self) -> Value {
        json!({ "connection": "shop", "table": "orders" })
    }

    fn others(&self) -> Vec<Value> {
        let with = |key: &str, value: Value| {
            let mut block = self.block();
            block[key] = value;
            block
        };
        vec![
            with("table", json!("other")),
            with("create", json!("never")),
            with("columns", json!({ "id": "bigint not null" })),
            with("rows_per_file", json!(7)),
            with("adopt", json!(true)),
        ]
    }

    fn ids(&self) -> Option<Vec<i64>> {
        if !self.database.try_run("SELECT id FROM orders") {
            return None;
        }
        let told = self.database.ask("SELECT id FROM orders ORDER BY id");
        Some(
            told.split_whitespace()
                .map(|id| id.parse().expect("a number"))
                .collect(),
        )
    }

    /// The tables of the database.
    fn others_there(&self) -> String {
        self.database.ask(match self.database.kind {
            Kind::Sqlite => "SELECT name FROM sqlite_master ORDER BY name",
            Kind::Postgres => {
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace \
                 ORDER BY relname"
            }
            Kind::MySql => {
                "SELECT table_name FROM information_schema.tables \
                 WHERE table_schema = database() ORDER BY table_name"
            }
        })
    }

    fn put_foreign(&self) {
        self.database.run("CREATE TABLE orders (id bigint)");
        self.database.run("INSERT INTO orders VALUES (99)");
    }
}

/// The numbers in the parts that are published.
const PARTS: [std::ops::Range<i64>; 3] = [0..3, 3..5, 5..9];

impl<P: Place + ?Sized> PlaceParts for P {}

/// The parts of a store.
trait PlaceParts: Place {
    fn part_bytes(&self, ids: &std::ops::Range<i64>) -> Vec<u8> {
        let schema: ArrowSchema = [("id", ArrowDataType::Int64)]
            .map(|(name, dtype)| (name.into(), Field::new(name.into(), dtype, false)))
            .into_iter()
            .collect();
        let ids = PrimitiveArray::from_vec(ids.clone().collect::<Vec<i64>>());
        let batch = RecordBatch::new(ids.len(), Arc::new(schema), vec![ids.boxed()]);
        let compression = Compression {
            name: "zstd",
            level: None,
        };
        encode(self.format().as_ref(), compression, &[batch])
    }

    /// Publishes these parts, which are staged for it.
    fn publish(&self, opened: &Opened, parts: &[usize]) -> Result<Receipt, StoreError> {
        let folder = self.sandbox().path("staging");
        fs::create_dir_all(&folder).expect("a folder");
        let staging = Staging::new(folder);
        let parts = parts.iter().zip(1..).map(|(part, sequence)| {
            let range = &PARTS[*part];
            let bytes = self.part_bytes(range);
            let digest = Fingerprint::hash_bytes(&bytes);
            let unfinished = staging.begin_part().expect("a part");
            let mut file = unfinished.create().expect("a file");
            file.write_all(&bytes).expect("bytes");
            staging.finish(unfinished, &digest).expect("a staged part");
            let naming = PartNaming {
                sequence,
                stem: "part",
                digest: Some(&digest),
            };
            Part {
                name: opened.store.part_name(&naming).expect("a name"),
                key: Fingerprint::hash_bytes(&[u8::try_from(*part).expect("few")]),
                digest,
                rows: range.clone().count() as u64,
                bytes: bytes.len() as u64,
                sequence,
                inputs: Vec::new(),
            }
        });
        let next = PublishedSet {
            key: Fingerprint::hash_bytes(b"flow"),
            components: Components::default(),
            schema_digest: None,
            columns: Vec::new(),
            home_columns: None,
            folder_columns: Vec::new(),
            absent_columns: Vec::new(),
            arrow_schema: None,
            home: None,
            placement: opened.store.placement(),
            manifest: Manifest {
                parts: parts.collect(),
            },
            empty_inputs: Vec::new(),
            max_sequence: 3,
            pinned: None,
            at: "2026-01-01T00:00:00Z".into(),
        };
        let (barriers, interrupted) = (Barriers::default(), CancellationToken::new());
        let _lock = opened.session.lock("the test")?;
        let context = PublishContext::new(&staging, &barriers, KeepStaged::Never);
        let receipt = opened.session.recover(&context)?;
        let (wait_notices, _) = mpsc::unbounded_channel();
        let publication = Publication {
            project: "shop",
            flow: "looked_at",
            receipt: receipt.as_ref(),
            next: &next,
            altered: &[],
            update: StoreUpdate::Replace,
            interrupted: &interrupted,
            lock_timeout: Some(Duration::from_secs(60)),
            wait_notices: &wait_notices,
        };
        let published = opened.session.publish(&publication, &context)?;
        barriers.wait_all().expect("synced");
        Ok(published)
    }
}

fn check_settings(place: &impl Place) {
    let opened = place.open(&place.block());
    let mut block = json!({ "type": opened.store.kind() });
    if opened.store.as_table().is_some() {
        block = json!({});
    }
    for (key, value) in opened.store.settings() {
        block[key] = value;
    }
    let again = place.open(&block);
    assert!(*again.store == *opened.store, "{block}");
    assert_eq!(again.id, opened.id);
    for other in place.others() {
        let other = place.open(&other);
        assert!(*other.store != *opened.store, "{:?}", other.store);
    }
}

fn check_empty(place: &impl Place) {
    let session = place.open(&place.block()).session;
    let before = (files_of(place.sandbox()), place.others_there());
    let stats = session.observe().expect("stats");
    assert_eq!(stats.receipt, None);
    assert!(!stats.live.exists && stats.live.files.is_empty());
    assert_eq!(session.receipt_version().expect("a look"), None);
    assert_eq!(session.receipt().expect("a look"), None);
    assert!(session.sibling_receipts().expect("a look").is_empty());
    let removable = session.removable().expect("a look");
    assert!(removable.files.is_empty() && removable.bytes == 0);
    session.check().expect("it can be published to");
    assert_eq!(place.ids(), None);
    assert_eq!((files_of(place.sandbox()), place.others_there()), before);
}

fn check_lock(place: &impl Place) {
    let opened = place.open(&place.block());
    let lock = opened.session.lock("the first").expect("a lock");
    let again = place.open(&place.block()).session.lock("the second");
    match again.expect_err("it is held") {
        StoreError::Locked(LockError::Held(holder)) => {
            let said = holder.describe();
            assert!(said.contains("the first"), "{said}");
        }
        other => panic!("{other}"),
    }
    let other = place.open(&place.others()[0]);
    assert_ne!(other.id, opened.id);
    other.session.lock("another").expect("another store's lock");
    drop(lock);
    opened.session.lock("the third").expect("it is free");
}

fn check_publication(place: &impl Place) {
    let opened = place.open(&place.block());
    let first = place.publish(&opened, &[0, 1]).expect("a set");
    assert_eq!(place.ids(), Some((0..5).collect()));
    let stats = opened.session.observe().expect("stats");
    assert!(stats.live.exists);
    assert_eq!(opened.session.receipt().expect("a receipt"), Some(first));
    let version = opened.session.receipt_version().expect("a version");
    assert!(version.is_some() && version == stats.receipt);
    // A session of its own finds the same.
    let again = place.open(&place.block());
    assert_eq!(again.session.receipt_version().expect("a version"), version);
    let second = place.publish(&again, &[1, 2]).expect("a set");
    assert_eq!(place.ids(), Some((3..9).collect()));
    let published = second.published.as_ref().expect("a set");
    assert_eq!(published.manifest.rows(), 6);
    assert_eq!(
        (second.project.as_str(), second.flow.as_str()),
        ("shop", "looked_at")
    );
    assert_eq!(opened.session.receipt().expect("a receipt"), Some(second));
    assert_ne!(
        opened.session.receipt_version().expect("a version"),
        version
    );
}

fn check_siblings(place: &impl Place) {
    let opened = place.open(&place.block());
    let receipt = place.publish(&opened, &[0]).expect("a set");
    // Whoever lies beside it finds it.
    let other = place.open(&place.others()[0]);
    for session in [&opened.session, &other.session] {
        let siblings = session.sibling_receipts().expect("receipts");
        let found: Vec<_> = siblings
            .iter()
            .map(|sibling| (&sibling.store, &sibling.receipt))
            .collect();
        assert_eq!(found, [(&opened.id, &receipt)]);
        assert_eq!(
            Some(&siblings[0].version),
            opened
                .session
                .receipt_version()
                .expect("a version")
                .as_ref()
        );
    }
    assert_eq!(other.session.receipt().expect("a look"), None);
}

fn check_foreign(place: &impl Place) {
    place.put_foreign();
    let opened = place.open(&place.block());
    let refused = opened.session.check().expect_err("it is not hygge's");
    let said = refused.to_string();
    assert!(
        said.contains("mine.txt") || said.contains("table orders"),
        "{said}"
    );
    let mut adopting = place.block();
    adopting["adopt"] = json!(true);
    let opened = place.open(&adopting);
    assert!(opened.store.adopts());
    opened.session.check().expect("it is taken over");
}

fn check_clear(place: &impl Place) {
    let opened = place.open(&place.block());
    place.publish(&opened, &[0, 2]).expect("a set");
    let removable = opened.session.removable().expect("a look");
    assert!(
        !removable.files.is_empty() || removable.table_summary.is_some(),
        "{removable:?}"
    );
    assert_eq!(
        place.ids(),
        Some(vec![0, 1, 2, 5, 6, 7, 8]),
        "looking changes nothing"
    );
    let lock = opened.session.lock("the test").expect("a lock");
    opened.session.clear().expect("cleared");
    drop(lock);
    assert_eq!(place.ids(), None);
    assert_eq!(opened.session.receipt().expect("a look"), None);
    let stats = opened.session.observe().expect("stats");
    assert!(stats.receipt.is_none() && !stats.live.exists, "{stats:?}");
    // It begins again as if nothing had been there.
    place.publish(&opened, &[1]).expect("a set");
    assert_eq!(place.ids(), Some(vec![3, 4]));
}

/// The files of a project, with what is in them.
fn files_of(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![sandbox.path("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(name_below(&path, sandbox), fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

fn name_below(path: &Path, sandbox: &Sandbox) -> String {
    let below = path.strip_prefix(sandbox.path("")).expect("a file below");
    below.display().to_string()
}
