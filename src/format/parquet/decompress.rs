//! Unpacking: bytes of a page, read to the end of their stream and checked against what was said of
//! them.
//!
//! Polars stops where it has the bytes that a header asks for: before gzip's checksum, and at
//! whatever LZ4 gave. Here a stream that is longer or shorter than its header says is an error, and
//! nothing is allocated before it is there.

use std::io::Read;

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, HeapAlloc, HuffmanCode};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::codec::CodecId;

/// An LZ4 byte stands for 255 at most.
const LZ4_MAX_RATIO: usize = 255;
/// Three bytes of snappy stand for 64 at most.
const SNAPPY_MAX_RATIO: usize = 64;
/// What begins every gzip stream; some writers leave zlib's.
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// The bytes that brotli gives at once.
const BLOCK: usize = 64 << 10;

/// Adds to `out` what is unpacked of bytes of which it is said how many they become. Of what
/// failed, anything may be there.
pub(super) fn decompress(
    codec: i64,
    bytes: &[u8],
    size: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let before = out.len();
    match CodecId::new(codec) {
        Some(CodecId::Uncompressed) => out.extend_from_slice(bytes),
        Some(_) if bytes.is_empty() => {}
        Some(CodecId::Snappy) => snappy(bytes, size, out)?,
        // A stream of several members is one: a reader that ends at the first loses the rest.
        Some(CodecId::Gzip) if bytes.starts_with(&GZIP_MAGIC) => {
            read_all(MultiGzDecoder::new(bytes), size, out)?
        }
        Some(CodecId::Gzip) => read_all(ZlibDecoder::new(bytes), size, out)?,
        Some(CodecId::Brotli) => brotli(bytes, size, out)?,
        Some(CodecId::Zstd) => read_all(
            zstd::Decoder::new(bytes).map_err(|error| error.to_string())?,
            size,
            out,
        )?,
        Some(CodecId::Lz4Raw) => lz4(bytes, size, out)?,
        Some(CodecId::Lz4) => {
            if lz4_hadoop(bytes, size, out).is_err() {
                out.truncate(before);
                lz4(bytes, size, out)?;
            }
        }
        Some(CodecId::Lzo) => return Err("its codec is LZO, which cannot be unpacked".into()),
        None => return Err(format!("its codec has the number {codec}, which is none")),
    }
    check_size(out.len() - before, size)
}

fn check_size(found: usize, size: usize) -> Result<(), String> {
    if found == size {
        return Ok(());
    }
    let found = if found > size {
        format!("more than {size}")
    } else {
        found.to_string()
    };
    Err(format!(
        "it unpacks to {found} bytes, and its header says {size}"
    ))
}

/// Reads to the end, where the checksums are, and one byte more than was said.
fn read_all(stream: impl Read, size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    stream
        .take(size as u64 + 1)
        .read_to_end(out)
        .map_err(|error| error.to_string())
        .map(drop)
}

fn snappy(bytes: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let stated = snap::raw::decompress_len(bytes).map_err(|error| error.to_string())?;
    if stated != size || size > bytes.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(format!("it has {stated} bytes, and its header says {size}"));
    }
    let before = out.len();
    out.resize(before + size, 0);
    snap::raw::Decoder::new()
        .decompress(bytes, &mut out[before..])
        .map_err(|error| error.to_string())
        .map(drop)
}

/// One block of LZ4, which says nothing of its size.
fn lz4(bytes: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let (before, bound) = (
        out.len(),
        size.min(bytes.len().saturating_mul(LZ4_MAX_RATIO)),
    );
    out.resize(before + bound, 0);
    let most = i32::try_from(bound).map_err(|error| error.to_string())?;
    let written = lz4::block::decompress_to_buffer(bytes, Some(most), &mut out[before..])
        .map_err(|error| error.to_string())?;
    out.truncate(before + written);
    Ok(())
}

/// Hadoop's frames: the unpacked and the packed size, four bytes each, big-endian, and a block.
fn lz4_hadoop(bytes: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let (mut left, mut rest) = (size, bytes);
    while !rest.is_empty() {
        let (head, after) = rest
            .split_first_chunk::<8>()
            .ok_or("a frame of LZ4 is cut off")?;
        let [a, b, c, d, e, f, g, h] = *head;
        let (to, from) = (
            u32::from_be_bytes([a, b, c, d]) as usize,
            u32::from_be_bytes([e, f, g, h]) as usize,
        );
        let (block, after) = after
            .split_at_checked(from)
            .ok_or("a frame of LZ4 is cut off")?;
        left = left
            .checked_sub(to)
            .ok_or_else(|| format!("it unpacks to more than {size} bytes"))?;
        let before = out.len();
        lz4(block, to, out)?;
        check_size(out.len() - before, to)?;
        rest = after;
    }
    Ok(())
}

