//! `mode: append`: which inputs are still to be moved, by what the receipt says was moved.
//!
//! An input is its path and its digest: equal bytes under another name are another input, unless the
//! old name has them no more, which is a rename. Pure comparison.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::stale::Reason;
use crate::config::schema::{OnChanged, OnVanished};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::flow::Mode;
use crate::store::receipt::{Part, Published};

/// What a build adds to a set, and what of the set stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Appending {
    /// The inputs to move, by name.
    pub moves: BTreeSet<String>,
    /// The parts that stay, in order.
    pub stay: Vec<Part>,
    /// The parts that go; new ones may have their numbers.
    pub gone: Vec<Part>,
    /// Why there is something to do; nothing where there is not.
    pub reasons: Vec<Reason>,
}

/// Why nothing can be added to a set.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// An input was moved, and has other bytes now.
    #[error("input {name} was moved already, and has other bytes now ({} -> {})", old.short(), new.short())]
    Changed {
        /// The input.
        name: String,
        /// Its digest when it was moved.
        old: Fingerprint,
        /// Its digest now.
        new: Fingerprint,
    },
    /// A part would have to be made again, and one of its inputs is gone.
    #[error("part {part} must be made again, and its input {input} is gone or has other bytes now")]
    Gone {
        /// The part.
        part: String,
        /// The input.
        input: String,
    },
    /// The receipt is of a time when it did not say what parts were made from.
    #[error("the receipt does not say what part {0} was made from")]
    Unsaid(String),
    /// The new inputs have other columns.
    #[error("input {input} has other columns than its store: {difference}")]
    Columns {
        /// The first of the new inputs.
        input: String,
        /// What differs.
        difference: String,
    },
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        let hint = match &error {
            AppendError::Changed { .. } => {
                "on_changed: rewrite replaces what was made from it, on_changed: ignore leaves that as it is; or give the new bytes a new name"
            }
            AppendError::Gone { .. } => "bring the input back, or let its rows go too by on_vanished: remove",
            AppendError::Unsaid(_) => "build it once more with mode: replace and --force",
            AppendError::Columns { .. } => {
                "a store has one schema: move the new columns to another store, or build it anew with mode: replace"
            }
        };
        Self::new(ErrorKind::Flow, error).with_hint(hint)
    }
}

/// Compares what a home holds with what was moved. `lost` are parts, by name, that cannot be had any more
/// and must be made again.
pub fn compare(
    inputs: &BTreeMap<String, Fingerprint>,
    published: &Published,
    mode: Mode,
    lost: &HashSet<String>,
) -> Result<Appending, AppendError> {
    let parts = &published.manifest.parts;
    if let Some(part) = parts.iter().find(|part| part.inputs.is_empty()) {
        return Err(AppendError::Unsaid(part.name.clone()));
    }
    let moved: BTreeMap<&str, Fingerprint> =
        parts.iter().flat_map(|part| &part.inputs).map(|input| (input.name.as_str(), input.digest)).collect();
    let is_there = |name: &str, digest: &Fingerprint| inputs.get(name) == Some(digest);
    // What is no longer there as it was moved: it has another name, other bytes, or is gone.
    let mut gone: BTreeMap<&str, Fingerprint> =
        moved.iter().filter(|(name, digest)| !is_there(name, digest)).map(|(name, digest)| (*name, *digest)).collect();
    let mut appending = Appending::default();
    // By their names when they were moved, what inputs are called now.
    let mut renamed: BTreeMap<&str, &str> = BTreeMap::new();
    let unmoved = inputs.iter().filter(|(name, digest)| moved.get(name.as_str()) != Some(digest));
    for (name, digest) in unmoved.clone() {
        let old = gone.iter().find(|(old, other)| *other == digest && **old != name.as_str()).map(|(old, _)| *old);
        if let Some(old) = old {
            gone.remove(old);
            renamed.insert(old, name);
            appending.reasons.push(Reason::InputRenamed { old: old.to_string(), new: name.clone() });
        }
    }
    let has_new_name: BTreeSet<&str> = renamed.values().copied().collect();
    // Inputs that are moved again, by their names when they were moved.
    let mut again: BTreeSet<&str> = BTreeSet::new();
    for (name, new) in unmoved.filter(|(name, _)| !has_new_name.contains(name.as_str())) {
        match gone.get(name.as_str()) {
            Some(old) => {
                let old = *old;
                gone.remove(name.as_str());
                match mode.on_changed() {
                    OnChanged::Fail => return Err(AppendError::Changed { name: name.clone(), old, new: *new }),
                    OnChanged::Ignore => {}
                    OnChanged::Rewrite => {
                        appending.reasons.push(Reason::InputChanged { name: name.clone(), old, new: *new });
                        again.insert(name);
                    }
                }
            }
            None => {
                appending.reasons.push(Reason::InputAdded { name: name.clone() });
                appending.moves.insert(name.clone());
            }
        }
    }
    let removed: BTreeSet<&str> = if mode.on_vanished() == OnVanished::Remove { gone.keys().copied().collect() } else { BTreeSet::new() };
    appending.reasons.extend(removed.iter().map(|name| Reason::InputRemoved { name: (*name).to_string() }));
    // A part that goes takes its other inputs with it, and so all parts that those are in.
    let goes = |part: &Part, again: &BTreeSet<&str>| {
        lost.contains(&part.name)
            || part.inputs.iter().any(|input| again.contains(input.name.as_str()) || removed.contains(input.name.as_str()))
    };
    loop {
        let before = again.len();
        for part in parts.iter().filter(|part| goes(part, &again)).collect::<Vec<_>>() {
            again.extend(part.inputs.iter().map(|input| input.name.as_str()).filter(|name| !removed.contains(name)));
        }
        if again.len() == before {
            break;
        }
    }
    for part in parts {
        if !goes(part, &again) {
            let mut part = part.clone();
            for input in &mut part.inputs {
                if let Some(name) = renamed.get(input.name.as_str()) {
                    input.name = (*name).to_string();
                }
            }
            appending.stay.push(part);
            continue;
        }
        appending.gone.push(part.clone());
        for input in part.inputs.iter().filter(|input| !removed.contains(input.name.as_str())) {
            let name = renamed.get(input.name.as_str()).copied().unwrap_or(&input.name);
            let is_rewritten = again.contains(input.name.as_str()) && mode.on_changed() == OnChanged::Rewrite;
            let may_move = inputs.get(name).is_some_and(|digest| *digest == input.digest || is_rewritten);
            if !may_move {
                return Err(AppendError::Gone { part: part.name.clone(), input: input.name.clone() });
            }
            appending.moves.insert(name.to_string());
        }
    }
    Ok(appending)
}
