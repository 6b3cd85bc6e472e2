//! One part of a flow: what it is made from, and where it is if it need not be made.

use std::path::PathBuf;

use super::slice::Slice;
use crate::cache::index::PartRecord;
use crate::fingerprint::Fingerprint;
use crate::store::receipt::{Part, PartInput};

/// One part of a flow.
#[derive(Clone, Debug)]
pub struct PlannedPart {
    /// Its key.
    pub key: Fingerprint,
    /// What it is made from.
    pub slice: Slice,
    /// The name of its first input file without folder and ending.
    pub stem: String,
    /// Its name, where it has one already.
    pub name: Option<String>,
    /// Its number, where it has one already.
    pub sequence: Option<u64>,
    /// What it is made from.
    pub inputs: Vec<PartInput>,
    /// The part, where it was made before and is at hand.
    pub existing: Option<ExistingPart>,
    /// The folder of the store that it is for, as far as that is known; empty for the store's own.
    pub folder: String,
    /// What it becomes.
    pub outputs: PartOutputs,
}

/// What a planned part becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOutputs {
    /// One part.
    One,
    /// A part for each folder that a row of it belongs to.
    Folders,
    /// As many parts as this partition of a table has, which must be read for it.
    Partition(usize),
}

/// A part that need not be made.
#[derive(Clone, Debug)]
pub struct ExistingPart {
    /// The part.
    pub record: PartRecord,
    /// Where it is.
    pub location: PartLocation,
}

/// Where a part is that need not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartLocation {
    /// In the store that is to be published, untouched.
    InStore,
    /// In staging, or beside the store, from where it comes to staging when the store is recovered:
    /// it is digested before it is used.
    Staged,
    /// In another store of this project: it is copied and digested on the way.
    OtherStore(PathBuf),
}

impl PlannedPart {
    /// It is one of the parts that a partition or a slice became, the one of this number.
    pub(super) fn take_output(&mut self, number: usize, record: &PartRecord) {
        self.outputs = PartOutputs::One;
        self.folder.clone_from(&record.folder);
        if !self.slice.is_filtered {
            self.slice.rows = Some(record.rows);
        } else if number > 0 {
            // All rows that were read count as those of the first: of those that were left out
            // nobody knows for which they were read.
            self.slice.rows = self.slice.rows.map(|_| 0);
        }
    }

    /// A part of a set that was published: it is taken as it is.
    pub(super) fn from_published(part: &Part) -> Self {
        let slice = Slice {
            rows: Some(part.rows),
            ..Slice::default()
        };
        let (name, inputs) = (Some(part.name.clone()), part.inputs.clone());
        Self {
            key: part.key,
            slice,
            stem: String::new(),
            name,
            sequence: Some(part.sequence),
            inputs,
            existing: None,
            folder: part.folder().to_string(),
            outputs: PartOutputs::One,
        }
    }
}
