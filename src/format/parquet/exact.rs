//! Which columns come out of polars as they went in.
//!
//! Two things are asked, and nothing is decoded. Would a file that polars writes have the same
//! parquet types? An empty one is written in memory, and its footer compared. And does Arrow's own
//! schema, which stands in the metadata, say no more than a list of pairs that tests prove exact?
//! What is only labelled there (seconds, maps, extension types) is where values change silently.

use std::sync::Arc;

use ::parquet::basic::{LogicalType, TimeUnit};
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use ::parquet::file::statistics::Statistics;
use ::parquet::schema::types::Type;
use bytes::Bytes;
use polars::prelude::{ArrowDataType, ArrowField, ArrowSchema, ArrowTimeUnit};

use super::{columns, footer, recode, root};
use crate::error::catch_panic;
use crate::format::{Compression, FormatError, Opened};

/// How many columns an error names that may be any of them.
const NAMED: usize = 5;

/// Milliseconds of a day. A time must be less than a day: polars makes null of anything else.
const DAY: i64 = 86_400_000;

/// Refuses a file that has a column which would not come out as it went in.
pub(super) fn decodable(source: &Opened) -> Result<(), FormatError> {
    readable(source)?;
    let metadata = footer::read(source)?;
    let written = catch_panic(|| empty_copy(source));
    let Ok(Ok(written)) = written else {
        return Err(undecodable(source, (culprit(&metadata), "polars cannot write its type".into())));
    };
    match columns::changed(root(&metadata), root(&written)) {
        Some(found) => Err(undecodable(source, found)),
        None => Ok(()),
    }
}

fn undecodable(source: &Opened, (column, reason): (String, String)) -> FormatError {
    FormatError::Undecodable { path: source.path.clone(), column, reason }
}

/// Refuses a file that has a column whose values would be others.
pub(super) fn readable(source: &Opened) -> Result<(), FormatError> {
    let metadata = footer::read(source)?;
    let undecodable = |found| undecodable(source, found);
    if let Some(found) = columns::misread(root(&metadata)) {
        return Err(undecodable(found));
    }
    // polars panics on types that it does not know.
    let schemas = catch_panic(|| recode::arrow_schemas(source, &metadata));
    let Ok(Ok((labelled, plain))) = schemas else {
        let reason = "the types that the file's metadata gives its columns are not known to polars (extension types?)";
        return Err(undecodable((culprit(&metadata), reason.into())));
    };
    if let Some(found) = labelled_otherwise(&labelled, &plain).or_else(|| times_outside_a_day(&metadata)) {
        return Err(undecodable(found));
    }
    Ok(())
}

/// The column that polars can neither read nor write, which is tried with each by itself; all of them, where it is none.
fn culprit(metadata: &ParquetMetaData) -> String {
    let fields = root(metadata).get_fields();
    let is_fine = |field: &&Arc<Type>| {
        let copied = catch_panic(|| recode::copy_of_column(metadata, (*field).clone()));
        matches!(copied, Ok(Ok(())))
    };
    let names = |mut fields: Vec<&Arc<Type>>| {
        fields.truncate(NAMED);
        fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(" or ")
    };
    match fields.iter().find(|field| !is_fine(field)) {
        Some(field) => field.name().to_string(),
        None => names(fields.iter().collect()),
    }
}

/// What polars would write for this file, without its rows.
fn empty_copy(source: &Opened) -> Result<ParquetMetaData, FormatError> {
    let mut bytes = Vec::new();
    let codec = super::known_codec(Compression { word: "uncompressed", level: None })?;
    recode::encoder(source, Vec::new(), &codec, Box::new(&mut bytes))?.finish()?;
    ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(bytes)).map_err(FormatError::at("write an empty copy of", &source.path))
}

/// The first column to which Arrow's metadata gives a type that polars reads in another way.
fn labelled_otherwise(labelled: &ArrowSchema, plain: &ArrowSchema) -> Option<(String, String)> {
    if !labelled.iter_names().eq(plain.iter_names()) {
        let first = labelled.iter_names().zip(plain.iter_names()).find(|(label, name)| label != name);
        let column = first.map_or_else(String::new, |(_, name)| name.to_string());
        return Some((column, "the file's Arrow metadata names other columns than its schema".into()));
    }
    labelled.iter_values().zip(plain.iter_values()).find_map(|(label, field)| mislabelled(label, field))
}

fn mislabelled(label: &ArrowField, field: &ArrowField) -> Option<(String, String)> {
    use ArrowDataType::{
        Dictionary, Duration, FixedSizeBinary, FixedSizeList, Float16, Int32, Int64, LargeList, Null, Struct, Timestamp, Utf8View,
    };
    let exact = match (label.dtype(), field.dtype()) {
        (one, other) if one == other => true,
        (LargeList(one), LargeList(other)) => return mislabelled(one, other).map(|(_, reason)| (field.name.to_string(), reason)),
        (FixedSizeList(one, width), LargeList(other)) if *width > 0 => {
            return mislabelled(one, other).map(|(_, reason)| (field.name.to_string(), reason));
        }
        (Struct(ones), Struct(others)) if ones.len() == others.len() => {
            let inner = ones.iter().zip(others).find_map(|(one, other)| {
                if one.name == other.name {
                    mislabelled(one, other)
                } else {
                    Some((other.name.to_string(), "it has another name in Arrow's metadata".into()))
                }
            });
            return inner.map(|(name, reason)| (format!("{}.{name}", field.name), reason));
        }
        (Duration(unit), Int64) => *unit != ArrowTimeUnit::Second,
        (Timestamp(one, Some(_)), Timestamp(other, Some(_))) => one == other,
        (Float16, FixedSizeBinary(2)) | (Null, Int32) => true,
        // Texts of a dictionary are the same texts.
        (Dictionary(_, value, _), Utf8View) => **value == Utf8View,
        _ => false,
    };
    let reason = || format!("it is labelled as Arrow's {:?}, and stored as {:?}", label.dtype(), field.dtype());
    (!exact).then(|| (field.name.to_string(), reason()))
}

/// The first column of times whose statistics do not prove that all of them lie within a day.
fn times_outside_a_day(metadata: &ParquetMetaData) -> Option<(String, String)> {
    metadata.row_groups().iter().flat_map(|group| group.columns()).find_map(|chunk| {
        let logical = chunk.column_descr().logical_type_ref();
        let Some(LogicalType::Time(time)) = logical else { return None };
        let day = match time.unit {
            TimeUnit::MILLIS => DAY,
            TimeUnit::MICROS => DAY * 1000,
            TimeUnit::NANOS => DAY * 1_000_000,
        };
        let all = u64::try_from(chunk.num_values()).ok();
        let is_within = |bounds: Option<(i64, i64)>, nulls: Option<u64>| match bounds {
            Some((min, max)) => (0..day).contains(&min) && (0..day).contains(&max),
            None => nulls == all,
        };
        let within = match chunk.statistics() {
            Some(Statistics::Int64(found)) => is_within(found.min_opt().copied().zip(found.max_opt().copied()), found.null_count_opt()),
            Some(Statistics::Int32(found)) => {
                let bounds = found.min_opt().zip(found.max_opt());
                is_within(bounds.map(|(min, max)| (i64::from(*min), i64::from(*max))), found.null_count_opt())
            }
            _ => chunk.num_values() == 0,
        };
        (!within).then(|| (chunk.column_path().string(), "its statistics do not say that every time lies within a day".into()))
    })
}
