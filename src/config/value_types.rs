//! Kinds of values that a config has: numbers within bounds, percentages, times, paths, words.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedNumber<const MIN: u64, const MAX: u64>(pub u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for BoundedNumber<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> Visitor<'_> for Bounded<MIN, MAX> {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match MAX {
                    u64::MAX => write!(f, "a whole number of at least {MIN}"),
                    _ => write!(f, "a whole number from {MIN} to {MAX}"),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
                if (MIN..=MAX).contains(&number) {
                    Ok(number)
                } else {
                    Err(E::invalid_value(Unexpected::Unsigned(number), &self))
                }
            }
        }
        deserializer.deserialize_u64(Bounded::<MIN, MAX>).map(Self)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for BoundedNumber<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for BoundedNumber<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Number from {MIN} to {MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        match MAX {
            u64::MAX => json_schema!({ "type": "integer", "minimum": MIN }),
            _ => json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX }),
        }
    }
}

/// Gives a type of texts, of which some do not fit, what serde and schemars need.
macro_rules! word {
    ($type:ident, $method:ident, $expected:literal, $parse:expr, $shown:expr, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl Visitor<'_> for Word {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_u64<E: Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        let parse: fn(&str) -> Option<$type> = $parse;
                        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }
                deserializer.$method(Word)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let shown: fn(&$type) -> String = $shown;
                serializer.serialize_str(&shown(self))
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// A part of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentage(pub u8);

word!(
    Percentage,
    deserialize_any,
    "a whole percentage from 0% to 100%, such as 50%",
    |text| {
        let number = text.strip_suffix('%').unwrap_or(text).trim().parse().ok()?;
        (number <= 100).then_some(Percentage(number))
    },
    |percentage| format!("{}%", percentage.0),
    { "anyOf": [{ "type": "string", "pattern": "^(100|[0-9]{1,2}) ?%?$" }, { "type": "integer", "minimum": 0, "maximum": 100 }], "x-type": "percentage" }
);

/// The longest time that anybody means.
const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);

/// A time, such as `90s`, `10m` or `1h`; a number alone is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigDuration(pub Duration);

word!(
    ConfigDuration,
    deserialize_any,
    "a time from a second to a year, such as 90s, 10m or 1h; a number alone is seconds",
    |text| parse_duration(text).filter(|time| (Duration::from_secs(1)..=MAX_TIME).contains(time)).map(ConfigDuration),
    |time| format!("{}s", time.0.as_secs()),
    { "anyOf": [{ "type": "string", "pattern": "^[0-9]+ ?[smhd]?$" }, { "type": "integer", "minimum": 1 }], "x-type": "time" }
);

/// Reads `90s`, `10m`, `1h`, `2d`, or a number of seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, seconds) = match text.trim().char_indices().next_back()? {
        (end, 's') => (&text.trim()[..end], 1),
        (end, 'm') => (&text.trim()[..end], 60),
        (end, 'h') => (&text.trim()[..end], 3600),
        (end, 'd') => (&text.trim()[..end], 86_400),
        _ => (text.trim(), 1),
    };
    let number: u64 = number.trim().replace('_', "").parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// How wide a slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceWidth {
    /// A day.
    Day,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
    /// So many whole numbers.
    Numbers(u64),
}

impl fmt::Display for SliceWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("day"),
            Self::Month => f.write_str("month"),
            Self::Year => f.write_str("year"),
            Self::Numbers(width) => write!(f, "{width}"),
        }
    }
}

word!(
    SliceWidth,
    deserialize_any,
    "day, month, year, or a whole number of at least 1",
    |text| match text {
        "day" => Some(SliceWidth::Day),
        "month" => Some(SliceWidth::Month),
        "year" => Some(SliceWidth::Year),
        number => number.replace('_', "").parse().ok().filter(|width| *width > 0).map(SliceWidth::Numbers),
    },
    |step| step.to_string(),
    { "anyOf": [{ "enum": ["day", "month", "year"] }, { "type": "integer", "minimum": 1 }], "x-type": "`day`, `month`, `year` or a number" }
);

/// How far behind something may lie: a time, or for whole numbers a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Seconds, or the number.
    pub value: u64,
    /// True where no unit was written.
    pub is_unitless: bool,
}

impl Lag {
    /// As it is written.
    pub fn to_config_text(&self) -> String {
        if self.is_unitless {
            self.value.to_string()
        } else {
            format!("{}s", self.value)
        }
    }
}

