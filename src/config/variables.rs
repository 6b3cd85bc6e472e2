//! `${VAR}`, `${VAR:-default}` and `$$` in the texts of a config.
//!
//! A value is put into the text as it is: it is never read as YAML. As in a shell, a default stands
//! in for a variable that is unset or empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The variables that a config may use: of the environment, and of the file that `options.env_file`
/// names.
pub type Variables = BTreeMap<String, String>;

/// What stands for a value that is not UTF-8: no variable can have it.
pub const NOT_UTF8: &str = "\0not UTF-8";

/// What a text that must not be shown has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretKind {
    /// The URL of a database, or a variable that is one.
    Url,
    /// A variable that is a piece of a connection.
    Fragment,
    /// The password of a connection.
    Password,
}

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
    SecretFragment(String),
    /// It is empty, and a path would begin at the root of the file system, or have a folder less.
    #[error("the variable {0} is empty")]
    Empty(String),
    /// Its value is no text.
    #[error("the value of the variable {0} is not UTF-8")]
    NotUtf8(String),
}

/// The variable without which a path is another one: it is empty and stands where a folder's name
/// does. In front of a path that makes it begin at the root; elsewhere, `:-` says that it may be
/// so.
pub fn find_empty_variable(path: &str, variables: &Variables) -> Option<String> {
    for (place, part) in path_segments(path).into_iter().enumerate() {
        let mut rest = part;
        let mut empty = None;
        while let Some(after) = rest.strip_prefix("${") {
            let (inside, behind) = after.split_once('}')?;
            if !lookup(inside, variables).ok()?.is_empty() {
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
fn path_segments(path: &str) -> Vec<&str> {
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

/// The URL of a connection with the values of its variables.
///
/// # Errors
/// A variable has no value, or is not written as it should be.
pub fn interpolate_secret<'t>(
    text: &'t str,
    variables: &Variables,
) -> Result<Cow<'t, str>, VariableErrors> {
    interpolate(text, variables, None)
}

/// Says of a value, and of what stands between the braces for it, what of a connection it is.
pub(super) type SecretClassifier<'k> = &'k dyn Fn(&str, &str) -> Option<SecretKind>;

/// What `kind` knows must not be in it; `None` where it is a secret itself.
pub(super) fn interpolate<'t>(
    text: &'t str,
    variables: &Variables,
    kind: Option<SecretClassifier<'_>>,
) -> Result<Cow<'t, str>, VariableErrors> {
    let is_secret = kind.is_none();
    let Some(first) = text.find('$') else {
        return Ok(Cow::Borrowed(text));
    };
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
                errors.push(unreadable_error(format!("${{{after}"), is_secret));
                break;
            };
            match lookup(inside, variables) {
                Ok(value) if let Some(kind) = kind.and_then(|kind| kind(value, inside)) => {
                    let name = inside.split(":-").next().unwrap_or_default().to_string();
                    errors.push(if kind == SecretKind::Url {
                        VariableError::Secret(name)
                    } else {
                        VariableError::SecretFragment(name)
                    });
                }
                Ok(value) => filled.push_str(value),
                Err(VariableError::Unreadable(text)) => {
                    errors.push(unreadable_error(text, is_secret))
                }
                Err(error) => errors.push(error),
            }
            rest = after;
        } else {
            filled.push('$');
        }
    }
    filled.push_str(rest);
    if errors.is_empty() {
        Ok(Cow::Owned(filled))
    } else {
        Err(VariableErrors(errors))
    }
}

/// What is written in a URL is not shown.
fn unreadable_error(text: String, is_secret: bool) -> VariableError {
    VariableError::Unreadable(if is_secret { "in it".into() } else { text })
}

fn lookup<'v>(inside: &'v str, variables: &'v Variables) -> Result<&'v str, VariableError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = name
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let begins_well =
        name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
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
pub fn variable_names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).map(|rest| {
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}
