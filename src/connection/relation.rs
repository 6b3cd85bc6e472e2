//! What rows are of: a table by its name, or a query.

use std::fmt;

use crate::connection::Dialect;

/// A table or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// A table or a view: its name, behind its schema if that is said.
    Table(Vec<String>),
    /// A SELECT, without a semicolon at its end.
    Query(String),
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

    /// What stands behind FROM.
    pub fn source_sql(&self, dialect: Dialect) -> String {
        match self {
            Self::Table(names) => names
                .iter()
                .map(|name| dialect.quote_name(name))
                .collect::<Vec<_>>()
                .join("."),
            // The line ends, so that a comment at the end of the query does.
            Self::Query(query) => format!("({query}\n) AS hygge_query"),
        }
    }

    /// Names of files may be made of it.
    pub fn file_stem(&self) -> String {
        match self {
            Self::Table(names) => names
                .last()
                .map_or_else(String::new, |name| name.replace(['/', '\\'], "_")),
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

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(names) => {
                let plain = |name: &String| !name.contains('.') && !name.starts_with('"');
                let shown = |name: &String| {
                    if plain(name) {
                        name.clone()
                    } else {
                        format!("\"{}\"", name.replace('"', "\"\""))
                    }
                };
                f.write_str(&names.iter().map(shown).collect::<Vec<_>>().join("."))
            }
            Self::Query(_) => f.write_str("the query"),
        }
    }
}
