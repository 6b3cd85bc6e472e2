//! The variables that a config may use: of the environment, and of the file that it names.

use std::path::{Path, PathBuf};

use super::absolute;
use super::file::{FILE_BYTES, start};
use super::node::Node;
use super::problem::Problem;
use super::secrets::Secrets;
use super::variables::{self, Variables};
use crate::error::Result;
use crate::fs;

/// The environment, behind it the variables of the file that `options.env_file` names, and that file.
pub(super) fn variables_of(
    tree: &Node,
    root: &Path,
    environment: &Variables,
    secrets: &Secrets,
    said: &mut Vec<Problem>,
) -> Result<(Variables, Option<PathBuf>)> {
    let named = tree.get("options").and_then(|options| options.get("env_file"));
    let named = named.and_then(|node| Some((node.at, variables::filled(node.text()?, environment, secrets).ok()?)));
    let Some((at, text)) = named else { return Ok((environment.clone(), None)) };
    let path = absolute(root, &text);
    let bytes = match fs::read(&path, FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            let reason = match error.odd() {
                Some(odd) => format!("cannot be used: {odd}"),
                None if fs::stat(&path).map_err(start)?.is_none() => "does not exist".into(),
                None => return Err(start(error)),
            };
            let problem = Problem::new(at, format!("env_file {text} {reason}"), "expected a file with lines of NAME=value");
            said.push(problem.hint("it is relative to the folder of the config"));
            return Ok((environment.clone(), None));
        }
    };
    let mut values = Variables::new();
    for line in dotenvy::from_read_iter(bytes.as_slice()) {
        match line {
            Ok((name, value)) => drop(values.insert(name, value)),
            // The line is not shown: it may be a secret.
            Err(error) => {
                let number = match error {
                    dotenvy::Error::LineParse(line, _) => {
                        let found = String::from_utf8_lossy(&bytes).lines().position(|other| other.contains(line.trim()));
                        format!(", line {}", found.unwrap_or_default() + 1)
                    }
                    _ => String::new(),
                };
                let problem = Problem::new(at, format!("env_file {text}{number} cannot be read"), "expected lines of NAME=value");
                said.push(problem.hint("put a value with spaces or # in quotes"));
            }
        }
    }
    values.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok((values, Some(path)))
}
