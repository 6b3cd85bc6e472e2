//! Rules: what a value must be like so that a column of a table holds it exactly.
//!
//! A rule stands where the column's type cannot hold every value that may come. It knows no
//! database: only what its types do to values.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::cells::Cell;
use super::json::{self, quote_short};
use crate::connection::digits::format_decimal;
use crate::connection::types::ColumnType;

/// What a value must be like.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    /// A whole number from one up to another, both included.
    Integer { least: i128, most: i128 },
    /// A year that MySQL does not take for a short form of another.
    Year,
    /// A number of so many digits.
    Decimal(DecimalDigits),
    /// A number with a point that MySQL does not round: `double(8,2)`.
    Rounded { digits: u8, scale: u8 },
    /// A text.
    Text(TextRule),
    /// Bytes.
    Bytes(ByteLength),
    /// So many bits in whole bytes, the first of which may not be full.
    Bits(u32),
    /// A time whose microseconds are a multiple of these.
    Micros(i64),
    /// A list whose elements are like this.
    List(Box<Rule>),
}

/// The digits that a column has for decimals and whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DecimalDigits {
    /// All of them; without a number as many as come.
    pub(super) precision: Option<u32>,
    /// Those behind the point; below zero, so many before it are zeros.
    pub(super) scale: i32,
    /// True where a number with a point is kept in 64 bits, which have fifteen digits.
    pub(super) as_double: bool,
}

/// The texts that a column holds as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TextRule {
    /// No more characters than these.
    pub(super) characters: Option<u64>,
    /// No more bytes than these.
    pub(super) bytes: Option<u64>,
    /// What becomes of blanks at the end.
    pub(super) trailing_blanks: TrailingBlanks,
    /// What else it must be.
    pub(super) form: TextForm,
}

/// What a column makes of blanks at the end of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TrailingBlanks {
    /// They stay.
    #[default]
    Kept,
    /// Shorter texts get some.
    Padded,
    /// They are taken away.
    Trimmed,
}

/// What a text must be, besides its length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum TextForm {
    /// Anything.
    #[default]
    Any,
    /// One of these, letter by letter.
    OneOf(Vec<String>),
    /// Some of these, in this order, with commas between them.
    SetOf(Vec<String>),
    /// JSON in which no name stands twice, of which but one would be kept.
    Json {
        /// True where numbers are kept in 64 bits.
        numbers_of_64_bits: bool,
    },
    /// An address in the form in which the database writes it.
    Inet4,
    /// The same of version 6.
    Inet6,
    /// No text that SQLite would make a number of.
    NotNumeric,
}

/// How long bytes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteLength {
    /// No longer.
    AtMost(u64),
    /// So long: shorter ones get zeros.
    Exactly(u64),
}

impl Rule {
    /// Says why a column does not hold a value exactly.
    ///
    /// # Errors
    /// It does not, in words that follow "column x, row 1: ".
    pub(super) fn check(&self, cell: &Cell<'_>, kind: &ColumnType) -> Result<(), String> {
        if *cell == Cell::Null {
            return Ok(());
        }
        match self {
            Self::Integer { least, most } => {
                let Some((value, 0)) = scaled_integer(cell, kind) else {
                    return Err(unexpected_type());
                };
                if (*least..=*most).contains(&value) {
                    Ok(())
                } else {
                    Err(format!("{value} is not within {least} to {most}"))
                }
            }
            Self::Year => match scaled_integer(cell, kind) {
                Some((0 | 1901..=2155, 0)) => Ok(()),
                Some((value, _)) => Err(format!("{value} is not 0 or a year from 1901 to 2155")),
                None => Err(unexpected_type()),
            },
            Self::Decimal(digits) => match scaled_integer(cell, kind) {
                Some((value, scale)) => digits.check(value, scale),
                None => Err(unexpected_type()),
            },
            Self::Rounded { digits, scale } => check_rounding(cell, *digits, *scale),
            Self::Text(texts) => match cell {
                Cell::Text(text) => texts.check(text),
                _ => Err(unexpected_type()),
            },
            Self::Bytes(length) => match (cell, length) {
                (Cell::Binary(bytes), ByteLength::AtMost(most)) if bytes.len() as u64 > *most => {
                    Err(format!(
                        "it has {} bytes, and the column holds {most}",
                        bytes.len()
                    ))
                }
                (Cell::Binary(bytes), ByteLength::Exactly(exactly))
                    if bytes.len() as u64 != *exactly =>
                {
                    Err(format!(
                        "it has {} bytes, and the column makes {exactly} of all",
                        bytes.len()
                    ))
                }
                (Cell::Binary(_), _) => Ok(()),
                _ => Err(unexpected_type()),
            },
            Self::Bits(bits) => match cell {
                Cell::Binary(bytes) => has_bits(bytes, *bits),
                _ => Err(unexpected_type()),
            },
            Self::Micros(step) => match cell {
                Cell::Time(micros) | Cell::Timestamp(micros) if micros % step == 0 => Ok(()),
                Cell::Time(_) | Cell::Timestamp(_) => {
                    let digits = 6 - step.ilog10();
                    Err(format!(
                        "its fraction of a second has more digits than the {digits} that the \
                         column holds"
                    ))
                }
                _ => Err(unexpected_type()),
            },
            Self::List(rule) => match (cell, kind) {
                (Cell::List(elements), ColumnType::List(inner)) => elements
                    .iter()
                    .try_for_each(|element| rule.check(element, inner)),
                _ => Err(unexpected_type()),
            },
        }
    }
}

