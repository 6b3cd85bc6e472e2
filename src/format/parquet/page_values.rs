//! Values of a page, walked over before anything decodes them: as many as its header says, and none
//! outside it.
//!
//! Decoders trust what stands in a page: how many values follow, which entry of the dictionary is
//! meant. What is damaged is found here, so that it is an error and never a wrong value, a panic or
//! an allocation without end. The encodings are those of
//! <https://github.com/apache/parquet-format/blob/master/Encodings.md>.

use super::leaves::{Leaf, ValueWidth};
use super::levels::{BitReader, check_runs, header_count, read_varint};
use super::thrift::ThriftStruct;

const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const DELTA_BINARY_PACKED: i64 = 5;
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;
const RLE_DICTIONARY: i64 = 8;
const BYTE_STREAM_SPLIT: i64 = 9;

/// The number of entries of a dictionary page, which are all in it.
pub(super) fn check_dictionary(
    header: &ThriftStruct,
    body: &[u8],
    leaf: &Leaf,
) -> Result<usize, String> {
    let entries = header_count(header.get_i32(1))?;
    if !matches!(header.get_i32(2), Some(PLAIN | PLAIN_DICTIONARY)) {
        return Err(format!(
            "its dictionary has the encoding {}",
            header.get_i32(2).unwrap_or(-1)
        ));
    }
    check_plain(body, entries, leaf.value_width)?;
    Ok(entries)
}

/// Looks at the values of a data page, of which so many are there.
pub(super) fn check(
    encoding: Option<i64>,
    values: &[u8],
    present: usize,
    leaf: &Leaf,
    dictionary: Option<usize>,
) -> Result<(), String> {
    let encoding = encoding.ok_or("it has no encoding")?;
    if present == 0 {
        let is_width = !matches!(encoding, PLAIN_DICTIONARY | RLE_DICTIONARY)
            || values.first().is_none_or(|width| *width <= 32);
        return if is_width {
            Ok(())
        } else {
            Err("its places in the dictionary should have more than 32 bits each".into())
        };
    }
    match (encoding, leaf.value_width) {
        (PLAIN, physical) => check_plain(values, present, physical),
        (PLAIN_DICTIONARY | RLE_DICTIONARY, _) => {
            let entries = dictionary.ok_or("it needs a dictionary, and there is none")?;
            let largest = entries.checked_sub(1).ok_or("its dictionary is empty")?;
            let (width, indices) = values.split_first().ok_or("its values are cut off")?;
            let largest = u32::try_from(largest).map_err(|error| error.to_string())?;
            check_runs(indices, u32::from(*width), largest, present)
                .map_err(|error| format!("its places in the dictionary: {error}"))
        }
        (RLE, ValueWidth::Boolean) => {
            let (length, after) = values
                .split_first_chunk::<4>()
                .ok_or("its values are cut off")?;
            let values = after
                .get(..u32::from_le_bytes(*length) as usize)
                .ok_or("its values go beyond it")?;
            check_runs(values, 1, 1, present)
        }
        (DELTA_BINARY_PACKED, ValueWidth::Fixed(4 | 8)) => decode_delta(values, present).map(drop),
        (DELTA_LENGTH_BYTE_ARRAY, ValueWidth::Variable) => {
            let (lengths, rest) = decode_delta(values, present)?;
            check_lengths(&lengths, rest)
        }
        (DELTA_BYTE_ARRAY, ValueWidth::Variable | ValueWidth::Fixed(_)) => {
            check_delta_bytes(values, present, leaf.value_width)
        }
        (BYTE_STREAM_SPLIT, ValueWidth::Fixed(width))
            if present.checked_mul(width) == Some(values.len()) =>
        {
            Ok(())
        }
        (BYTE_STREAM_SPLIT, ValueWidth::Fixed(_)) => Err(format!(
            "{present} values do not fill its {} bytes",
            values.len()
        )),
        (encoding, _) => Err(format!("its encoding {encoding} is none of such values")),
    }
}

fn check_plain(values: &[u8], present: usize, physical: ValueWidth) -> Result<(), String> {
    let needed = match physical {
        ValueWidth::Boolean => present.div_ceil(8),
        ValueWidth::Fixed(width) => present.saturating_mul(width),
        ValueWidth::Variable => {
            let mut rest = values;
            for _ in 0..present {
                let (length, after) = rest
                    .split_first_chunk::<4>()
                    .ok_or("it has fewer values than its header says")?;
                rest = after
                    .get(u32::from_le_bytes(*length) as usize..)
                    .ok_or("a value goes beyond it")?;
            }
            0
        }
    };
    if needed > values.len() {
        return Err(format!(
            "{present} values need {needed} bytes, and it has {}",
            values.len()
        ));
    }
    Ok(())
}

