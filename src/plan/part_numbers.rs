//! The numbers in the names of parts: each folder of a store has its own.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::planned_part::PlannedPart;
use crate::store::receipt::{Part, PartInput};

/// The number of a part that goes.
#[derive(Clone, Debug)]
pub struct FreedNumber {
    folder: String,
    number: u64,
    inputs: Vec<PartInput>,
}

impl FreedNumber {
    /// That of a part, where it has one.
    pub(super) fn of_part(part: &Part) -> Option<Self> {
        (part.sequence > 0).then(|| Self {
            folder: part.folder().to_string(),
            number: part.sequence,
            inputs: part.inputs.clone(),
        })
    }
}

/// Parts that are made anew have the numbers of those that were made from the same inputs: who
/// reads the store finds them changed, not gone and come again.
pub(super) fn reuse_numbers<'p>(
    new: impl Iterator<Item = &'p mut PlannedPart>,
    numbers: &[FreedNumber],
) {
    let mut of_input: HashMap<(&str, &str), BTreeSet<u64>> = HashMap::new();
    for freed in numbers {
        for input in &freed.inputs {
            let place = (freed.folder.as_str(), input.name.as_str());
            of_input.entry(place).or_default().insert(freed.number);
        }
    }
    let mut used: HashSet<(String, u64)> = HashSet::new();
    for part in new {
        let mut free = Vec::new();
        for input in &part.inputs {
            let place = (part.folder.as_str(), input.name.as_str());
            let Some(numbers) = of_input.get_mut(&place) else {
                continue;
            };
            let is_used = |number: &u64| used.contains(&(part.folder.clone(), *number));
            while numbers.first().is_some_and(is_used) {
                numbers.pop_first();
            }
            free.extend(numbers.first());
        }
        part.sequence = free.into_iter().min();
        used.extend(part.sequence.map(|number| (part.folder.clone(), number)));
    }
}

/// The number of each part: that which it has, or the next of its folder behind `last`.
pub(super) fn sequences(parts: &[PlannedPart], last: u64) -> Vec<u64> {
    let mut of_folders: HashMap<&str, u64> = HashMap::new();
    let mut next = |folder| {
        let last = of_folders.entry(folder).or_insert(last);
        *last += 1;
        *last
    };
    let numbers = parts.iter();
    numbers
        .map(|part| part.sequence.unwrap_or_else(|| next(part.folder.as_str())))
        .collect()
}
