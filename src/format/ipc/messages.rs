//! The messages of a file: whether it is sound, and what is in it. No body is read.
//!
//! Nothing is allocated by what a file says before that is bounded.

use std::sync::Arc;

use polars_arrow::io::ipc::format::ipc as flat;
use polars_arrow::io::ipc::format::ipc::planus::ReadAsRoot;

use super::expected_nodes::{self, ExpectedNodes};
use super::types::{self, CustomMetadata, IpcColumn, damaged};
use super::{Container, NAME};
use crate::format::sniff::{SNIFF_LEN, sniff_content};
use crate::format::{FormatError, OpenFile, PartPieces};
use crate::storage::RandomRead;

/// The magic at both ends of a file with a footer.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Where the messages of a file with a footer begin.
const MESSAGES_AT: u64 = 8;

/// Writers fill up to as many bytes before the first message.
const PADDING: u64 = 64;

/// Stands before the length of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The bytes that a footer or the head of a message may have: it is read into memory whole.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// More rows than any file has: sums of them overflow nowhere.
const MAX_ROWS: u64 = 1 << 48;

/// What is in a file.
#[derive(Clone, Debug)]
pub(super) struct IpcContents {
    pub(super) container: Container,
    pub(super) columns: Vec<IpcColumn>,
    pub(super) nodes: ExpectedNodes,
    /// What the file says of all its columns, by name.
    pub(super) metadata: CustomMetadata,
    /// The message that has the schema.
    pub(super) schema_message: Vec<u8>,
    /// Dictionaries and batches. A dictionary of a stream holds for the batches behind it, one of a
    /// file for all.
    pub(super) messages: Vec<IpcMessage>,
}

/// A dictionary or a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpcMessage {
    /// Which dictionary it is; nothing for a batch.
    pub(super) dictionary: Option<i64>,
    /// Where its head begins.
    pub(super) offset: u64,
    /// The bytes of its head.
    pub(super) head_length: u64,
    /// The bytes of its body, which follows.
    pub(super) body_length: u64,
    pub(super) rows: u64,
    pub(super) codec: Option<flat::CompressionType>,
}

impl IpcContents {
    /// Reads the heads of all messages.
    ///
    /// # Errors
    /// The file is something else, or not sound.
    pub(super) fn read(source: &OpenFile) -> Result<Self, FormatError> {
        let contents = Self::read_by(source, read_with_footer, read_stream)?;
        let rows = contents
            .batches()
            .try_fold(0_u64, |sum, batch| sum.checked_add(batch.rows))
            .filter(|rows| *rows <= MAX_ROWS);
        if rows.is_none() {
            return Err(unsound(
                source,
                "its batches say that they have more rows than a file can",
            ));
        }
        Ok(contents)
    }

    /// The heads of all messages of a file of a part, which another part may have read.
    ///
    /// # Errors
    /// The file is something else, or not sound.
    pub(super) fn read_shared(
        part: &PartPieces<'_>,
        file: usize,
        source: &OpenFile,
    ) -> Result<Arc<Self>, FormatError> {
        part.head(file, || Self::read(source))
    }

    /// Reads the schema of a sound file, and no message.
    ///
    /// # Errors
    /// The file is something else, or has none.
    pub(super) fn read_schema(source: &OpenFile) -> Result<Self, FormatError> {
        Self::read_by(
            source,
            |file, size| read_footer(file, size).map(|footer| footer.contents),
            |file, size| begin_stream(file, size).map(|(contents, _)| contents),
        )
    }

    fn read_by(
        source: &OpenFile,
        with_footer: impl FnOnce(&dyn RandomRead, u64) -> Result<Self, String>,
        stream: impl FnOnce(&dyn RandomRead, u64) -> Result<Self, String>,
    ) -> Result<Self, FormatError> {
        let size = source.version()?.size();
        let mut head = vec![0; usize::try_from(size).unwrap_or(SNIFF_LEN).min(SNIFF_LEN)];
        source
            .bytes
            .read_exact_at(&mut head, 0)
            .map_err(FormatError::for_action("read", &source.path))?;
        let found = if head.starts_with(MAGIC) {
            with_footer(source.bytes.as_ref(), size)
        } else if is_stream(source.bytes.as_ref(), size) {
            stream(source.bytes.as_ref(), size)
        } else {
            return Err(match sniff_content(&head) {
                Some(foreign) => FormatError::Foreign {
                    path: source.path.clone(),
                    format: NAME,
                    foreign,
                },
                None => unsound(source, "it begins neither with ARROW1 nor with a schema"),
            });
        };
        found.map_err(|reason| unsound(source, reason))
    }

