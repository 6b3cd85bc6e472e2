//! The footer: whether a file is sound, and what is in it. No page is read.
//!
//! It is read as a tree that keeps what is not known ([`Footer`]), and given to the parquet crate,
//! which knows the types of columns, in the form that it takes. Nothing is allocated by what a file
//! says before that is bounded.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::leaves::{Leaf, column_elements, is_leaf, leaves};
use super::sanitize;
use super::thrift::{self, ThriftStruct, ThriftValue};
use crate::fingerprint::Fingerprint;
use crate::format::sniff::{ForeignFile, SNIFF_LEN, sniff_content};
use crate::format::{FormatError, OpenFile};

const MAGIC: &[u8; 4] = b"PAR1";

/// The magic at both ends and the footer's length.
const MIN_FILE_BYTES: u64 = 12;

/// The bytes that a footer may have: it is read into memory whole.
const MAX_FOOTER_BYTES: u64 = 64 << 20;

/// More rows than any file has: sums of them overflow nowhere.
const MAX_ROWS: u64 = 1 << 48;

/// A footer, as the file has it.
#[derive(Debug)]
pub(super) struct Footer {
    /// Its fields, without the row groups.
    pub(super) fields: ThriftStruct,
    /// The columns that have values.
    pub(super) leaves: Vec<Leaf>,
    /// The row groups.
    pub(super) groups: Vec<RowGroup>,
    /// True where some of it is encrypted.
    pub(super) is_encrypted: bool,
    /// The same as the parquet crate reads it, once it has.
    metadata: OnceLock<Arc<ParquetMetaData>>,
    /// The same with the columns that were looked at last.
    narrowed: Mutex<Option<NarrowedFooter>>,
}

/// A footer with these columns.
type NarrowedFooter = (Arc<BTreeSet<String>>, Arc<Footer>);

/// A row group, as the footer has it.
#[derive(Clone, Debug)]
pub(super) struct RowGroup {
    /// Its fields, without the columns.
    pub(super) fields: ThriftStruct,
    /// Rows.
    pub(super) rows: u64,
    /// Its columns.
    pub(super) chunks: Vec<ColumnChunk>,
}

/// A column of a row group, as the footer has it.
#[derive(Clone, Debug)]
pub(super) struct ColumnChunk {
    /// Its fields, without its metadata.
    pub(super) fields: ThriftStruct,
    /// Its metadata; without a field where that is encrypted.
    pub(super) meta: ThriftStruct,
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
    pub(super) fn read(source: &OpenFile) -> Result<Arc<Self>, FormatError> {
        let whole = source.head.get_or_read(|| {
            let (bytes, end) = read_footer_bytes(source)?;
            Self::parse(&bytes, end).map_err(|reason| unsound(source, reason))
        })?;
        let Some(columns) = &source.columns else {
            return Ok(whole);
        };
        let mut last = whole
            .narrowed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = last.as_ref().filter(|(of, _)| of == columns) {
            return Ok(found.clone());
        }
        let found = Arc::new(whole.narrow(&|name| source.has_column(name)));
        *last = Some((columns.clone(), found.clone()));
        Ok(found)
    }

