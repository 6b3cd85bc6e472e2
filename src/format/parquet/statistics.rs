//! Statistics of a column chunk that is encoded here: bounds that hold for every value, and nulls
//! that are counted.
//!
//! Polars' own are not taken: it adds up the nulls of a dictionary's column once a page
//! (<https://github.com/pola-rs/polars/issues/29321>), compares pages of unsigned numbers and of
//! decimals by another order than theirs, and forgets pages that have a NaN. A bound that is not
//! known is left out: one that is wrong hides rows.

use std::cmp::Ordering;

use super::leaves::{Leaf, SortOrder};
use super::levels::PageCounts;
use super::thrift::{self, ThriftStruct, ThriftValue};

/// Texts and bytes are cut to so many bytes.
const MAX_BOUND_BYTES: usize = 64;

/// What is known of the values of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageBounds<'a> {
    /// It has none.
    Empty,
    /// Nothing.
    Unknown,
    /// The smallest and the largest, or what lies outside them.
    Known { min: &'a [u8], max: &'a [u8] },
}

/// What is known of the pages of a chunk.
#[derive(Debug)]
pub(super) struct StatisticsBuilder<'a> {
    leaf: &'a Leaf,
    pages: Vec<(PageCounts, PageBounds<'a>)>,
}

impl<'a> StatisticsBuilder<'a> {
    /// Nothing yet.
    pub(super) fn new(leaf: &'a Leaf) -> Self {
        Self {
            leaf,
            pages: Vec::new(),
        }
    }

    /// Takes a page in, with the smallest and the largest of its values that were found for it.
    /// They are not copied: one value may be most of what there is.
    pub(super) fn add_page(&mut self, counts: PageCounts, found: Option<(&'a [u8], &'a [u8])>) {
        let bounds = if counts.present == 0 {
            PageBounds::Empty
        } else {
            page_bounds(self.leaf.order, found)
        };
        self.pages.push((counts, bounds));
    }

    /// The statistics of the chunk.
    pub(super) fn chunk_statistics(&self) -> ThriftValue {
        let mut fields = ThriftStruct::default();
        let nulls: usize = self.pages.iter().map(|(counts, _)| counts.nulls()).sum();
        fields.set(
            3,
            ThriftValue::I64(i64::try_from(nulls).unwrap_or(i64::MAX)),
        );
        let all = self.pages.iter().fold(PageBounds::Empty, |all, (_, page)| {
            all.merge(page, self.leaf.order)
        });
        if let PageBounds::Known { min, max } = all
            && let Some((min, is_min)) = self.truncated(min, truncate_min)
            && let Some((max, is_max)) = self.truncated(max, truncate_max)
        {
            fields
                .set(5, ThriftValue::Binary(max))
                .set(6, ThriftValue::Binary(min))
                .set(7, ThriftValue::Bool(is_max))
                .set(8, ThriftValue::Bool(is_min));
        }
        ThriftValue::Struct(fields)
    }

    /// The index of the pages' values; `None` where the bounds of a page are not known.
    pub(super) fn column_index(&self) -> Option<Vec<u8>> {
        let (mut mins, mut maxs) = (Vec::new(), Vec::new());
        for (_, page) in &self.pages {
            let (min, max) = match page {
                PageBounds::Empty => (Vec::new(), Vec::new()),
                PageBounds::Unknown => return None,
                PageBounds::Known { min, max } => (
                    self.truncated(min, truncate_min)?.0,
                    self.truncated(max, truncate_max)?.0,
                ),
            };
            mins.push(min);
            maxs.push(max);
        }
        const UNORDERED: i32 = 0;
        let nulls = self
            .pages
            .iter()
            .map(|(counts, _)| i64::try_from(counts.nulls()).unwrap_or(i64::MAX));
        let mut index = ThriftStruct::default();
        index.set(
            1,
            thrift::bool_list(self.pages.iter().map(|(counts, _)| counts.present == 0)),
        );
        index
            .set(2, thrift::binary_list(mins))
            .set(3, thrift::binary_list(maxs))
            .set(4, ThriftValue::I32(UNORDERED))
            .set(5, thrift::i64_list(nulls));
        Some(index.to_bytes())
    }

