//! Texts in files: unpacked and packed, and in UTF-8 whatever their encoding is.
//!
//! encoding_rs takes latin1 for windows-1252, and has letters for bytes that have none there: that a
//! file is of another encoding than the config says would not be noticed.

mod packing;
mod values;

use std::io::{self, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::storage::{RandomRead, SequentialReader};

pub(super) use packing::{PACKINGS, Packer, packed, packing_levels};
pub(super) use values::{is_nested, put_json, put_text};

/// How much is decoded at once.
const BLOCK_BYTES: usize = 1 << 16;

/// What stands behind the first four letters of bzip2: a block begins, or the stream ends. Those are
/// a word as well.
const BZIP2_MAGIC: [[u8; 6]; 2] = [
    [0x31, 0x41, 0x59, 0x26, 0x53, 0x59],
    [0x17, 0x72, 0x45, 0x38, 0x50, 0x90],
];

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// How letters are written as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Encoding {
    /// UTF-8, with or without its mark.
    #[default]
    Utf8,
    /// ISO 8859-1.
    Latin1,
    /// Windows-1252.
    #[serde(rename = "windows-1252")]
    Windows1252,
    /// UTF-16, with its mark.
    Utf16,
}

/// The letters of windows-1252 from 0x80 to 0x9f; five bytes have none.
const WINDOWS_1252: [Option<char>; 32] = [
    Some('€'),
    None,
    Some('‚'),
    Some('ƒ'),
    Some('„'),
    Some('…'),
    Some('†'),
    Some('‡'),
    Some('ˆ'),
    Some('‰'),
    Some('Š'),
    Some('‹'),
    Some('Œ'),
    None,
    Some('Ž'),
    None,
    None,
    Some('‘'),
    Some('’'),
    Some('“'),
    Some('”'),
    Some('•'),
    Some('–'),
    Some('—'),
    Some('˜'),
    Some('™'),
    Some('š'),
    Some('›'),
    Some('œ'),
    None,
    Some('ž'),
    Some('Ÿ'),
];

/// The text of a file, in UTF-8 and without a mark; bytes of UTF-8 are not looked at.
pub(super) fn text_reader<'f>(
    file: &'f dyn RandomRead,
    encoding: Encoding,
) -> io::Result<Box<dyn Read + Send + 'f>> {
    let mut unpacked = unpacked(file)?;
    let head = read_head(&mut unpacked, UTF8_MARK.len())?;
    let is_big = match head.as_slice() {
        [0xfe, 0xff, ..] => Some(true),
        [0xff, 0xfe, ..] => Some(false),
        _ => None,
    };
    if let Some(is_big) = is_big {
        let rest = io::Cursor::new(head[2..].to_vec()).chain(unpacked);
        let decode = Utf16Decoder { is_big, high: None };
        return Ok(Box::new(DecodingReader::new(rest, decode)));
    }
    let rest = io::Cursor::new(head.clone());
    if head == UTF8_MARK {
        return Ok(Box::new(unpacked));
    }
    Ok(match encoding {
        Encoding::Utf8 => Box::new(rest.chain(unpacked)),
        Encoding::Latin1 => Box::new(DecodingReader::new(
            rest.chain(unpacked),
            ByteDecoder(|byte| Some(char::from(byte))),
        )),
        Encoding::Windows1252 => Box::new(DecodingReader::new(
            rest.chain(unpacked),
            ByteDecoder(windows_1252),
        )),
        Encoding::Utf16 => {
            return Err(invalid("it does not begin with the mark that UTF-16 has"));
        }
    })
}

fn windows_1252(byte: u8) -> Option<char> {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        byte => Some(char::from(byte)),
    }
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// The bytes of a file, unpacked where it begins as packed ones do.
fn unpacked<'f>(file: &'f dyn RandomRead) -> io::Result<Box<dyn Read + Send + 'f>> {
    let mut plain = SequentialReader::new(file);
    let head = read_head(&mut plain, 10)?;
    let whole = SequentialReader::new(file);
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(PackedReader(MultiGzDecoder::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(PackedReader(zstd::stream::read::Decoder::new(whole)?))
        }
        [b'B', b'Z', b'h', b'1'..=b'9', magic @ ..]
            if BZIP2_MAGIC.iter().any(|known| magic == known) =>
        {
            Box::new(PackedReader(MultiBzDecoder::new(whole)))
        }
        _ => Box::new(whole),
    })
}

/// The first bytes, as far as there are so many.
fn read_head(from: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(count);
    from.take(count as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// What is packed, whose errors say that.
struct PackedReader<R>(R);

impl<R: Read> Read for PackedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::UnexpectedEof => "it is packed, and cut off".to_string(),
                io::ErrorKind::Interrupted => return error,
                // The disk says so, and not what unpacks.
                _ if error.raw_os_error().is_some() => return error,
                _ => format!("it is packed, and damaged: {error}"),
            };
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }
}

/// Makes letters of bytes.
trait Decoder {
    /// Adds the letters of some bytes, which may end inside of one.
    fn decode(&mut self, bytes: &[u8], text: &mut String) -> Result<(), String>;

    /// The bytes are at their end.
    fn finish(&self) -> Result<(), String> {
        Ok(())
    }
}

/// One letter for each byte, or none.
struct ByteDecoder(fn(u8) -> Option<char>);

