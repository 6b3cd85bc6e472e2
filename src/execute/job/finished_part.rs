//! What became of a part of a job.

use serde::{Deserialize, Serialize};

use crate::cache::index::PartRecord;
use crate::fingerprint::Fingerprint;

/// What a part became: one file, or several of different kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishedPart {
    /// Its key.
    pub key: Fingerprint,
    /// The files.
    pub outputs: Vec<PartOutput>,
    /// How many rows were read and left out.
    pub filtered: u64,
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOutput {
    /// What it is for.
    pub kind: PartOutputKind,
    /// Its digest, rows and bytes.
    #[serde(flatten)]
    pub record: PartRecord,
}

/// What a file is for that was made for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartOutputKind {
    /// The part's rows.
    Part,
}

impl FinishedPart {
    /// A part that is these files.
    pub(super) fn new(
        key: Fingerprint,
        files: impl IntoIterator<Item = PartRecord>,
        filtered: u64,
    ) -> Self {
        let kind = PartOutputKind::Part;
        let outputs = files.into_iter().map(|record| PartOutput { kind, record });
        Self {
            key,
            outputs: outputs.collect(),
            filtered,
        }
    }
}