    /// A bound of at most so many bytes, and whether it is a value; `None` where there is none so
    /// short.
    fn truncated(
        &self,
        bound: &[u8],
        cut: fn(&[u8], bool) -> Option<Vec<u8>>,
    ) -> Option<(Vec<u8>, bool)> {
        if self.leaf.order != SortOrder::Bytes
            || self.leaf.element.get_i32(1) == Some(7)
            || bound.len() <= MAX_BOUND_BYTES
        {
            return Some((bound.to_vec(), true));
        }
        Some((cut(bound, std::str::from_utf8(bound).is_ok())?, false))
    }
}

impl PageBounds<'_> {
    fn merge(self, other: &Self, order: SortOrder) -> Self {
        match (self, *other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (one, Self::Empty) => one,
            (Self::Empty, other) => other,
            (
                Self::Known { min, max },
                Self::Known {
                    min: other_min,
                    max: other_max,
                },
            ) => Self::Known {
                min: if compare(order, other_min, min) == Ordering::Less {
                    other_min
                } else {
                    min
                },
                max: if compare(order, other_max, max) == Ordering::Greater {
                    other_max
                } else {
                    max
                },
            },
        }
    }
}

fn page_bounds<'a>(order: SortOrder, found: Option<(&'a [u8], &'a [u8])>) -> PageBounds<'a> {
    let Some((min, max)) = found else {
        return PageBounds::Unknown;
    };
    if order == SortOrder::Undefined || order == SortOrder::Float && (is_nan(min) || is_nan(max)) {
        return PageBounds::Unknown;
    }
    PageBounds::Known { min, max }
}

