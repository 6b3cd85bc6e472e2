//! SQL and names of tables as they are written in a config, looked at before a database sees them:
//! whether there is some, and whether it is one statement.

use crate::config::node::Node;
use crate::config::problem::{Problem, Problems, Span};
use crate::connection::lexer::{StatementEnd, find_statement_end, is_blank};
use crate::connection::{Dialect, Relation};

/// A condition; nothing where it says nothing, or more than one, which is reported.
pub fn parse_condition(
    dialect: Option<Dialect>,
    written: Option<String>,
    key: &str,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<Option<String>> {
    let Some(condition) = written else {
        return Some(None);
    };
    if is_blank(dialect, &condition) {
        let problem = Problem::new(
            node.span_of(key),
            format!("{key} of {name} is empty"),
            "expected a condition",
        );
        problems.push(problem.with_hint(format!("leave {key} out where all rows are meant")));
        return None;
    }
    match dialect.map_or(StatementEnd::EndOfText, |dialect| {
        find_statement_end(dialect, &condition)
    }) {
        StatementEnd::EndOfText => Some(Some(condition)),
        StatementEnd::Semicolon(end) if is_blank(dialect, &condition[end + 1..]) => {
            Some(Some(condition[..end].to_string()))
        }
        StatementEnd::Semicolon(end) => {
            let message = format!(
                "{key} of {name} has a semicolon, and behind it: {}",
                excerpt(&condition[end + 1..])
            );
            problems.push(Problem::new(
                node.span_of(key),
                message,
                "expected a condition",
            ));
            None
        }
        StatementEnd::Ambiguous => {
            problems.push(unclear_end(key, node.span_of(key), name));
            None
        }
    }
}

/// The table that `table` of a block names; nothing where it is missing or names none, which is
/// reported. A value of another kind was reported when the block was read.
pub fn parse_table(
    written: Option<&str>,
    node: &Node,
    name: &str,
    expected: &str,
    problems: &mut Problems,
) -> Option<Relation> {
    let Some(table) = written else {
        if node.get("table").is_none() {
            let problem = Problem::new(node.at, format!("{name} has no table"), expected);
            problems.push(problem.with_hint("table: orders, or table: schema.orders"));
        }
        return None;
    };
    let parsed = Relation::parse_table(table);
    if parsed.is_none() {
        let problem = Problem::new(
            node.span_of("table"),
            format!("{table:?} names no table"),
            "expected TABLE or SCHEMA.TABLE",
        );
        problems.push(
            problem.with_hint(
                "a name with a dot in it stands in double quotes: '\"my.schema\".orders'",
            ),
        );
    }
    parsed
}

/// A query without what ends it; nothing where another statement follows, which is reported.
pub(super) fn parse_query(
    dialect: Option<Dialect>,
    written: &str,
    at: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<String> {
    match dialect.map_or(StatementEnd::EndOfText, |dialect| {
        find_statement_end(dialect, written)
    }) {
        StatementEnd::EndOfText => Some(written.to_string()),
        StatementEnd::Semicolon(end) if is_blank(dialect, &written[end + 1..]) => {
            Some(written[..end].to_string())
        }
        StatementEnd::Semicolon(end) => {
            let message = format!(
                "query of {name} has another statement behind its first: {}",
                excerpt(&written[end + 1..])
            );
            let problem = Problem::new(at.at, message, "expected one SELECT");
            problems
                .push(problem.with_hint("what belongs before it may be a view of the database"));
            None
        }
        StatementEnd::Ambiguous => {
            problems.push(unclear_end("query", at.at, name));
            None
        }
    }
}

fn excerpt(rest: &str) -> String {
    rest.trim().chars().take(60).collect()
}

fn unclear_end(key: &str, at: Span, name: &str) -> Problem {
    let message = format!(
        "it cannot be told where {key} of {name} ends: that depends on how the server reads it"
    );
    let problem = Problem::new(
        at,
        message,
        "expected no semicolon beside a backslash in a text or a comment that is run",
    );
    problem.with_hint(
        "write the text without it, such as chr(92) or char(92); or make a view of the query",
    )
}

/// No column stands in a list twice.
pub(super) fn check_distinct(list: Option<&Node>, what: &str, problems: &mut Problems) -> bool {
    let names = list.map(Node::texts).unwrap_or_default();
    let mut is_sound = true;
    for (place, (column, at)) in names.iter().enumerate() {
        if let Some((_, first)) = names[..place].iter().find(|(name, _)| name == column) {
            let problem = Problem::new(
                *at,
                format!("{what} names the column {column} twice"),
                "expected each column once",
            );
            problems.push(problem.with_label(*first, "the first time"));
            is_sound = false;
        }
    }
    if list.is_some_and(|list| list.value_count() == 1 && list.text().is_none()) {
        let at = list.map_or_else(Default::default, |list| list.at);
        problems.push(Problem::new(
            at,
            format!("{what} names no column"),
            "expected a column at least",
        ));
        is_sound = false;
    }
    is_sound
}
