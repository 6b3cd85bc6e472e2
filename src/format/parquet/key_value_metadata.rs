//! Notes: what files say of themselves beside their columns, which of them may share a part, and
//! what can be said of one.
//!
//! A writer may note anything in a file's metadata: a unit, a coordinate system, the index of
//! pandas. Nobody but the writer knows what a note means, so that groups of two files come into one
//! part only where all notes are the same. Three are understood: Arrow's schema (its types count),
//! pandas' index and GeoParquet's boxes, which say something of the rows of their file, and are
//! made to say it of the rows of the part.

use std::collections::BTreeMap;

use ::parquet::file::metadata::{KeyValue, ParquetMetaData};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field as ArrowField, Metadata};
use polars_arrow::io::ipc::read::deserialize_schema;
use polars_parquet::read::schema::read_schema_from_metadata;
use polars_utils::pl_str::PlSmallStr;
use serde_json::{Map, Value, json};

use super::footer::{self, Footer};
use super::thrift::{self, ThriftStruct, ThriftValue as Field};
use super::{root, stored_schema};
use crate::error::catch_panic;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::arrays::{EXTENSION_NAME, KNOWN_EXTENSIONS, inner_fields};
use crate::format::{FormatError, OpenFile, PartPieces};

/// The key under which Arrow writers keep the types that parquet has no word for.
const ARROW_SCHEMA: &str = "ARROW:schema";

/// The key of what pandas must know to make the same frame.
const PANDAS: &str = "pandas";

/// The key of GeoParquet.
const GEO: &str = "geo";

/// The digest of all that two files must have in common to share a part: how their columns are
/// stored, and what they say of them. `None` for a file that shares none, because its index of
/// pandas is its own.
///
/// Arrow's types are taken as polars writes them out, so that layouts are read again with each
/// version of the format.
pub(super) fn packing_digest(metadata: &ParquetMetaData) -> Option<Fingerprint> {
    let notes = KeyValueMetadata::from_metadata(metadata);
    if notes.has_own_index() {
        return None;
    }
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer
        .digest(&stored_schema::digest(root(metadata)))
        .map(&notes.for_all_rows());
    Some(writer.finish())
}

/// The first thing that keeps two files from sharing a part, in words.
pub(super) fn packing_conflict(one: &ParquetMetaData, other: &ParquetMetaData) -> Option<String> {
    if let Some(difference) = stored_schema::storage_difference(root(one), root(other)) {
        return Some(difference);
    }
    let (ours, theirs) = (
        KeyValueMetadata::from_metadata(one),
        KeyValueMetadata::from_metadata(other),
    );
    if ours.has_own_index() || theirs.has_own_index() {
        return Some("pandas gave their rows an index of their own (RangeIndex)".into());
    }
    let (ours, theirs) = (ours.for_all_rows(), theirs.for_all_rows());
    let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    keys.sort();
    let key = keys
        .into_iter()
        .find(|key| ours.get(*key) != theirs.get(*key))?;
    Some(match (ours.get(key), theirs.get(key)) {
        (Some(ours), Some(theirs))
            if key != ARROW_SCHEMA && ours.len() < 40 && theirs.len() < 40 =>
        {
            format!("their metadata {key:?} is {ours:?} and {theirs:?}")
        }
        (Some(_), Some(_)) if key == ARROW_SCHEMA => match differing_arrow_column(one, other) {
            Some(column) => format!(
                "column {column} has other types in Arrow's metadata (a time zone, a dictionary and the like)"
            ),
            None => format!("their metadata {key:?} differs"),
        },
        (Some(_), Some(_)) => format!("their metadata {key:?} differs"),
        _ => format!("only one of them has the metadata {key:?}"),
    })
}