/// A number's bits, little-endian.
fn bits(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn is_nan(bytes: &[u8]) -> bool {
    // All bits of the exponent, and the sign away.
    let (infinity, all) = match bytes.len() {
        2 => (0x7C00, 0x7FFF),
        4 => (0x7F80_0000, 0x7FFF_FFFF),
        _ => (0x7FF0_0000_0000_0000, u64::MAX >> 1),
    };
    bits(bytes) & all > infinity
}

fn compare(order: SortOrder, one: &[u8], other: &[u8]) -> Ordering {
    let sign = |bytes: &[u8]| bytes.last().is_some_and(|last| last & 0x80 != 0);
    match order {
        SortOrder::Unsigned => bits(one).cmp(&bits(other)),
        // Of two that are negative, the one with the larger bits is the larger whole number, and
        // the smaller float.
        SortOrder::Signed => sign(other)
            .cmp(&sign(one))
            .then(bits(one).cmp(&bits(other))),
        SortOrder::Float if sign(one) && sign(other) => bits(other).cmp(&bits(one)),
        SortOrder::Float => sign(other)
            .cmp(&sign(one))
            .then(bits(one).cmp(&bits(other))),
        SortOrder::Decimal => {
            let is_below = |bytes: &[u8]| bytes.first().is_some_and(|first| first & 0x80 != 0);
            is_below(other).cmp(&is_below(one)).then(one.cmp(other))
        }
        SortOrder::Bytes | SortOrder::Undefined => one.cmp(other),
    }
}

/// Not more than the bytes.
fn truncate_min(bytes: &[u8], is_text: bool) -> Option<Vec<u8>> {
    Some(bytes[..truncation_end(bytes, is_text)].to_vec())
}

/// Not less than the bytes.
fn truncate_max(bytes: &[u8], is_text: bool) -> Option<Vec<u8>> {
    let cut = &bytes[..truncation_end(bytes, is_text)];
    if !is_text {
        let last = cut.iter().rposition(|byte| *byte < u8::MAX)?;
        let mut next = cut[..=last].to_vec();
        next[last] += 1;
        return Some(next);
    }
    let text = std::str::from_utf8(cut).ok()?;
    // Letters are in the order of their bytes.
    let raised = text
        .char_indices()
        .rev()
        .find_map(|(place, letter)| Some((place, next_letter(letter)?)));
    raised.map(|(place, letter)| format!("{}{letter}", &text[..place]).into_bytes())
}

fn next_letter(letter: char) -> Option<char> {
    const LAST_BELOW_SURROGATES: char = '\u{D7FF}';
    if letter == LAST_BELOW_SURROGATES {
        Some('\u{E000}')
    } else {
        char::from_u32(u32::from(letter) + 1)
    }
}

fn truncation_end(bytes: &[u8], is_text: bool) -> usize {
    let is_inside = |end: &usize| is_text && bytes[*end] & 0xC0 == 0x80;
    (0..=MAX_BOUND_BYTES.min(bytes.len() - 1))
        .rev()
        .find(|end| !is_inside(end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{SortOrder, compare, is_nan, truncate_max, truncate_min};

    #[test]
    fn values_are_compared_by_the_order_of_their_type() {
        let less = |order, one: &[u8], other: &[u8]| {
            assert_eq!(
                compare(order, one, other),
                Ordering::Less,
                "{order:?} {one:?} {other:?}"
            );
            assert_eq!(
                compare(order, other, one),
                Ordering::Greater,
                "{order:?} {one:?} {other:?}"
            );
        };
        less(
            SortOrder::Signed,
            &(-2_i32).to_le_bytes(),
            &(-1_i32).to_le_bytes(),
        );
        less(
            SortOrder::Signed,
            &i64::MIN.to_le_bytes(),
            &0_i64.to_le_bytes(),
        );
        less(
            SortOrder::Unsigned,
            &1_u32.to_le_bytes(),
            &3_000_000_000_u32.to_le_bytes(),
        );
        less(SortOrder::Unsigned, &[0], &[1]);
        less(
            SortOrder::Float,
            &(-2.0_f64).to_le_bytes(),
            &(-1.0_f64).to_le_bytes(),
        );
        less(
            SortOrder::Float,
            &(-0.0_f32).to_le_bytes(),
            &0.0_f32.to_le_bytes(),
        );
        less(
            SortOrder::Float,
            &(-1.0_f32).to_le_bytes(),
            &f32::INFINITY.to_le_bytes(),
        );
        less(SortOrder::Float, &[0, 0xBC], &[0, 0x3C]);
        less(
            SortOrder::Decimal,
            &(-7_i128).to_be_bytes(),
            &5_i128.to_be_bytes(),
        );
        less(
            SortOrder::Decimal,
            &(-700_i128).to_be_bytes(),
            &(-7_i128).to_be_bytes(),
        );
        less(SortOrder::Bytes, b"a", b"aa");
        assert!(
            is_nan(&f64::NAN.to_le_bytes())
                && is_nan(&(-f32::NAN).to_le_bytes())
                && is_nan(&[1, 0x7C])
        );
        assert!(
            !is_nan(&f64::INFINITY.to_le_bytes())
                && !is_nan(&f32::MAX.to_le_bytes())
                && !is_nan(&[0, 0xFC])
        );
    }

    #[test]
    fn texts_are_cut_between_letters() {
        for letter in ["a", "é", "€", "🙂", "\u{D7FF}"] {
            let text = letter.repeat(70);
            let (min, max) = (
                truncate_min(text.as_bytes(), true).expect("a bound"),
                truncate_max(text.as_bytes(), true).expect("a bound"),
            );
            assert!(
                min.len() <= 64
                    && std::str::from_utf8(&min).is_ok()
                    && min.as_slice() <= text.as_bytes(),
                "{letter}"
            );
            assert!(
                max.len() <= 66
                    && std::str::from_utf8(&max).is_ok()
                    && max.as_slice() >= text.as_bytes(),
                "{letter}"
            );
        }
        assert_eq!(
            truncate_max(&[0xFF; 70], false),
            None,
            "nothing so short is larger"
        );
        assert_eq!(truncate_max("\u{10FFFF}".repeat(70).as_bytes(), true), None);
        let mut bytes = vec![7; 10];
        bytes.extend([0xFF; 70]);
        assert_eq!(
            truncate_max(&bytes, false),
            Some([vec![7; 9], vec![8]].concat())
        );
    }
}
