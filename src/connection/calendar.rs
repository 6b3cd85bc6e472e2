//! Days, months and years as numbers, and numbers as dates.
//!
//! The calendar is the proleptic Gregorian one, as databases and files have it.

use super::digits;
use crate::config::value_types::SliceWidth;

/// Days of 1970-01-01 since 0000-03-01, where the count of `days` begins.
const EPOCH: i64 = 719_468;

/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a date. The algorithm is `days_from_civil` of
/// <https://howardhinnant.github.io/date_algorithms.html>.
pub fn days_from_date(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from(month);
    let day_of_year =
        (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - EPOCH
}

/// The date of a day since 1970-01-01: `civil_from_days` of the same.
pub fn date_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + EPOCH;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let number = |number: i64| u32::try_from(number).unwrap_or_default();
    let day = number(day_of_year - (153 * shifted + 2) / 5 + 1);
    let month = number(if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// True for a date that there is.
pub fn is_valid_date(year: i64, month: u32, day: u32) -> bool {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// The last year that is read: no type of a file or a database has a later one, and all that is
/// counted by it fits.
const LAST_YEAR: i64 = 9_999_999;

/// The year that texts of four digits end with.
pub const LAST_SHORT_YEAR: i64 = 9999;

/// Reads `YYYY-MM-DD` at the beginning of a text; gives what follows. A year may have up to seven
/// digits.
pub fn parse_date(text: &str) -> Option<(i64, u32, u32, &str)> {
    let bytes = text.as_bytes();
    let end = bytes
        .iter()
        .position(|sign| *sign == b'-')
        .filter(|end| *end >= 4)?;
    let (year, month, day) = (
        parse_digits(bytes.get(..end)?)?,
        parse_digits(bytes.get(end + 1..end + 3)?)?,
        parse_digits(bytes.get(end + 4..end + 6)?)?,
    );
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    let is_date = bytes[end + 3] == b'-' && year <= LAST_YEAR && is_valid_date(year, month, day);
    is_date.then_some((year, month, day, &text[end + 6..]))
}

/// Reads digits.
fn parse_digits(digits: &[u8]) -> Option<i64> {
    let add =
        |number: i64, digit: &u8| number.checked_mul(10)?.checked_add(i64::from(digit - b'0'));
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| add(number, digit)).flatten()
    })
}

/// The number of the step that a day lies in.
pub fn slice_number(by: SliceWidth, days: i64) -> i64 {
    let (year, month, _) = date_from_days(days);
    match by {
        SliceWidth::Day | SliceWidth::Numbers(_) => days,
        SliceWidth::Month => year * 12 + i64::from(month) - 1,
        SliceWidth::Year => year,
    }
}

/// The first day of a step.
pub fn first_day(by: SliceWidth, number: i64) -> (i64, u32, u32) {
    match by {
        SliceWidth::Day | SliceWidth::Numbers(_) => date_from_days(number),
        SliceWidth::Month => (
            number.div_euclid(12),
            u32::try_from(number.rem_euclid(12)).unwrap_or_default() + 1,
            1,
        ),
        SliceWidth::Year => (number, 1, 1),
    }
}

/// The step as slices are called: `2026-09-01`, `2026-09` or `2026`.
pub fn slice_name(by: SliceWidth, number: i64) -> String {
    let (year, month, day) = first_day(by, number);
    match by {
        SliceWidth::Day | SliceWidth::Numbers(_) => format!("{year:04}-{month:02}-{day:02}"),
        SliceWidth::Month => format!("{year:04}-{month:02}"),
        SliceWidth::Year => format!("{year:04}"),
    }
}

/// The step that a name means.
pub fn parse_slice_name(by: SliceWidth, name: &str) -> Option<i64> {
    let full = match by {
        SliceWidth::Day | SliceWidth::Numbers(_) => name.to_string(),
        SliceWidth::Month => format!("{name}-01"),
        SliceWidth::Year => format!("{name}-01-01"),
    };
    let (year, month, day, rest) = parse_date(&full)?;
    rest.is_empty()
        .then(|| slice_number(by, days_from_date(year, month, day)))
}

/// Adds days since 1970 as `YYYY-MM-DD`.
///
/// # Errors
/// It has no year from 1 to 9999.
pub fn put_date(out: &mut String, days: i64) -> Result<(), String> {
    let (year, month, day) = date_from_days(days);
    if !(1..=9999).contains(&year) {
        return Err(format!("the year {year} is not one from 1 to 9999"));
    }
    put_numbers(
        out,
        [("", year, 4), ("-", month.into(), 2), ("-", day.into(), 2)],
    );
    Ok(())
}

/// Adds microseconds of the day as `HH:MM:SS.FFFFFF`.
pub fn put_time(out: &mut String, micros: i64) {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    put_numbers(
        out,
        [
            ("", seconds / 3600, 2),
            (":", seconds / 60 % 60, 2),
            (":", seconds % 60, 2),
            (".", micros, 6),
        ],
    );
}

/// Adds microseconds since 1970 as `YYYY-MM-DD HH:MM:SS.FFFFFF`.
///
/// # Errors
/// It has no year from 1 to 9999.
pub fn put_timestamp(out: &mut String, micros: i64) -> Result<(), String> {
    put_date(out, micros.div_euclid(MICROS_PER_DAY))?;
    out.push(' ');
    put_time(out, micros.rem_euclid(MICROS_PER_DAY));
    Ok(())
}

