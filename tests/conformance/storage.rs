//! Storages: what lies somewhere is listed, has a version that changes with its bytes, and is read
//! as it is, by the formats too.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use hygge::flow::factory::formats;
use hygge::format::batch::{RecordBatch, slice_batch};
use hygge::format::{Compression, InputFiles, PartPieces, Piece};
use hygge::fs::FsError;
use hygge::storage::{
    Depth, Entry, EntryKind, Location, RandomRead, SequentialReader, Storage, Version,
};
use polars_arrow::array::{PrimitiveArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::{OnlyFile, decode, encode};

/// A storage, and a way to change what lies in it.
trait Place {
    /// What everything lies below.
    fn root(&self) -> Location;

    /// Puts bytes where others may have been: who reads those goes on to.
    fn put(&self, name: &str, bytes: &[u8]);
}

/// Files in a temporary folder.
struct Folder(tempfile::TempDir);

impl Place for Folder {
    fn root(&self) -> Location {
        Location::local(self.0.path().to_path_buf())
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let beside = tempfile::NamedTempFile::new_in(self.0.path()).expect("a file");
        fs::write(beside.path(), bytes).expect("a written file");
        beside.persist(path).expect("a renamed file");
    }
}

/// Objects in memory, as a bucket has them: there are no folders, only names with slashes.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<PathBuf, Arc<Object>>>);

#[derive(Debug)]
struct Object {
    version: u64,
    bytes: Vec<u8>,
}

impl RandomRead for Object {
    fn version(&self) -> io::Result<Version> {
        Ok(Version::Tag {
            size: self.bytes.len() as u64,
            tag: self.version.to_be_bytes().into(),
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).map_or(self.bytes.len(), |at| at.min(self.bytes.len()));
        // As a network gives it: a little at a time.
        let count = buffer.len().min(self.bytes.len() - start).min(1000);
        buffer[..count].copy_from_slice(&self.bytes[start..start + count]);
        Ok(count)
    }
}

impl Memory {
    fn objects(&self) -> BTreeMap<PathBuf, Arc<Object>> {
        self.0.lock().expect("the objects").clone()
    }

    fn entry(relative: PathBuf, object: &Object) -> Entry {
        Entry {
            relative,
            kind: EntryKind::File,
            is_link: false,
            version: object.version().expect("a version"),
        }
    }

    fn folder(relative: PathBuf) -> Entry {
        Entry {
            relative,
            kind: EntryKind::Folder,
            is_link: false,
            version: Version::Tag {
                size: 0,
                tag: Box::default(),
            },
        }
    }
}

impl Storage for Memory {
    fn scheme(&self) -> &'static str {
        "memory"
    }

    fn list(
        &self,
        path: &Path,
        depth: Depth,
        skip: fn(&str) -> bool,
    ) -> Result<Option<Vec<Entry>>, FsError> {
        let mut found: BTreeMap<PathBuf, Entry> = BTreeMap::new();
        let mut is_there = false;
        for (name, object) in self.objects() {
            let Some(below) = name
                .strip_prefix(path)
                .ok()
                .filter(|below| *below != Path::new(""))
            else {
                continue;
            };
            is_there = true;
            let names: Vec<&str> = below.iter().filter_map(|name| name.to_str()).collect();
            let skipped = names.iter().position(|name| skip(name));
            for count in 1..names.len() {
                if skipped.is_none_or(|skipped| count <= skipped) {
                    let folder: PathBuf = names[..count].iter().collect();
                    found.insert(folder.clone(), Self::folder(folder));
                }
            }
            if skipped.is_none() {
                found.insert(
                    below.to_path_buf(),
                    Self::entry(below.to_path_buf(), &object),
                );
            }
        }
        found.retain(|name, entry| match depth {
            Depth::One => name.iter().count() == 1,
            Depth::All => true,
            Depth::Folders => entry.kind == EntryKind::Folder,
        });
        Ok(is_there.then(|| found.into_values().collect()))
    }

    fn head(&self, path: &Path) -> Result<Option<Entry>, FsError> {
        let objects = self.objects();
        let is_folder = objects.keys().any(|name| name.starts_with(path));
        Ok(match objects.get(path) {
            Some(object) => Some(Self::entry(PathBuf::new(), object)),
            None => is_folder.then(|| Self::folder(PathBuf::new())),
        })
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn RandomRead>, FsError> {
        match self.objects().get(path) {
            Some(object) => Ok(object.clone()),
            None => Err(FsError::at("open", path)(io::Error::from(
                io::ErrorKind::NotFound,
            ))),
        }
    }
}

/// A bucket of a memory.
struct Bucket(Arc<Memory>);

impl Place for Bucket {
    fn root(&self) -> Location {
        Location::new(self.0.clone(), PathBuf::from("bucket/home"))
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let mut objects = self.0.0.lock().expect("the objects");
        let version =
            objects.len() as u64 + objects.values().map(|object| object.version).sum::<u64>();
        let object = Object {
            version: version + 1,
            bytes: bytes.to_vec(),
        };
        objects.insert(Path::new("bucket/home").join(name), Arc::new(object));
    }
}

/// Runs a check on each storage, with these files in it.
fn each(files: &[(&str, &[u8])], check: impl Fn(&dyn Place)) {
    let folder = Folder(tempfile::tempdir().expect("a folder"));
    let bucket = Bucket(Arc::default());
    for place in [&folder as &dyn Place, &bucket] {
        files
            .iter()
            .for_each(|(name, bytes)| place.put(name, bytes));
        check(place);
    }
}

fn at(place: &dyn Place, name: &str) -> Location {
    place.root().join(Path::new(name))
}

fn listed(place: &Location, depth: Depth, skip: fn(&str) -> bool) -> Vec<String> {
    let found = place
        .list(depth, skip)
        .expect("a listing")
        .expect("a folder");
    let mut names: Vec<String> = found
        .iter()
        .map(|entry| match entry.kind {
            EntryKind::Folder => format!("{}/", entry.relative.display()),
            _ => entry.relative.display().to_string(),
        })
        .collect();
    // A folder comes before what is in it.
    for (position, name) in names
        .iter()
        .enumerate()
        .filter(|(_, name)| name.ends_with('/'))
    {
        let inner = names
            .iter()
            .position(|other| other != name && other.starts_with(name));
        assert!(inner.is_none_or(|inner| position < inner), "{names:?}");
    }
    names.sort();
    names
}

#[test]
fn what_lies_below_is_listed_as_deep_as_it_was_asked_for() {
    let files: &[(&str, &[u8])] = &[
        ("a.parquet", b"1"),
        ("deep/b.parquet", b"2"),
        ("deep/er/c.parquet", b"3"),
        ("deep/_log/d.parquet", b"4"),
        (".hidden", b"5"),
    ];
    each(files, |place| {
        let (root, all) = (place.root(), |_: &str| false);
        assert_eq!(
            listed(&root, Depth::One, all),
            [".hidden", "a.parquet", "deep/"]
        );
        assert_eq!(
            listed(&root, Depth::All, all),
            [
                ".hidden",
                "a.parquet",
                "deep/",
                "deep/_log/",
                "deep/_log/d.parquet",
                "deep/b.parquet",
                "deep/er/",
                "deep/er/c.parquet"
            ]
        );
        let hidden = |name: &str| name.starts_with(['.', '_']);
        assert_eq!(
            listed(&root, Depth::All, hidden),
            [
                "a.parquet",
                "deep/",
                "deep/b.parquet",
                "deep/er/",
                "deep/er/c.parquet"
            ]
        );
        assert_eq!(listed(&root, Depth::One, hidden), ["a.parquet", "deep/"]);
        assert_eq!(
            listed(&root, Depth::Folders, all),
            ["deep/", "deep/_log/", "deep/er/"]
        );
        assert_eq!(listed(&root, Depth::Folders, hidden), ["deep/", "deep/er/"]);
        assert!(listed(&at(place, "deep/er"), Depth::Folders, all).is_empty());
        assert_eq!(
            listed(&at(place, "deep/er"), Depth::One, hidden),
            ["c.parquet"]
        );
        for name in ["a.parquet", "nothing", "dee"] {
            let found = at(place, name).list(Depth::All, all).expect("a listing");
            assert!(found.is_none(), "{name}: {found:?}");
        }
    });
}

#[test]
fn a_version_is_the_same_everywhere_and_changes_with_the_bytes() {
    each(&[("a", b"one"), ("b", b"one")], |place| {
        let location = at(place, "a");
        let head = |location: &Location| location.head().expect("a look").expect("a file");
        let before = head(&location);
        assert_eq!((before.kind, before.version.size()), (EntryKind::File, 3));
        let listed = place
            .root()
            .list(Depth::One, |_| false)
            .expect("a listing")
            .expect("a folder");
        let in_list = listed.iter().find(|entry| entry.relative == Path::new("a"));
        assert_eq!(in_list.expect("the file").version, before.version);
        let opened = location.open().expect("a file");
        assert_eq!(opened.version().expect("a version"), before.version);
        assert_eq!(head(&location).version, before.version);
        place.put("a", b"two");
        assert_ne!(head(&location).version, before.version);
        // What was opened before gives its own bytes, or none.
        let mut bytes = [0; 3];
        if opened.read_exact_at(&mut bytes, 0).is_ok() {
            assert_eq!(&bytes, b"one");
        }
        let nothing = at(place, "c");
        assert!(nothing.head().expect("a look").is_none());
        assert!(nothing.open().expect_err("no file").is_not_found());
        let folder = place.root().head().expect("a look").expect("a folder");
        assert_eq!(folder.kind, EntryKind::Folder);
    });
}

#[test]
fn bytes_are_read_from_any_place_on() {
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    each(&[("a", &bytes), ("empty", b"")], |place| {
        let file = at(place, "a").open().expect("a file");
        let mut all = Vec::new();
        SequentialReader::new(file.as_ref())
            .read_to_end(&mut all)
            .expect("the bytes");
        assert!(all == bytes);
        std::thread::scope(|scope| {
            for start in [0, 1, 4095, 123_456, bytes.len() - 7] {
                let (file, bytes) = (&file, &bytes);
                scope.spawn(move || {
                    let mut found = vec![0; (bytes.len() - start).min(70_000)];
                    file.read_exact_at(&mut found, start as u64).expect("bytes");
                    assert!(found == bytes[start..start + found.len()], "{start}");
                });
            }
        });
        let mut past = [0; 8];
        let error = file.read_exact_at(&mut past, bytes.len() as u64 - 7);
        assert_eq!(
            error.expect_err("an end").kind(),
            io::ErrorKind::UnexpectedEof
        );
        let far = file
            .read_at(&mut past, u64::from(u32::MAX))
            .expect("nothing");
        let empty = at(place, "empty").open().expect("a file");
        assert_eq!((far, empty.read_at(&mut past, 0).expect("nothing")), (0, 0));
    });
}

#[test]
fn formats_read_and_move_what_lies_anywhere() {
    let columns = vec![
        PrimitiveArray::from_vec((0..5000_i64).collect()).boxed(),
        Utf8ViewArray::from_slice_values(
            (0..5000)
                .map(|row| format!("text {row}"))
                .collect::<Vec<_>>(),
        )
        .boxed(),
    ];
    let schema: ArrowSchema = [
        ("id", ArrowDataType::Int64),
        ("text", ArrowDataType::Utf8View),
    ]
    .map(|(name, dtype)| (name.into(), Field::new(name.into(), dtype, true)))
    .into_iter()
    .collect();
    let batch = RecordBatch::new(5000, Arc::new(schema), columns);
    for format in formats() {
        if format.writer().is_none() {
            continue;
        }
        let compression = Compression {
            name: "zstd",
            level: None,
        };
        let halves = [0, 2500].map(|half| slice_batch(&batch, half, 2500));
        let bytes = encode(format.as_ref(), compression, &halves);
        let moved = Mutex::new(Vec::new());
        each(&[("file", &bytes)], |place| {
            let inputs = OnlyFile(at(place, "file"));
            let opened = inputs.open(0).expect("a file");
            let layout = format.reader().inspect(&opened).expect("a sound file");
            assert_eq!(
                (layout.rows, layout.groups.len()),
                (Some(5000), 2),
                "{}",
                format.id()
            );
            let pieces = [Piece {
                file: 0,
                group: Some(1),
                rows: Some((100, 1000)),
            }];
            let part = PartPieces {
                inputs: &inputs,
                pieces: &pieces,
                interrupted: &CancellationToken::new(),
            };
            let rows = decode(format.as_ref(), &part).expect("rows");
            let ids: Vec<i64> = rows
                .iter()
                .flat_map(|batch| {
                    let ids = batch.columns()[0]
                        .as_any()
                        .downcast_ref::<PrimitiveArray<i64>>();
                    ids.expect("numbers")
                        .values_iter()
                        .copied()
                        .collect::<Vec<_>>()
                })
                .collect();
            assert!(ids.iter().copied().eq(2600..3600), "{}", format.id());
            let passthrough = format.passthrough().expect("a passthrough");
            let mut part_bytes = Vec::new();
            let count = passthrough
                .recode(&part, compression, Box::new(&mut part_bytes))
                .expect("a part");
            assert_eq!((count.read, count.written), (1000, 1000), "{}", format.id());
            let groups = [1, 0].map(|group| Piece {
                file: 0,
                group: Some(group),
                rows: None,
            });
            let part = PartPieces {
                pieces: &groups,
                ..part
            };
            // Some formats move files only whole.
            let mut group_bytes = Vec::new();
            let count = passthrough
                .move_groups(&part, None, Box::new(&mut group_bytes))
                .ok();
            let expected = (format.id() != "ipc").then_some(5000);
            assert_eq!(count, expected, "{}", format.id());
            moved
                .lock()
                .expect("the parts")
                .push((part_bytes, group_bytes));
        });
        let moved = moved.into_inner().expect("the parts");
        assert!(moved.len() == 2 && moved[0] == moved[1], "{}", format.id());
    }
}
