//! `mode: append`: which inputs are still to be moved, by what the receipt says was moved.
//!
//! An input is its path and its digest: equal bytes under another name are another input, unless
//! the old name has them no more, which is a rename; with `on_repeated: add` there are no renames.
//! Pure comparison.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::queries::FlowKey;
use super::rebuildable::parts_by_input;
use super::stale::Reason;
use crate::config::schema::{OnChanged, OnRepeated, OnVanished};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::Components;
use crate::flow::{Flow, Mode};
use crate::format::canonical_schema::type_from_name;
use crate::format::projection::plain_constant;
use crate::home::{self, FolderValue};
use crate::store::receipt::{Part, PartInput, PublishedSet};

/// What a build adds to a set, and what of the set stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppendPlan {
    /// The inputs to move, by name.
    pub to_move: BTreeSet<String>,
    /// The parts that stay, in order.
    pub retained: Vec<Part>,
    /// The parts that go; new ones may have their numbers.
    pub removed: Vec<Part>,
    /// What was moved and gave no row, and is not moved again.
    pub empty_inputs: Vec<PartInput>,
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
    #[error("part {part} must be made again, and its input {input} {}", if *has_other_bytes { "has other bytes now" } else { "is gone" })]
    InputGone {
        /// The part.
        part: String,
        /// The input.
        input: String,
        /// Whether another file has its name.
        has_other_bytes: bool,
    },
    /// The receipt is of a time when it did not say what parts were made from.
    #[error("the receipt does not say what part {0} was made from")]
    UnknownInputs(String),
    /// The index remembers a receipt that is gone.
    #[error("{0} is gone with its receipt, which says what was moved")]
    ReceiptLost(String),
    /// Parts that stay lie in other folders than new ones would.
    #[error("parts that stay {}, and new ones {}", in_folders(.before), in_folders(.now))]
    Folders {
        /// The columns that name the folders of those that stay.
        before: String,
        /// Those that would name the folders of new ones.
        now: String,
    },
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
                "give the new bytes a new name; or let on_changed: rewrite drop the rows of the old bytes for those of the new, or on_changed: ignore leave the new ones out"
            }
            AppendError::InputGone {
                has_other_bytes: true,
                ..
            } => {
                "bring its bytes back, or let those that it has now take their place by on_changed: rewrite"
            }
            AppendError::InputGone { .. } => {
                "bring the input back, or let its rows go too by on_vanished: remove; inputs share no part where rows_per_file is not set"
            }
            AppendError::UnknownInputs(_) => "build it once more with mode: replace and --force",
            AppendError::ReceiptLost(_) => {
                "bring it back, with .hygge beside it, or mount it; hygge build --force begins again with what the home has now"
            }
            AppendError::Folders { .. } => {
                "one set has one kind of folders: leave partition_by and keep_column as they were; hygge build --force makes parts again whose inputs are all there; what cannot be made again needs a store of its own"
            }
            AppendError::Columns { .. } => {
                "a store has one schema: move the new columns to another store, or build it anew with mode: replace"
            }
        };
        Self::new(ErrorKind::Flow, error).with_hint(hint)
    }
}

/// Where parts lie whose folders are named by columns.
fn in_folders(columns: &str) -> String {
    match columns {
        "" => "lie in no folders".into(),
        columns => format!("lie in folders by {columns}"),
    }
}

/// New parts come to the same kind of folders as those that stay.
///
/// # Errors
/// They would come to others.
pub fn check_same_folders(published: &PublishedSet, key: &FlowKey) -> Result<(), AppendError> {
    let of = |components: &Components| {
        let setting = |name: &str| components.settings.get(name);
        let keeps = setting("store.keep_column").map(|_| " with keep_column");
        let columns = setting("store.partition_by");
        columns.map_or_else(String::new, |columns| {
            format!("{columns}{}", keeps.unwrap_or_default())
        })
    };
    let (before, now) = (of(&published.components), of(&key.components));
    if before == now {
        return Ok(());
    }
    Err(AppendError::Folders { before, now })
}

