//! Formats: what is written is read as it was, moved and written anew as it was, and never taken
//! for something else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use tokio_util::sync::CancellationToken;

use hygge::error::Error;
use hygge::flow::factory::formats;
use hygge::format::batch::{RecordBatch, concat_batches};
use hygge::format::shared_groups::SharedGroups;
use hygge::format::{
    Compression, Format, FormatError, InputFiles, OpenFile, OutputSpec, PartPieces, Piece,
    TransferMode, recode,
};
use hygge::storage::{Location, RandomRead, Version};
use polars_arrow::array::{
    Array, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, ListArray, MapArray, NullArray,
    PrimitiveArray, StructArray, Utf8ViewArray,
};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, TimeUnit};
use polars_arrow::types::NativeType;

use super::{OnlyFile, decode, encode, written_formats};

/// Rows of a batch.
const ROWS: usize = 9;

fn numbers<T: NativeType>(values: [T; 3], dtype: ArrowDataType) -> Box<dyn Array> {
    let values: Vec<Option<T>> = (0..ROWS)
        .map(|row| (row % 4 != 3).then(|| values[row % 3]))
        .collect();
    PrimitiveArray::from(values).to(dtype).boxed()
}

fn texts() -> Box<dyn Array> {
    Utf8ViewArray::from_slice(
        (0..ROWS)
            .map(|row| (row % 5 != 1).then(|| "größe ".repeat(row)))
            .collect::<Vec<_>>(),
    )
    .boxed()
}

/// Lists of 0 to 2 texts, some of them null.
fn offsets() -> (Vec<i64>, Bitmap) {
    let lengths = (0..ROWS).map(|row| {
        if row % 4 == 3 {
            0
        } else {
            i64::try_from(row % 3).expect("a number")
        }
    });
    let ends = [0].into_iter().chain(lengths.scan(0, |end, length| {
        *end += length;
        Some(*end)
    }));
    (ends.collect(), (0..ROWS).map(|row| row % 4 != 3).collect())
}