    pub(super) fn batches(&self) -> impl Iterator<Item = &IpcMessage> {
        self.messages
            .iter()
            .filter(|message| message.dictionary.is_none())
    }
}

pub(super) fn unsound(source: &OpenFile, reason: impl Into<String>) -> FormatError {
    FormatError::Unsound {
        path: source.path.clone(),
        format: NAME,
        reason: reason.into(),
    }
}

/// The footer of a file.
struct IpcFooter {
    /// Where it begins.
    start: u64,
    bytes: Vec<u8>,
    /// What it says, without a message.
    contents: IpcContents,
}

fn read_footer(file: &dyn RandomRead, size: u64) -> Result<IpcFooter, String> {
    const TAIL: u64 = 10;
    let cut_off = || "it does not end with ARROW1: it may have been cut off".to_string();
    let end = size
        .checked_sub(TAIL)
        .filter(|end| *end >= 8)
        .ok_or_else(cut_off)?;
    let tail = read_bytes(file, end, TAIL)?;
    if tail[4..] != MAGIC[..] {
        return Err(cut_off());
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let start = end
        .checked_sub(length)
        .filter(|start| *start >= 8 && length <= MAX_METADATA_BYTES);
    let start = start.ok_or_else(|| format!("its footer says that it has {length} bytes"))?;
    let bytes = read_bytes(file, start, length)?;
    let footer = flat::FooterRef::read_as_root(&bytes).map_err(damaged)?;
    let schema = footer
        .schema()
        .map_err(damaged)?
        .ok_or("its footer has no schema")?;
    let contents = empty_contents(Container::File, &schema)?;
    Ok(IpcFooter {
        start,
        bytes,
        contents,
    })
}

/// A file with a footer.
fn read_with_footer(file: &dyn RandomRead, size: u64) -> Result<IpcContents, String> {
    let IpcFooter {
        start,
        bytes,
        mut contents,
    } = read_footer(file, size)?;
    let footer = flat::FooterRef::read_as_root(&bytes).map_err(damaged)?;
    let messages = &mut contents.messages;
    for (blocks, is_dictionary) in [
        (footer.dictionaries(), true),
        (footer.record_batches(), false),
    ] {
        for block in blocks.map_err(damaged)?.into_iter().flatten() {
            let at = u64::try_from(block.offset()).map_err(damaged)?;
            let (head, body) = (
                u64::try_from(block.meta_data_length()).map_err(damaged)?,
                u64::try_from(block.body_length()).map_err(damaged)?,
            );
            if at
                .checked_add(head)
                .and_then(|at| at.checked_add(body))
                .is_none_or(|behind| behind > start)
            {
                return Err(format!(
                    "a block of {head} and {body} bytes at {at} does not end before the footer"
                ));
            }
            let found =
                read_message(file, at, start, &contents.nodes)?.ok_or("a block is empty")?;
            if found.dictionary.is_some() != is_dictionary
                || found.head_length != head
                || found.body_length > body
            {
                return Err(format!("the block at {at} is not what its footer says"));
            }
            messages.push(found);
        }
    }
    let mut ids: Vec<i64> = messages
        .iter()
        .filter_map(|message| message.dictionary)
        .collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(
            "it has two dictionaries of one column, of which a file with a footer has one".into(),
        );
    }
    check_no_gaps(file, messages, start)?;
    Ok(contents)
}

/// Refuses a file whose footer knows only some of what stands before it, as that of the last of
/// several that were joined.
fn check_no_gaps(
    file: &dyn RandomRead,
    messages: &[IpcMessage],
    footer: u64,
) -> Result<(), String> {
    let mut taken: Vec<(u64, u64)> = messages
        .iter()
        .map(|message| {
            (
                message.offset,
                message.offset + message.head_length + message.body_length,
            )
        })
        .collect();
    taken.push((footer, footer));
    taken.sort_unstable();
    let mut behind = schema_message_end(file, footer)?.unwrap_or(taken[0].0);
    for (start, end) in taken {
        let length = start.saturating_sub(behind);
        let between = if length > MAX_METADATA_BYTES {
            Vec::new()
        } else {
            read_bytes(file, behind, length)?
        };
        let between = between.strip_prefix(&CONTINUATION).unwrap_or(&between);
        if length > MAX_METADATA_BYTES || between.iter().any(|byte| *byte != 0) {
            return Err(format!(
                "its footer knows nothing of {length} bytes at {behind}: it may be several files that were joined"
            ));
        }
        behind = behind.max(end);
    }
    Ok(())
}

