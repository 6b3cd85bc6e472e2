//! What rows are of: a table by its name, or a query.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::connection::Dialect;

/// A table or a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// A table or a view: its name, behind its schema if that is said.
    Table(Vec<String>),
    /// A SELECT, without a semicolon at its end.
    Query(String),
}

/// What a table is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableName<'n> {
    /// Its schema, if that is said.
    pub schema: Option<&'n str>,
    /// Its own name.
    pub name: &'n str,
}

impl TableName<'_> {
    /// The name as statements have it.
    pub fn source_sql(self, dialect: Dialect) -> String {
        let quoted = self.words().map(|name| dialect.quote_name(name));
        quoted.collect::<Vec<_>>().join(".")
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.schema.into_iter().chain([self.name])
    }
}

impl<'n> From<&'n [String]> for TableName<'n> {
    fn from(names: &'n [String]) -> Self {
        let (name, schema) = names
            .split_last()
            .map_or(("", None), |(name, before)| (name.as_str(), before.last()));
        Self {
            schema: schema.map(String::as_str),
            name,
        }
    }
}

impl Relation {
    /// Reads `TABLE` or `SCHEMA.TABLE`. What begins with a double quote ends with one, and says
    /// `""` for one in it; anything else is taken as it is, up to the next dot.
    pub fn parse_table(text: &str) -> Option<Self> {
        let mut names = Vec::new();
        let mut rest = text.trim();
        loop {
            let (name, after) = match rest.strip_prefix('"') {
                Some(quoted) => split_quoted(quoted)?,
                None => match rest.split_once('.') {
                    Some((name, after)) => (name.to_string(), Some(after)),
                    None => (rest.to_string(), None),
                },
            };
            if name.is_empty() || name.contains('\0') {
                return None;
            }
            names.push(name);
            match after {
                Some(after) => rest = after,
                None => return (names.len() <= 2).then_some(Self::Table(names)),
            }
        }
    }

    /// Takes a query as it is.
    pub fn from_query(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches(';').trim_end();
        (!text.is_empty()).then(|| Self::Query(text.to_string()))
    }

    /// The table's name, behind its schema.
    pub fn table_name(&self) -> Option<&[String]> {
        match self {
            Self::Table(names) => Some(names),
            Self::Query(_) => None,
        }
    }

    /// What the table is called; `None` for a query.
    pub fn table(&self) -> Option<TableName<'_>> {
        self.table_name().map(TableName::from)
    }

    /// What stands behind FROM.
    pub fn source_sql(&self, dialect: Dialect) -> String {
        match self {
            Self::Table(names) => TableName::from(names.as_slice()).source_sql(dialect),
            // The line ends, so that a comment at the end of the query does.
            Self::Query(query) => format!("({query}\n) AS hygge_query"),
        }
    }

    /// Names of files may be made of it.
    pub fn file_stem(&self) -> String {
        match self {
            Self::Table(names) => TableName::from(names.as_slice())
                .name
                .replace(['/', '\\'], "_"),
            Self::Query(_) => "query".into(),
        }
    }
}

/// The name up to the closing quote, and what stands behind the dot that follows it.
fn split_quoted(text: &str) -> Option<(String, Option<&str>)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if let Some(after) = rest.strip_prefix('"') {
            name.push('"');
            rest = after;
        } else if rest.is_empty() {
            return Some((name, None));
        } else {
            return Some((name, Some(rest.strip_prefix('.')?)));
        }
    }
}

impl fmt::Display for TableName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |name: &str| !name.contains('.') && !name.starts_with('"');
        let shown = |name: &str| {
            if plain(name) {
                name.to_string()
            } else {
                format!("\"{}\"", name.replace('"', "\"\""))
            }
        };
        f.write_str(&self.words().map(shown).collect::<Vec<_>>().join("."))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(names) => TableName::from(names.as_slice()).fmt(f),
            Self::Query(_) => f.write_str("the query"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_and_written_as_it_was_meant() {
        for (text, schema, name, sql) in [
            ("t", None, "t", r#""t""#),
            ("s.t", Some("s"), "t", r#""s"."t""#),
            (r#""a.b"."c""d""#, Some("a.b"), "c\"d", r#""a.b"."c""d""#),
        ] {
            let relation = Relation::parse_table(text).expect("a table");
            assert_eq!(relation.table(), Some(TableName { schema, name }), "{text}");
            assert_eq!(relation.source_sql(Dialect::Postgres), sql);
            let shown = relation.to_string();
            assert_eq!(Relation::parse_table(&shown), Some(relation), "{shown}");
        }
        let query = Relation::from_query("SELECT 1;").expect("a query");
        assert_eq!(query.table(), None);
    }
}