/// A column of each plain type: name and values.
fn columns() -> Vec<(&'static str, Box<dyn Array>)> {
    use ArrowDataType as T;
    let field = |name: &str, dtype: T| Field::new(name.into(), dtype, true);
    let (ends, validity) = offsets();
    let count = usize::try_from(*ends.last().expect("an end")).expect("a number");
    let some = texts().sliced(0, count);
    let list = T::LargeList(Box::new(field("item", T::Utf8View)));
    let group = T::Struct(vec![field("a", T::Int64), field("b", T::Utf8View)]);
    let key = Field::new("key".into(), T::Utf8View, false);
    let entries = T::Struct(vec![key, field("value", T::Int32)]);
    let map = T::Map(
        Box::new(Field::new("entries".into(), entries.clone(), false)),
        false,
    );
    let keys = Utf8ViewArray::from_slice_values(
        (0..count)
            .map(|number| format!("key {number}"))
            .collect::<Vec<_>>(),
    )
    .boxed();
    let of_map = StructArray::new(
        entries,
        count,
        vec![keys, numbers([1, -2, 3], T::Int32).sliced(0, count)],
        None,
    )
    .boxed();
    let narrow: Vec<i32> = ends
        .iter()
        .map(|end| i32::try_from(*end).expect("a number"))
        .collect();
    let bytes: Vec<Option<Vec<u8>>> = (0..ROWS)
        .map(|row| (row % 3 != 2).then(|| vec![0, 255, u8::try_from(row).expect("a byte")]))
        .collect();
    vec![
        (
            "boolean",
            BooleanArray::from(
                (0..ROWS)
                    .map(|row| (row % 4 != 2).then_some(row % 2 == 0))
                    .collect::<Vec<_>>(),
            )
            .boxed(),
        ),
        ("int8", numbers([i8::MIN, 0, i8::MAX], T::Int8)),
        ("int16", numbers([i16::MIN, 0, i16::MAX], T::Int16)),
        ("int32", numbers([i32::MIN, 0, i32::MAX], T::Int32)),
        ("int64", numbers([i64::MIN, 0, i64::MAX], T::Int64)),
        ("uint8", numbers([0, 1, u8::MAX], T::UInt8)),
        ("uint16", numbers([0, 1, u16::MAX], T::UInt16)),
        ("uint32", numbers([0, 1, u32::MAX], T::UInt32)),
        ("uint64", numbers([0, 1, u64::MAX], T::UInt64)),
        (
            "float32",
            numbers([-0.0_f32, f32::INFINITY, 1.5], T::Float32),
        ),
        (
            "float64",
            numbers([-0.0_f64, f64::NEG_INFINITY, 1e-300], T::Float64),
        ),
        (
            "decimal",
            numbers([10_i128.pow(38) - 1, 0, -1], T::Decimal(38, 10)),
        ),
        ("text", texts()),
        ("binary", BinaryViewArray::from_slice(bytes).boxed()),
        (
            "fixed",
            FixedSizeBinaryArray::new(
                T::FixedSizeBinary(16),
                (0..=255)
                    .cycle()
                    .take(16 * ROWS)
                    .collect::<Vec<u8>>()
                    .into(),
                None,
            )
            .boxed(),
        ),
        ("date", numbers([-719_162, 0, 2_932_896], T::Date32)),
        (
            "time_ms",
            numbers([0, 1, 86_399_999], T::Time32(TimeUnit::Millisecond)),
        ),
        (
            "time_ns",
            numbers(
                [0_i64, 1, 86_399_999_999_999],
                T::Time64(TimeUnit::Nanosecond),
            ),
        ),
        (
            "timestamp",
            numbers(
                [-62_135_596_800_000_000_i64, 1, 253_402_300_799_999_999],
                T::Timestamp(TimeUnit::Microsecond, None),
            ),
        ),
        (
            "timestamp_utc",
            numbers(
                [-1_i64, 0, 1],
                T::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            ),
        ),
        (
            "timestamp_zone",
            numbers(
                [-1_i64, 0, 1],
                T::Timestamp(TimeUnit::Millisecond, Some("Europe/Copenhagen".into())),
            ),
        ),
        (
            "duration",
            numbers(
                [-86_400_000_001_i64, 0, i64::MAX / 1000],
                T::Duration(TimeUnit::Microsecond),
            ),
        ),
        ("null", NullArray::new(T::Null, ROWS).boxed()),
        (
            "list",
            ListArray::new(
                list,
                ends.try_into().expect("offsets"),
                some,
                Some(validity.clone()),
            )
            .boxed(),
        ),
        (
            "group",
            StructArray::new(
                group,
                ROWS,
                vec![numbers([1_i64, 2, 3], T::Int64), texts()],
                None,
            )
            .boxed(),
        ),
        (
            "map",
            MapArray::new(
                map,
                narrow.try_into().expect("offsets"),
                of_map,
                Some(validity),
            )
            .boxed(),
        ),
    ]
}

fn batch() -> RecordBatch {
    let columns = columns();
    let schema: ArrowSchema = columns
        .iter()
        .map(|(name, array)| {
            (
                (*name).into(),
                Field::new((*name).into(), array.dtype().clone(), true),
            )
        })
        .collect();
    RecordBatch::new(
        ROWS,
        Arc::new(schema),
        columns.into_iter().map(|(_, array)| array).collect(),
    )
}

fn opened(path: &Path) -> OpenFile {
    OpenFile::new(&Location::local(path.to_path_buf())).expect("a file")
}

/// The compressions that are written, each without a level.
fn compressions(format: &dyn Format) -> Vec<Compression> {
    let writer = format.writer().expect("a writer");
    writer
        .compressions()
        .iter()
        .filter(|word| **word != "keep")
        .map(|word| Compression {
            name: word,
            level: None,
        })
        .collect()
}

/// Writes batches into a file.
fn write(format: &dyn Format, compression: Compression, batches: &[RecordBatch], path: &Path) {
    let bytes = encode(format, compression, batches);
    fs::write(path, bytes).expect("a written file");
}

/// The file as the only one of a flow.
fn only(path: &Path) -> OnlyFile {
    OnlyFile(Location::local(path.to_path_buf()))
}

/// What is read of some pieces.
fn read(
    format: &dyn Format,
    path: &Path,
    pieces: &[Piece],
) -> Result<Vec<RecordBatch>, FormatError> {
    decode(
        format,
        &PartPieces {
            inputs: &only(path),
            pieces,
            interrupted: &CancellationToken::new(),
        },
    )
}

