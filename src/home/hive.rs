//! Columns whose values stand in names of folders, as Hive writes them: `year=2024/month=01`.
//!
//! It knows names only; whether the files have the columns too, it does not know.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::connection::types::ColumnType;
use crate::format::projection::is_constant_of;
use crate::fs::is_hidden;

/// The value in the name of the folder of rows that have none in its column.
pub const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// How many bytes a name in a folder may have.
pub const MAX_NAME_BYTES: usize = 255;

/// What stands as `%3A` in names of folders: what Hive escapes, what no name or a shell has as it
/// is, and spaces.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The name of the folder of rows that have a value in a column.
pub fn folder_name(column: &str, value: Option<&str>) -> String {
    let column = percent_encoded(column);
    match value {
        Some(value) => format!("{column}={}", percent_encoded(value)),
        None => format!("{column}={NULL_FOLDER}"),
    }
}

/// A text with signs that are escaped; letters of all languages stay what they are, as in Hive.
fn percent_encoded(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if letter.is_ascii() => {
                name.extend(utf8_percent_encode(
                    letter.encode_utf8(&mut [0; 4]),
                    ESCAPED,
                ));
            }
            letter => name.push(letter),
        }
    }
    name
}

/// A value that stands in the name of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderValue {
    /// The column.
    pub column: String,
    /// The value; `None` for null.
    pub value: Option<String>,
}

/// True for the path of folders that are called after values, one below the other.
pub fn is_partition_path(path: &str) -> bool {
    let is_name = |name: &str| {
        name.contains('=')
            && !is_hidden(name)
            && !name.contains('\0')
            && name.len() <= MAX_NAME_BYTES
    };
    path.split('/').all(is_name)
}

/// The values in the names of the folders of a file, with the folders, from above.
pub fn folder_values(name: &str) -> impl Iterator<Item = (&str, FolderValue)> {
    let folders = name.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(|folder| {
        let (column, value) = folder.split_once('=')?;
        let found = FolderValue {
            column: percent_decoded(column),
            value: (value != NULL_FOLDER).then(|| percent_decoded(value)),
        };
        (!column.is_empty()).then_some((folder, found))
    })
}

/// A name with its signs, which Hive writes as `%3A`; as it stands where that is no UTF-8.
fn percent_decoded(text: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map_or_else(|_| text.to_string(), |decoded| decoded.into_owned())
}

/// The types that a column in names of folders may have.
pub(super) fn is_folder_type(kind: &ColumnType) -> bool {
    use ColumnType as T;
    matches!(
        kind,
        T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Text
            | T::Date
    )
}

/// The type of a column by all of its values: whole numbers, dates or booleans where each of them
/// is one, else text. Digits behind zeros are a number only where they are two, as months and days
/// are written: longer ones are codes, of which the zeros are a part.
pub fn inferred_type<'v>(values: impl Iterator<Item = &'v str> + Clone) -> ColumnType {
    let is_one_of = |kind: ColumnType| {
        let dtype = kind.to_arrow();
        let is_all = values.clone().next().is_some()
            && values.clone().all(|value| is_constant_of(&dtype, value));
        is_all.then_some(kind)
    };
    let has_plain_digits = values.clone().all(|value| {
        let digits = value.strip_prefix('-').unwrap_or(value);
        !digits.starts_with('0') || value == "0" || value.len() == 2 && digits == value
    });
    is_one_of(ColumnType::Int64)
        .filter(|_| has_plain_digits)
        .or_else(|| is_one_of(ColumnType::Date))
        .or_else(|| is_one_of(ColumnType::Boolean))
        .unwrap_or(ColumnType::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_names_of_folders() {
        let name = "eu/year=2024/at=12%3A00/x=__HIVE_DEFAULT_PARTITION__/y=/z=%FF/a=b.parquet";
        let found: Vec<_> = folder_values(name).map(|(_, found)| found).collect();
        let expected = [
            ("year", Some("2024")),
            ("at", Some("12:00")),
            ("x", None),
            ("y", Some("")),
            ("z", Some("%FF")),
        ];
        let expected = expected.map(|(column, value)| FolderValue {
            column: column.to_string(),
            value: value.map(str::to_string),
        });
        assert_eq!(found, expected);
        assert_eq!(folder_values("=x/a.parquet").count(), 0);
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let all: String = (1..0x250).filter_map(char::from_u32).collect();
        for (column, value) in [("a", "x"), ("a=b/c", "=/%3A"), ("é", all.as_str())] {
            let name = folder_name(column, Some(value));
            let path = format!("{name}/a.parquet");
            let found: Vec<_> = folder_values(&path).collect();
            let expected = FolderValue {
                column: column.to_string(),
                value: Some(value.to_string()),
            };
            assert_eq!(found, [(name.as_str(), expected)]);
            assert!(!name.contains(['/', ' ', '\n', '\'']), "{name}");
        }
        assert_eq!(folder_name("a b", None), "a%20b=__HIVE_DEFAULT_PARTITION__");
    }

    #[test]
    fn a_type_holds_every_value_as_it_is_written() {
        let cases: [(&[&str], ColumnType); 15] = [
            (&["2023", "2024", "-7", "0"], ColumnType::Int64),
            (&["01", "02", "12"], ColumnType::Int64),
            (&["1", "02"], ColumnType::Int64),
            (&["01234", "99999"], ColumnType::Text),
            (&["007"], ColumnType::Text),
            (&["-01"], ColumnType::Text),
            (&["-0"], ColumnType::Text),
            (&["9223372036854775807"], ColumnType::Int64),
            (&["9223372036854775808"], ColumnType::Text),
            (&["+1"], ColumnType::Text),
            (&["2024-02-29", "1969-12-31"], ColumnType::Date),
            (&["2023-02-29"], ColumnType::Text),
            (&["true", "False"], ColumnType::Boolean),
            (&["1", ""], ColumnType::Text),
            (&[], ColumnType::Text),
        ];
        for (values, expected) in cases {
            assert_eq!(
                inferred_type(values.iter().copied()),
                expected,
                "{values:?}"
            );
        }
    }
}