fn unexpected_type() -> String {
    "the value is not of the type that was planned with".into()
}

/// A number as a whole number of its last digits, and how many of them stand behind the point.
fn scaled_integer(cell: &Cell<'_>, kind: &ColumnType) -> Option<(i128, u32)> {
    match (cell, kind) {
        (Cell::Boolean(value), _) => Some((i128::from(*value), 0)),
        (Cell::Integer(value), _) => Some(((*value).into(), 0)),
        (Cell::Unsigned(value), _) => Some(((*value).into(), 0)),
        (Cell::Decimal(value), ColumnType::Decimal { scale, .. }) => {
            Some((*value, (*scale).into()))
        }
        _ => None,
    }
}

impl DecimalDigits {
    fn check(self, value: i128, scale: u32) -> Result<(), String> {
        let (mut digits, mut behind) = (value, i64::from(scale));
        while digits != 0 && digits % 10 == 0 {
            (digits, behind) = (digits / 10, behind - 1);
        }
        if digits == 0 {
            return Ok(());
        }
        let shown = || format_decimal(value, u8::try_from(scale).unwrap_or_default());
        let count = i64::from(digits.unsigned_abs().ilog10()) + 1;
        if behind > i64::from(self.scale) && self.precision.is_some() {
            return Err(format!(
                "{} has more digits behind the point than the {} that the column holds",
                shown(),
                self.scale.max(0)
            ));
        }
        // What stands before the last digit that the column has.
        if self
            .precision
            .is_some_and(|precision| count - behind > i64::from(precision) - i64::from(self.scale))
        {
            return Err(format!(
                "{} has more digits before the point than the column holds",
                shown()
            ));
        }
        let is_whole = behind <= 0 && i64::try_from(value / 10_i128.pow(scale)).is_ok();
        if self.as_double && !is_whole && count > 15 {
            return Err(format!(
                "{} has {count} digits, and SQLite keeps fifteen of a number with a point",
                shown()
            ));
        }
        Ok(())
    }
}

/// What MySQL rounds a number to is the number itself. It rounds what is behind the point by
/// itself, as `Field_real::truncate` of its sources does.
fn check_rounding(cell: &Cell<'_>, digits: u8, scale: u8) -> Result<(), String> {
    let (value, is_single) = match cell {
        Cell::Float32(value) => (f64::from(*value), true),
        Cell::Float64(value) => (*value, false),
        _ => return Err(unexpected_type()),
    };
    let power = 10_f64.powi(scale.into());
    let whole = value.floor();
    let stored = whole + ((value - whole) * power).round_ties_even() / power;
    let is_same = if is_single {
        stored as f32 == value as f32
    } else {
        stored == value
    };
    let fits = value.abs() < 10_f64.powi(i32::from(digits) - i32::from(scale));
    match (is_same, fits) {
        (true, true) => Ok(()),
        (_, false) => Err(format!(
            "{value} has more digits before the point than the column holds"
        )),
        (false, _) => Err(format!(
            "{value} would be rounded to {scale} digits behind the point"
        )),
    }
}

