//! Levels: what is null, what is a list, and where a row begins, walked over before anything
//! decodes it.
//!
//! They are packed as <https://github.com/apache/parquet-format/blob/master/Encodings.md> says; so
//! are places in a dictionary.

use std::iter::zip;

use polars_parquet::parquet::encoding::bitpacked::Decoder;

use super::leaves::Leaf;
use super::thrift::ThriftStruct;

const RLE: i64 = 3;

/// What a page holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageCounts {
    /// Entries, nulls and empty lists among them.
    pub(super) entries: usize,
    /// Entries that are values.
    pub(super) present: usize,
    /// Rows that begin in it.
    pub(super) rows: usize,
}

impl PageCounts {
    /// Entries that are no values.
    pub(super) fn nulls(&self) -> usize {
        self.entries - self.present
    }
}

/// The levels of a column that lies in groups or lists, entry by entry; of other columns nothing is
/// kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    definition: Vec<u8>,
    /// None where it lies in no list.
    repetition: Vec<u8>,
}

impl Levels {
    /// Adds those of a data page of the first version; gives what it holds, and its values.
    pub(super) fn add_v1<'b>(
        &mut self,
        header: &ThriftStruct,
        body: &'b [u8],
        leaf: &Leaf,
    ) -> Result<(PageCounts, &'b [u8]), String> {
        let entries = header_count(header.get_i32(1))?;
        let mut rest = body;
        let mut split = |max: u32, encoding: Option<i64>, what: &str| -> Result<&'b [u8], String> {
            if max == 0 {
                return Ok(&[]);
            }
            if encoding != Some(RLE) {
                return Err(format!(
                    "its {what} levels are packed in an old way, which is not read"
                ));
            }
            let (length, after) = rest
                .split_first_chunk::<4>()
                .ok_or_else(|| format!("its {what} levels are cut off"))?;
            let length = u32::from_le_bytes(*length) as usize;
            let (levels, after) = after
                .split_at_checked(length)
                .ok_or_else(|| format!("its {what} levels go beyond it"))?;
            rest = after;
            Ok(levels)
        };
        let repetition = split(leaf.max_repetition, header.get_i32(4), "repetition")?;
        let definition = split(leaf.max_definition, header.get_i32(3), "definition")?;
        Ok((
            self.add_levels(repetition, definition, entries, leaf)?,
            rest,
        ))
    }

    /// The same of the second version, whose levels stand apart.
    pub(super) fn add_v2(
        &mut self,
        header: &ThriftStruct,
        levels: &[u8],
        leaf: &Leaf,
    ) -> Result<PageCounts, String> {
        let entries = header_count(header.get_i32(1))?;
        let (repetition, definition) = levels
            .split_at_checked(header_count(header.get_i32(6))?)
            .ok_or("its levels go beyond it")?;
        self.add_levels(repetition, definition, entries, leaf)
    }

    fn add_levels(
        &mut self,
        repetition: &[u8],
        definition: &[u8],
        entries: usize,
        leaf: &Leaf,
    ) -> Result<PageCounts, String> {
        let is_nested = leaf.path.len() > 1 || leaf.max_repetition > 0;
        let level = |max: u32, bytes: &[u8], kept: &mut Vec<u8>, what: &str| {
            let kept = if is_nested {
                Numbers::Kept(kept)
            } else {
                Numbers::Counted
            };
            walk_runs(bytes, u32::BITS - max.leading_zeros(), max, entries, kept)
                .map_err(|error| format!("its {what} levels: {error}"))
        };
        let rows = match leaf.max_repetition {
            0 => entries,
            max => level(max, repetition, &mut self.repetition, "repetition")?.zeros,
        };
        let present = match leaf.max_definition {
            0 => entries,
            max => level(max, definition, &mut self.definition, "definition")?.at_max,
        };
        Ok(PageCounts {
            entries,
            present,
            rows,
        })
    }

    /// Each list goes on only where it has begun.
    pub(super) fn check_lists(&self, leaf: &Leaf) -> Result<(), String> {
        if self.repetition.first().is_some_and(|first| *first != 0) {
            return Err("its first entry goes on with a row that did not begin".into());
        }
        // The level of definition at which the lists of each depth have an element.
        let begins: Vec<u32> = (1..=leaf.max_repetition)
            .filter_map(|depth| leaf.levels.iter().find(|(_, of)| *of == depth))
            .map(|(level, _)| *level)
            .collect();
        for (place, (repetition, definition)) in zip(&self.repetition, &self.definition).enumerate()
        {
            let begins = usize::from(*repetition)
                .checked_sub(1)
                .and_then(|depth| begins.get(depth));
            if begins.is_some_and(|begins| u32::from(*definition) < *begins) {
                return Err(format!("entry {place} goes on with a list that is empty"));
            }
        }
        Ok(())
    }

    /// Two columns of one group agree on where the group is, and where it is null.
    pub(super) fn agrees_with(&self, leaf: &Leaf, other: &Self, other_leaf: &Leaf) -> bool {
        let shared = zip(&leaf.path, &other_leaf.path)
            .take_while(|(one, other)| one == other)
            .count();
        let Some((definition, repetition)) =
            shared.checked_sub(1).and_then(|last| leaf.levels.get(last))
        else {
            return true;
        };
        self.at_ancestor(*definition, *repetition)
            .eq(other.at_ancestor(*definition, *repetition))
    }

    /// The levels as a group above has them.
    fn at_ancestor(&self, definition: u32, repetition: u32) -> impl Iterator<Item = (u32, u32)> {
        let repetitions = self.repetition.iter().copied().chain(std::iter::repeat_n(
            0,
            self.definition.len() - self.repetition.len(),
        ));
        let levels = zip(&self.definition, repetitions)
            .map(|(definition, repetition)| (u32::from(*definition), u32::from(repetition)));
        levels
            .filter(move |(_, of)| *of <= repetition)
            .map(move |(of, at)| (of.min(definition), at))
    }
}