/// Where the message of the schema ends that stands before all others; nothing where that is not
/// known, as in files of polars, whose schema there has no length. Readers take that of the footer.
fn schema_message_end(file: &dyn RandomRead, footer: u64) -> Result<Option<u64>, String> {
    let padding = read_bytes(file, MESSAGES_AT, (footer - MESSAGES_AT).min(PADDING))?;
    let zeros = padding.iter().take_while(|byte| **byte == 0).count() / 8 * 8;
    let Ok(Some((behind, bytes))) = read_head(file, MESSAGES_AT + zeros as u64, footer) else {
        return Ok(None);
    };
    Ok(is_schema(&bytes).then_some(behind))
}

/// What the first message of a stream says, and where it ends.
fn begin_stream(file: &dyn RandomRead, size: u64) -> Result<(IpcContents, u64), String> {
    let schema_bytes = read_head(file, 0, size)?.ok_or("it has no schema")?;
    let first = flat::MessageRef::read_as_root(&schema_bytes.1).map_err(damaged)?;
    let Some(flat::MessageHeaderRef::Schema(schema)) = first.header().map_err(damaged)? else {
        return Err("it has no schema".into());
    };
    Ok((empty_contents(Container::Stream, &schema)?, schema_bytes.0))
}

/// Messages up to the one that says that they end.
fn read_stream(file: &dyn RandomRead, size: u64) -> Result<IpcContents, String> {
    let (mut contents, mut at) = begin_stream(file, size)?;
    loop {
        if at >= size {
            return Err("it does not say that it ends: it may have been cut off".into());
        }
        let Some(found) = read_message(file, at, size, &contents.nodes)? else {
            break;
        };
        contents.messages.push(found);
        at += found.head_length + found.body_length;
    }
    let rest = read_bytes(file, at, (size - at).min(MAX_METADATA_BYTES))?;
    let marker = if rest.starts_with(&CONTINUATION) {
        8
    } else {
        4
    };
    if rest.iter().skip(marker).any(|byte| *byte != 0) || size - at > MAX_METADATA_BYTES {
        return Err(
            "something stands behind the end of its stream, as of two that were joined".into(),
        );
    }
    Ok(contents)
}

fn is_stream(file: &dyn RandomRead, size: u64) -> bool {
    matches!(read_head(file, 0, size), Ok(Some((_, head))) if is_schema(&head))
}

fn is_schema(head: &[u8]) -> bool {
    let header = flat::MessageRef::read_as_root(head).and_then(|message| message.header());
    matches!(header, Ok(Some(flat::MessageHeaderRef::Schema(_))))
}

/// True for the message of a schema that is no deeper and no larger than those of files may be.
pub(in crate::format) fn is_readable_schema(message: &[u8]) -> bool {
    let header = flat::MessageRef::read_as_root(message).and_then(|message| message.header());
    match header {
        Ok(Some(flat::MessageHeaderRef::Schema(schema))) => types::columns(&schema).is_ok(),
        _ => false,
    }
}

/// What a schema says, without a message.
fn empty_contents(
    container: Container,
    schema: &flat::SchemaRef<'_>,
) -> Result<IpcContents, String> {
    if schema.endianness().map_err(damaged)? == flat::Endianness::Big {
        return Err("its numbers are big-endian, which is not read".into());
    }
    let columns = types::columns(schema)?;
    let nodes = ExpectedNodes::from_schema(schema)?;
    let notes = types::custom_metadata(schema.custom_metadata())?;
    // A message of its own, of which polars makes its schema.
    let schema = flat::Schema::try_from(*schema).map_err(damaged)?;
    let message = flat::Message {
        version: flat::MetadataVersion::V5,
        header: Some(flat::MessageHeader::Schema(Box::new(schema))),
        body_length: 0,
        custom_metadata: None,
    };
    let schema = flat::planus::Builder::new().finish(message, None).to_vec();
    Ok(IpcContents {
        container,
        columns,
        nodes,
        metadata: notes,
        schema_message: schema,
        messages: Vec::new(),
    })
}

