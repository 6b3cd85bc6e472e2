//! Decoded groups from which several parts are cut: each is decoded once, and let go when its last
//! part has it.
//!
//! It knows nothing of formats, and keeps no more groups than there are threads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::RecordBatch;
use super::{FormatError, Piece};

/// A file of a flow, and a group of it.
pub type Place = (usize, usize);

type Slot = Arc<Mutex<Option<RecordBatch>>>;

/// The groups of one flow that are decoded at the moment.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many parts still need a group.
    wanted: HashMap<Place, usize>,
    held: VecDeque<(Place, Slot)>,
}

impl Shared {
    /// For parts that are to be made of these pieces.
    pub fn of<'p>(parts: impl Iterator<Item = &'p [Piece]>) -> Self {
        let mut wanted = HashMap::new();
        for piece in parts.flatten().filter(|piece| piece.rows.is_some()) {
            if let Some(group) = piece.group {
                *wanted.entry((piece.file, group)).or_default() += 1;
            }
        }
        Self(Arc::new(Mutex::new(State {
            wanted,
            held: VecDeque::new(),
        })))
    }

    /// A group: decoded now, or by another part before. Who comes while it is decoded waits.
    ///
    /// # Errors
    /// It cannot be decoded; the next part tries for itself.
    pub fn batch(
        &self,
        place: Place,
        decode: impl FnOnce() -> Result<RecordBatch, FormatError>,
    ) -> Result<RecordBatch, FormatError> {
        let slot = lock(&self.0).slot(place);
        let mut held = lock(&slot);
        let batch = match held.take() {
            Some(batch) => batch,
            None => decode()?,
        };
        if lock(&self.0).is_wanted_again(place) {
            *held = Some(batch.clone());
        }
        Ok(batch)
    }
}

impl State {
    fn slot(&mut self, place: Place) -> Slot {
        if let Some((_, slot)) = self.held.iter().find(|(held, _)| *held == place) {
            return slot.clone();
        }
        // Parts begin in their order: what has been held longest is needed least.
        while self.held.len() >= rayon::current_num_threads().max(2) {
            self.held.pop_front();
        }
        let slot = Slot::default();
        self.held.push_back((place, slot.clone()));
        slot
    }

    fn is_wanted_again(&mut self, place: Place) -> bool {
        let left = self.wanted.get_mut(&place).map_or(0, |left| {
            *left = left.saturating_sub(1);
            *left
        });
        if left == 0 {
            self.held.retain(|(held, _)| *held != place);
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

    use super::Shared;
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
        let shared = Shared::of(parts.iter().map(Vec::as_slice));
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
            assert_eq!(shared.batch(place, decode).expect("a batch").height(), 10);
            assert_eq!(decoded.get(), times, "{place:?}");
        }
        assert!(
            super::lock(&shared.0).held.is_empty(),
            "the last part lets a group go"
        );
        let fails = || Err(FormatError::Interrupted);
        assert!(
            Shared::of(parts.iter().map(Vec::as_slice))
                .batch((0, 0), fails)
                .is_err()
        );
    }
}