const WHOLE: Piece = Piece {
    file: 0,
    group: None,
    rows: None,
};

fn assert_same(found: &RecordBatch, expected: &RecordBatch, what: &str) {
    assert_eq!(found.height(), expected.height(), "{what}");
    let names = expected
        .schema()
        .iter_values()
        .map(|field| field.name.clone());
    for ((name, found), expected) in names.zip(found.arrays()).zip(expected.arrays()) {
        // Whether a column may be null inside is said by its format.
        assert_eq!(
            format!("{:?}", found),
            format!("{:?}", expected),
            "{what}: {name}"
        );
    }
}

/// The rows of several batches, one after another.
fn all(batches: Vec<RecordBatch>) -> RecordBatch {
    concat_batches(batches).expect("one batch")
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x");
    for format in written_formats() {
        for compression in compressions(format.as_ref()) {
            let what = format!("{} {}", format.id(), compression.name);
            write(format.as_ref(), compression, &[batch(), batch()], &path);
            let layout = format
                .reader()
                .inspect(&opened(&path))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(
                (layout.rows, layout.groups.len()),
                (Some(2 * ROWS as u64), 2),
                "{what}"
            );
            assert!(
                layout.is_consistent()
                    && layout
                        .compressions
                        .iter()
                        .all(|word| word == compression.name),
                "{what}: {layout:?}"
            );
            format
                .reader()
                .check_readable(&opened(&path))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let names = format.reader().column_names(&opened(&path)).expect("names");
            assert_eq!(
                names,
                columns()
                    .iter()
                    .map(|(name, _)| (*name).to_string())
                    .collect::<Vec<_>>(),
                "{what}"
            );
            let found = read(format.as_ref(), &path, &[WHOLE])
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(
                found[0].schema().len(),
                format
                    .reader()
                    .arrow_schema(&opened(&path))
                    .expect("columns")
                    .len(),
                "{what}"
            );
            assert_same(&all(found), &all(vec![batch(), batch()]), &what);
            // Some rows of the second group.
            let piece = Piece {
                file: 0,
                group: Some(1),
                rows: Some((2, 4)),
            };
            let some = RecordBatch::new(
                4,
                Arc::new(batch().schema().clone()),
                batch()
                    .arrays()
                    .iter()
                    .map(|array| array.sliced(2, 4))
                    .collect(),
            );
            assert_same(
                &all(read(format.as_ref(), &path, &[piece]).expect("rows")),
                &some,
                &what,
            );
            // Equal rows give equal bytes.
            let bytes = fs::read(&path).expect("a file");
            write(format.as_ref(), compression, &[batch(), batch()], &path);
            assert!(
                bytes == fs::read(&path).expect("a file"),
                "{what}: other bytes"
            );
        }
    }
}

#[test]
fn every_format_becomes_every_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, made) = (folder.path().join("x"), folder.path().join("y"));
    for home in written_formats() {
        write(
            home.as_ref(),
            compressions(home.as_ref())[0],
            &[batch(), batch()],
            &path,
        );
        let layout = home.reader().inspect(&opened(&path)).expect("a layout");
        for format in written_formats() {
            let what = format!("{} to {}", home.id(), format.id());
            let compression = Compression {
                name: "keep",
                level: None,
            };
            let whole = OutputSpec {
                format: format.clone(),
                compression,
                rows_per_file: None,
                partition_by: None,
            };
            let mode = TransferMode::new(home.as_ref(), &[&layout], &whole).expect("a mode");
            assert_eq!(
                mode == TransferMode::Undecoded,
                home.id() == format.id(),
                "{what}"
            );
            let compression = compressions(format.as_ref())[1];
            let pieces = [WHOLE];
            let cut = PartPieces {
                inputs: &only(&path),
                pieces: &pieces,
                interrupted: &CancellationToken::new(),
            };
            let mut bytes = Vec::new();
            let rows = recode(
                home.as_ref(),
                &cut,
                &whole,
                compression,
                Box::new(&mut bytes),
            )
            .unwrap_or_else(|error| panic!("{what}: {error}"));
            let all_rows = 2 * ROWS as u64;
            assert_eq!((rows.read, rows.written), (all_rows, all_rows), "{what}");
            fs::write(&made, bytes).expect("a file");
            assert_same(
                &all(read(format.as_ref(), &made, &[WHOLE]).expect("rows")),
                &all(vec![batch(), batch()]),
                &what,
            );
            let ended = CancellationToken::new();
            ended.cancel();
            let interrupted = PartPieces {
                inputs: &only(&path),
                pieces: &pieces,
                interrupted: &ended,
            };
            let ended = recode(
                home.as_ref(),
                &interrupted,
                &whole,
                compression,
                Box::new(std::io::sink()),
            );
            assert!(matches!(ended, Err(FormatError::Interrupted)), "{what}");
        }
    }
}

