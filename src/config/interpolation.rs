//! Filling a config in: the values of variables come into its texts, and no secret of a connection
//! into any other.

use std::borrow::Cow;

use super::node::{Node, NodeValue, UNSET};
use super::problem::{Problem, Problems, Span};
use super::secrets::Secrets;
use super::variables::{
    SecretKind, VariableError, VariableErrors, Variables, find_empty_variable, interpolate,
};

/// Puts the values of variables into every text below a key. Texts of connections are left alone.
pub(super) fn interpolate_node(
    key: &str,
    node: &mut Node,
    variables: &Variables,
    secrets: &Secrets,
    problems: &mut Problems,
    warnings: &mut Vec<Problem>,
) {
    let mut put_in = |text: &mut String, at: Span, is_path: bool| match interpolate_text(
        text, variables, secrets,
    ) {
        Ok(filled) if secrets.find_in(&filled).is_some() => {
            let problem = match secrets.find_in(&filled) {
                Some(SecretKind::Password) => Problem::new(
                    at,
                    "the password of a connection stands outside connections",
                    "a password is a secret",
                ),
                _ => Problem::new(
                    at,
                    "the URL of a database stands outside connections",
                    "a URL of a database is a secret",
                ),
            };
            problems.push(
                problem.with_hint("write it under connections: what is there is never shown"),
            );
            *text = UNSET.into();
        }
        Ok(Cow::Borrowed(_)) => {}
        Ok(Cow::Owned(_))
            if let (true, Some(name)) = (is_path, find_empty_variable(text, variables)) =>
        {
            problems.push(variable_problem(&VariableError::Empty(name), at));
            *text = UNSET.into();
        }
        Ok(Cow::Owned(filled)) => {
            if let Some(name) = find_unbraced_variable(text) {
                let problem = Problem::new(
                    at,
                    format!("${name} is written as it is"),
                    "no variable is put in here",
                );
                warnings.push(problem.with_hint(format!(
                    "did you mean ${{{name}}}? $$ writes a dollar without doubt"
                )));
            }
            *text = filled;
        }
        Err(errors) => {
            errors
                .0
                .iter()
                .for_each(|error| problems.push(variable_problem(error, at)));
            // It is a problem already: what reads it says nothing more.
            *text = UNSET.into();
        }
    };
    for_each_text(node, key, false, &mut put_in);
}

/// Keys whose texts are paths, and blocks whose entries are.
const PATH_KEYS: &[&str] = &[
    "home",
    "store",
    "path",
    "dir",
    "from",
    "flows_dir",
    "env_file",
];
const PATH_BLOCK_KEYS: &[&str] = &["homes", "stores"];

/// Calls `change` with every text below, and whether it is a path.
fn for_each_text(
    node: &mut Node,
    key: &str,
    is_below_paths: bool,
    change: &mut dyn FnMut(&mut String, Span, bool),
) {
    match &mut node.value {
        NodeValue::Text(text) => change(text, node.at, is_below_paths || PATH_KEYS.contains(&key)),
        NodeValue::List(items) => items
            .iter_mut()
            .for_each(|item| for_each_text(item, key, false, change)),
        NodeValue::Map(entries) => {
            let are_paths = PATH_BLOCK_KEYS.contains(&key);
            entries
                .iter_mut()
                .for_each(|(key, node)| for_each_text(node, &key.name, are_paths, change));
        }
        _ => {}
    }
}

/// A text with the values of its variables; one that has a secret in it is refused.
///
/// # Errors
/// A variable has no value, or is not written as it should be.
pub(super) fn interpolate_text<'t>(
    text: &'t str,
    variables: &Variables,
    secrets: &Secrets,
) -> Result<Cow<'t, str>, VariableErrors> {
    let kind = |value: &str, inside: &str| {
        secrets
            .find_in(value)
            .or_else(|| secrets.find_in_variable(inside))
    };
    interpolate(text, variables, Some(&kind))
}

fn variable_problem(error: &VariableError, at: Span) -> Problem {
    let (label, hint) = match error {
        VariableError::Unset(name) => {
            let hint = format!(
                "export {name}, or give a default: ${{{name}:-default}}; $$ writes a dollar"
            );
            (format!("{name} is no variable of the environment"), hint)
        }
        VariableError::NotUtf8(name) => (
            "it has no text to put in here".to_string(),
            format!("give {name} a value in UTF-8"),
        ),
        VariableError::Unreadable(_) => {
            let hint = "letters, digits and _ make a name; $$ writes a dollar";
            (
                "expected ${NAME} or ${NAME:-default}".to_string(),
                hint.to_string(),
            )
        }
        VariableError::Secret(name) => {
            let hint = format!("use {name} under connections only: what is there is never shown");
            ("a URL of a database is a secret".to_string(), hint)
        }
        VariableError::SecretFragment(name) => {
            let hint = format!(
                "use {name} under connections only, where nothing is ever shown, and another \
                 variable here"
            );
            ("what is in a connection is a secret".to_string(), hint)
        }
        VariableError::Empty(name) => {
            let hint = format!("give {name} a value, or leave it out of the path");
            ("the path would be another one without it".to_string(), hint)
        }
    };
    Problem::new(at, error.to_string(), label).with_hint(hint)
}

/// The first name behind a dollar without braces.
fn find_unbraced_variable(text: &str) -> Option<&str> {
    let text = text.trim_start_matches("$$");
    let rest = text.match_indices('$').find_map(|(at, _)| {
        let rest = &text[at + 1..];
        let is_alone = !text[..at].ends_with('$')
            && rest.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        is_alone.then_some(rest)
    })?;
    let end = rest
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(rest.len());
    Some(&rest[..end])
}