/// What a file says of all its columns, as far as that is true of its rows in another format: boxes
/// of places are of some rows.
pub(super) fn for_all_columns(metadata: &ParquetMetaData) -> Metadata {
    let mut notes = KeyValueMetadata::from_metadata(metadata).0;
    notes.retain(|key, _| ![GEO, ARROW_SCHEMA].contains(&key.as_str()));
    let pair = |(key, value): (String, String)| (key.into(), value.into());
    notes.into_iter().map(pair).collect()
}

/// The same for other files of parquet: what is said of places holds, but for their boxes.
pub(super) fn for_projected_rows(metadata: &ParquetMetaData) -> Metadata {
    let mut notes = for_all_columns(metadata);
    let geo = KeyValueMetadata::from_metadata(metadata).0.remove(GEO);
    if let Some(mut geo) = geo {
        edit_json(&mut geo, |notes| widen_boxes(notes, &Value::Null));
        notes.insert(GEO.into(), geo.into());
    }
    notes
}

/// The first column that has another type in Arrow's metadata.
fn differing_arrow_column(one: &ParquetMetaData, other: &ParquetMetaData) -> Option<String> {
    let types = |metadata: &ParquetMetaData| {
        arrow_types(
            KeyValueMetadata::from_metadata(metadata)
                .0
                .get(ARROW_SCHEMA)?,
        )
    };
    let (ours, theirs) = (types(one)?, types(other)?);
    ours.iter()
        .zip(&theirs)
        .find(|(one, other)| one != other)
        .map(|((name, _), _)| name.clone())
}

/// The notes of a part: those of its first file, where what they say of rows is true of the part's
/// rows.
pub(super) fn for_part(
    part: &PartPieces<'_>,
    first: &ParquetMetaData,
) -> Result<Option<Vec<KeyValue>>, FormatError> {
    let Some(mut pairs) = first.file_metadata().key_value_metadata().cloned() else {
        return Ok(None);
    };
    let says = |key: &str, word: &str| {
        pairs.iter().any(|pair| {
            pair.key == key && pair.value.as_ref().is_some_and(|text| text.contains(word))
        })
    };
    let (has_index, has_boxes) = (says(PANDAS, "range"), says(GEO, "bbox"));
    if !has_index && !has_boxes {
        return Ok(Some(pairs));
    }
    let is_one_file = part
        .pieces
        .iter()
        .all(|piece| piece.file == part.pieces[0].file);
    for pair in &mut pairs {
        let Some(text) = &mut pair.value else {
            continue;
        };
        match pair.key.as_str() {
            PANDAS => edit_json(text, |notes| {
                adjust_range_index(notes, is_one_file.then(|| part_rows(part, first)).flatten())
            }),
            GEO if !is_one_file => {
                let others = boxes_of_other_files(part)?;
                edit_json(text, |notes| {
                    others.iter().for_each(|other| widen_boxes(notes, other))
                });
            }
            _ => {}
        }
    }
    Ok(Some(pairs))
}

/// The notes of a part as its footer has them, where they are others than those of its first file.
pub(super) fn edited_for_part(
    part: &PartPieces<'_>,
    first: &OpenFile,
    footer: &Footer,
) -> Result<Option<Field>, FormatError> {
    if !footer
        .key_values()
        .iter()
        .any(|(key, _)| key == PANDAS || key == GEO)
    {
        return Ok(None);
    }
    let metadata = footer::read_metadata(first)?;
    let notes = for_part(part, &metadata)?;
    if notes.as_ref() == metadata.file_metadata().key_value_metadata() {
        return Ok(None);
    }
    let pair = |note: KeyValue| {
        let mut pair = ThriftStruct::default();
        pair.set(1, Field::Binary(note.key.into_bytes()));
        pair.set_or_remove(2, note.value.map(|value| Field::Binary(value.into_bytes())));
        pair
    };
    Ok(notes.map(|notes| thrift::struct_list(notes.into_iter().map(pair))))
}

