//! `${VAR}`, `${VAR:-default}` and `$$` in the texts of a config.
//!
//! A value is put into the text as it is: it is never read as YAML. As in a shell, a default stands
//! in for a variable that is unset or empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::node::Node;
use super::problem::{Problem, Problems, Span};
use super::secrets::{Secrets, may_have_password};

/// The variables that a config may use: of the environment, and of the file that `options.env_file` names.
pub type Variables = BTreeMap<String, String>;

/// What stands in for a text that could not be filled in; no config can write it.
pub(super) const UNSET: &str = "\0unset";

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// It has no value.
    #[error("the variable {0} is not set")]
    Unset(String),
    /// It is not written as it should be.
    #[error("the variable {0} cannot be read")]
    Unreadable(String),
    /// It is a database's URL, and this is no connection.
    #[error("the variable {0} is the URL of a database")]
    Secret(String),
}

/// Puts the values of variables into every text below a node. Texts of connections are left alone.
pub fn fill(node: &mut Node, variables: &Variables, secrets: &Secrets, problems: &mut Problems, warnings: &mut Vec<Problem>) {
    node.each_text(&mut |text, at| match fill_in(text, variables, Some(secrets)) {
        Ok(filled) if may_have_password(&filled) || secrets.are_in(&filled) => {
            let problem = Problem::new(at, "the URL of a database stands outside connections", "a URL of a database is a secret");
            problems.push(problem.hint("write it under connections: what is there is never shown"));
            *text = UNSET.into();
        }
        Ok(Cow::Borrowed(_)) => {}
        Ok(Cow::Owned(filled)) => {
            if let Some(name) = without_braces(text) {
                let problem = Problem::new(at, format!("${name} is written as it is"), "no variable is put in here");
                warnings.push(problem.hint(format!("did you mean ${{{name}}}? $$ writes a dollar without doubt")));
            }
            *text = filled;
        }
        Err(errors) => {
            errors.0.iter().for_each(|error| problems.push(problem(error, at)));
            // It is a problem already: what reads it says nothing more.
            *text = UNSET.into();
        }
    });
}

fn problem(error: &VariableError, at: Span) -> Problem {
    let (label, hint) = match error {
        VariableError::Unset(name) => {
            let hint = format!("export {name}, or give a default: ${{{name}:-default}}; $$ writes a dollar");
            (format!("{name} is no variable of the environment"), hint)
        }
        VariableError::Unreadable(_) => {
            let hint = "letters, digits and _ make a name; $$ writes a dollar";
            ("expected ${NAME} or ${NAME:-default}".to_string(), hint.to_string())
        }
        VariableError::Secret(name) => {
            let hint = format!("use {name} under connections only: what is there is never shown");
            ("a URL of a database is a secret".to_string(), hint)
        }
    };
    Problem::new(at, error.to_string(), label).hint(hint)
}

/// Every reason why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableErrors(pub Vec<VariableError>);

impl fmt::Display for VariableErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&errors.join(", "))
    }
}

impl std::error::Error for VariableErrors {}

/// A text with the values of its variables; one that has a secret in it is refused.
///
/// # Errors
/// A variable has no value, or is not written as it should be.
pub fn filled<'t>(text: &'t str, variables: &Variables, secrets: &Secrets) -> Result<Cow<'t, str>, VariableErrors> {
    fill_in(text, variables, Some(secrets))
}

/// The same for the URL of a connection itself.
///
/// # Errors
/// A variable has no value, or is not written as it should be.
pub fn filled_secret<'t>(text: &'t str, variables: &Variables) -> Result<Cow<'t, str>, VariableErrors> {
    fill_in(text, variables, None)
}

/// `secrets` must not be in it; `None` where it is one itself.
fn fill_in<'t>(text: &'t str, variables: &Variables, secrets: Option<&Secrets>) -> Result<Cow<'t, str>, VariableErrors> {
    let is_secret = secrets.is_none();
    let Some(first) = text.find('$') else { return Ok(Cow::Borrowed(text)) };
    let (before, mut rest) = text.split_at(first);
    let mut filled = before.to_string();
    let mut errors = Vec::new();
    while let Some(dollar) = rest.find('$') {
        filled.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some((inside, after)) = after.split_once('}') else {
                errors.push(unreadable(format!("${{{after}"), is_secret));
                break;
            };
            match value(inside, variables) {
                Ok(value)
                    if secrets.is_some_and(|secrets| may_have_password(value) || secrets.are_in(value) || secrets.has_variable(inside)) =>
                {
                    let name = inside.split(":-").next().unwrap_or_default();
                    errors.push(VariableError::Secret(name.to_string()));
                }
                Ok(value) => filled.push_str(value),
                Err(VariableError::Unreadable(text)) => errors.push(unreadable(text, is_secret)),
                Err(error) => errors.push(error),
            }
            rest = after;
        } else {
            filled.push('$');
        }
    }
    filled.push_str(rest);
    if errors.is_empty() { Ok(Cow::Owned(filled)) } else { Err(VariableErrors(errors)) }
}

/// The first name behind a dollar without braces.
fn without_braces(text: &str) -> Option<&str> {
    let text = text.trim_start_matches("$$");
    let rest = text.match_indices('$').find_map(|(at, _)| {
        let rest = &text[at + 1..];
        let is_alone = !text[..at].ends_with('$') && rest.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        is_alone.then_some(rest)
    })?;
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

/// What is written in a URL is not shown.
fn unreadable(text: String, is_secret: bool) -> VariableError {
    VariableError::Unreadable(if is_secret { "in it".into() } else { text })
}

fn value<'v>(inside: &'v str, variables: &'v Variables) -> Result<&'v str, VariableError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let begins_well = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    if !is_name || !begins_well || default.is_some_and(|default| default.contains("${")) {
        return Err(VariableError::Unreadable(format!("${{{inside}}}")));
    }
    let set = variables.get(name).map(String::as_str);
    match (set, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default),
        (None, None) => Err(VariableError::Unset(name.to_string())),
    }
}

/// The names of the variables that a text may use, wherever they stand.
pub fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}