/// Brotli has no checksum; what stands behind its end is seen by nobody else.
fn brotli(bytes: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let (bytes_of, numbers_of, codes_of) = (
        HeapAlloc::<u8>::new(0),
        HeapAlloc::<u32>::new(0),
        HeapAlloc::new(HuffmanCode::default()),
    );
    let mut state = BrotliState::new(bytes_of, numbers_of, codes_of);
    let (mut left, mut at, mut total) = (bytes.len(), 0, 0);
    let before = out.len();
    let mut block = vec![0; BLOCK.min(size + 1)];
    loop {
        let (mut room, mut filled) = (block.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut at,
            bytes,
            &mut room,
            &mut filled,
            &mut block,
            &mut total,
            &mut state,
        );
        out.extend_from_slice(&block[..filled]);
        match result {
            BrotliResult::ResultSuccess if left == 0 => return Ok(()),
            BrotliResult::ResultSuccess => {
                return Err(format!("{left} bytes stand behind its end"));
            }
            BrotliResult::NeedsMoreOutput if out.len() - before <= size => {}
            BrotliResult::NeedsMoreOutput => return Ok(()),
            BrotliResult::NeedsMoreInput => return Err("it ends too early".into()),
            BrotliResult::ResultFailure => return Err("it is no stream of brotli".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::format::Compression;
    use crate::format::parquet::codec::PageCodec;

    fn packed(word: &'static str, bytes: &[u8]) -> (i64, Vec<u8>) {
        let codec = PageCodec::new(Compression {
            name: word,
            level: None,
        })
        .expect("a codec");
        let mut packed = Vec::new();
        codec.compress(bytes, &mut packed).expect("packed bytes");
        (codec.id, packed)
    }

    /// Behind what is there already.
    fn unpack(codec: i64, bytes: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let mut out = b"before".to_vec();
        super::decompress(codec, bytes, size, &mut out)?;
        assert!(out.starts_with(b"before"));
        Ok(out.split_off(6))
    }

    const WORDS: [&str; 6] = ["snappy", "gzip", "lz4", "brotli", "zstd", "uncompressed"];

    #[test]
    fn a_stream_that_is_longer_or_shorter_than_was_said_is_an_error() {
        let bytes: Vec<u8> = (0..200_000_u32)
            .flat_map(|number| number.wrapping_mul(number).to_le_bytes())
            .collect();
        for word in WORDS {
            for bytes in [&bytes[..], &bytes[..10], b""] {
                let (codec, packed) = packed(word, bytes);
                assert_eq!(
                    unpack(codec, &packed, bytes.len()).as_deref(),
                    Ok(bytes),
                    "{word}"
                );
                assert!(unpack(codec, &packed, bytes.len() + 1).is_err(), "{word}");
                assert!(
                    bytes.is_empty() || unpack(codec, &packed, bytes.len() - 1).is_err(),
                    "{word}"
                );
                assert!(unpack(codec, &packed, i32::MAX as usize).is_err(), "{word}");
                if packed.len() > 1 {
                    assert!(
                        unpack(codec, &packed[..packed.len() - 1], bytes.len()).is_err(),
                        "{word}: cut off"
                    );
                }
                let longer = [&packed[..], b"\0"].concat();
                assert!(
                    unpack(codec, &longer, bytes.len()).is_err(),
                    "{word}: something behind it"
                );
            }
        }
    }

    #[test]
    fn checksums_are_compared() {
        let bytes = b"a page of a column, a page of a column, a page of a column";
        let (gzip, packed) = packed("gzip", bytes);
        for place in 10..packed.len() {
            let mut damaged = packed.clone();
            damaged[place] ^= 1;
            assert!(unpack(gzip, &damaged, bytes.len()).is_err(), "byte {place}");
        }
    }

    #[test]
    fn several_members_of_gzip_are_one_page() {
        let (gzip, one) = packed("gzip", b"one");
        let (_, two) = packed("gzip", b"two");
        let both = [&one[..], &two[..]].concat();
        assert_eq!(unpack(gzip, &both, 6).as_deref(), Ok(&b"onetwo"[..]));
        assert!(unpack(gzip, &both, 3).is_err());
    }

    #[test]
    fn frames_of_hadoop_are_read() {
        let (_, block) = packed("lz4", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        let mut frames = Vec::new();
        for _ in 0..2 {
            frames.extend_from_slice(&32_u32.to_be_bytes());
            frames.extend_from_slice(&u32::try_from(block.len()).expect("a length").to_be_bytes());
            frames.extend_from_slice(&block);
        }
        assert_eq!(unpack(5, &frames, 64), Ok(vec![b'a'; 64]));
        assert_eq!(
            unpack(5, &block, 32),
            Ok(vec![b'a'; 32]),
            "old writers leave a block without a frame"
        );
        assert!(unpack(5, &frames, 63).is_err() && unpack(5, &frames, 65).is_err());
    }
}