/// What the files of a part but the first say of places.
fn boxes_of_other_files(part: &PartPieces<'_>) -> Result<Vec<Value>, FormatError> {
    let mut found = Vec::new();
    let mut last = part.pieces[0].file;
    for piece in part.pieces {
        if piece.file != last {
            last = piece.file;
            let source: OpenFile = part.inputs.open(piece.file)?;
            let notes = KeyValueMetadata::from_metadata(footer::read_metadata(&source)?.as_ref());
            found.push(
                notes
                    .0
                    .get(GEO)
                    .and_then(|text| serde_json::from_str(text).ok())
                    .unwrap_or(Value::Null),
            );
        }
    }
    Ok(found)
}

/// Which rows of its one file a part has: the first, how many, and how many the file has. `None`
/// where they do not follow one another.
fn part_rows(part: &PartPieces<'_>, metadata: &ParquetMetaData) -> Option<(u64, u64, u64)> {
    let rows =
        |group: usize| u64::try_from(metadata.row_group(group).num_rows()).unwrap_or_default();
    let all: u64 = (0..metadata.num_row_groups()).map(rows).sum();
    let mut found: Option<(u64, u64)> = None;
    for piece in part.pieces {
        let before: u64 = (0..piece.group.unwrap_or_default()).map(rows).sum();
        let (first, count) = match (piece.group, piece.rows) {
            (None, _) => (0, all),
            (Some(group), None) => (before, rows(group)),
            (Some(_), Some((first, count))) => (before + first, count),
        };
        found = match found {
            None => Some((first, count)),
            // Groups without rows are in no piece, and end nothing.
            Some((begin, so_far)) if begin + so_far == first => Some((begin, so_far + count)),
            Some(_) => return None,
        };
    }
    let (first, count) = found?;
    Some((first, count, all))
}

/// Makes pandas' index, where it is no column but a count of the file's rows, one of the part's:
/// its piece of the count, or none, so that rows are counted from 0.
fn adjust_range_index(notes: &mut Value, rows: Option<(u64, u64, u64)>) {
    let Some(index) = notes.get_mut("index_columns").and_then(Value::as_array_mut) else {
        return;
    };
    if rows.is_some_and(|(first, count, all)| first == 0 && count == all) {
        return;
    }
    index.retain_mut(|entry| {
        let Some(entry) = entry.as_object_mut().filter(|entry| is_range_index(entry)) else {
            return true;
        };
        let piece =
            rows.zip(range_start_and_step(entry))
                .and_then(|((first, count, _), (start, step))| {
                    let at =
                        |row: u64| start.checked_add(step.checked_mul(i64::try_from(row).ok()?)?);
                    Some((at(first)?, at(first + count)?))
                });
        if let Some((start, stop)) = piece {
            entry.insert("start".into(), json!(start));
            entry.insert("stop".into(), json!(stop));
        }
        piece.is_some()
    });
}

fn is_range_index(entry: &Map<String, Value>) -> bool {
    entry.get("kind").and_then(Value::as_str) == Some("range")
}

/// Where a range begins, and its step.
fn range_start_and_step(entry: &Map<String, Value>) -> Option<(i64, i64)> {
    let number = |key: &str| entry.get(key).and_then(Value::as_i64);
    Some((number("start")?, number("step")?))
}

/// Widens the boxes of columns so that those of another file are in them; one that cannot be is
/// left out, which says nothing.
fn widen_boxes(notes: &mut Value, other: &Value) {
    let Some(columns) = notes.get_mut("columns").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, column) in columns {
        let Some(column) = column.as_object_mut() else {
            continue;
        };
        let theirs = other
            .get("columns")
            .and_then(|columns| columns.get(name)?.get("bbox"))
            .and_then(box_corners);
        let wide = column
            .get("bbox")
            .and_then(box_corners)
            .zip(theirs)
            .and_then(|(ours, theirs)| union_boxes(&ours, &theirs));
        match wide {
            Some(wide) => drop(column.insert("bbox".into(), json!(wide))),
            None => drop(column.remove("bbox")),
        }
    }
}

