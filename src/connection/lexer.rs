//! Where a statement ends that a config has: behind it, a server would run another one.
//!
//! It knows where texts, names and comments end in each database, and nothing else of SQL. What
//! depends on the settings of a session is read in each of the ways in which it could be meant.

use std::collections::BTreeSet;

use super::Dialect;

/// What stands behind a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementEnd {
    /// Nothing.
    EndOfText,
    /// A semicolon ends it there, and something may follow.
    Semicolon(usize),
    /// That depends on who reads it.
    Ambiguous,
}

/// How a session reads what its settings decide.
#[derive(Clone, Copy, Debug)]
struct EscapeRules {
    /// A backslash takes away what the next sign means, in texts between single quotes.
    escapes_single: bool,
    /// The same between double quotes.
    escapes_double: bool,
}

/// Where the first statement ends, however it is read.
pub fn find_statement_end(dialect: Dialect, sql: &str) -> StatementEnd {
    find_end(dialect, sql, false)
}

/// The same for a query that stands in parentheses: what closes more than it opens ends it too.
pub fn find_enclosed_end(dialect: Dialect, sql: &str) -> StatementEnd {
    find_end(dialect, sql, true)
}

fn find_end(dialect: Dialect, sql: &str, is_enclosed: bool) -> StatementEnd {
    let reading = |escapes_single, escapes_double| EscapeRules {
        escapes_single,
        escapes_double,
    };
    let readings: &[EscapeRules] = match dialect {
        Dialect::Sqlite => &[reading(false, false)],
        // As standard_conforming_strings says.
        Dialect::Postgres => &[reading(false, false), reading(true, false)],
        // As NO_BACKSLASH_ESCAPES says; and ANSI_QUOTES, with which double quotes are around names.
        Dialect::MySql => &[
            reading(true, true),
            reading(true, false),
            reading(false, false),
        ],
    };
    // What stands in such a comment is run by some servers, and by others not.
    if dialect == Dialect::MySql && (sql.contains("/*!") || sql.contains("/*M!")) {
        let end = sql.trim_end_matches(|sign: char| sign.is_whitespace() || sign == ';');
        let rest = if end.len() < sql.len() {
            sql[end.len()..].find(';').map(|at| end.len() + at)
        } else {
            None
        };
        return if end.contains(';') {
            StatementEnd::Ambiguous
        } else {
            rest.map_or(StatementEnd::EndOfText, StatementEnd::Semicolon)
        };
    }
    let ends = readings.iter().map(|reading| {
        Lexer {
            dialect,
            escapes: *reading,
            sql,
            is_enclosed,
        }
        .end_of_statement()
    });
    let ends: BTreeSet<Option<usize>> = ends.collect();
    let mut found = ends.iter().flatten();
    match (found.next(), found.next()) {
        (None, _) => StatementEnd::EndOfText,
        (Some(end), None) if ends.len() == 1 || is_blank(Some(dialect), &sql[end + 1..]) => {
            StatementEnd::Semicolon(*end)
        }
        _ => StatementEnd::Ambiguous,
    }
}

/// True where there is nothing but blanks, comments and semicolons.
pub fn is_blank(dialect: Option<Dialect>, sql: &str) -> bool {
    let dialect = dialect.unwrap_or(Dialect::Sqlite);
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|sign: char| sign.is_whitespace() || sign == ';');
        if rest.is_empty() {
            return true;
        }
        match comment(dialect, rest) {
            Some(length) => rest = &rest[length..],
            None => return false,
        }
    }
}

/// A statement that is read in one way.
struct Lexer<'s> {
    dialect: Dialect,
    escapes: EscapeRules,
    sql: &'s str,
    /// True where it stands in parentheses.
    is_enclosed: bool,
}

