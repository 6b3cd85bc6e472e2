//! What the heads of files say, read once for all parts of a flow.
//!
//! It knows nothing of formats, and keeps no more heads than there are threads.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FormatError, PartPieces};

type HeadSlot = Arc<Mutex<Option<Arc<dyn Any + Send + Sync>>>>;

/// The heads of those files of one flow that parts are made of at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedHeads(Arc<Mutex<VecDeque<(usize, HeadSlot)>>>);

impl SharedHeads {
    /// What the head of a file says: read now, or for another part before. Who comes while it is
    /// read waits.
    ///
    /// # Errors
    /// It cannot be read; the next part tries for itself.
    pub(super) fn get_or_read<T: Any + Send + Sync>(
        &self,
        file: usize,
        read: impl FnOnce() -> Result<T, FormatError>,
    ) -> Result<Arc<T>, FormatError> {
        let slot = self.slot(file);
        let mut held = lock(&slot);
        if let Some(Ok(head)) = held.clone().map(Arc::downcast) {
            return Ok(head);
        }
        let head = Arc::new(read()?);
        *held = Some(head.clone());
        Ok(head)
    }

    fn slot(&self, file: usize) -> HeadSlot {
        let mut slots = lock(&self.0);
        if let Some((_, slot)) = slots.iter().find(|(held, _)| *held == file) {
            return slot.clone();
        }
        // Parts begin in the order of their files.
        while slots.len() >= rayon::current_num_threads().max(2) {
            slots.pop_front();
        }
        let slot = HeadSlot::default();
        slots.push_back((file, slot.clone()));
        slot
    }
}

impl PartPieces<'_> {
    /// What the head of one of its files says, which another part may have read.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn head<T: Any + Send + Sync>(
        &self,
        file: usize,
        read: impl FnOnce() -> Result<T, FormatError>,
    ) -> Result<Arc<T>, FormatError> {
        match self.inputs.shared_groups() {
            Some(shared) => shared.heads().get_or_read(file, read),
            None => read().map(Arc::new),
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::SharedHeads;
    use crate::format::FormatError;

    #[test]
    fn a_head_is_read_once_and_few_are_kept() {
        let heads = SharedHeads::default();
        let times = Cell::new(0);
        let read = |file: usize| {
            let head = heads.get_or_read(file, || {
                times.set(times.get() + 1);
                Ok(file)
            });
            assert_eq!(*head.expect("a head"), file);
            times.get()
        };
        let failed = heads.get_or_read::<usize>(0, || Err(FormatError::Interrupted));
        assert!(failed.is_err());
        assert_eq!([read(0), read(0), read(1), read(0)], [1, 1, 2, 2]);
        let most = rayon::current_num_threads().max(2);
        (2..most + 2).for_each(|file| assert_eq!(read(file), file + 1));
        assert_eq!(super::lock(&heads.0).len(), most);
        assert_eq!(read(0), most + 3, "the one held longest was let go");
    }
}