fn has_bits(bytes: &[u8], bits: u32) -> Result<(), String> {
    let wanted = bits.div_ceil(8) as usize;
    if bytes.len() != wanted {
        return Err(format!(
            "it has {} bytes, and a column of {bits} bits has {wanted}",
            bytes.len()
        ));
    }
    let spare = wanted as u32 * 8 - bits;
    match bytes.first() {
        Some(first) if spare > 0 && first >> (8 - spare) != 0 => {
            Err(format!("it has more than {bits} bits"))
        }
        _ => Ok(()),
    }
}

impl TextRule {
    /// True where every text is held.
    pub(super) fn accepts_all(&self) -> bool {
        *self == Self::default()
    }

    fn check(&self, text: &str) -> Result<(), String> {
        // Characters are counted only where there are more bytes.
        let characters = self.characters.filter(|most| {
            self.trailing_blanks == TrailingBlanks::Padded || text.len() as u64 > *most
        });
        if let Some(most) = characters {
            let count = text.chars().count() as u64;
            if count > most {
                return Err(format!(
                    "{} has {count} characters, and the column holds {most}",
                    quote_short(text)
                ));
            }
            if count < most && self.trailing_blanks == TrailingBlanks::Padded {
                return Err(format!(
                    "{} has {count} characters, and the column fills it up with blanks to {most}",
                    quote_short(text)
                ));
            }
        }
        if let Some(most) = self.bytes.filter(|most| text.len() as u64 > *most) {
            return Err(format!(
                "{} has {} bytes, and the column holds {most}",
                quote_short(text),
                text.len()
            ));
        }
        if self.trailing_blanks == TrailingBlanks::Trimmed && text.ends_with(' ') {
            return Err(format!(
                "{} ends with a blank, which the column takes away",
                quote_short(text)
            ));
        }
        self.form.check(text)
    }
}

impl TextForm {
    fn check(&self, text: &str) -> Result<(), String> {
        let shown = || quote_short(text);
        match self {
            Self::Any => Ok(()),
            Self::OneOf(members) if members.iter().any(|member| member == text) => Ok(()),
            Self::OneOf(_) => Err(format!("{} is none of the column's values", shown())),
            Self::SetOf(members) => is_member_list(text, members).then_some(()).ok_or_else(|| {
                format!(
                    "{} is no set of the column's values in their order",
                    shown()
                )
            }),
            Self::Json { numbers_of_64_bits } => json::check(text, *numbers_of_64_bits),
            Self::Inet4
                if text
                    .parse()
                    .is_ok_and(|address: Ipv4Addr| address.to_string() == text) =>
            {
                Ok(())
            }
            Self::Inet6
                if text
                    .parse()
                    .is_ok_and(|address: Ipv6Addr| address.to_string() == text) =>
            {
                Ok(())
            }
            Self::Inet4 | Self::Inet6 => Err(format!(
                "{} is no address in the form in which the column gives it back",
                shown()
            )),
            Self::NotNumeric if is_numeric_text(text) => Err(format!(
                "{} is a text, of which the column would make a number",
                shown()
            )),
            Self::NotNumeric => Ok(()),
        }
    }
}

/// True for members with commas between them, in the order of the column, none of them twice.
fn is_member_list(text: &str, members: &[String]) -> bool {
    let mut known = members.iter();
    let found: BTreeSet<&str> = text.split(',').collect();
    text.is_empty()
        || found.len() == text.split(',').count()
            && text
                .split(',')
                .all(|part| known.any(|member| member == part))
}

