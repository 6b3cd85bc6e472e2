//! `${VAR}`, `${VAR:-default}` and `$$` in the texts of a config.
//!
//! A value is put into the text as it is: it is never read as YAML. As in a shell, a default stands
//! in for a variable that is unset or empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::node::{Node, Value};
use super::problem::{Problem, Problems, Span};
use super::secrets::{Kind, Secrets};

/// The variables that a config may use: of the environment, and of the file that `options.env_file` names.
pub type Variables = BTreeMap<String, String>;

/// What stands in for a text that could not be filled in; no config can write it.
pub(super) const UNSET: &str = "\0unset";

/// What stands for a value that is not UTF-8: no variable can have it.
pub const NOT_UTF8: &str = "\0not UTF-8";

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
    /// It is a piece of what a connection says, and this is none.
    #[error("the variable {0} is a part of a connection")]
    Piece(String),
    /// It is empty, and a path would begin at the root of the file system, or have a folder less.
    #[error("the variable {0} is empty")]
    Empty(String),
    /// Its value is no text.
    #[error("the value of the variable {0} is not UTF-8")]
    NotUtf8(String),
}

/// Puts the values of variables into every text below a key. Texts of connections are left alone.
pub fn fill(key: &str, node: &mut Node, variables: &Variables, secrets: &Secrets, problems: &mut Problems, warnings: &mut Vec<Problem>) {
    let mut put_in = |text: &mut String, at: Span, is_path: bool| match fill_in(text, variables, Some(secrets)) {
        Ok(filled) if secrets.found_in(&filled).is_some() => {
            let problem = match secrets.found_in(&filled) {
                Some(Kind::Password) => {
                    Problem::new(at, "the password of a connection stands outside connections", "a password is a secret")
                }
                _ => Problem::new(at, "the URL of a database stands outside connections", "a URL of a database is a secret"),
            };
            problems.push(problem.hint("write it under connections: what is there is never shown"));
            *text = UNSET.into();
        }
        Ok(Cow::Borrowed(_)) => {}
        Ok(Cow::Owned(_)) if let (true, Some(name)) = (is_path, empty_in(text, variables)) => {
            problems.push(problem(&VariableError::Empty(name), at));
            *text = UNSET.into();
        }
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
    };
    each_text(node, key, false, &mut put_in);
}

/// Keys whose texts are paths, and blocks whose entries are.
const PATHS: &[&str] = &["home", "store", "path", "dir", "from", "flows_dir", "env_file"];
const BLOCKS_OF_PATHS: &[&str] = &["homes", "stores"];

/// Calls `change` with every text below, and whether it is a path.
fn each_text(node: &mut Node, key: &str, is_below_paths: bool, change: &mut dyn FnMut(&mut String, Span, bool)) {
    match &mut node.value {
        Value::Text(text) => change(text, node.at, is_below_paths || PATHS.contains(&key)),
        Value::List(items) => items.iter_mut().for_each(|item| each_text(item, key, false, change)),
        Value::Map(entries) => {
            let are_paths = BLOCKS_OF_PATHS.contains(&key);
            entries.iter_mut().for_each(|(key, node)| each_text(node, &key.name, are_paths, change));
        }
        _ => {}
    }
}

/// The variable without which a path is another one: it is empty and stands where a folder's name does. In front of a path that
/// makes it begin at the root; elsewhere, `:-` says that it may be so.
pub fn empty_in(path: &str, variables: &Variables) -> Option<String> {
    for (place, part) in parts_of(path).into_iter().enumerate() {
        let mut rest = part;
        let mut empty = None;
        while let Some(after) = rest.strip_prefix("${") {
            let (inside, behind) = after.split_once('}')?;
            if !value(inside, variables).ok()?.is_empty() {
                break;
            }
            empty = Some(inside).filter(|inside| place == 0 || !inside.contains(":-"));
            rest = behind;
        }
        if let (true, Some(inside)) = (rest.is_empty(), empty) {
            return Some(inside.split(":-").next().unwrap_or_default().to_string());
        }
    }
    None
}

/// The parts of a path between its slashes, but for those in braces.
fn parts_of(path: &str) -> Vec<&str> {
    let (mut parts, mut start, mut is_inside) = (Vec::new(), 0, false);
    for (at, letter) in path.char_indices() {
        match letter {
            '{' => is_inside = true,
            '}' => is_inside = false,
            '/' if !is_inside => {
                parts.push(&path[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&path[start..]);
    parts
}

fn problem(error: &VariableError, at: Span) -> Problem {
    let (label, hint) = match error {
        VariableError::Unset(name) => {
            let hint = format!("export {name}, or give a default: ${{{name}:-default}}; $$ writes a dollar");
            (format!("{name} is no variable of the environment"), hint)
        }
        VariableError::NotUtf8(name) => ("it has no text to put in here".to_string(), format!("give {name} a value in UTF-8")),
        VariableError::Unreadable(_) => {
            let hint = "letters, digits and _ make a name; $$ writes a dollar";
            ("expected ${NAME} or ${NAME:-default}".to_string(), hint.to_string())
        }
        VariableError::Secret(name) => {
            let hint = format!("use {name} under connections only: what is there is never shown");
            ("a URL of a database is a secret".to_string(), hint)
        }
        VariableError::Piece(name) => {
            let hint = format!("use {name} under connections only, where nothing is ever shown, and another variable here");
            ("what is in a connection is a secret".to_string(), hint)
        }
        VariableError::Empty(name) => {
            let hint = format!("give {name} a value, or leave it out of the path");
            ("the path would be another one without it".to_string(), hint)
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
                    if let Some(kind) =
                        secrets.and_then(|secrets| secrets.found_in(value).or_else(|| secrets.found_in_variable(inside))) =>
                {
                    let name = inside.split(":-").next().unwrap_or_default().to_string();
                    errors.push(if kind == Kind::Url { VariableError::Secret(name) } else { VariableError::Piece(name) });
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
        (Some(NOT_UTF8), _) => Err(VariableError::NotUtf8(name.to_string())),
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