impl Decoder for ByteDecoder {
    fn decode(&mut self, bytes: &[u8], text: &mut String) -> Result<(), String> {
        for byte in bytes {
            let letter = (self.0)(*byte);
            text.push(
                letter
                    .ok_or_else(|| format!("the byte {byte:#04x} is no letter in its encoding"))?,
            );
        }
        Ok(())
    }
}

struct Utf16Decoder {
    is_big: bool,
    /// What was read of a letter: a byte, or a half of a pair and perhaps one more byte.
    high: Option<PartialLetter>,
}

#[derive(Clone, Copy)]
enum PartialLetter {
    Byte(u8),
    Surrogate(u16),
    SurrogateAndByte(u16, u8),
}

impl Decoder for Utf16Decoder {
    fn decode(&mut self, bytes: &[u8], text: &mut String) -> Result<(), String> {
        use PartialLetter as P;
        for byte in bytes {
            let unit = |first: u8| {
                let pair = [first, *byte];
                if self.is_big {
                    u16::from_be_bytes(pair)
                } else {
                    u16::from_le_bytes(pair)
                }
            };
            let (surrogate, unit) = match self.high.take() {
                None => {
                    self.high = Some(P::Byte(*byte));
                    continue;
                }
                Some(P::Surrogate(high)) => {
                    self.high = Some(P::SurrogateAndByte(high, *byte));
                    continue;
                }
                Some(P::Byte(first)) => (None, unit(first)),
                Some(P::SurrogateAndByte(high, first)) => (Some(high), unit(first)),
            };
            let is_high = (0xd800..0xdc00).contains(&unit);
            if surrogate.is_none() && is_high {
                self.high = Some(P::Surrogate(unit));
                continue;
            }
            let units = surrogate.into_iter().chain([unit]);
            for letter in char::decode_utf16(units) {
                let lone = |unit: u16| {
                    format!("it has {unit:#06x} alone, which is half of a letter of UTF-16")
                };
                text.push(letter.map_err(|error| lone(error.unpaired_surrogate()))?);
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), String> {
        match self.high {
            None => Ok(()),
            Some(_) => Err("it ends inside of a letter of UTF-16".into()),
        }
    }
}

/// Letters as bytes of UTF-8.
struct DecodingReader<R, D> {
    inner: R,
    decoder: D,
    text: String,
    /// How much of the text is given away.
    start: usize,
    is_at_end: bool,
    /// What is wrong behind the text.
    error: Option<String>,
}

impl<R: Read, D: Decoder> DecodingReader<R, D> {
    fn new(inner: R, decoder: D) -> Self {
        Self {
            inner,
            decoder,
            text: String::new(),
            start: 0,
            is_at_end: false,
            error: None,
        }
    }
}

impl<R: Read, D: Decoder> Read for DecodingReader<R, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.start == self.text.len() && !self.is_at_end {
            (self.start, self.text) = (0, String::new());
            let mut bytes = vec![0; BLOCK_BYTES];
            let read = self.inner.read(&mut bytes)?;
            self.is_at_end = read == 0;
            let decoded = if read == 0 {
                self.decoder.finish()
            } else {
                self.decoder.decode(&bytes[..read], &mut self.text)
            };
            self.error = decoded.err();
            self.is_at_end |= self.error.is_some();
        }
        if self.start == self.text.len()
            && let Some(error) = self.error.take()
        {
            return Err(invalid(error));
        }
        let rest = &self.text.as_bytes()[self.start..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_the_same_wherever_reads_end() {
        let text = "a€𝄞\u{10ffff}z";
        for is_big in [true, false] {
            let units = text.encode_utf16();
            let bytes: Vec<u8> = units
                .flat_map(|unit| {
                    if is_big {
                        unit.to_be_bytes()
                    } else {
                        unit.to_le_bytes()
                    }
                })
                .collect();
            for size in 1..6 {
                let mut decoder = Utf16Decoder { is_big, high: None };
                let mut found = String::new();
                for chunk in bytes.chunks(size) {
                    decoder.decode(chunk, &mut found).expect("letters");
                }
                decoder.finish().expect("an end");
                assert_eq!(found, text);
            }
            let mut decoder = Utf16Decoder { is_big, high: None };
            decoder
                .decode(&bytes[..bytes.len() - 1], &mut String::new())
                .expect("letters");
            assert!(decoder.finish().is_err());
            // The second half before the first, and the first twice.
            for halves in [[0xdc00_u16, 0xd800], [0xd800, 0xd800]] {
                let bytes: Vec<u8> = halves
                    .iter()
                    .flat_map(|unit| {
                        if is_big {
                            unit.to_be_bytes()
                        } else {
                            unit.to_le_bytes()
                        }
                    })
                    .collect();
                let mut decoder = Utf16Decoder { is_big, high: None };
                assert!(decoder.decode(&bytes, &mut String::new()).is_err());
            }
        }
    }

    #[test]
    fn bytes_without_a_letter_are_errors() {
        let decode = |decode: fn(u8) -> Option<char>, bytes: &[u8]| {
            let mut text = String::new();
            ByteDecoder(decode).decode(bytes, &mut text).map(|()| text)
        };
        assert_eq!(decode(windows_1252, b"\x80\xe4\x9f").as_deref(), Ok("€äŸ"));
        for byte in [0x81, 0x8d, 0x8f, 0x90, 0x9d] {
            assert!(decode(windows_1252, &[byte]).is_err());
        }
        assert_eq!(
            decode(|byte| Some(char::from(byte)), b"\x80\xe4").as_deref(),
            Ok("\u{80}ä")
        );
    }
}
