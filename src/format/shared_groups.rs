//! Decoded groups from which several parts are cut: each is decoded once, and let go when its last
//! part has it.
//!
//! It knows nothing of formats, and keeps no more groups than there are threads. The heads of their
//! files come along (`shared_heads`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::RecordBatch;
use super::shared_heads::SharedHeads;
use super::{FormatError, Piece};

/// A file of a flow, and a group of it.
pub type GroupId = (usize, usize);

type BatchSlot = Arc<Mutex<Option<RecordBatch>>>;

/// The groups of one flow that are decoded at the moment, and the heads of their files.
#[derive(Clone, Debug, Default)]
pub struct SharedGroups {
    groups: Arc<Mutex<GroupSlots>>,
    heads: SharedHeads,
}

#[derive(Debug, Default)]
struct GroupSlots {
    /// How many parts still need a group.
    pending_uses: HashMap<GroupId, usize>,
    slots: VecDeque<(GroupId, BatchSlot)>,
}

impl SharedGroups {
    /// For parts that are to be made of these pieces.
    pub fn for_parts<'p>(parts: impl Iterator<Item = &'p [Piece]>) -> Self {
        let mut wanted = HashMap::new();
        for piece in parts.flatten().filter(|piece| piece.rows.is_some()) {
            if let Some(group) = piece.group {
                *wanted.entry((piece.file, group)).or_default() += 1;
            }
        }
        let slots = GroupSlots {
            pending_uses: wanted,
            slots: VecDeque::new(),
        };
        Self {
            groups: Arc::new(Mutex::new(slots)),
            heads: SharedHeads::default(),
        }
    }

    pub(super) fn heads(&self) -> &SharedHeads {
        &self.heads
    }

    /// A group: decoded now, or by another part before. Who comes while it is decoded waits.
    ///
    /// # Errors
    /// It cannot be decoded; the next part tries for itself.
    pub fn get_or_decode(
        &self,
        place: GroupId,
        decode: impl FnOnce() -> Result<RecordBatch, FormatError>,
    ) -> Result<RecordBatch, FormatError> {
        let slot = lock(&self.groups).slot_for(place);
        let mut held = lock(&slot);
        let batch = match held.take() {
            Some(batch) => batch,
            None => decode()?,
        };
        if lock(&self.groups).release_use(place) {
            *held = Some(batch.clone());
        }
        Ok(batch)
    }
}

impl GroupSlots {
    fn slot_for(&mut self, place: GroupId) -> BatchSlot {
        if let Some((_, slot)) = self.slots.iter().find(|(held, _)| *held == place) {
            return slot.clone();
        }
        // Parts begin in their order: what has been held longest is needed least.
        while self.slots.len() >= rayon::current_num_threads().max(2) {
            self.slots.pop_front();
        }
        let slot = BatchSlot::default();
        self.slots.push_back((place, slot.clone()));
        slot
    }

    fn release_use(&mut self, place: GroupId) -> bool {
        let left = self.pending_uses.get_mut(&place).map_or(0, |left| {
            *left = left.saturating_sub(1);
            *left
        });
        if left == 0 {
            self.slots.retain(|(held, _)| *held != place);
        }
        left > 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::SharedGroups;
    use crate::format::batch::RecordBatch;
    use crate::format::{FormatError, Piece};

    #[test]
    fn a_group_is_decoded_once_and_let_go() {
        let piece = |group, rows| Piece {
            file: 0,
            group: Some(group),
            rows,
        };
        let parts = [
            vec![piece(0, Some((0, 5)))],
            vec![piece(0, Some((5, 5))), piece(1, Some((0, 5)))],
            vec![piece(1, Some((5, 5)))],
            vec![piece(2, None)],
        ];
        let shared = SharedGroups::for_parts(parts.iter().map(Vec::as_slice));
        let decoded = Cell::new(0);
        let decode = || {
            decoded.set(decoded.get() + 1);
            Ok(RecordBatch::new(10, Arc::default(), Vec::new()))
        };
        for (place, times) in [
            ((0, 0), 1),
            ((0, 0), 1),
            ((0, 1), 2),
            ((0, 1), 2),
            ((0, 1), 3),
        ] {
            assert_eq!(
                shared
                    .get_or_decode(place, decode)
                    .expect("a batch")
                    .height(),
                10
            );
            assert_eq!(decoded.get(), times, "{place:?}");
        }
        assert!(
            super::lock(&shared.groups).slots.is_empty(),
            "the last part lets a group go"
        );
        let fails = || Err(FormatError::Interrupted);
        assert!(
            SharedGroups::for_parts(parts.iter().map(Vec::as_slice))
                .get_or_decode((0, 0), fails)
                .is_err()
        );
    }
}
