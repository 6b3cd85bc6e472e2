//! The variables that a config may use: of the environment, and of the file that it names.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::absolute;
use super::config_file::{MAX_FILE_BYTES, startup_error};
use super::interpolation;
use super::node::Node;
use super::problem::Problem;
use super::secrets::Secrets;
use super::variables::Variables;
use crate::error::Result;
use crate::fs;

/// How many bytes all values may have: each line may name what the ones before it say, and double
/// it.
const MAX_VALUES_BYTES: usize = 16 << 20;

/// How many lines that cannot be read are told.
const MAX_BAD_LINES: usize = 10;

/// The environment, behind it the variables of the file that `options.env_file` names, and that
/// file.
pub(super) fn load_variables(
    tree: &Node,
    root: &Path,
    environment: &Variables,
    secrets: &Secrets,
    problems: &mut Vec<Problem>,
) -> Result<(Variables, Option<PathBuf>)> {
    let named = tree
        .get("options")
        .and_then(|options| options.get("env_file"));
    let named = named.and_then(|node| {
        Some((
            node.at,
            interpolation::interpolate_text(node.text()?, environment, secrets).ok()?,
        ))
    });
    let Some((at, text)) = named else {
        return Ok((environment.clone(), None));
    };
    let path = absolute(root, &text);
    let bytes = match fs::read(&path, MAX_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            let reason = match error.unexpected_file() {
                Some(odd) => format!("cannot be used: {odd}"),
                None if fs::stat(&path).map_err(startup_error)?.is_none() => {
                    "does not exist".into()
                }
                None => return Err(startup_error(error)),
            };
            let problem = Problem::new(
                at,
                format!("env_file {text} {reason}"),
                "expected a file with lines of NAME=value",
            );
            problems.push(problem.with_hint("it is relative to the folder of the config"));
            return Ok((environment.clone(), None));
        }
    };
    let mut values = Variables::new();
    let problem =
        |words: String, label: &str| Problem::new(at, format!("env_file {text}{words}"), label);
    match LineReader::read_all(&bytes, environment, &mut values) {
        Ok(bad) => problems.extend(bad.into_iter().map(|line| {
            // The line is not shown: it may be a secret.
            let problem = problem(
                format!(", line {line} cannot be read"),
                "expected lines of NAME=value",
            );
            problem.with_hint("put a value with spaces or # in quotes")
        })),
        Err(ValuesTooLarge { line }) => {
            let words = format!(
                ", line {line}: its values have more than {} MiB",
                MAX_VALUES_BYTES >> 20
            );
            problems.push(
                problem(words, "expected variables of a config")
                    .with_hint("write values without the variables before them"),
            );
        }
    }
    values.extend(
        environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    Ok((values, Some(path)))
}

/// The values have become too large at a line.
struct ValuesTooLarge {
    line: usize,
}

/// A file of variables that is read line by line, so that it is known where it is, and what the
/// next line may become.
struct LineReader<'b> {
    rest: &'b [u8],
    /// True where the rest begins in the middle of a line.
    is_inside: bool,
    state: Rc<LineState>,
}

#[derive(Default)]
struct LineState {
    /// The line that was given out last.
    number: Cell<usize>,
    /// The bytes of the longest value that a line may name.
    longest_value: Cell<usize>,
    /// How many bytes the lines since the last value may become.
    expanded_bytes: Cell<usize>,
}

impl LineReader<'_> {
    /// Gives the lines that cannot be read, the first few of them.
    fn read_all(
        bytes: &[u8],
        environment: &Variables,
        values: &mut Variables,
    ) -> Result<Vec<usize>, ValuesTooLarge> {
        let state = Rc::new(LineState::default());
        state.longest_value.set(
            environment
                .values()
                .map(String::len)
                .max()
                .unwrap_or_default(),
        );
        let (mut bad, mut size) = (Vec::new(), 0_usize);
        for line in dotenvy::from_read_iter(LineReader {
            rest: bytes,
            is_inside: false,
            state: state.clone(),
        }) {
            let too_much = || ValuesTooLarge {
                line: state.number.get(),
            };
            state.expanded_bytes.set(0);
            match line {
                Ok((name, value)) => {
                    size += name.len() + value.len();
                    state
                        .longest_value
                        .set(state.longest_value.get().max(value.len()));
                    values.insert(name, value);
                    if size > MAX_VALUES_BYTES {
                        return Err(too_much());
                    }
                }
                Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(too_much());
                }
                Err(error) => {
                    let further = match &error {
                        dotenvy::Error::LineParse(line, _) => line.trim_end().matches('\n').count(),
                        _ => 0,
                    };
                    bad.push(state.number.get().saturating_sub(further).max(1));
                    if bad.len() == MAX_BAD_LINES || !matches!(error, dotenvy::Error::LineParse(..))
                    {
                        break;
                    }
                }
            }
        }
        Ok(bad)
    }
}

impl Read for LineReader<'_> {
    /// Never more than one line.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = &self.rest[..self.rest.len().min(buffer.len())];
        let end = ahead.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(ahead.len(), |end| end + 1);
        let (given, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(given);
        self.rest = rest;
        let state = &self.state;
        state
            .number
            .set(state.number.get() + usize::from(length > 0 && !self.is_inside));
        self.is_inside = end.is_none();
        // Each `$` may stand for the longest value.
        let named = given
            .iter()
            .filter(|byte| **byte == b'$')
            .count()
            .saturating_mul(state.longest_value.get());
        state.expanded_bytes.set(
            state
                .expanded_bytes
                .get()
                .saturating_add(named)
                .saturating_add(length),
        );
        if state.expanded_bytes.get() > MAX_VALUES_BYTES {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(length)
        }
    }
}