/// The same as a text of its own.
///
/// # Errors
/// It has no year from 1 to 9999.
pub fn format_timestamp(micros: i64) -> Result<String, String> {
    let mut shown = String::new();
    put_timestamp(&mut shown, micros)?;
    Ok(shown)
}

fn put_numbers<const N: usize>(out: &mut String, numbers: [(&str, i64, usize); N]) {
    for (before, number, least) in numbers {
        out.push_str(before);
        digits::put(out, number.unsigned_abs(), least);
    }
}

/// A date with a time of the day, and how far its clock is ahead of UTC if that is said, in
/// microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedTimestamp {
    /// Days since 1970.
    pub days: i64,
    /// Microseconds of the day.
    pub micros: i64,
    /// How far the clock is ahead.
    pub offset: Option<i64>,
}

impl ParsedTimestamp {
    /// Microseconds since 1970, UTC; without an offset the clock is one of UTC. A far date has more
    /// than 64 bits hold.
    pub fn utc_micros(&self) -> i128 {
        i128::from(self.days) * i128::from(MICROS_PER_DAY) + i128::from(self.micros)
            - i128::from(self.offset.unwrap_or(0))
    }
}

/// True for digits where a date has them, whether there is such a date or not.
pub fn looks_like_a_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && (0..10).all(|place| {
            if matches!(place, 4 | 7) {
                bytes[place] == b'-'
            } else {
                bytes[place].is_ascii_digit()
            }
        })
}

/// Reads `YYYY-MM-DD`, with a time behind `T` or a space, with `Z` or `+HH:MM` behind that.
pub fn parse_timestamp(text: &str) -> Option<ParsedTimestamp> {
    let (year, month, day, rest) = parse_date(text)?;
    let days = days_from_date(year, month, day);
    if year < 1 {
        return None;
    }
    let Some(rest) = rest.strip_prefix(['T', ' ']) else {
        return rest.is_empty().then_some(ParsedTimestamp {
            days,
            micros: 0,
            offset: None,
        });
    };
    let (clock, offset) = match rest.find(['Z', '+', '-']) {
        Some(at) => (rest[..at].trim_end(), Some(offset(&rest[at..])?)),
        None => (rest, None),
    };
    Some(ParsedTimestamp {
        days,
        micros: parse_time(clock)?,
        offset,
    })
}

/// Reads `Z`, `+HH:MM`, `+HHMM` or `+HH`.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let digits: String = rest.chars().filter(|sign| *sign != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = digits
        .get(2..)
        .filter(|digits| !digits.is_empty())
        .map_or(Some(0), |digits| digits.parse().ok())?;
    let micros = (hours * 60 + minutes) * 60_000_000;
    (hours < 24 && minutes < 60).then_some(if sign == "-" { -micros } else { micros })
}

/// Reads `HH:MM`, `HH:MM:SS` or `HH:MM:SS.FFFFFF` as microseconds of the day.
pub fn parse_time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut fields = clock.split(':').map(|field| {
        let is_number = field.len() == 2 && field.bytes().all(|digit| digit.is_ascii_digit());
        if is_number {
            field.parse::<i64>().ok()
        } else {
            None
        }
    });
    let (hour, minute, second) = (
        fields.next()??,
        fields.next()??,
        fields.next().unwrap_or(Some(0))?,
    );
    if fields.next().is_some()
        || hour > 23
        || minute > 59
        || second > 59
        || !fraction.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    if fraction.len() > 6 && fraction[6..].bytes().any(|digit| digit != b'0') {
        return None;
    }
    let micros: i64 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<6}")[..6].parse().ok()?
    };
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_dates_are_counted_or_are_none() {
        for none in [
            "9223372036854775807-12-31",
            "99999999999-01-01",
            "10000000-01-01",
            "2026-02-29",
            "202-01-01",
            "2026-1-01",
        ] {
            assert_eq!(parse_date(none), None, "{none}");
            assert_eq!(parse_timestamp(none), None, "{none}");
            assert_eq!(parse_slice_name(SliceWidth::Day, none), None, "{none}");
        }
        let last = parse_timestamp("9999999-12-31 23:59:59.999999-23:59").expect("a moment");
        assert_eq!(date_from_days(last.days), (9_999_999, 12, 31));
        assert_eq!(
            last.utc_micros(),
            (i128::from(last.days) + 2) * i128::from(MICROS_PER_DAY) - 60_000_001
        );
        assert!(
            i64::try_from(last.utc_micros()).is_err(),
            "more than 64 bits hold"
        );
        assert!(
            i64::try_from(
                parse_timestamp("292277-01-09 04:00:54.775807")
                    .expect("a moment")
                    .utc_micros()
            )
            .is_ok()
        );
    }

    #[test]
    fn an_instant_is_where_the_clock_of_utc_is() {
        let cases = [
            ("1970-01-01", 0),
            ("1970-01-01T01:30:00+01:30", 0),
            ("1970-01-01 01:30:00.5+0130", 500_000),
            ("1969-12-31T19:00-05", 0),
            ("1970-01-01 00:00:00.000001Z", 1),
            ("1969-12-31 23:59:59.999999 +00:00", -1),
        ];
        for (text, micros) in cases {
            assert_eq!(
                parse_timestamp(text).map(|moment| moment.utc_micros()),
                Some(micros),
                "{text}"
            );
        }
    }
}