/// Compares what a home holds with what was moved. `lost` are parts, by name, that cannot be had
/// any more and must be made again.
pub fn append_plan(
    inputs: &BTreeMap<String, Fingerprint>,
    published: &PublishedSet,
    flow: &Flow,
    lost: &HashSet<String>,
) -> Result<AppendPlan, AppendError> {
    let parts = &published.manifest.parts;
    if let Some(part) = parts.iter().find(|part| part.inputs.is_empty()) {
        return Err(AppendError::UnknownInputs(part.name.clone()));
    }
    // Rows of equal bytes are others where a folder says another value of a column.
    let folder_values = |name: &str| {
        let mut values = match flow.home.as_files() {
            Some(files) => files.folder_values(name),
            None => home::folder_values(name).map(|(_, value)| value).collect(),
        };
        values.retain(|value| published.folder_columns.contains(&value.column));
        for FolderValue { column, value } in &mut values {
            let mut columns = published.home_columns().iter();
            let column = columns.find(|known| known.name == *column);
            let dtype = column.and_then(|column| type_from_name(&column.target_type));
            *value = value.take().map(|text| match &dtype {
                Some(dtype) => plain_constant(dtype, text),
                None => text,
            });
        }
        // So are rows that hold something of their file's name.
        let of_file = flow.shape.iter().flat_map(|shape| shape.file_values(name));
        values.extend(of_file.map(|(name, value)| FolderValue {
            column: format!("{{{name}}}"),
            value: Some(value),
        }));
        values.sort_unstable();
        values
    };
    let moved = parts.iter().flat_map(|part| &part.inputs);
    let moved = moved.chain(&published.empty_inputs).collect();
    let fates = InputChanges::new(inputs, moved, flow.mode, &folder_values)?;
    let (goes, again) = fates.affected_parts(parts, lost);
    let mut appending = AppendPlan {
        to_move: fates.new.iter().map(|name| (*name).clone()).collect(),
        ..AppendPlan::default()
    };
    for (part, goes) in parts.iter().zip(goes) {
        if goes {
            appending.removed.push(part.clone());
            let mut needed = part
                .inputs
                .iter()
                .filter(|input| !fates.removed.contains(*input));
            let lacks =
                |input: &&PartInput| !fates.changed.contains(*input) && !fates.is_present(input);
            if let Some(input) = needed.find(lacks) {
                let has_other_bytes = inputs.contains_key(&input.name) && !input.is_replaced;
                return Err(AppendError::InputGone {
                    part: part.name.clone(),
                    input: input.name.clone(),
                    has_other_bytes,
                });
            }
        } else {
            let inputs = part
                .inputs
                .iter()
                .map(|input| fates.current_input(input))
                .collect();
            appending.retained.push(Part {
                inputs,
                ..part.clone()
            });
        }
    }
    appending.to_move.extend(
        again
            .into_iter()
            .map(|input| fates.current_name(input).to_string()),
    );
    for input in &published.empty_inputs {
        if fates.changed.contains(input) {
            let name = fates.current_name(input).to_string();
            appending.to_move.insert(name);
        } else if !fates.removed.contains(input) {
            appending.empty_inputs.push(fates.current_input(input));
        }
    }
    // A set has its columns also where no row is left: something that gave none says them.
    let is_emptied = !parts.is_empty() && appending.retained.is_empty();
    if is_emptied && appending.to_move.is_empty() {
        let mut empty = appending.empty_inputs.iter();
        let is_there = |input: &PartInput| inputs.get(&input.name) == Some(&input.digest);
        if let Some(first) = empty.position(is_there) {
            let first = appending.empty_inputs.remove(first);
            appending.to_move.insert(first.name);
        }
    }
    appending.reasons = fates.reasons;
    Ok(appending)
}

/// What became of each input that was moved, and of each that is there.
struct InputChanges<'a> {
    inputs: &'a BTreeMap<String, Fingerprint>,
    /// Inputs that were not moved, under no name.
    new: BTreeSet<&'a String>,
    /// What was moved under another name, and what it is called now.
    renamed: BTreeMap<&'a PartInput, &'a String>,
    /// What was moved, and has other bytes now that shall take the place of the old.
    changed: BTreeSet<&'a PartInput>,
    /// Inputs with other bytes than were moved, which are left alone.
    ignored: BTreeSet<&'a String>,
    /// What was moved, and whose rows shall go.
    removed: BTreeSet<&'a PartInput>,
    reasons: Vec<Reason>,
}