/// A number that a header says, which is none below zero.
pub(super) fn header_count(stated: Option<i64>) -> Result<usize, String> {
    let stated = stated.ok_or("its header leaves a number out")?;
    usize::try_from(stated).map_err(|_| format!("its header has the number {stated}"))
}

/// What was found among packed numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RunCounts {
    /// How many are as large as they may be.
    at_max: usize,
    zeros: usize,
}

impl RunCounts {
    fn add(&mut self, other: Self) {
        self.at_max += other.at_max;
        self.zeros += other.zeros;
    }

    /// One more run of a number, which is not too large.
    fn add_run(&mut self, number: u64, max: u32, run: usize) -> Result<(), String> {
        if number > u64::from(max) && run > 0 {
            return Err(too_large(number, max));
        }
        self.at_max += if number == u64::from(max) { run } else { 0 };
        self.zeros += if number == 0 { run } else { 0 };
        Ok(())
    }
}

/// Walks over runs and packed groups of numbers of `width` bits, none larger than `max`.
pub(super) fn check_runs(bytes: &[u8], width: u32, max: u32, entries: usize) -> Result<(), String> {
    walk_runs(bytes, width, max, entries, Numbers::Checked).map(drop)
}

/// What becomes of numbers that are walked over.
enum Numbers<'a> {
    /// None is too large; they are not counted.
    Checked,
    Counted,
    Kept(&'a mut Vec<u8>),
}

fn walk_runs(
    bytes: &[u8],
    width: u32,
    max: u32,
    entries: usize,
    mut numbers: Numbers<'_>,
) -> Result<RunCounts, String> {
    if width > 32 {
        return Err(format!("they should have {width} bits each"));
    }
    let mut found = RunCounts::default();
    let mut left = entries;
    let mut rest = bytes;
    let too_few = || format!("they are fewer than {entries}");
    while left > 0 {
        let (head, after) = read_varint(rest).ok_or_else(too_few)?;
        let count = usize::try_from(head >> 1).map_err(|_| too_few())?;
        if count == 0 {
            return Err("a run of them has none".into());
        }
        if head & 1 == 1 {
            let wanted = left.min(count.saturating_mul(8));
            let packed = after
                .get(..count.saturating_mul(width as usize))
                .ok_or_else(too_few)?;
            match &mut numbers {
                Numbers::Checked => check_packed(packed, width, max, wanted)?,
                Numbers::Counted => found.add(count_packed(packed, width, max, wanted)?),
                Numbers::Kept(kept) => {
                    let mut bits = BitReader::new(packed);
                    for _ in 0..wanted {
                        let number = bits.read(width);
                        found.add_run(number, max, 1)?;
                        keep(kept, number, 1)?;
                    }
                }
            }
            left -= wanted;
            rest = &after[packed.len()..];
        } else {
            let (number, after) = after
                .split_at_checked(width.div_ceil(8) as usize)
                .ok_or_else(too_few)?;
            let number = number
                .iter()
                .rev()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            let run = count.min(left);
            found.add_run(number, max, run)?;
            if let Numbers::Kept(kept) = &mut numbers {
                keep(kept, number, run)?;
            }
            left -= run;
            rest = after;
        }
    }
    Ok(found)
}

