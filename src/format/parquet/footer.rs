//! The footer: whether a file is sound, and what is in it. No page is read.
//!
//! It is read as a tree that keeps what is not known ([`Footer`]), and given to the parquet crate,
//! which knows the types of columns, in the form that it takes. Nothing is allocated by what a file
//! says before that is bounded.

use std::os::unix::fs::FileExt;

use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::leaves::{Leaf, leaves};
use super::strict;
use super::thrift::{self, Fields, Value};
use crate::fingerprint::Fingerprint;
use crate::format::foreign::{Foreign, LOOKED_AT, recognise};
use crate::format::{FormatError, Opened};
use crate::fs;

const MAGIC: &[u8; 4] = b"PAR1";

/// The magic at both ends and the footer's length.
const SMALLEST: u64 = 12;

/// The bytes that a footer may have: it is read into memory whole.
const LARGEST_FOOTER: u64 = 64 << 20;

/// More rows than any file has: sums of them overflow nowhere.
const MOST_ROWS: u64 = 1 << 48;

/// A footer, as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Footer {
    /// Its fields, without the row groups.
    pub(super) file: Fields,
    /// The columns that have values.
    pub(super) leaves: Vec<Leaf>,
    /// The row groups.
    pub(super) groups: Vec<RowGroup>,
    /// True where some of it is encrypted.
    pub(super) is_encrypted: bool,
}

/// A row group, as the footer has it.
#[derive(Clone, Debug)]
pub(super) struct RowGroup {
    /// Its fields, without the columns.
    pub(super) fields: Fields,
    /// Rows.
    pub(super) rows: u64,
    /// Its columns.
    pub(super) chunks: Vec<Chunk>,
}

/// A column of a row group, as the footer has it.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Its fields, without its metadata.
    pub(super) fields: Fields,
    /// Its metadata; without a field where that is encrypted.
    pub(super) meta: Fields,
    /// The number of its codec.
    pub(super) codec: i64,
    /// Values, nulls among them.
    pub(super) values: u64,
    /// Where its first page begins.
    pub(super) start: u64,
    /// The bytes of all its pages.
    pub(super) length: u64,
}

impl Footer {
    /// Reads a file's footer and checks what it says of itself.
    pub(super) fn read(source: &Opened) -> Result<Self, FormatError> {
        let (bytes, end) = bytes(source)?;
        Self::parse(&bytes, end).map_err(|reason| unsound(source, reason))
    }

    fn parse(bytes: &[u8], end: u64) -> Result<Self, String> {
        let (mut file, _) =
            thrift::read(bytes).map_err(|reason| format!("its footer cannot be read: {reason}"))?;
        strict::check(&file).map_err(|reason| format!("its footer cannot be read: {reason}"))?;
        let leaves = leaves(file.list(2))?;
        let groups = file
            .get(4)
            .and_then(Value::elements)
            .ok_or("its footer has no list of row groups")?;
        let groups = groups
            .iter()
            .enumerate()
            .map(|(number, group)| row_group(number, group, &leaves, end))
            .collect::<Result<Vec<_>, _>>()?;
        file.remove(4);
        let is_encrypted = file.get(8).is_some()
            || groups
                .iter()
                .flat_map(|group| &group.chunks)
                .any(|chunk| chunk.fields.get(8).is_some());
        let rows: u64 = groups
            .iter()
            .map(|group| group.rows)
            .fold(0, u64::saturating_add);
        let stated = file.long(3).unwrap_or_default();
        if rows > MOST_ROWS {
            return Err(format!("its row groups should have {rows} rows"));
        }
        if stated != 0 && u64::try_from(stated) != Ok(rows) {
            return Err(format!(
                "its footer says {stated} rows, and its row groups have {rows}"
            ));
        }
        Ok(Self {
            file,
            leaves,
            groups,
            is_encrypted,
        })
    }

    /// The types of the columns, as the parquet crate knows them.
    pub(super) fn types(&self, source: &Opened) -> Result<ParquetMetaData, FormatError> {
        crate_metadata(&self.file, Vec::new())
            .map_err(|error| unsound(source, format!("its footer cannot be read: {error}")))
    }

    /// The digest of what files must have in common that share parts, where types that no library
    /// knows stand in the schema: then it must be the same to the byte.
    pub(super) fn with_unknown_types(&self, packing: Fingerprint) -> Fingerprint {
        let mut schema = Fields::default();
        schema.set_or_remove(2, self.file.get(2).cloned());
        if self.file.get(2) == Some(&strict::schema(self.file.list(2))) {
            return packing;
        }
        Fingerprint::of_bytes(&[packing.as_bytes().as_slice(), &schema.to_bytes()].concat())
    }