    /// The same without the columns that are not looked at.
    fn narrow(&self, is_wanted: &dyn Fn(&str) -> bool) -> Self {
        let schema = self.fields.list(2);
        let elements = schema.iter().filter_map(ThriftValue::as_struct);
        let mut kept: Vec<ThriftStruct> = elements.clone().take(1).cloned().collect();
        let (mut tops, mut leaves) = (0, Vec::with_capacity(self.leaves.len()));
        for column in column_elements(schema) {
            let elements = column.iter().filter_map(ThriftValue::as_struct);
            let name = elements.clone().next().and_then(|top| top.binary(4));
            let is_kept = is_wanted(&String::from_utf8_lossy(name.unwrap_or_default()));
            let count = elements.clone().filter(|element| is_leaf(element)).count();
            leaves.extend(std::iter::repeat_n(is_kept, count));
            if is_kept {
                tops += 1;
                kept.extend(elements.cloned());
            }
        }
        if let Some(root) = kept.first_mut() {
            root.set(5, ThriftValue::I32(tops));
        }
        let orders = self.fields.list(7);
        let orders = (orders.len() == leaves.len()).then(|| {
            let orders = orders.iter().filter_map(ThriftValue::as_struct).cloned();
            let kept = orders.zip(&leaves).filter(|(_, is_kept)| **is_kept);
            thrift::struct_list(kept.map(|(order, _)| order))
        });
        let mut fields = self.fields.clone();
        fields.set_or_remove(7, orders);
        fields.set(2, thrift::struct_list(kept));
        let chunks = |group: &RowGroup| kept_of(&group.chunks, &leaves);
        Self {
            fields,
            leaves: kept_of(&self.leaves, &leaves),
            groups: self
                .groups
                .iter()
                .map(|group| RowGroup {
                    fields: group.fields.clone(),
                    rows: group.rows,
                    chunks: chunks(group),
                })
                .collect(),
            is_encrypted: self.is_encrypted,
            metadata: OnceLock::new(),
            narrowed: Mutex::default(),
        }
    }

    fn parse(bytes: &[u8], end: u64) -> Result<Self, String> {
        let (mut file, _) =
            thrift::read(bytes).map_err(|reason| format!("its footer cannot be read: {reason}"))?;
        sanitize::check(&file).map_err(|reason| format!("its footer cannot be read: {reason}"))?;
        let leaves = leaves(file.list(2))?;
        let groups = file
            .take(4)
            .and_then(ThriftValue::into_list)
            .ok_or("its footer has no list of row groups")?;
        let groups = groups
            .into_iter()
            .enumerate()
            .map(|(number, group)| parse_row_group(number, group, &leaves, end))
            .collect::<Result<Vec<_>, _>>()?;
        let is_encrypted = file.get(8).is_some()
            || groups
                .iter()
                .flat_map(|group| &group.chunks)
                .any(|chunk| chunk.fields.get(8).is_some());
        let rows: u64 = groups
            .iter()
            .map(|group| group.rows)
            .fold(0, u64::saturating_add);
        let stated = file.get_i64(3).unwrap_or_default();
        if rows > MAX_ROWS {
            return Err(format!("its row groups should have {rows} rows"));
        }
        if stated != 0 && u64::try_from(stated) != Ok(rows) {
            return Err(format!(
                "its footer says {stated} rows, and its row groups have {rows}"
            ));
        }
        Ok(Self {
            fields: file,
            leaves,
            groups,
            is_encrypted,
            metadata: OnceLock::new(),
            narrowed: Mutex::default(),
        })
    }

    /// The types of the columns, as the parquet crate knows them.
    pub(super) fn schema_metadata(
        &self,
        source: &OpenFile,
    ) -> Result<ParquetMetaData, FormatError> {
        crate_metadata(&self.fields, Vec::new())
            .map_err(|error| unsound(source, format!("its footer cannot be read: {error}")))
    }

    /// The digest of what files must have in common that share parts, where types that no library
    /// knows stand in the schema: then it must be the same to the byte.
    pub(super) fn packing_with_unknown_types(&self, packing: Fingerprint) -> Fingerprint {
        let mut schema = ThriftStruct::default();
        schema.set_or_remove(2, self.fields.get(2).cloned());
        if self.fields.get(2) == Some(&sanitize::sanitize_schema(self.fields.list(2))) {
            return packing;
        }
        Fingerprint::hash_bytes(&[packing.as_bytes().as_slice(), &schema.to_bytes()].concat())
    }

