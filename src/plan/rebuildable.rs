//! Parts that can be made again: which of a set's are made of nothing but inputs that are still
//! there.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::fingerprint::Fingerprint;
use crate::store::receipt::{Part, PartInput};

/// The names of the parts that can be made again: their inputs are there, and so are those of all
/// parts that share one.
pub(super) fn rebuildable_parts(
    inputs: &BTreeMap<String, Fingerprint>,
    parts: &[Part],
) -> HashSet<String> {
    let parts_of = parts_by_input(parts);
    let lacks = |part: &Part| {
        part.inputs
            .iter()
            .any(|input| inputs.get(&input.name) != Some(&input.digest))
    };
    let mut stays: Vec<bool> = parts.iter().map(lacks).collect();
    let mut queue: Vec<usize> = (0..parts.len()).filter(|number| stays[*number]).collect();
    while let Some(number) = queue.pop() {
        for input in &parts[number].inputs {
            queue.extend(
                parts_of[input]
                    .iter()
                    .filter(|part| !std::mem::replace(&mut stays[**part], true)),
            );
        }
    }
    parts
        .iter()
        .zip(stays)
        .filter(|(_, stays)| !stays)
        .map(|(part, _)| part.name.clone())
        .collect()
}

/// The parts that each input is in.
pub(super) fn parts_by_input(parts: &[Part]) -> HashMap<&PartInput, Vec<usize>> {
    let mut parts_of: HashMap<&PartInput, Vec<usize>> = HashMap::new();
    for (number, part) in parts.iter().enumerate() {
        part.inputs
            .iter()
            .for_each(|input| parts_of.entry(input).or_default().push(number));
    }
    parts_of
}