impl Lexer<'_> {
    /// Where the semicolon behind the first statement stands; nothing where there is none. A text
    /// or a name without an end is the rest: no server runs a statement of that kind.
    fn end_of_statement(&self) -> Option<usize> {
        let (sql, mut at) = (self.sql, 0);
        // A text of PostgreSQL's that goes on in another line is escaped as it began.
        let mut goes_on_escaped = false;
        let mut depth = 0_usize;
        while let Some(sign) = sql[at..].chars().next() {
            let rest = &sql[at..];
            if let Some(length) = comment(self.dialect, rest) {
                at += length;
                continue;
            }
            let is_postgres = self.dialect == Dialect::Postgres;
            let was_escaped = std::mem::take(&mut goes_on_escaped);
            at += match sign {
                ';' => return Some(at),
                '(' if self.is_enclosed => {
                    depth += 1;
                    1
                }
                ')' if self.is_enclosed => {
                    let Some(outer) = depth.checked_sub(1) else {
                        return Some(at);
                    };
                    depth = outer;
                    1
                }
                '\'' => {
                    goes_on_escaped = was_escaped;
                    quoted(rest, sign, was_escaped || self.escapes.escapes_single)?
                }
                '"' => quoted(rest, sign, self.escapes.escapes_double)?,
                '`' if !is_postgres => quoted(rest, sign, false)?,
                '[' if self.dialect == Dialect::Sqlite => rest.find(']')? + 1,
                '$' if is_postgres => dollars(rest)?,
                '$' | '@' | '#' | ':' if self.dialect == Dialect::Sqlite => variable(rest),
                'e' | 'E' if is_postgres && rest[1..].starts_with('\'') => {
                    goes_on_escaped = true;
                    1
                }
                sign if is_name_char(sign) => {
                    rest.find(|sign| !is_name_char(sign)).unwrap_or(rest.len())
                }
                sign => {
                    goes_on_escaped = was_escaped && sign.is_whitespace();
                    sign.len_utf8()
                }
            };
        }
        None
    }
}

/// True for what a name goes on with, and a number.
fn is_name_char(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '_' | '$') || !sign.is_ascii()
}

/// The length of a comment at the beginning of a text.
fn comment(dialect: Dialect, sql: &str) -> Option<usize> {
    let is_blank = |sign: char| sign <= ' ' || sign == '\x7f';
    let is_line = match dialect {
        Dialect::MySql => {
            sql.starts_with('#')
                || sql == "--"
                || sql.starts_with("--") && sql[2..].starts_with(is_blank)
        }
        _ => sql.starts_with("--"),
    };
    if is_line {
        let is_end = |sign| sign == '\n' || sign == '\r' && dialect == Dialect::Postgres;
        return Some(sql.find(is_end).map_or(sql.len(), |end| end + 1));
    }
    if !sql.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (1, 2);
    while depth > 0 {
        let rest = sql.get(at..)?;
        let (end, begin) = (
            rest.find("*/"),
            rest.find("/*").filter(|_| dialect == Dialect::Postgres),
        );
        match (end, begin) {
            (Some(end), Some(begin)) if begin < end => (depth, at) = (depth + 1, at + begin + 2),
            (Some(end), _) => (depth, at) = (depth - 1, at + end + 2),
            // One without an end is the rest.
            (None, _) => return Some(sql.len()),
        }
    }
    Some(at)
}

/// The length of a text or a name in quotes, at the beginning of a text. One that stands in it
/// twice begins another behind it.
fn quoted(sql: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut signs = sql.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        if sign == quote {
            return Some(at + 1);
        }
        if escapes && sign == '\\' {
            signs.next();
        }
    }
    None
}

/// The length of a text between dollars, or of a parameter's number.
fn dollars(sql: &str) -> Option<usize> {
    let is_tag = |sign: char| is_name_char(sign) && sign != '$';
    let length = sql[1..].find(|sign| !is_tag(sign)).unwrap_or(sql.len() - 1);
    let is_number = sql[1..].starts_with(|sign: char| sign.is_ascii_digit());
    if is_number || !sql[1 + length..].starts_with('$') {
        return Some(
            1 + if is_number {
                sql[1..]
                    .find(|sign: char| !sign.is_ascii_digit())
                    .unwrap_or(length)
            } else {
                0
            },
        );
    }
    let tag = &sql[..length + 2];
    let end = sql[tag.len()..].find(tag)?;
    Some(end + 2 * tag.len())
}