fn keep(kept: &mut Vec<u8>, number: u64, run: usize) -> Result<(), String> {
    let number = u8::try_from(number).map_err(|error| error.to_string())?;
    kept.extend(std::iter::repeat_n(number, run));
    Ok(())
}

fn too_large(number: u64, max: u32) -> String {
    format!("{number} is more than {max}")
}

/// Finds out whether packed numbers are too large. There is one for every value of a column, so
/// none is looked at where all that have so many bits are small enough, and no branch is for each.
fn check_packed(packed: &[u8], width: u32, max: u32, wanted: usize) -> Result<(), String> {
    let largest = u32::MAX.checked_shr(u32::BITS - width).unwrap_or(0);
    if largest <= max {
        return Ok(());
    }
    let has_sign = largest > i32::MAX.cast_unsigned();
    let mut over = has_sign;
    if !has_sign {
        each_packed(packed, width, wanted, |numbers| {
            // The highest bit of a difference below zero is set.
            let signs = numbers
                .iter()
                .fold(0, |signs, number| signs | max.wrapping_sub(*number));
            over |= signs.cast_signed() < 0;
        })?;
    }
    if over {
        count_packed(packed, width, max, wanted)?;
    }
    Ok(())
}

fn count_packed(packed: &[u8], width: u32, max: u32, wanted: usize) -> Result<RunCounts, String> {
    let (mut found, mut most) = (RunCounts::default(), 0);
    each_packed(packed, width, wanted, |numbers| {
        most = numbers.iter().copied().fold(most, u32::max);
        let count = |wanted: u32| {
            let is_wanted = numbers.iter().map(|number| u32::from(*number == wanted));
            is_wanted.sum::<u32>() as usize
        };
        found.at_max += count(max);
        found.zeros += count(0);
    })?;
    if most > max {
        Err(too_large(u64::from(most), max))
    } else {
        Ok(found)
    }
}

/// Unpacks numbers, some at once.
fn each_packed(
    packed: &[u8],
    width: u32,
    wanted: usize,
    mut each: impl FnMut(&[u32]),
) -> Result<(), String> {
    if width == 0 {
        (0..wanted).for_each(|_| each(&[0]));
        return Ok(());
    }
    let decoder = Decoder::<u32>::try_new(packed, width as usize, wanted);
    let mut decoder = decoder.map_err(|error| error.to_string())?;
    let mut chunks = decoder.chunked();
    for numbers in chunks.by_ref() {
        each(&numbers);
    }
    if let Some((numbers, count)) = chunks.remainder() {
        each(&numbers[..count]);
    }
    Ok(())
}

/// Numbers of some bits each, the lowest first.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    buffer: u128,
    count: u32,
}

impl<'a> BitReader<'a> {
    /// The bits of these bytes; zeros behind them.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            buffer: 0,
            count: 0,
        }
    }

    /// The next number of at most 64 bits.
    pub(super) fn read(&mut self, width: u32) -> u64 {
        while self.count < width {
            if let Some((eight, rest)) = self.bytes.split_first_chunk::<8>() {
                self.buffer |= u128::from(u64::from_le_bytes(*eight)) << self.count;
                (self.bytes, self.count) = (rest, self.count + u64::BITS);
            } else {
                let byte = self.bytes.split_off_first().copied().unwrap_or_default();
                self.buffer |= u128::from(byte) << self.count;
                self.count += 8;
            }
        }
        let number = self.buffer & ((1 << width) - 1);
        self.buffer >>= width;
        self.count -= width;
        u64::try_from(number).unwrap_or_default()
    }
}