    /// The file's own texts, by their keys.
    pub(super) fn pairs(&self) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = self.file.list(5).iter().filter_map(Value::fields);
        pairs
            .map(|pair| {
                (
                    text(pair.binary(1).unwrap_or_default()),
                    pair.binary(2).map(text),
                )
            })
            .collect()
    }
}

/// The footer as the parquet crate reads it.
pub(super) fn read(source: &Opened) -> Result<ParquetMetaData, FormatError> {
    let footer = Footer::read(source)?;
    let groups: Vec<Fields> = footer.groups.iter().map(RowGroup::to_fields).collect();
    let without = |group: &Fields| strict::without_statistics(group.clone());
    // Statistics that cannot be read are as good as none.
    crate_metadata(&footer.file, groups.clone())
        .or_else(|_| crate_metadata(&footer.file, groups.iter().map(without).collect()))
        .map_err(|error| unsound(source, format!("its footer cannot be read: {error}")))
}

/// A column that would not come out of the decoder as it went in.
pub(super) fn undecodable(source: &Opened, (column, reason): (String, String)) -> FormatError {
    let hint = "leave rows_per_file out or make it larger: row groups that are not cut inside are moved without decoding them";
    FormatError::Undecodable {
        path: source.path.clone(),
        column,
        reason,
        hint,
    }
}

/// Refuses a column with an annotation that no version of the format has: nobody can say what its
/// values are.
pub(super) fn check_annotations(source: &Opened) -> Result<(), FormatError> {
    let footer = Footer::read(source)?;
    let stated = |leaf: &Leaf| {
        leaf.element
            .small(6)
            .filter(|number| !(0..=strict::LAST_CONVERTED).contains(number))
    };
    let Some((leaf, number)) = footer
        .leaves
        .iter()
        .find_map(|leaf| Some((leaf, stated(leaf)?)))
    else {
        return Ok(());
    };
    let reason = format!("it is annotated as the converted type {number}, which is none");
    Err(undecodable(source, (leaf.name(), reason)))
}

fn crate_metadata(
    file: &Fields,
    groups: Vec<Fields>,
) -> ::parquet::errors::Result<ParquetMetaData> {
    let mut file = file.clone();
    file.set(4, thrift::structs(groups));
    ParquetMetaDataReader::decode_metadata(&strict::file(&file).to_bytes())
}

impl RowGroup {
    /// The group as the footer has it.
    pub(super) fn to_fields(&self) -> Fields {
        let mut fields = self.fields.clone();
        fields.set(1, thrift::structs(self.chunks.iter().map(Chunk::to_fields)));
        fields
    }
}

impl Chunk {
    /// The chunk as the footer has it.
    pub(super) fn to_fields(&self) -> Fields {
        let mut fields = self.fields.clone();
        fields.set_or_remove(
            3,
            (self.meta != Fields::default()).then(|| Value::Struct(self.meta.clone())),
        );
        fields
    }
}

fn row_group(number: usize, group: &Value, leaves: &[Leaf], end: u64) -> Result<RowGroup, String> {
    let in_group = |what: &str| format!("row group {number} {what}");
    let mut fields = group
        .fields()
        .ok_or_else(|| in_group("is no struct"))?
        .clone();
    let stated = fields
        .long(3)
        .ok_or_else(|| in_group("does not say how many rows it has"))?;
    let rows = u64::try_from(stated).map_err(|_| in_group(&format!("has {stated} rows")))?;
    let columns = fields.list(1);
    if columns.len() != leaves.len() {
        return Err(in_group(&format!(
            "has {} columns, and the schema {}",
            columns.len(),
            leaves.len()
        )));
    }
    let chunk = |(column, leaf): (&Value, &Leaf)| {
        chunk(column, leaf, end)
            .map_err(|what| format!("row group {number}, column {}: {what}", leaf.name()))
    };
    let chunks = columns
        .iter()
        .zip(leaves)
        .map(chunk)
        .collect::<Result<Vec<_>, _>>()?;
    fields.remove(1);
    Ok(RowGroup {
        fields,
        rows,
        chunks,
    })
}