    /// The file's own texts, by their keys.
    pub(super) fn key_values(&self) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = self
            .fields
            .list(5)
            .iter()
            .filter_map(ThriftValue::as_struct);
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

/// Those of some values that are kept.
fn kept_of<T: Clone>(values: &[T], is_kept: &[bool]) -> Vec<T> {
    let kept = values.iter().zip(is_kept).filter(|(_, is_kept)| **is_kept);
    kept.map(|(value, _)| value.clone()).collect()
}

/// The footer as the parquet crate reads it.
pub(super) fn read_metadata(source: &OpenFile) -> Result<Arc<ParquetMetaData>, FormatError> {
    let footer = Footer::read(source)?;
    if let Some(found) = footer.metadata.get() {
        return Ok(found.clone());
    }
    let groups: Vec<ThriftStruct> = footer.groups.iter().map(RowGroup::to_fields).collect();
    let without = |group: &ThriftStruct| sanitize::without_statistics(group.clone());
    // Statistics that cannot be read are as good as none.
    let metadata = crate_metadata(&footer.fields, groups.clone())
        .or_else(|_| crate_metadata(&footer.fields, groups.iter().map(without).collect()))
        .map_err(|error| unsound(source, format!("its footer cannot be read: {error}")))?;
    // Another thread may have read it meanwhile, which is the same.
    Ok(footer.metadata.get_or_init(|| Arc::new(metadata)).clone())
}

/// A column that would not come out of the decoder as it went in.
pub(super) fn undecodable(source: &OpenFile, (column, reason): (String, String)) -> FormatError {
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
pub(super) fn check_annotations(source: &OpenFile) -> Result<(), FormatError> {
    let footer = Footer::read(source)?;
    let stated = |leaf: &Leaf| {
        leaf.element
            .get_i32(6)
            .filter(|number| !(0..=sanitize::LAST_CONVERTED).contains(number))
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
    file: &ThriftStruct,
    groups: Vec<ThriftStruct>,
) -> ::parquet::errors::Result<ParquetMetaData> {
    let mut file = file.clone();
    file.set(4, thrift::struct_list(groups));
    ParquetMetaDataReader::decode_metadata(&sanitize::sanitize_footer(&file).to_bytes())
}

impl RowGroup {
    /// The group as the footer has it.
    pub(super) fn to_fields(&self) -> ThriftStruct {
        let mut fields = self.fields.clone();
        fields.set(
            1,
            thrift::struct_list(self.chunks.iter().map(ColumnChunk::to_fields)),
        );
        fields
    }
}

impl ColumnChunk {
    /// The chunk as the footer has it.
    pub(super) fn to_fields(&self) -> ThriftStruct {
        let mut fields = self.fields.clone();
        fields.set_or_remove(
            3,
            (self.meta != ThriftStruct::default()).then(|| ThriftValue::Struct(self.meta.clone())),
        );
        fields
    }
}

fn parse_row_group(
    number: usize,
    group: ThriftValue,
    leaves: &[Leaf],
    end: u64,
) -> Result<RowGroup, String> {
    let in_group = |what: &str| format!("row group {number} {what}");
    let mut fields = group
        .into_struct()
        .ok_or_else(|| in_group("is no struct"))?;
    let stated = fields
        .get_i64(3)
        .ok_or_else(|| in_group("does not say how many rows it has"))?;
    let rows = u64::try_from(stated).map_err(|_| in_group(&format!("has {stated} rows")))?;
    let columns = fields.take(1).and_then(ThriftValue::into_list);
    let columns = columns.unwrap_or_default();
    if columns.len() != leaves.len() {
        return Err(in_group(&format!(
            "has {} columns, and the schema {}",
            columns.len(),
            leaves.len()
        )));
    }
    let chunk = |(column, leaf): (ThriftValue, &Leaf)| {
        parse_chunk(column, leaf, end)
            .map_err(|what| format!("row group {number}, column {}: {what}", leaf.name()))
    };
    let chunks = columns
        .into_iter()
        .zip(leaves)
        .map(chunk)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RowGroup {
        fields,
        rows,
        chunks,
    })
}

fn parse_chunk(column: ThriftValue, leaf: &Leaf, end: u64) -> Result<ColumnChunk, String> {
    let mut fields = column.into_struct().ok_or("it is no struct")?;
    let Some(meta) = fields.take(3).and_then(ThriftValue::into_struct) else {
        // It is encrypted by a key of its own, or in another file.
        if fields.get(8).is_none() {
            return Err("it has no metadata".into());
        }
        return Ok(ColumnChunk {
            fields,
            meta: ThriftStruct::default(),
            codec: -1,
            values: 0,
            start: 0,
            length: 0,
        });
    };
    if let Some(path) = fields.binary(1) {
        return Err(format!(
            "its data is in another file, {:?}",
            String::from_utf8_lossy(path)
        ));
    }
    if meta.get_i32(1) != leaf.element.get_i32(1) {
        return Err("it has another type than the schema says".into());
    }
    let codec = meta.get_i32(4).ok_or("it does not say its codec")?;
    let stated = meta
        .get_i64(5)
        .ok_or("it does not say how many values it has")?;
    let values = u64::try_from(stated).map_err(|_| format!("it has {stated} values"))?;
    let (start, length) = chunk_range(&meta, values, end)?;
    Ok(ColumnChunk {
        fields,
        codec,
        values,
        start,
        length,
        meta,
    })
}

/// Where a chunk begins and how many bytes it has, which must lie between the magic and the footer.
fn chunk_range(meta: &ThriftStruct, values: u64, end: u64) -> Result<(u64, u64), String> {
    let data = meta.get_i64(9).ok_or("it does not say where its data is")?;
    if data < 0 {
        return Err(format!("its data should be at {data}"));
    }
    // Some writers say 0 where there is no dictionary, and where there is no page but it.
    let dictionary = meta.get_i64(11).filter(|offset| *offset > 0);
    let start = dictionary.map_or(data, |dictionary| {
        if data > 0 {
            dictionary.min(data)
        } else {
            dictionary
        }
    });
    let length = meta
        .get_i64(7)
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
fn read_footer_bytes(source: &OpenFile) -> Result<(Vec<u8>, u64), FormatError> {
    let size = source.version()?.size();
    if let Some(foreign) = sniff_foreign(source)? {
        return Err(FormatError::Foreign {
            path: source.path.clone(),
            format: "parquet",
            foreign,
        });
    }
    if size < MIN_FILE_BYTES {
        return Err(unsound(
            source,
            format!("it has {size} bytes, and the smallest has {MIN_FILE_BYTES}"),
        ));
    }
    let bytes_at = |offset: u64| -> Result<[u8; 4], FormatError> {
        let mut bytes = [0; 4];
        source
            .bytes
            .read_exact_at(&mut bytes, offset)
            .map_err(FormatError::for_action("read", &source.path))?;
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
    if length > MAX_FOOTER_BYTES {
        let largest = MAX_FOOTER_BYTES >> 20;
        return Err(unsound(
            source,
            format!(
                "its footer should have {length} bytes, and one of more than {largest} MiB is not read"
            ),
        ));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    source
        .bytes
        .read_exact_at(&mut bytes, end)
        .map_err(FormatError::for_action("read", &source.path))?;
    Ok((bytes, end))
}

/// What a file seems to be that does not begin as it should.
fn sniff_foreign(source: &OpenFile) -> Result<Option<ForeignFile>, FormatError> {
    let failed = FormatError::for_action("read", &source.path);
    let size = usize::try_from(source.version()?.size()).unwrap_or(SNIFF_LEN);
    let mut head = vec![0; size.min(SNIFF_LEN)];
    source.bytes.read_exact_at(&mut head, 0).map_err(failed)?;
    Ok(if head.starts_with(MAGIC) {
        None
    } else {
        sniff_content(&head)
    })
}

/// The error of a file that is not what its name says.
pub(super) fn unsound(source: &OpenFile, reason: String) -> FormatError {
    FormatError::Unsound {
        path: source.path.clone(),
        format: "parquet",
        reason,
    }
}