/// A number of seven bits a byte; gives what stands behind it.
pub(super) fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 127).checked_shl(u32::try_from(place * 7).ok()?)?;
        if *byte < 128 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::leaves::leaves;
    use super::super::thrift::ThriftValue;
    use super::{Levels, Numbers, RunCounts, ThriftStruct, check_runs, walk_runs};

    fn count_runs(bytes: &[u8], width: u32, max: u32, entries: usize) -> Result<RunCounts, String> {
        let counted = walk_runs(bytes, width, max, entries, Numbers::Counted);
        let checked = check_runs(bytes, width, max, entries);
        assert_eq!(counted.as_ref().err(), checked.as_ref().err());
        let mut kept = Vec::new();
        let of_kept = walk_runs(bytes, width, max, entries, Numbers::Kept(&mut kept));
        assert_eq!(counted, of_kept);
        assert!(of_kept.is_err() || kept.len() == entries);
        counted
    }

    #[test]
    fn packed_numbers_of_any_width_are_checked() {
        for width in 1..=32_u32 {
            let largest = u32::MAX >> (u32::BITS - width);
            // Every number is the largest: all bits are set, in 5 groups of 8.
            let bytes = [vec![5 << 1 | 1], vec![0xFF; 5 * width as usize]].concat();
            for entries in [1, 31, 32, 33, 40] {
                check_runs(&bytes, width, largest, entries).expect("none is larger");
                let found = check_runs(&bytes, width, largest - 1, entries);
                let less = largest - 1;
                assert_eq!(
                    found,
                    Err(format!("{largest} is more than {less}")),
                    "{width}"
                );
            }
        }
    }

    #[test]
    fn runs_and_groups_are_counted() {
        // Four times 1, then a group of eight: 0 1 0 1 0 1 0 1.
        let bytes = [8, 1, 3, 0b1010_1010];
        let found = count_runs(&bytes, 1, 1, 12).expect("levels");
        assert_eq!((found.at_max, found.zeros), (8, 4));
        let found = count_runs(&bytes, 1, 1, 6).expect("fewer are meant");
        assert_eq!((found.at_max, found.zeros), (5, 1));
        assert!(count_runs(&bytes, 1, 1, 13).is_err(), "too few");
        assert!(count_runs(&[8, 2], 2, 1, 4).is_err(), "too large");
        assert!(
            count_runs(
                &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0],
                1,
                1,
                3
            )
            .is_ok(),
            "a run without end is cut"
        );
        assert!(
            count_runs(
                &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0],
                1,
                1,
                300
            )
            .is_err(),
            "a group without end"
        );
        assert!(
            count_runs(&[], 0, 0, 1).is_err() && count_runs(&[2], 0, 0, 1).is_ok(),
            "no bits at all"
        );
    }

    #[test]
    fn columns_of_one_group_agree_on_it() {
        let element = |name: &str, fields: &[(i16, i32)]| {
            let mut element = ThriftStruct::default();
            element.set(4, ThriftValue::Binary(name.as_bytes().to_vec()));
            for (id, number) in fields {
                element.set(*id, ThriftValue::I32(*number));
            }
            ThriftValue::Struct(element)
        };
        let schema = [
            element("root", &[(5, 1)]),
            element("l", &[(3, 1), (5, 1)]),
            element("list", &[(3, 2), (5, 1)]),
            element("element", &[(3, 1), (5, 2)]),
            element("a", &[(1, 1), (3, 1)]),
            element("b", &[(1, 1), (3, 0)]),
        ];
        let leaves = leaves(&schema).expect("a schema");
        let levels = |definition: &[u8], repetition: &[u8]| Levels {
            definition: definition.to_vec(),
            repetition: repetition.to_vec(),
        };
        // null, [], [{a: 1}, {a: null}], [null]
        let (a, b) = (
            levels(&[0, 1, 4, 3, 2], &[0, 0, 0, 1, 0]),
            levels(&[0, 1, 3, 3, 2], &[0, 0, 0, 1, 0]),
        );
        assert!(
            a.check_lists(&leaves[0]).is_ok()
                && b.check_lists(&leaves[1]).is_ok()
                && a.agrees_with(&leaves[0], &b, &leaves[1])
        );
        assert!(
            !a.agrees_with(
                &leaves[0],
                &levels(&[0, 1, 3, 2, 2], &[0, 0, 0, 1, 0]),
                &leaves[1]
            ),
            "one says null, the other does not"
        );
        assert!(
            !a.agrees_with(
                &leaves[0],
                &levels(&[0, 1, 3, 3, 2], &[0, 0, 0, 0, 0]),
                &leaves[1]
            ),
            "one says a new row"
        );
        assert!(
            levels(&[0, 1, 1, 3, 2], &[0, 0, 1, 1, 0])
                .check_lists(&leaves[1])
                .is_err(),
            "an empty list goes on"
        );
        assert!(
            levels(&[3], &[1]).check_lists(&leaves[1]).is_err(),
            "a row goes on that did not begin"
        );
    }
}
