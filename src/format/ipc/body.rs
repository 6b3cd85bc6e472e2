//! Bodies of messages: their buffers, unpacked and packed.
//!
//! Streams are read to their end and compared with the sizes that are said of them, as pages of
//! parquet are. What polars-arrow gets and gives is never packed, so that no option of a library
//! decides a byte.

use std::io::{Read, Write};

use polars_arrow::io::ipc::format::ipc as flat;
use polars_arrow::io::ipc::format::ipc::planus::{Builder, ReadAsRoot};
use polars_arrow::io::ipc::write::EncodedData;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::expected_nodes::{self, ExpectedNodes};
use super::messages::{self, IpcMessage};
use super::types::damaged;
use crate::format::{Compression, FormatError, OpenFile};

/// The level of zstd where nothing is said.
const ZSTD_LEVEL: u8 = 3;

/// Stands before a buffer that is not packed, where others are: it would not have become smaller.
const UNCOMPRESSED_MARKER: i64 = -1;

/// How bodies are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyCodec {
    None,
    Lz4,
    Zstd(u8),
}

impl BodyCodec {
    pub(super) fn new(compression: Compression) -> Result<Self, FormatError> {
        match compression.name {
            "uncompressed" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd(compression.level.unwrap_or(ZSTD_LEVEL))),
            other => Err(FormatError::Encode(format!(
                "Arrow IPC has no compression {other}"
            ))),
        }
    }

    /// The word for one that was found.
    pub(super) fn codec_name(found: Option<flat::CompressionType>) -> &'static str {
        match found {
            None => "uncompressed",
            Some(flat::CompressionType::Lz4Frame) => "lz4",
            Some(flat::CompressionType::Zstd) => "zstd",
        }
    }
}

/// A message that has its own place and whose body is not packed.
pub(super) struct DecompressedMessage {
    /// Head and body.
    pub(super) bytes: Vec<u8>,
    pub(super) head: usize,
}

/// Reads a message, and unpacks its body.
///
/// # Errors
/// It is not what was said of it, in words.
pub(super) fn read_message(
    source: &OpenFile,
    message: &IpcMessage,
    nodes: &ExpectedNodes,
) -> Result<DecompressedMessage, String> {
    let (start, head) = messages::read_head(
        source.bytes.as_ref(),
        message.offset,
        message.offset + message.head_length,
    )?
    .ok_or("a message is gone")?;
    let packed = messages::read_bytes(source.bytes.as_ref(), start, message.body_length)?;
    let mut found = parse_message(&head)?;
    let is_version_4 = found.version == flat::MetadataVersion::V4;
    let batch = record_batch_mut(&mut found)?;
    let mut lifted = match batch.compression.take() {
        None => join_message(&head, &[&packed]),
        Some(compression) => {
            let buffers = batch.buffers.get_or_insert_default();
            let unpack = |bytes: &[u8]| decompress_buffer(compression.codec, bytes);
            let bodies = map_buffers(buffers, &packed, unpack)?;
            found.body_length = set_buffer_offsets(buffers, &bodies)?;
            join_message(Builder::new().finish(&found, None), &with_padding(&bodies))
        }
    };
    let nodes = nodes.for_message(message.dictionary)?;
    expected_nodes::zero_nulls(
        &mut lifted.bytes[lifted.head..],
        record_batch_mut(&mut found)?,
        is_version_4,
        nodes,
    );
    Ok(lifted)
}

fn parse_message(head: &[u8]) -> Result<flat::Message, String> {
    flat::Message::try_from(flat::MessageRef::read_as_root(head).map_err(damaged)?).map_err(damaged)
}

/// The batch of a message, or the data of its dictionary.
fn record_batch_mut(message: &mut flat::Message) -> Result<&mut flat::RecordBatch, String> {
    match &mut message.header {
        Some(flat::MessageHeader::RecordBatch(batch)) => Ok(batch),
        Some(flat::MessageHeader::DictionaryBatch(dictionary)) => {
            Ok(dictionary.data.as_mut().ok_or("a dictionary is empty")?)
        }
        _ => Err("a message is neither a batch nor a dictionary".into()),
    }
}

/// What becomes of each buffer.
fn map_buffers(
    buffers: &[flat::Buffer],
    body: &[u8],
    work: impl Fn(&[u8]) -> Result<Vec<u8>, String> + Sync,
) -> Result<Vec<Vec<u8>>, String> {
    let made = buffers.par_iter().map(|buffer| {
        let bytes = expected_nodes::buffer_range(buffer).and_then(|range| body.get(range));
        work(bytes.ok_or("a buffer does not lie in its message")?)
    });
    made.collect()
}

/// Says where the buffers are in the body that [`with_padding`] makes of them, and how long it is.
fn set_buffer_offsets(buffers: &mut [flat::Buffer], bodies: &[Vec<u8>]) -> Result<i64, String> {
    let mut at = 0_usize;
    for (buffer, body) in buffers.iter_mut().zip(bodies) {
        buffer.offset = i64::try_from(at).map_err(damaged)?;
        buffer.length = i64::try_from(body.len()).map_err(damaged)?;
        let end = at.checked_add(body.len().next_multiple_of(ALIGNMENT));
        at = end.ok_or("a body is too large")?;
    }
    i64::try_from(at).map_err(damaged)
}

