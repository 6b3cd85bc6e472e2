//! Which parts of a set a table does not have yet.

use std::collections::HashMap;

use crate::fingerprint::Fingerprint;
use crate::store::receipt::{Part, PublishedSet, Receipt};

/// Which parts of a set a table does not have yet.
pub(super) fn new_parts<'p>(next: &'p PublishedSet, before: Option<&Receipt>) -> Vec<&'p Part> {
    let published = before.and_then(|receipt| receipt.published.as_ref());
    // Files of equal bytes are equal parts, and each of them is there for itself.
    let mut known: HashMap<(Fingerprint, Fingerprint), usize> = HashMap::new();
    for part in published
        .iter()
        .flat_map(|published| &published.manifest.parts)
    {
        *known.entry((part.key, part.digest)).or_default() += 1;
    }
    let mut is_known = |part: &&Part| match known.get_mut(&(part.key, part.digest)) {
        Some(number) if *number > 0 => {
            *number -= 1;
            true
        }
        _ => false,
    };
    next.manifest
        .parts
        .iter()
        .filter(|part| !is_known(part))
        .collect()
}