fn box_corners(found: &Value) -> Option<Vec<f64>> {
    found.as_array()?.iter().map(Value::as_f64).collect()
}

/// The box around two. One that goes over the edge of the map, where east is less than west, has
/// none.
fn union_boxes(one: &[f64], other: &[f64]) -> Option<Vec<f64>> {
    let half = one.len() / 2;
    let is_plain = |corners: &[f64]| (0..half).all(|axis| corners[axis] <= corners[axis + half]);
    if one.len() != other.len()
        || !one.len().is_multiple_of(2)
        || !is_plain(one)
        || !is_plain(other)
    {
        return None;
    }
    let pairs = one.iter().zip(other).enumerate();
    Some(
        pairs
            .map(|(axis, (one, other))| {
                if axis < half {
                    one.min(*other)
                } else {
                    one.max(*other)
                }
            })
            .collect(),
    )
}

/// Changes a text of JSON; one that would stay the same keeps its very letters.
fn edit_json(text: &mut String, change: impl FnOnce(&mut Value)) {
    let Ok(before) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let mut after = before.clone();
    change(&mut after);
    if after != before {
        *text = after.to_string();
    }
}

/// The notes of one file by their keys.
struct KeyValueMetadata(BTreeMap<String, String>);

impl KeyValueMetadata {
    fn from_metadata(metadata: &ParquetMetaData) -> Self {
        let pairs = metadata
            .file_metadata()
            .key_value_metadata()
            .into_iter()
            .flatten();
        Self(
            pairs
                .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
                .collect(),
        )
    }

    /// True where pandas counts the rows of the file otherwise than from 0 on, one by one.
    fn has_own_index(&self) -> bool {
        let Some(notes) = self
            .0
            .get(PANDAS)
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
        else {
            return false;
        };
        let entries = notes
            .get("index_columns")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object);
        entries
            .filter(|entry| is_range_index(entry))
            .any(|entry| range_start_and_step(entry) != Some((0, 1)))
    }

    /// What they say whichever rows of the file are meant.
    fn for_all_rows(mut self) -> BTreeMap<String, String> {
        if let Some(text) = self.0.get_mut(PANDAS) {
            edit_json(text, |notes| adjust_range_index(notes, None));
        }
        if let Some(text) = self.0.get_mut(GEO) {
            edit_json(text, |notes| widen_boxes(notes, &Value::Null));
        }
        if let Some(text) = self.0.get(ARROW_SCHEMA).cloned() {
            // What the schema notes of the whole file is said by the file too, mostly.
            let inner = arrow_schema_metadata(&text)
                .into_iter()
                .filter(|(key, _)| !self.0.contains_key(key))
                .collect::<Vec<_>>();
            let types = arrow_types(&text).map_or(text, |types| format!("{types:?}"));
            self.0.extend(
                inner
                    .into_iter()
                    .map(|(key, value)| (format!("{ARROW_SCHEMA} {key}"), value)),
            );
            self.0.insert(ARROW_SCHEMA.into(), types);
        }
        self.0
    }
}

/// The types that Arrow's schema gives columns, as polars understands them; `None` where it does
/// not.
fn arrow_types(encoded: &str) -> Option<Vec<(String, String)>> {
    let read = || {
        let mut pairs = [(ARROW_SCHEMA.into(), encoded.into())]
            .into_iter()
            .collect();
        let schema = read_schema_from_metadata(&mut pairs).ok()??;
        Some(
            schema
                .iter_values()
                .map(|field| (field.name.to_string(), format!("{field:?}")))
                .collect(),
        )
    };
    // polars panics on what it does not know.
    catch_panic(read).ok().flatten()
}

/// What Arrow's schema notes of the whole file: some writers note it only there.
fn arrow_schema_metadata(encoded: &str) -> BTreeMap<String, String> {
    let notes = read_arrow_schema(encoded).map(|(_, notes)| notes);
    let notes = notes.unwrap_or_default();
    let pair = |(key, value): (&PlSmallStr, &PlSmallStr)| (key.to_string(), value.to_string());
    notes.iter().map(pair).collect()
}

