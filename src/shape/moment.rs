//! Days, times of the day and instants as nanoseconds, and as texts.

use polars_arrow::array::{Array, PrimitiveArray, StaticArray};
use polars_arrow::datatypes::ArrowDataType;

use crate::connection::calendar::{
    MICROS_PER_DAY, parse_time, parse_timestamp, put_date, put_time,
};
use crate::format::widening::units_per_second;

const NANOS: i128 = 1_000_000_000;
const NANOS_PER_DAY: i128 = 86_400 * NANOS;

/// True for days, times of the day and instants.
pub(super) fn is_moment(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    matches!(
        dtype,
        T::Date32 | T::Time32(_) | T::Time64(_) | T::Timestamp(..)
    )
}

/// How many nanoseconds one of what a type counts has.
fn nanos_of_one(dtype: &ArrowDataType) -> Option<i128> {
    use ArrowDataType as T;
    match dtype {
        T::Date32 => Some(NANOS_PER_DAY),
        T::Time32(unit) | T::Time64(unit) | T::Timestamp(unit, _) => {
            Some(NANOS / i128::from(units_per_second(*unit)))
        }
        _ => None,
    }
}

/// Nanoseconds since 1970, or since midnight.
pub(super) fn nanos_of(array: &dyn Array, row: usize) -> Option<i128> {
    let any = array.as_any();
    let narrow = any.downcast_ref::<PrimitiveArray<i32>>();
    let wide = any.downcast_ref::<PrimitiveArray<i64>>();
    let count = match (narrow, wide) {
        (Some(narrow), _) => i128::from(narrow.get(row)?),
        (_, Some(wide)) => i128::from(wide.get(row)?),
        _ => return None,
    };
    Some(count * nanos_of_one(array.dtype())?)
}

/// So many nanoseconds as a type counts them; `None` where it cannot.
pub(super) fn count(nanos: i128, to: &ArrowDataType) -> Option<i64> {
    let one = nanos_of_one(to)?;
    (nanos % one == 0)
        .then(|| i64::try_from(nanos / one).ok())
        .flatten()
}

/// The nanoseconds that a text says, as a value of a type.
pub(super) fn parse(text: &str, to: &ArrowDataType) -> Option<i128> {
    use ArrowDataType as T;
    let (text, fraction) = without_fraction(text)?;
    match to {
        T::Time32(_) | T::Time64(_) => Some(i128::from(parse_time(&text)?) * 1000 + fraction),
        _ => {
            let found = parse_timestamp(&text)?;
            let has_offset = found.offset.is_some();
            if has_offset != matches!(to, T::Timestamp(_, Some(_))) {
                return None;
            }
            Some(found.utc_micros() * 1000 + fraction)
        }
    }
}

/// A time without the digits behind its seconds, and those as nanoseconds.
fn without_fraction(text: &str) -> Option<(String, i128)> {
    let Some(point) = text.find('.') else {
        return Some((text.to_string(), 0));
    };
    let (before, behind) = (&text[..point], &text[point + 1..]);
    // Behind the seconds, and nowhere else.
    let has_seconds = match before.as_bytes() {
        [.., b':', one, two, b':', three, four] => [one, two, three, four]
            .iter()
            .all(|digit| digit.is_ascii_digit()),
        _ => false,
    };
    let end = behind.find(|letter: char| !letter.is_ascii_digit());
    let (digits, rest) = behind.split_at(end.unwrap_or(behind.len()));
    let (nanos, beyond) = digits.split_at(digits.len().min(9));
    let is_over = rest.is_empty() || rest.starts_with(['Z', '+', '-', ' ']);
    if !has_seconds || !is_over || digits.is_empty() || beyond.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let nanos: i128 = format!("{nanos:0<9}").parse().ok()?;
    Some((format!("{}{rest}", &text[..point]), nanos))
}

/// The text of nanoseconds of a type: `2026-01-31 12:00:00.5`, with a Z behind instants. `None`
/// outside of the years 1 to 9999.
pub(super) fn text(nanos: i128, dtype: &ArrowDataType) -> Option<String> {
    use ArrowDataType as T;
    let mut text = String::new();
    let days = i64::try_from(nanos.div_euclid(NANOS_PER_DAY)).ok()?;
    let of_day = nanos.rem_euclid(NANOS_PER_DAY);
    let put_clock = |text: &mut String| {
        let micros = i64::try_from(of_day / 1000).unwrap_or_default();
        put_time(text, micros.min(MICROS_PER_DAY - 1));
        let below = of_day % 1000;
        text.push_str(&format!("{below:03}"));
        text.truncate(text.trim_end_matches('0').len());
        if text.ends_with('.') {
            text.pop();
        }
    };
    match dtype {
        T::Date32 => put_date(&mut text, days).ok()?,
        T::Time32(_) | T::Time64(_) => put_clock(&mut text),
        T::Timestamp(_, zone) => {
            put_date(&mut text, days).ok()?;
            text.push(' ');
            put_clock(&mut text);
            if zone.is_some() {
                text.push('Z');
            }
        }
        _ => return None,
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use polars_arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn texts_are_moments_and_moments_texts() {
        let local = ArrowDataType::Timestamp(TimeUnit::Nanosecond, None);
        let utc = ArrowDataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let time = ArrowDataType::Time64(TimeUnit::Nanosecond);
        for (dtype, text) in [
            (&local, "2026-01-31 12:00:00"),
            (&local, "1969-12-31 23:59:59.999999999"),
            (&utc, "2026-01-31 12:00:00.5Z"),
            (&time, "23:59:59.000000001"),
            (&ArrowDataType::Date32, "0001-01-01"),
        ] {
            let nanos = parse(text, dtype).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(super::text(nanos, dtype).as_deref(), Some(text));
        }
        let noon = parse("2026-01-31T13:00:00+01:00", &utc);
        assert_eq!(noon, parse("2026-01-31 12:00Z", &utc));
        assert_eq!(parse("2026-01-31 12:00:00", &utc), None, "of which zone?");
        assert_eq!(parse("2026-01-31 12:00:00Z", &local), None);
        assert_eq!(parse("2026-02-30", &local), None);
        for wrong in [
            "2026-01-31.5",
            "2026.5-01-31",
            "2026-01-31 12:30.5",
            "2026-01-31 12:30:00.5x",
        ] {
            assert_eq!(parse(wrong, &local), None, "{wrong}");
        }
        assert_eq!(parse("12:30.5", &time), None);
        assert_eq!(count(1, &utc), None, "a nanosecond");
    }
}
