//! Values as files write them in other places of the world: with a comma before the fraction, with
//! marks between thousands, with days in another order, with other words for true and false.

use std::borrow::Cow;

use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime;
use polars_arrow::datatypes::ArrowDataType;

/// How values of a type are written, where that is not as everywhere in hygge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ValueForms {
    pub(super) true_values: Vec<String>,
    pub(super) false_values: Vec<String>,
    pub(super) has_decimal_comma: bool,
    pub(super) thousands: Option<u8>,
    /// By the directives of `strftime`.
    pub(super) date_formats: Vec<String>,
}

impl ValueForms {
    /// True where values of a type are written in a way of their own.
    pub(super) fn concern(&self, dtype: &ArrowDataType) -> bool {
        use ArrowDataType as T;
        match dtype {
            T::Boolean => !self.true_values.is_empty() || !self.false_values.is_empty(),
            T::Date32 | T::Timestamp(_, None) => !self.date_formats.is_empty(),
            T::Utf8View | T::BinaryView | T::Time64(_) | T::Timestamp(..) => false,
            _ => self.has_decimal_comma || self.thousands.is_some(),
        }
    }

    /// A text as it is written everywhere; `None` where it is none of the type.
    pub(super) fn plain<'t>(&self, text: &'t str, dtype: &ArrowDataType) -> Option<Cow<'t, str>> {
        use ArrowDataType as T;
        match dtype {
            T::Boolean => {
                let is_one = |words: &[String]| words.iter().any(|word| word == text);
                match (is_one(&self.true_values), is_one(&self.false_values)) {
                    (true, _) => Some("true".into()),
                    (_, true) => Some("false".into()),
                    _ => Some(text.into()),
                }
            }
            T::Date32 => {
                let moment = self.moment(text)?;
                (moment.time() == Time::midnight()).then(|| moment.date().to_string().into())
            }
            T::Timestamp(..) => Some(self.moment(text)?.to_string().into()),
            _ => self.number(text).map(Cow::Owned),
        }
    }

    /// True for a text that one of the formats reads.
    pub(super) fn is_moment(&self, text: &str) -> bool {
        let mut formats = self.date_formats.iter();
        formats.any(|format| parse_moment(format, text).is_some())
    }

    /// The moment that all formats say which read the text: there is one.
    fn moment(&self, text: &str) -> Option<DateTime> {
        let formats = self.date_formats.iter();
        let mut found = formats.filter_map(|format| parse_moment(format, text));
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    fn number(&self, text: &str) -> Option<String> {
        let point = if self.has_decimal_comma { ',' } else { '.' };
        let (whole, fraction) = match text.split_once(point) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        // What stands before an exponent is digits only.
        let is_plain = |text: &str| !text.contains(['.', ',']);
        let mut number = match self.thousands.map(char::from) {
            Some(mark) if whole.contains(mark) => without_marks(whole, mark)?,
            _ => whole.to_string(),
        };
        if !is_plain(&number) || fraction.is_some_and(|fraction| !is_plain(fraction)) {
            return None;
        }
        if let Some(fraction) = fraction {
            number.push('.');
            number.push_str(fraction);
        }
        Some(number)
    }
}

/// A whole number without the marks between its thousands: three digits stand behind each, and no zero
/// before the first, because `0.125` is a fraction where somebody writes points.
fn without_marks(whole: &str, mark: char) -> Option<String> {
    let digits = whole.trim_start_matches(['-', '+']);
    let mut groups = digits.split(mark);
    let is_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next()?;
    let is_sound = (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && is_digits(first)
        && groups.all(|group| group.len() == 3 && is_digits(group));
    is_sound.then(|| whole.replace(mark, ""))
}

/// The moment that a text is by a format; midnight where that says only a day. Written by the format
/// it is that text again: a year of two digits is none of four, and nothing of the text is passed over.
pub(super) fn parse_moment(format: &str, text: &str) -> Option<DateTime> {
    let read = strtime::parse(format, text).ok()?;
    let moment = match read.hour() {
        Some(_) => read.to_datetime().ok()?,
        None => read.to_date().ok()?.into(),
    };
    let again = strtime::format(format, moment).ok()?;
    again.eq_ignore_ascii_case(text).then_some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_several_ways() {
        let german = ValueForms {
            has_decimal_comma: true,
            thousands: Some(b'.'),
            ..ValueForms::default()
        };
        let english = ValueForms {
            thousands: Some(b','),
            ..ValueForms::default()
        };
        for (forms, text, number) in [
            (&german, "1.234.567,89", Some("1234567.89")),
            (&german, "-1.234", Some("-1234")),
            (&german, "1234,5", Some("1234.5")),
            (&german, "1234", Some("1234")),
            (&german, "12.34", None),
            (&german, "1.2345", None),
            (&german, "1,234.5", None),
            (&german, "1,2,3", None),
            (&german, ".123", None),
            (&german, "0.125", None),
            (&german, "-0.125", None),
            (&english, "1,234.5", Some("1234.5")),
            (&english, "1,234,5", None),
            (&english, "1234.5", Some("1234.5")),
            (&english, "1.234,567", None),
        ] {
            assert_eq!(forms.number(text).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn moments_are_those_of_one_format_or_of_all_that_read_them() {
        let forms = |formats: &[&str]| ValueForms {
            date_formats: formats.iter().map(ToString::to_string).collect(),
            ..ValueForms::default()
        };
        let day = |formats: &[&str], text: &str| {
            let found = forms(formats).plain(text, &ArrowDataType::Date32);
            found.map(Cow::into_owned)
        };
        assert_eq!(
            day(&["%d.%m.%Y"], "31.01.2024").as_deref(),
            Some("2024-01-31")
        );
        for none in [
            "30.02.2024",
            "31.01.24",
            "1.1.2024",
            "31.01.+2024",
            " 1.01.2024",
            "31.01.2024 ",
        ] {
            assert_eq!(day(&["%d.%m.%Y"], none), None, "{none}");
        }
        assert_eq!(
            day(&["%d.%m.%Y", "%d.%m.%y"], "31.01.24").as_deref(),
            Some("2024-01-31")
        );
        assert_eq!(
            day(&["%-d.%-m.%Y"], "1.2.2024").as_deref(),
            Some("2024-02-01")
        );
        for (format, text) in [
            ("%d.%m.%Y %H:%M", "31.01.2024 12:00"),
            ("%Y%m%d", "2024111"),
            ("%d.%m.%Y %M:%S", "31.01.2024 59:58"),
            ("%d.%m.%Y %p", "31.01.2024 PM"),
            ("%Y-%m-%d %H:%M:%S", "2024-01-31 00:00:60"),
            ("%Y-%m-%d %H:%M %p", "2024-01-31 13:00 AM"),
        ] {
            assert_eq!(day(&[format], text), None, "{text}");
        }
        assert_eq!(day(&["%d.%m.%Y"], "2024-01-31"), None);
        assert_eq!(
            day(&["%d/%m/%Y", "%m/%d/%Y"], "31/01/2024").as_deref(),
            Some("2024-01-31")
        );
        assert_eq!(day(&["%d/%m/%Y", "%m/%d/%Y"], "01/02/2024"), None);
        assert_eq!(
            day(&["%d/%m/%Y", "%m/%d/%Y"], "02/02/2024").as_deref(),
            Some("2024-02-02")
        );
    }
}