impl<'a> InputChanges<'a> {
    fn new(
        inputs: &'a BTreeMap<String, Fingerprint>,
        moved: BTreeSet<&'a PartInput>,
        mode: Mode,
        folder_values: &dyn Fn(&str) -> Vec<FolderValue>,
    ) -> Result<Self, AppendError> {
        let (new, renamed, changed, ignored, removed) = Default::default();
        let mut fates = Self {
            inputs,
            new,
            renamed,
            changed,
            ignored,
            removed,
            reasons: Vec::new(),
        };
        let (there, gone): (Vec<&PartInput>, Vec<&PartInput>) = moved
            .into_iter()
            .partition(|input| inputs.get(&input.name) == Some(&input.digest));
        let is_moved: HashSet<&String> = there.iter().map(|input| &input.name).collect();
        for input in there.iter().filter(|input| input.is_replaced) {
            fates.reasons.push(Reason::InputBack {
                name: input.name.clone(),
            });
        }
        // What is no longer there as it was moved: it has another name, other bytes, or is gone.
        let mut gone: BTreeSet<&PartInput> = gone.into_iter().collect();
        let mut by_rows: BTreeMap<(Fingerprint, Vec<FolderValue>), Vec<&PartInput>> =
            BTreeMap::new();
        for input in gone.iter().rev() {
            let rows = (input.digest, folder_values(&input.name));
            by_rows.entry(rows).or_default().push(input);
        }
        let mut unmoved = Vec::new();
        for (name, digest) in inputs.iter().filter(|(name, _)| !is_moved.contains(name)) {
            // Where each name is an input of its own, equal bytes are more rows.
            let same = by_rows
                .get_mut(&(*digest, folder_values(name)))
                .filter(|_| mode.on_repeated() == OnRepeated::Skip);
            match same.and_then(Vec::pop) {
                Some(old) => {
                    gone.remove(old);
                    fates.renamed.insert(old, name);
                    fates.reasons.push(Reason::InputRenamed {
                        old: old.name.clone(),
                        new: name.clone(),
                    });
                }
                None => unmoved.push((name, *digest)),
            }
        }
        let by_name: HashMap<&String, &PartInput> = gone
            .iter()
            .filter(|input| !input.is_replaced)
            .map(|input| (&input.name, *input))
            .collect();
        for (name, new) in unmoved {
            let Some(old) = by_name.get(name).copied() else {
                fates
                    .reasons
                    .push(Reason::InputAdded { name: name.clone() });
                fates.new.insert(name);
                continue;
            };
            gone.remove(old);
            match mode.on_changed() {
                OnChanged::Fail => {
                    return Err(AppendError::Changed {
                        name: name.clone(),
                        old: old.digest,
                        new,
                    });
                }
                OnChanged::Ignore => drop(fates.ignored.insert(name)),
                OnChanged::Rewrite => {
                    fates.reasons.push(Reason::InputChanged {
                        name: name.clone(),
                        old: old.digest,
                        new,
                    });
                    fates.changed.insert(old);
                }
            }
        }
        if mode.on_vanished() == OnVanished::Remove {
            fates
                .reasons
                .extend(gone.iter().map(|input| Reason::InputRemoved {
                    name: input.name.clone(),
                }));
            fates.removed = gone;
        }
        Ok(fates)
    }

    /// What an input is called now.
    fn current_name<'b>(&'b self, input: &'b PartInput) -> &'b str {
        self.renamed.get(input).map_or(&input.name, |name| name)
    }

    /// True where the home has the bytes that were moved.
    fn is_present(&self, input: &PartInput) -> bool {
        self.inputs.get(self.current_name(input)) == Some(&input.digest)
    }

    /// An input whose rows stay, as the receipt shall have it.
    fn current_input(&self, input: &PartInput) -> PartInput {
        let name = self.current_name(input);
        // Its name may be that of other bytes now, which are in the set by themselves.
        let is_taken = || self.inputs.contains_key(name) && !self.ignored.contains(&input.name);
        let is_replaced = !self.is_present(input) && (input.is_replaced || is_taken());
        PartInput {
            name: name.to_string(),
            digest: input.digest,
            is_replaced,
        }
    }

    /// Which parts go, and which inputs are moved again for it: a part that goes takes its other
    /// inputs with it, and so all parts that those are in.
    fn affected_parts(
        &self,
        parts: &'a [Part],
        lost: &HashSet<String>,
    ) -> (Vec<bool>, BTreeSet<&'a PartInput>) {
        let parts_of = parts_by_input(parts);
        let is_hit = |part: &Part| {
            lost.contains(&part.name)
                || part
                    .inputs
                    .iter()
                    .any(|input| self.changed.contains(input) || self.removed.contains(input))
        };
        let mut goes: Vec<bool> = parts.iter().map(is_hit).collect();
        let mut queue: Vec<usize> = (0..parts.len()).filter(|number| goes[*number]).collect();
        let mut again = BTreeSet::new();
        while let Some(number) = queue.pop() {
            for input in parts[number]
                .inputs
                .iter()
                .filter(|input| !self.removed.contains(*input))
            {
                if again.insert(input) {
                    queue.extend(
                        parts_of[input]
                            .iter()
                            .filter(|part| !std::mem::replace(&mut goes[**part], true)),
                    );
                }
            }
        }
        (goes, again)
    }
}
