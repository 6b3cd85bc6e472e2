//! Columns whose values stand in names of folders, as Hive writes them: `year=2024/month=01`.
//!
//! It knows names only; whether the files have the columns too, it does not know.

use crate::connection::types::ColumnType;
use crate::format::projection::is_constant_of;

/// The name of the folder of rows that have no value in its column.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// A value that stands in the name of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderValue {
    /// The column.
    pub column: String,
    /// The value; `None` for null.
    pub value: Option<String>,
}

/// The values in the names of the folders of a file, with the folders, from above.
pub(super) fn folder_values(name: &str) -> impl Iterator<Item = (&str, FolderValue)> {
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
