//! Publishing: from made parts to a set that a store may take over.
//!
//! Here stand the checks that no store may skip: names, rows, and how much may vanish. How a set
//! gets into its place, all at once or not at all, is each store's own.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::cache::index::PartRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::flow::{Flow, Mode};
use crate::plan::work::FlowWork;
use crate::store::receipt::{Manifest, Part, PublishedSet, Receipt};

/// Why a set is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A row was lost or doubled on the way.
    #[error("part {name} has {found} rows, and its input {expected}")]
    Rows {
        /// The part.
        name: String,
        /// Rows in the part.
        found: u64,
        /// Rows in its input.
        expected: u64,
    },
    /// A row was lost or doubled between the inputs and the parts.
    #[error("the parts have {found} rows, and the inputs {expected}")]
    FlowRows {
        /// Rows in all new parts.
        found: u64,
        /// Rows in all inputs that they are made from.
        expected: u64,
    },
    /// The set would have too many folders.
    #[error("the set has {found} folders, and max_partitions allows {allowed}")]
    Folders {
        /// Folders of the set.
        found: usize,
        /// What the store allows.
        allowed: u64,
    },
    /// Too much of the store would vanish.
    #[error(
        "the store has {before} rows, and would have {after}: more than max_shrink ({allowed}%) allows"
    )]
    Shrink {
        /// Rows now.
        before: u64,
        /// Rows then.
        after: u64,
        /// What the flow allows.
        allowed: u8,
    },
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        let hint = match &error {
            PublishError::Rows { .. } | PublishError::FlowRows { .. } => {
                "this is a fault of hygge: please report it; nothing was published"
            }
            PublishError::Folders { .. } => {
                "partition by a column with fewer values, or raise max_partitions of the store; nothing was published"
            }
            PublishError::Shrink { .. } => {
                "check the home; --accept-shrink publishes it this once, max_shrink of the flow always"
            }
        };
        Self::new(ErrorKind::Flow, error).with_hint(hint)
    }
}

/// Puts a set together from its parts, in order.
///
/// # Errors
/// Two parts have one name, rows were lost or doubled, or too many would vanish.
pub fn assemble(
    flow: &Flow,
    work: &FlowWork,
    made: &[PartRecord],
    receipt: Option<&Receipt>,
    accept_shrink: bool,
) -> Result<PublishedSet> {
    let digests: Vec<Fingerprint> = made.iter().map(|record| record.digest).collect();
    let names = work.part_names(flow, &digests)?;
    let mut parts = Vec::with_capacity(made.len());
    for (((name, sequence), planned), record) in names
        .into_iter()
        .zip(work.sequences())
        .zip(&work.parts)
        .zip(made)
    {
        if let Some(expected) = planned.slice.expected_rows()
            && record.rows != expected
        {
            return Err(PublishError::Rows {
                name,
                found: record.rows,
                expected,
            }
            .into());
        }
        let inputs = planned.inputs.clone();
        parts.push(Part {
            name,
            key: planned.key,
            digest: record.digest,
            rows: record.rows,
            bytes: record.bytes,
            sequence,
            inputs,
        });
    }
    if let Some((expected, found)) = work.rows_to_make()
        && expected != found
    {
        return Err(PublishError::FlowRows { expected, found }.into());
    }
    let manifest = Manifest { parts };
    if let Some(partitions) = &flow.store.output_spec().partition_by {
        let folders: HashSet<&str> = manifest.parts.iter().map(Part::folder).collect();
        let (found, allowed) = (folders.len(), partitions.max_partitions);
        if found as u64 > allowed {
            return Err(PublishError::Folders { found, allowed }.into());
        }
    }
    if !accept_shrink {
        check_shrink(flow, receipt, manifest.rows())?;
    }
    Ok(PublishedSet {
        key: work.key,
        components: work.components.clone(),
        schema_digest: work.schema,
        columns: work.columns.recorded.clone(),
        home_columns: work.columns.of_home.clone(),
        folder_columns: work.columns.folder_columns.clone(),
        absent_columns: work.columns.absent.clone(),
        arrow_schema: work.columns.arrow_schema.clone(),
        home: work.home,
        placement: work.placement.clone(),
        manifest,
        empty_inputs: work.empty_inputs.clone(),
        max_sequence: work.last_sequence(),
        pinned: work.pinned,
        at: Timestamp::now().to_string(),
    })
}

/// A set of so many rows may take the place of the one that is published.
///
/// # Errors
/// Too many would vanish.
pub fn check_shrink(flow: &Flow, receipt: Option<&Receipt>, after: u64) -> Result<()> {
    let before = receipt
        .and_then(|receipt| receipt.published.as_ref())
        .map_or(0, |published| published.manifest.rows());
    // What is merged is not all that there is.
    if flow.mode != Mode::Merge && shrinks_too_much(before, after, flow.max_shrink) {
        return Err(PublishError::Shrink {
            before,
            after,
            allowed: flow.max_shrink,
        }
        .into());
    }
    Ok(())
}

/// True where more than `allowed` of a hundred rows would vanish.
fn shrinks_too_much(before: u64, after: u64, allowed: u8) -> bool {
    let lost = u128::from(before.saturating_sub(after));
    lost * 100 > u128::from(before) * u128::from(allowed)
}