#[test]
fn what_is_cut_off_or_something_else_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x");
    for format in written_formats() {
        let mut refused = vec![Vec::new(), b"id,total\n1,2\n".to_vec(), vec![0; 4096]];
        for other in written_formats() {
            write(
                other.as_ref(),
                compressions(other.as_ref())[0],
                &[batch()],
                &path,
            );
            let bytes = fs::read(&path).expect("a file");
            if other.id() == format.id() {
                refused.extend(
                    (1..20).map(|twentieth| bytes[..bytes.len() * twentieth / 20].to_vec()),
                );
                refused.push(bytes[..bytes.len() - 1].to_vec());
            } else {
                refused.push(bytes);
            }
        }
        for bytes in refused {
            fs::write(&path, &bytes).expect("a file");
            let found = format.reader().inspect(&opened(&path));
            let error = found.expect_err(&format!("{}: {} bytes", format.id(), bytes.len()));
            assert!(
                error.to_string().contains(&path.display().to_string()),
                "{}: {error}",
                format.id()
            );
        }
    }
}

/// A file that counts how often it is read, of which many parts are made.
#[derive(Debug)]
struct CountedFile {
    bytes: Arc<CountedReads>,
    shared: SharedGroups,
}

#[derive(Debug)]
struct CountedReads {
    inner: OpenFile,
    reads: AtomicUsize,
}

impl RandomRead for CountedReads {
    fn version(&self) -> io::Result<Version> {
        self.inner.bytes.version()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.bytes.read_at(buffer, offset)
    }
}

impl InputFiles for CountedFile {
    fn open(&self, _: usize) -> Result<OpenFile, Error> {
        Ok(OpenFile {
            columns: None,
            head: Default::default(),
            bytes: self.bytes.clone(),
            path: self.bytes.inner.path.clone(),
        })
    }

    fn shared_groups(&self) -> Option<&SharedGroups> {
        Some(&self.shared)
    }
}

#[test]
fn heads_of_messages_are_read_once_for_all_parts_of_a_file() {
    const BATCHES: usize = 50;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x");
    let home = formats().find(|format| format.id() == "ipc");
    let home = home.expect("Arrow IPC");
    let home = home.as_ref();
    let compression = compressions(home)[0];
    write(home, compression, &vec![batch(); BATCHES], &path);
    for format in written_formats() {
        let target = OutputSpec {
            format: format.clone(),
            compression: compressions(format.as_ref())[0],
            rows_per_file: None,
            partition_by: None,
        };
        let file = CountedFile {
            bytes: Arc::new(CountedReads {
                inner: opened(&path),
                reads: AtomicUsize::new(0),
            }),
            shared: SharedGroups::default(),
        };
        let reads_of_part = |group| {
            let before = file.bytes.reads.load(Ordering::Relaxed);
            let piece = Piece {
                group: Some(group),
                ..WHOLE
            };
            let part = PartPieces {
                inputs: &file,
                pieces: &[piece],
                interrupted: &CancellationToken::new(),
            };
            recode(
                home,
                &part,
                &target,
                target.compression,
                Box::new(io::sink()),
            )
            .expect("a part");
            file.bytes.reads.load(Ordering::Relaxed) - before
        };
        let first = reads_of_part(0);
        assert!(first > BATCHES, "{}: {first} reads", format.id());
        for group in 1..BATCHES {
            let next = reads_of_part(group);
            assert!(next < 10, "{}: {next} reads", format.id());
        }
    }
}
