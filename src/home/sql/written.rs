//! SQL as it is written in a config, looked at before a database sees it: whether there is some, and whether it is one statement.
//!
//! It knows where texts, names and comments end, and nothing else of SQL.

use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};
use crate::connection::Dialect;

/// A condition; nothing where it says nothing, which is reported.
pub fn condition(written: Option<String>, key: &str, node: &Node, name: &str, problems: &mut Problems) -> Option<Option<String>> {
    let Some(condition) = written else { return Some(None) };
    if is_blank(None, &condition) {
        let problem = Problem::new(node.place_of(key), format!("{key} of {name} is empty"), "expected a condition");
        problems.push(problem.hint(format!("leave {key} out where all rows are meant")));
        return None;
    }
    Some(Some(condition))
}

/// A query without what ends it; nothing where another statement follows, which is reported.
pub(super) fn query(dialect: Option<Dialect>, written: &str, at: &Node, name: &str, problems: &mut Problems) -> Option<String> {
    let Some(end) = dialect.and_then(|dialect| end_of_statement(dialect, written)) else { return Some(written.to_string()) };
    let rest = &written[end + 1..];
    if is_blank(dialect, rest) {
        return Some(written[..end].to_string());
    }
    let shown: String = rest.trim().chars().take(60).collect();
    let message = format!("query of {name} has another statement behind its first: {shown}");
    problems.push(Problem::new(at.at, message, "expected one SELECT").hint("what belongs before it may be a view of the database"));
    None
}

/// No column stands in a list twice.
pub(super) fn distinct(list: Option<&Node>, what: &str, problems: &mut Problems) -> bool {
    let names = list.map(Node::texts).unwrap_or_default();
    let mut is_sound = true;
    for (place, (column, at)) in names.iter().enumerate() {
        if let Some((_, first)) = names[..place].iter().find(|(name, _)| name == column) {
            let problem = Problem::new(*at, format!("{what} names the column {column} twice"), "expected each column once");
            problems.push(problem.also(*first, "the first time"));
            is_sound = false;
        }
    }
    if list.is_some_and(|list| list.size() == 1 && list.text().is_none()) {
        let at = list.map_or_else(Default::default, |list| list.at);
        problems.push(Problem::new(at, format!("{what} names no column"), "expected a column at least"));
        is_sound = false;
    }
    is_sound
}

/// True where there is nothing but blanks, comments and semicolons.
fn is_blank(dialect: Option<Dialect>, sql: &str) -> bool {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|sign: char| sign.is_whitespace() || sign == ';');
        if rest.is_empty() {
            return true;
        }
        match comment(dialect.unwrap_or(Dialect::Sqlite), rest) {
            Some(length) => rest = &rest[length..],
            None => return false,
        }
    }
}

/// Where the semicolon behind the first statement stands; nothing where there is none, or where it cannot be told.
fn end_of_statement(dialect: Dialect, sql: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(sign) = sql[at..].chars().next() {
        let rest = &sql[at..];
        at += match sign {
            ';' => return Some(at),
            '\'' | '"' => quoted(dialect, sql, at, sign)?,
            '`' if dialect != Dialect::Postgres => quoted(dialect, sql, at, sign)?,
            '[' if dialect == Dialect::Sqlite => rest.find(']')? + 1,
            '$' if dialect == Dialect::Postgres => dollars(sql, at)?,
            _ => comment(dialect, rest).unwrap_or(sign.len_utf8()),
        };
    }
    None
}

/// The length of a comment at the beginning of a text.
fn comment(dialect: Dialect, sql: &str) -> Option<usize> {
    let is_line = match dialect {
        Dialect::MySql => sql.starts_with('#') || sql == "--" || sql.starts_with("--") && sql[2..].starts_with(char::is_whitespace),
        _ => sql.starts_with("--"),
    };
    if is_line {
        return Some(sql.find('\n').map_or(sql.len(), |end| end + 1));
    }
    if !sql.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (1, 2);
    while depth > 0 {
        let rest = sql.get(at..)?;
        let (end, begin) = (rest.find("*/"), rest.find("/*").filter(|_| dialect == Dialect::Postgres));
        match (end, begin) {
            (Some(end), Some(begin)) if begin < end => (depth, at) = (depth + 1, at + begin + 2),
            (Some(end), _) => (depth, at) = (depth - 1, at + end + 2),
            // One without an end is the rest.
            (None, _) => return Some(sql.len()),
        }
    }
    Some(at)
}

/// The length of a text or a name in quotes.
fn quoted(dialect: Dialect, sql: &str, at: usize, quote: char) -> Option<usize> {
    // What a backslash means there depends on the session: the server will say what it thinks of it.
    let before = sql[..at].chars().next_back();
    let may_escape = match dialect {
        Dialect::MySql => quote != '`',
        Dialect::Postgres => quote == '\'' && matches!(before, Some('e' | 'E')),
        Dialect::Sqlite => false,
    };
    let rest = &sql[at + 1..];
    let end = rest.find(quote)?;
    (!may_escape || !rest[..end].contains('\\')).then_some(end + 2)
}

/// The length of a text between dollars, or of one dollar that begins none.
fn dollars(sql: &str, at: usize) -> Option<usize> {
    let is_name = |sign: char| sign.is_alphanumeric() || sign == '_';
    let rest = &sql[at + 1..];
    let is_behind_name = sql[..at].chars().next_back().is_some_and(is_name);
    let Some(length) = rest.find(|sign| !is_name(sign)).filter(|length| rest[*length..].starts_with('$') && !is_behind_name) else {
        return Some(1);
    };
    let tag = &sql[at..at + length + 2];
    let end = sql[at + tag.len()..].find(tag)?;
    Some(end + 2 * tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_where_the_database_ends_it() {
        let cases = [
            (Dialect::Sqlite, "select 1", None),
            (Dialect::Sqlite, "select 1; select 2", Some(8)),
            (Dialect::Sqlite, "select ';', \";\", `;`, [;] -- ;\n from t", None),
            (Dialect::Sqlite, "select 'it''s;' /* ; */; x", Some(23)),
            (Dialect::Sqlite, "select a[1]; x", Some(11)),
            (Dialect::Postgres, "select a[1]; x", Some(11)),
            (Dialect::Postgres, "select $$;$$, $a$;$$;$a$, $1; x", Some(28)),
            (Dialect::Postgres, "select E'\\';' ; x", None),
            (Dialect::Postgres, "select '\\'; x", Some(10)),
            (Dialect::Postgres, "select 1 /* /* ; */ ; */; x", Some(24)),
            (Dialect::MySql, "select 1 # ;\n; x", Some(13)),
            (Dialect::MySql, "select 2--1; x", Some(11)),
            (Dialect::MySql, "select 2 -- 1; x", None),
            (Dialect::MySql, "select '\\'; x", None),
            (Dialect::MySql, "select '", None),
        ];
        for (dialect, sql, end) in cases {
            assert_eq!(end_of_statement(dialect, sql), end, "{dialect:?}: {sql}");
        }
    }

    #[test]
    fn comments_and_blanks_are_no_statement() {
        for blank in ["", " ;\n;", "-- a", "/* a */ -- b\n ;", "/* open"] {
            assert!(is_blank(Some(Dialect::Postgres), blank), "{blank}");
        }
        for full in ["x", "/* a */ select", "# a", "-"] {
            assert!(!is_blank(Some(Dialect::Postgres), full), "{full}");
        }
        assert!(is_blank(Some(Dialect::MySql), "# a"));
    }
}