/// The pieces of a body.
fn with_padding(bodies: &[Vec<u8>]) -> Vec<&[u8]> {
    bodies
        .iter()
        .flat_map(|body| [body.as_slice(), padding(body.len())])
        .collect()
}

/// Where buffers begin in a body: at places that this divides.
const ALIGNMENT: usize = 64;

fn padding(length: usize) -> &'static [u8] {
    &[0; ALIGNMENT][..length.next_multiple_of(ALIGNMENT) - length]
}

fn join_message(head: &[u8], body: &[&[u8]]) -> DecompressedMessage {
    let length = head.len().next_multiple_of(8);
    let mut bytes =
        Vec::with_capacity(8 + length + body.iter().map(|piece| piece.len()).sum::<usize>());
    bytes.extend([0xff; 4]);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(head);
    bytes.resize(8 + length, 0);
    body.iter().for_each(|piece| bytes.extend_from_slice(piece));
    DecompressedMessage {
        bytes,
        head: 8 + length,
    }
}

fn decompress_buffer(codec: flat::CompressionType, bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (size, packed) = bytes
        .split_first_chunk::<8>()
        .ok_or("a packed buffer does not say its size")?;
    let stated = i64::from_le_bytes(*size);
    if stated == UNCOMPRESSED_MARKER {
        return Ok(packed.to_vec());
    }
    let size =
        u64::try_from(stated).map_err(|_| format!("a buffer says that it has {stated} bytes"))?;
    let mut out = Vec::new();
    // Nothing is allocated before it is there, and one byte more than was said is looked for.
    let most = size.saturating_add(1);
    match codec {
        flat::CompressionType::Lz4Frame if !packed.is_empty() => {
            let mut stream = lz4::Decoder::new(packed).map_err(damaged)?;
            Read::by_ref(&mut stream)
                .take(most)
                .read_to_end(&mut out)
                .map_err(damaged)?;
            stream.finish().1.map_err(damaged)?;
        }
        flat::CompressionType::Zstd if !packed.is_empty() => {
            zstd::Decoder::with_buffer(packed)
                .map_err(damaged)?
                .take(most)
                .read_to_end(&mut out)
                .map_err(damaged)?;
        }
        _ => {}
    }
    if out.len() as u64 != size {
        return Err(format!(
            "a buffer says that it has {size} bytes, and unpacks to {}",
            out.len()
        ));
    }
    Ok(out)
}

/// Packs the body of a message that polars-arrow made.
pub(super) fn compress_message(
    encoded: EncodedData,
    codec: BodyCodec,
) -> Result<EncodedData, FormatError> {
    let kind = match codec {
        BodyCodec::None => return Ok(encoded),
        BodyCodec::Lz4 => flat::CompressionType::Lz4Frame,
        BodyCodec::Zstd(_) => flat::CompressionType::Zstd,
    };
    compress_body(&encoded, codec, kind).map_err(FormatError::Encode)
}

fn compress_body(
    encoded: &EncodedData,
    codec: BodyCodec,
    kind: flat::CompressionType,
) -> Result<EncodedData, String> {
    let mut message = parse_message(&encoded.ipc_message)?;
    let batch = record_batch_mut(&mut message)?;
    batch.compression = Some(Box::new(flat::BodyCompression {
        codec: kind,
        method: flat::BodyCompressionMethod::Buffer,
    }));
    let buffers = batch.buffers.get_or_insert_default();
    let pack = |bytes: &[u8]| compress_buffer(codec, bytes);
    let bodies = map_buffers(buffers, &encoded.arrow_data, pack)?;
    message.body_length = set_buffer_offsets(buffers, &bodies)?;
    Ok(EncodedData {
        ipc_message: Builder::new().finish(&message, None).to_vec(),
        arrow_data: with_padding(&bodies).concat(),
    })
}

fn compress_buffer(codec: BodyCodec, bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = i64::try_from(bytes.len())
        .map_err(damaged)?
        .to_le_bytes()
        .to_vec();
    match codec {
        BodyCodec::Lz4 => {
            let mut stream = lz4::EncoderBuilder::new()
                .build(&mut out)
                .map_err(damaged)?;
            stream.write_all(bytes).map_err(damaged)?;
            stream.finish().1.map_err(damaged)?;
        }
        BodyCodec::Zstd(level) => {
            zstd::stream::copy_encode(bytes, &mut out, level.into()).map_err(damaged)?
        }
        BodyCodec::None => {}
    }
    if codec == BodyCodec::None || out.len() >= bytes.len() + 8 {
        out.truncate(0);
        out.extend(UNCOMPRESSED_MARKER.to_le_bytes());
        out.extend(bytes);
    }
    Ok(out)
}