fn chunk(column: &Value, leaf: &Leaf, end: u64) -> Result<Chunk, String> {
    let mut fields = column.fields().ok_or("it is no struct")?.clone();
    let Some(meta) = fields.fields(3).cloned() else {
        // It is encrypted by a key of its own, or in another file.
        if fields.get(8).is_none() {
            return Err("it has no metadata".into());
        }
        return Ok(Chunk {
            fields,
            meta: Fields::default(),
            codec: -1,
            values: 0,
            start: 0,
            length: 0,
        });
    };
    fields.remove(3);
    if let Some(path) = fields.binary(1) {
        return Err(format!(
            "its data is in another file, {:?}",
            String::from_utf8_lossy(path)
        ));
    }
    if meta.small(1) != leaf.element.small(1) {
        return Err("it has another type than the schema says".into());
    }
    let codec = meta.small(4).ok_or("it does not say its codec")?;
    let stated = meta
        .long(5)
        .ok_or("it does not say how many values it has")?;
    let values = u64::try_from(stated).map_err(|_| format!("it has {stated} values"))?;
    let (start, length) = inside(&meta, values, end)?;
    Ok(Chunk {
        fields,
        codec,
        values,
        start,
        length,
        meta,
    })
}

/// Where a chunk begins and how many bytes it has, which must lie between the magic and the footer.
fn inside(meta: &Fields, values: u64, end: u64) -> Result<(u64, u64), String> {
    let data = meta.long(9).ok_or("it does not say where its data is")?;
    if data < 0 {
        return Err(format!("its data should be at {data}"));
    }
    // Some writers say 0 where there is no dictionary, and where there is no page but it.
    let dictionary = meta.long(11).filter(|offset| *offset > 0);
    let start = dictionary.map_or(data, |dictionary| {
        if data > 0 {
            dictionary.min(data)
        } else {
            dictionary
        }
    });
    let length = meta
        .long(7)
        .ok_or("it does not say how many bytes it has")?;
    if length == 0 && values == 0 {
        return Ok((0, 0));
    }
    match (u64::try_from(start), u64::try_from(length)) {
        (Ok(first), Ok(bytes))
            if first >= 4 && first.checked_add(bytes).is_some_and(|last| last <= end) =>
        {
            Ok((first, bytes))
        }
        _ => Err(format!(
            "its data should be {length} bytes at {start}, and the file has data up to {end}"
        )),
    }
}

/// The bytes of the footer, and where it begins.
fn bytes(source: &Opened) -> Result<(Vec<u8>, u64), FormatError> {
    let size = fs::stat_open(&source.file, &source.path)?.size;
    if let Some(foreign) = foreign(source)? {
        return Err(FormatError::Foreign {
            path: source.path.clone(),
            format: "parquet",
            foreign,
        });
    }
    if size < SMALLEST {
        return Err(unsound(
            source,
            format!("it has {size} bytes, and the smallest has {SMALLEST}"),
        ));
    }
    let bytes_at = |offset: u64| -> Result<[u8; 4], FormatError> {
        let mut bytes = [0; 4];
        source
            .file
            .read_exact_at(&mut bytes, offset)
            .map_err(FormatError::at("read", &source.path))?;
        Ok(bytes)
    };
    if bytes_at(0)? != *MAGIC {
        return Err(unsound(source, "it does not begin with PAR1".into()));
    }
    if bytes_at(size - 4)? != *MAGIC {
        return Err(unsound(
            source,
            "it does not end with PAR1, as if it were cut off".into(),
        ));
    }
    let length = u64::from(u32::from_le_bytes(bytes_at(size - 8)?));
    let end = (size - 8).checked_sub(length).filter(|end| *end >= 4);
    let end = end.ok_or_else(|| {
        unsound(
            source,
            format!("its footer should have {length} bytes, and the file has {size}"),
        )
    })?;
    if length > LARGEST_FOOTER {
        let largest = LARGEST_FOOTER >> 20;
        return Err(unsound(
            source,
            format!(
                "its footer should have {length} bytes, and one of more than {largest} MiB is not read"
            ),
        ));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    source
        .file
        .read_exact_at(&mut bytes, end)
        .map_err(FormatError::at("read", &source.path))?;
    Ok((bytes, end))
}

/// What a file seems to be that does not begin as it should.
fn foreign(source: &Opened) -> Result<Option<Foreign>, FormatError> {
    let failed = FormatError::at("read", &source.path);
    let mut head = [0; LOOKED_AT];
    let read = source.file.read_at(&mut head, 0).map_err(failed)?;
    Ok(if head[..read].starts_with(MAGIC) {
        None
    } else {
        recognise(&head[..read])
    })
}

/// The error of a file that is not what its name says.
pub(super) fn unsound(source: &Opened, reason: String) -> FormatError {
    FormatError::Unsound {
        path: source.path.clone(),
        format: "parquet",
        reason,
    }
}
