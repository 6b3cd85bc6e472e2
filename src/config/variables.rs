//! `${VAR}`, `${VAR:-default}` and `$$` in the texts of a config.
//!
//! A value is put into the text as it is: it is never read as YAML. As in a shell, a default stands
//! in for a variable that is unset or empty.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::node::Node;
use super::problem::{Problem, Problems};

/// The variables that a config may use: of the environment, and of the file that `options.env_file` names.
pub type Variables = BTreeMap<String, String>;

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// It has no value.
    #[error("the variable {0} is not set")]
    Unset(String),
    /// It is not written as it should be.
    #[error("the variable {0} cannot be read")]
    Unreadable(String),
}

/// Puts the values of variables into every text below a node.
pub fn fill(node: &mut Node, variables: &Variables, problems: &mut Problems) {
    node.each_text(&mut |text, at| match filled(text, variables) {
        Ok(Cow::Borrowed(_)) => {}
        Ok(Cow::Owned(filled)) => *text = filled,
        Err(error) => {
            let (label, hint) = match &error {
                VariableError::Unset(name) => {
                    let hint = format!("export {name}, or give a default: ${{{name}:-default}}; $$ writes a dollar");
                    ("expected a variable of the environment", hint)
                }
                VariableError::Unreadable(_) => {
                    ("expected ${NAME} or ${NAME:-default}", "letters, digits and _ make a name; $$ writes a dollar".to_string())
                }
            };
            problems.push(Problem::new(at, error.to_string(), label).hint(hint));
        }
    });
}

/// A text with the values of its variables.
///
/// # Errors
/// A variable has no value, or is not written as it should be.
pub fn filled<'t>(text: &'t str, variables: &Variables) -> Result<Cow<'t, str>, VariableError> {
    let Some(first) = text.find('$') else { return Ok(Cow::Borrowed(text)) };
    let (before, mut rest) = text.split_at(first);
    let mut filled = before.to_string();
    while let Some(dollar) = rest.find('$') {
        filled.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let unreadable = || VariableError::Unreadable(format!("${{{after}"));
            let (inside, after_it) = after.split_once('}').ok_or_else(unreadable)?;
            filled.push_str(value(inside, variables)?);
            rest = after_it;
        } else {
            filled.push('$');
        }
    }
    filled.push_str(rest);
    Ok(Cow::Owned(filled))
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