word!(
    Lag,
    deserialize_any,
    "a time such as 90s, 10m or 1h, or a number for whole numbers",
    |text| {
        let is_plain = text.trim().ends_with(|sign: char| sign.is_ascii_digit());
        Some(Lag { value: parse_duration(text)?.as_secs(), is_unitless: is_plain })
    },
    Lag::to_config_text,
    { "anyOf": [{ "type": "string", "pattern": "^[0-9][0-9_]* ?[smhd]?$" }, { "type": "integer", "minimum": 0 }], "x-type": "time or number" }
);

/// A value of a column that grows: a date, a time stamp or a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkValue(pub String);

word!(
    WatermarkValue,
    deserialize_any,
    "a date such as 2026-01-31, a time stamp, or a whole number",
    |text| (!text.trim().is_empty()).then(|| WatermarkValue(text.trim().to_string())),
    |bound| bound.0.clone(),
    { "type": ["string", "integer"], "x-type": "date, time stamp or number" }
);

/// A number of bytes, such as `500MB`; units are of 1000, those with an `i` of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

word!(
    ByteSize,
    deserialize_any,
    "a number of bytes, such as 500MB, 10GB or 1TiB",
    |text| parse_bytes(text).map(ByteSize),
    |bytes| bytes.0.to_string(),
    { "anyOf": [{ "type": "string", "pattern": "^[0-9][0-9_]* ?([kKMGT]i?)?B?$" }, { "type": "integer", "minimum": 0 }], "x-type": "bytes" }
);

/// Reads `500MB`, `10 GiB` or a number of bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches('B').trim_end();
    let (text, step) = text
        .strip_suffix('i')
        .map_or((text, 1000_u64), |text| (text, 1024));
    let power = match text.chars().next_back()? {
        'k' | 'K' => 1,
        'M' => 2,
        'G' => 3,
        'T' => 4,
        _ if step == 1024 => return None,
        _ => 0,
    };
    let number = if power > 0 {
        &text[..text.len() - 1]
    } else {
        text
    };
    let number: u64 = number.trim().replace('_', "").parse().ok()?;
    number.checked_mul(step.checked_pow(power)?)
}

/// A path, relative to the folder of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText(pub String);

word!(
    PathText,
    deserialize_str,
    "a path: a folder or a file, no URL",
    |text| (!text.trim().is_empty() && !text.contains('\0') && !text.contains("://")).then(|| PathText(text.to_string())),
    |path| path.0.clone(),
    { "type": "string", "minLength": 1, "x-type": "path" }
);

/// One text, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StringList(pub Vec<String>);

impl<'de> Deserialize<'de> for StringList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = StringList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StringList, E> {
                Ok(StringList(vec![text.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StringList, A::Error> {
                let mut words = Vec::new();
                // An item that is no text was reported: the others are read all the same.
                loop {
                    match items.next_element() {
                        Ok(Some(word)) => words.push(word),
                        Ok(None) => return Ok(StringList(words)),
                        Err(_) => {}
                    }
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<StringList, A::Error> {
                Err(A::Error::invalid_type(Unexpected::Map, &self))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

impl JsonSchema for StringList {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Words".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            "x-type": "text or list"
        })
    }
}

/// A value that is read elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IgnoredValue;

impl<'de> Deserialize<'de> for IgnoredValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units_or_not_at_all() {
        for (text, seconds) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            (" 10 m ", Some(600)),
            ("1h", Some(3600)),
            ("2d", Some(172_800)),
            ("1_000", Some(1000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("1.5h", None),
            ("-1s", None),
            ("1h30m", None),
            ("1w", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615s", Some(u64::MAX)),
            ("18446744073709551615m", None),
            ("18446744073709551616", None),
        ] {
            let read = parse_duration(text).map(|time| time.as_secs());
            assert_eq!(read, seconds, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units_or_not_at_all() {
        for (text, bytes) in [
            ("512", Some(512)),
            ("512B", Some(512)),
            ("1k", Some(1000)),
            ("500MB", Some(500_000_000)),
            ("10 GiB", Some(10 << 30)),
            ("1TiB", Some(1 << 40)),
            ("1_000K", Some(1_000_000)),
            ("", None),
            ("B", None),
            ("MB", None),
            ("1.5GB", None),
            ("-1", None),
            ("1PB", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615k", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text:?}");
        }
    }
}