/// Arrow's schema with what it notes of the whole file; `None` where it cannot be read.
fn read_arrow_schema(encoded: &str) -> Option<(ArrowSchema, Metadata)> {
    let read = || {
        let bytes = decode_base64(encoded)?;
        // Behind a sign and its length, since the message is that of a stream.
        let message = if bytes.starts_with(&[0xff; 4]) {
            bytes.get(8..)?
        } else {
            bytes.as_slice()
        };
        let (columns, _, notes) = deserialize_schema(message).ok()?;
        Some((columns, notes.unwrap_or_default()))
    };
    catch_panic(read).ok().flatten()
}

/// The first column whose values Arrow's metadata calls those of a type that is built upon another
/// and that arrays do not have, with what it is called.
pub(super) fn first_unknown_extension(
    source: &OpenFile,
    metadata: &ParquetMetaData,
) -> Option<(String, String)> {
    fn walk(above: &str, field: &ArrowField) -> Option<(String, String)> {
        let path = format!("{above}{}", field.name);
        let noted = field
            .metadata
            .iter()
            .find_map(|said| said.get(EXTENSION_NAME));
        let (name, dtype) = match &field.dtype {
            ArrowDataType::Extension(extension) => (Some(&extension.name), &extension.inner),
            other => (noted, other),
        };
        if let Some(name) = name.filter(|name| !KNOWN_EXTENSIONS.contains(&name.as_str())) {
            return Some((path, name.to_string()));
        }
        let above = format!("{path}.");
        inner_fields(dtype)
            .iter()
            .find_map(|field| walk(&above, field))
    }
    let noted = KeyValueMetadata::from_metadata(metadata).0;
    let (columns, _) = read_arrow_schema(noted.get(ARROW_SCHEMA)?)?;
    let mut wanted = columns
        .iter_values()
        .filter(|field| source.has_column(&field.name));
    wanted.find_map(|field| walk("", field))
}

/// The bytes that are written in base64, by RFC 4648.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let value = LETTERS.iter().position(|known| *known == letter)?;
        held = held << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        assert_eq!(decode_base64("aHlnZ2U="), Some(b"hygge".to_vec()));
        assert_eq!(decode_base64("/////w=="), Some(vec![0xff; 4]));
        assert_eq!(decode_base64("a b"), None);
    }

    #[test]
    fn boxes_are_widened_or_left_out() {
        assert_eq!(
            union_boxes(&[0.0, 1.0, 2.0, 3.0], &[-1.0, 2.0, 1.0, 9.0]),
            Some(vec![-1.0, 1.0, 2.0, 9.0])
        );
        assert_eq!(
            union_boxes(&[170.0, 0.0, -170.0, 1.0], &[0.0, 0.0, 1.0, 1.0]),
            None,
            "over the edge of the map"
        );
        assert_eq!(
            union_boxes(&[0.0, 0.0, 1.0, 1.0], &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
            None,
            "one is of three dimensions"
        );
    }

    #[test]
    fn an_index_counts_the_rows_of_the_part() {
        let index = |start: i64, stop: i64, step: i64| json!({"index_columns": [{"kind": "range", "start": start, "stop": stop, "step": step}, "key"]});
        let counted = |mut notes: Value, rows| {
            adjust_range_index(&mut notes, rows);
            notes
        };
        assert_eq!(
            counted(index(100, 110, 1), Some((2, 3, 10))),
            index(102, 105, 1)
        );
        assert_eq!(
            counted(index(0, -30, -3), Some((5, 5, 10))),
            index(-15, -30, -3)
        );
        assert_eq!(counted(index(0, 10, 1), Some((0, 10, 10))), index(0, 10, 1));
        assert_eq!(
            counted(index(0, 10, 1), None),
            json!({"index_columns": ["key"]})
        );
    }
}
