//! Where a part stands in a chain: among parts of which it is not known how many there are until they
//! were made.

use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::KeyWriter;

/// Which of the parts of a chain one is.
#[derive(Clone, Copy, Debug)]
pub enum ChainPlace<'a> {
    /// The one of this number, and there are more behind it.
    Link(usize),
    /// The last, behind those with these digests.
    Last(&'a [Fingerprint]),
}

impl<'a> ChainPlace<'a> {
    /// The place behind parts with these digests.
    pub fn behind(before: &'a [Fingerprint], is_last: bool) -> Self {
        if is_last {
            Self::Last(before)
        } else {
            Self::Link(before.len())
        }
    }

    pub(super) fn write_to(self, key: &mut KeyWriter) {
        match self {
            Self::Link(number) => {
                key.count(number).number(0);
            }
            Self::Last(before) => {
                key.count(before.len()).number(1);
                before.iter().for_each(|digest| {
                    key.digest(digest);
                });
            }
        }
    }
}