/// True for a text that SQLite makes a number of where a column has numeric affinity: see
/// <https://www.sqlite.org/datatype3.html>.
fn is_numeric_text(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    is_digits(whole)
        && is_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && is_digits(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal_rule(precision: u32, scale: i32) -> Rule {
        Rule::Decimal(DecimalDigits {
            precision: Some(precision),
            scale,
            as_double: false,
        })
    }

    fn holds(rule: &Rule, value: i128, scale: u8) -> bool {
        rule.check(
            &Cell::Decimal(value),
            &ColumnType::Decimal {
                precision: 38,
                scale,
            },
        )
        .is_ok()
    }

    #[test]
    fn decimals_fit_where_no_digit_is_lost() {
        assert!(holds(&decimal_rule(5, 2), 12_345, 2));
        assert!(
            holds(&decimal_rule(5, 2), 123_450, 3),
            "a zero at the end is no digit"
        );
        assert!(!holds(&decimal_rule(5, 2), 123_451, 3));
        assert!(!holds(&decimal_rule(5, 2), 100_000, 2));
        assert!(holds(&decimal_rule(5, 2), 0, 10));
        assert!(holds(&decimal_rule(3, -2), -99_900, 0), "hundreds");
        assert!(!holds(&decimal_rule(3, -2), 99_910, 0));
        assert!(!holds(&decimal_rule(3, -2), 100_000, 0));
        assert!(holds(&decimal_rule(3, 5), 999, 5), "0.00999");
        assert!(!holds(&decimal_rule(3, 5), 1000, 5));
        assert!(holds(&decimal_rule(38, 0), 10_i128.pow(38) - 1, 0));
    }

    #[test]
    fn sqlite_keeps_fifteen_digits_of_a_number_with_a_point() {
        let rule = Rule::Decimal(DecimalDigits {
            precision: Some(20),
            scale: 2,
            as_double: true,
        });
        assert!(holds(&rule, 123_456_789_012_345, 2));
        assert!(!holds(&rule, 1_234_567_890_123_456, 2));
        assert!(holds(&rule, 1_234_567_890_123_456_700, 2), "a whole number");
        assert!(!holds(&rule, 10_i128.pow(21) - 1, 2));
    }

    #[test]
    fn texts_are_held_whole_or_refused() {
        let texts = |blanks| {
            Rule::Text(TextRule {
                characters: Some(3),
                trailing_blanks: blanks,
                ..TextRule::default()
            })
        };
        let holds =
            |rule: &Rule, text: &str| rule.check(&Cell::Text(text), &ColumnType::Text).is_ok();
        let stay = texts(TrailingBlanks::Kept);
        assert!(
            holds(&stay, "äöü")
                && holds(&stay, "a ")
                && !holds(&stay, "abcd")
                && !holds(&stay, "abc ")
        );
        let added = texts(TrailingBlanks::Padded);
        assert!(
            holds(&added, "äöü")
                && !holds(&added, "ab")
                && !holds(&added, "")
                && holds(&added, "a  ")
        );
        let removed = texts(TrailingBlanks::Trimmed);
        assert!(holds(&removed, "ab") && !holds(&removed, "a ") && holds(&removed, ""));
    }

    #[test]
    fn sqlite_makes_numbers_of_these_texts() {
        for text in [
            "1", " 1 ", "-1.50", "+.5", "5.", "1e3", "1E-3", "00501", "\t9\n",
        ] {
            assert!(is_numeric_text(text), "{text:?}");
        }
        for text in [
            "",
            " ",
            ".",
            "-",
            "e3",
            "1e",
            "1e+",
            "0x10",
            "1_0",
            "12:00",
            "2026-01-01",
            "NaN",
            "inf",
            "1 2",
            "1a",
        ] {
            assert!(!is_numeric_text(text), "{text:?}");
        }
    }

    #[test]
    fn sets_have_their_order() {
        let members = ["a".to_string(), "b".into(), "c".into()];
        assert!(
            is_member_list("", &members)
                && is_member_list("a,c", &members)
                && is_member_list("b", &members)
        );
        assert!(
            !is_member_list("c,a", &members)
                && !is_member_list("a,a", &members)
                && !is_member_list("A", &members)
                && !is_member_list("a,", &members)
        );
    }

    #[test]
    fn rounding_is_noticed() {
        let rule = Rule::Rounded {
            digits: 8,
            scale: 2,
        };
        let holds = |value: f64| {
            rule.check(&Cell::Float64(value), &ColumnType::Float64)
                .is_ok()
        };
        assert!(holds(1.25) && holds(-1.25) && holds(999_999.99) && holds(0.1));
        assert!(!holds(1.255) && !holds(1_000_000.0) && !holds(0.001));
        assert!(
            Rule::Rounded {
                digits: 7,
                scale: 2
            }
            .check(&Cell::Float32(0.1), &ColumnType::Float32)
            .is_ok()
        );
    }

    #[test]
    fn bits_fill_their_bytes() {
        assert!(
            has_bits(&[1, 255], 9).is_ok()
                && has_bits(&[0], 8).is_ok()
                && has_bits(&[255], 8).is_ok()
        );
        assert!(has_bits(&[2, 0], 9).is_err() && has_bits(&[1], 9).is_err());
    }
}