/// Numbers of which each is said by its difference from the one before; gives what stands behind
/// them.
fn decode_delta(bytes: &[u8], present: usize) -> Result<(Vec<i64>, &[u8]), String> {
    let cut_off = || "its values are cut off".to_string();
    let (block, rest) = read_varint(bytes).ok_or_else(cut_off)?;
    let (parts, rest) = read_varint(rest).ok_or_else(cut_off)?;
    let (total, rest) = read_varint(rest).ok_or_else(cut_off)?;
    let (value, mut rest) = read_varint(rest).ok_or_else(cut_off)?;
    if total != present as u64 {
        return Err(format!("it has {total} values, and should have {present}"));
    }
    let each = block
        .checked_div(parts)
        .filter(|each| parts * each == block && each % 8 == 0 && (1..=1 << 20).contains(&block));
    let each =
        each.ok_or_else(|| format!("its blocks should have {block} values in {parts} parts"))?;
    let each = usize::try_from(each).map_err(|error| error.to_string())?;
    let parts = usize::try_from(parts).map_err(|error| error.to_string())?;
    let mut value = unzigzag(value);
    let mut values = vec![value];
    while values.len() < present {
        let (least, after) = read_varint(rest).ok_or_else(cut_off)?;
        let (widths, after) = after.split_at_checked(parts).ok_or_else(cut_off)?;
        rest = after;
        for width in widths {
            let left = each.min(present - values.len());
            if left == 0 {
                break;
            }
            if *width > 64 {
                return Err(format!("its values should have {width} bits each"));
            }
            let length = each * usize::from(*width) / 8;
            // The last part may be cut short, behind the last number that is meant.
            let packed = &rest[..length.min(rest.len())];
            if packed.len() < (left * usize::from(*width)).div_ceil(8) {
                return Err(cut_off());
            }
            let mut bits = BitReader::new(packed);
            for _ in 0..left {
                value = value
                    .wrapping_add(unzigzag(least))
                    .wrapping_add(bits.read(u32::from(*width)).cast_signed());
                values.push(value);
            }
            rest = &rest[packed.len()..];
        }
    }
    Ok((values, rest))
}

fn check_lengths(lengths: &[i64], rest: &[u8]) -> Result<(), String> {
    let mut left = rest.len();
    for length in lengths {
        let length =
            usize::try_from(*length).map_err(|_| format!("a value should have {length} bytes"))?;
        left = left.checked_sub(length).ok_or("a value goes beyond it")?;
    }
    Ok(())
}

/// Values of which each begins as the one before.
fn check_delta_bytes(values: &[u8], present: usize, physical: ValueWidth) -> Result<(), String> {
    let (prefixes, rest) = decode_delta(values, present)?;
    let (suffixes, rest) = decode_delta(rest, present)?;
    check_lengths(&suffixes, rest)?;
    let mut before = 0;
    for (prefix, suffix) in prefixes.iter().zip(&suffixes) {
        if *prefix < 0 || *prefix > before {
            return Err(format!(
                "a value should begin as the {prefix} bytes before it"
            ));
        }
        before = prefix + suffix;
        if matches!(physical, ValueWidth::Fixed(width) if i64::try_from(width) != Ok(before)) {
            return Err(format!("a value has {before} bytes"));
        }
    }
    Ok(())
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::decode_delta;

    #[test]
    fn differences_are_added_up() {
        // 128 in 4 parts, 5 values, the first is 7, the least difference 1, no bits: 7 8 9 10 11.
        let bytes = [0x80, 1, 4, 5, 14, 2, 0, 0, 0, 0, 99];
        let (values, rest) = decode_delta(&bytes, 5).expect("values");
        assert_eq!((values, rest), (vec![7, 8, 9, 10, 11], &[99][..]));
        assert!(decode_delta(&bytes, 6).is_err() && decode_delta(&bytes[..6], 5).is_err());
        assert!(
            decode_delta(&[0x80, 1, 0, 5, 14, 2], 5).is_err(),
            "no parts"
        );
        assert!(
            decode_delta(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 5, 14, 2], 5).is_err(),
            "a block without end"
        );
    }
}