/// The length of a parameter of SQLite's, to whose name belongs what stands in brackets behind it.
fn variable(sql: &str) -> usize {
    let length = 1 + sql[1..]
        .find(|sign| !(is_name_char(sign) || sign == ':'))
        .unwrap_or(sql.len() - 1);
    match sql[length..].strip_prefix('(').filter(|_| length > 1) {
        Some(inner) => {
            length
                + 1
                + inner
                    .find(|sign: char| sign == ')' || sign.is_ascii_whitespace())
                    .map_or(inner.len(), |end| end + 1)
        }
        None => length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_closes_more_than_it_opens_ends_an_enclosed_query() {
        use StatementEnd::{Ambiguous, EndOfText, Semicolon};
        let cases = [
            ("select (1), f(x, (2)) from t", EndOfText),
            ("select ')', \"a)\", $$)$$ -- )\n, /* ) */ 1", EndOfText),
            ("select 1) to stdout; drop table t", Semicolon(8)),
            ("select (1)) to program 'x' --", Semicolon(10)),
            ("select 1; select 2", Semicolon(8)),
            ("select '\\') ' from t", Ambiguous),
        ];
        for (sql, end) in cases {
            assert_eq!(find_enclosed_end(Dialect::Postgres, sql), end, "{sql}");
        }
        assert_eq!(find_statement_end(Dialect::Postgres, "a)"), EndOfText);
    }

    #[test]
    fn a_statement_ends_where_the_database_ends_it() {
        use StatementEnd::{Ambiguous, EndOfText, Semicolon};
        let cases = [
            (Dialect::Sqlite, "select 1", EndOfText),
            (Dialect::Sqlite, "select 1; select 2", Semicolon(8)),
            (
                Dialect::Sqlite,
                "select ';', \";\", `;`, [;] -- ;\n from t",
                EndOfText,
            ),
            (Dialect::Sqlite, "select 'it''s;' /* ; */; x", Semicolon(23)),
            (Dialect::Sqlite, "select a[1]; x", Semicolon(11)),
            (Dialect::Sqlite, "select 'a\\'; x", Semicolon(11)),
            (Dialect::Sqlite, "select $a('); x; '", Semicolon(12)),
            (Dialect::Postgres, "select a[1]; x", Semicolon(11)),
            (
                Dialect::Postgres,
                "select $$;$$, $a$;$$;$a$, $1; x",
                Semicolon(28),
            ),
            (
                Dialect::Postgres,
                "select $\u{2014}$ ' $\u{2014}$; x; '",
                Semicolon(20),
            ),
            (Dialect::Postgres, "select a$$ from t; x $$", Semicolon(17)),
            (Dialect::Postgres, "select $1$; x $1$", Semicolon(10)),
            (Dialect::Postgres, "select E'\\';' ; x", Semicolon(14)),
            (
                Dialect::Postgres,
                "select E'\\'' as a; delete from t where a = 1",
                Semicolon(17),
            ),
            (Dialect::Postgres, "select e'a\\\\'; x", Semicolon(13)),
            (Dialect::Postgres, "select E'a'\n'\\';' ; x", Semicolon(18)),
            (Dialect::Postgres, "select E'\\';'", EndOfText),
            (Dialect::Postgres, "select namE'a\\'; x", Ambiguous),
            (Dialect::Postgres, "select 'a\\\\b;' ; x", Semicolon(15)),
            (Dialect::Postgres, "select '\\'; x", Ambiguous),
            (Dialect::Postgres, "select '\\' as a", EndOfText),
            (Dialect::Postgres, "select '\\' as a;", Semicolon(15)),
            (Dialect::Postgres, "select 1 -- a\r; x", Semicolon(14)),
            (
                Dialect::Postgres,
                "select 1 /* /* ; */ ; */; x",
                Semicolon(24),
            ),
            (Dialect::MySql, "select 1 # ;\n; x", Semicolon(13)),
            (Dialect::MySql, "select 2--1; x", Semicolon(11)),
            (Dialect::MySql, "select 2 -- 1; x", EndOfText),
            (Dialect::MySql, "select 2 --\u{a0}1; x", Semicolon(14)),
            (Dialect::MySql, "select '\\'; x", Ambiguous),
            (Dialect::MySql, "select '\\';', 'a'", Ambiguous),
            (Dialect::MySql, "select 'a\\nb'; x", Semicolon(13)),
            (Dialect::MySql, "select 1 /*! ; delete from t */", Ambiguous),
            (Dialect::MySql, "select /*M! ; */ 1", Ambiguous),
            (
                Dialect::MySql,
                "select /*! straight_join */ 1 ;\n",
                Semicolon(30),
            ),
            (Dialect::MySql, "select '", EndOfText),
        ];
        for (dialect, sql, end) in cases {
            assert_eq!(find_statement_end(dialect, sql), end, "{dialect:?}: {sql}");
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