/// The dictionary or the batch at a place; nothing where the messages end.
fn read_message(
    file: &dyn RandomRead,
    at: u64,
    end: u64,
    nodes: &ExpectedNodes,
) -> Result<Option<IpcMessage>, String> {
    let Some((behind, bytes)) = read_head(file, at, end)? else {
        return Ok(None);
    };
    let found = flat::MessageRef::read_as_root(&bytes).map_err(damaged)?;
    let version = found.version().map_err(damaged)?;
    if !matches!(
        version,
        flat::MetadataVersion::V4 | flat::MetadataVersion::V5
    ) {
        return Err("it is of a version of Arrow before 0.8, which is not read".into());
    }
    let body = u64::try_from(found.body_length().map_err(damaged)?).map_err(damaged)?;
    if behind.checked_add(body).is_none_or(|behind| behind > end) {
        return Err(format!(
            "a message at {at} has {body} bytes, and the file ends before: it may have been cut off"
        ));
    }
    let (dictionary, batch) = match found.header().map_err(damaged)? {
        Some(flat::MessageHeaderRef::RecordBatch(batch)) => (None, batch),
        Some(flat::MessageHeaderRef::DictionaryBatch(dictionary)) => {
            if dictionary.is_delta().map_err(damaged)? {
                return Err(
                    "it has delta dictionaries, which are not read: write it with whole ones"
                        .into(),
                );
            }
            (
                Some(dictionary.id().map_err(damaged)?),
                dictionary
                    .data()
                    .map_err(damaged)?
                    .ok_or("a dictionary is empty")?,
            )
        }
        _ => {
            return Err(format!(
                "the message at {at} is neither a batch nor a dictionary"
            ));
        }
    };
    let rows = batch.length().map_err(damaged)?;
    let rows = u64::try_from(rows).map_err(|_| format!("a batch says that it has {rows} rows"))?;
    let is_version_4 = version == flat::MetadataVersion::V4;
    let checked = nodes
        .for_message(dictionary)
        .and_then(|nodes| expected_nodes::check_batch(&batch, is_version_4, body, nodes));
    checked.map_err(|reason| format!("the message at {at} {reason}"))?;
    let codec = batch
        .compression()
        .map_err(damaged)?
        .map(|compression| compression.codec().map_err(damaged))
        .transpose()?;
    Ok(Some(IpcMessage {
        dictionary,
        offset: at,
        head_length: behind - at,
        body_length: body,
        rows,
        codec,
    }))
}

/// The head of the message at a place, with where its body begins; nothing where the messages end.
pub(super) fn read_head(
    file: &dyn RandomRead,
    at: u64,
    end: u64,
) -> Result<Option<(u64, Vec<u8>)>, String> {
    let cut_off =
        || format!("the message at {at} is longer than the file: it may have been cut off");
    let within = |behind: u64| {
        if behind <= end {
            Ok(())
        } else {
            Err(cut_off())
        }
    };
    within(at.checked_add(4).ok_or_else(cut_off)?)?;
    let mut length = read_bytes(file, at, 4)?;
    let mut start = at + 4;
    // Before Arrow 0.15 nothing stood before the length.
    if length == CONTINUATION {
        within(at + 8)?;
        length = read_bytes(file, start, 4)?;
        start = at + 8;
    }
    let length = u64::from(u32::from_le_bytes([
        length[0], length[1], length[2], length[3],
    ]));
    if length == 0 {
        return Ok(None);
    }
    if length > MAX_METADATA_BYTES {
        return Err(format!(
            "the head of the message at {at} says that it has {length} bytes"
        ));
    }
    within(start + length)?;
    Ok(Some((start + length, read_bytes(file, start, length)?)))
}

/// Some bytes of the file, as many as were asked for.
pub(super) fn read_bytes(file: &dyn RandomRead, at: u64, length: u64) -> Result<Vec<u8>, String> {
    let length = usize::try_from(length).map_err(damaged)?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(length)
        .map_err(|_| format!("{length} bytes of it do not fit into memory"))?;
    bytes.resize(length, 0);
    file.read_exact_at(&mut bytes, at)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}
