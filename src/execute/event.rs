//! Events: everything that a display may know of a run.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::flow::FlowName;
use crate::plan::stale::Reason;
use crate::store::context::Recovery;

/// Something that happened in a run.
#[derive(Debug)]
pub enum Event {
    /// A flow begins to be built.
    Started {
        /// The flow.
        flow: FlowName,
        /// Why.
        reasons: Vec<Reason>,
        /// Parts that must be made.
        parts_to_make: usize,
        /// Parts that are at hand.
        parts_kept: usize,
    },
    /// A flow waits for another process that builds into its store.
    Waiting {
        /// The flow.
        flow: FlowName,
        /// Who has the lock, in its own words.
        holder: String,
    },
    /// A database failed with a transient error: the flow begins again after a while.
    Retrying {
        /// The flow.
        flow: FlowName,
        /// What failed.
        error: Error,
        /// How long it rests.
        delay: Duration,
    },
    /// A part was made.
    PartMade {
        /// The flow.
        flow: FlowName,
        /// Rows in it.
        rows: u64,
        /// Bytes of it.
        bytes: u64,
    },
    /// What a dead run had begun to publish was finished or undone.
    Recovered {
        /// The flow.
        flow: FlowName,
        /// Which of both.
        recovery: Recovery,
    },
    /// Files that someone altered were put aside.
    Displaced {
        /// The flow.
        flow: FlowName,
        /// Their names.
        names: Vec<String>,
        /// Where they are now.
        folder: PathBuf,
    },
    /// Something is to be known of what was made.
    Remark {
        /// The flow.
        flow: FlowName,
        /// It, in words.
        text: String,
    },
    /// A flow has ended.
    Ended {
        /// The flow.
        flow: FlowName,
        /// How.
        outcome: Outcome,
        /// How long it took, with all that it waited.
        elapsed: Duration,
        /// How often it was tried again.
        retries: u64,
    },
}

/// How a flow ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// There was nothing to do.
    Fresh,
    /// Parts were made, and the set was published.
    Built(PublishSummary),
    /// The set was published from parts that were at hand.
    Restored(PublishSummary),
    /// It failed; what was published before is still there.
    Failed(Error),
    /// It was not tried, because of an upstream, a failure elsewhere, or an interruption.
    Skipped {
        /// Why, in words.
        because: String,
    },
}

impl Outcome {
    /// The outcome's word; none where there was nothing to do.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Fresh => None,
            Self::Built(_) => Some("built"),
            Self::Restored(_) => Some("restored"),
            Self::Failed(_) => Some("failed"),
            Self::Skipped { .. } => Some("skipped"),
        }
    }
}

/// What a flow published.
#[derive(Clone, Debug)]
pub struct PublishSummary {
    /// Parts that were made.
    pub made: usize,
    /// Parts that were at hand.
    pub kept: usize,
    /// Rows of the set.
    pub rows: u64,
    /// Rows of the home that `where` left out of what is new in it; `None` where none can be, or
    /// where they are not known.
    pub rows_filtered: Option<u64>,
    /// Bytes of the set.
    pub bytes: u64,
    /// The store.
    pub store: PathBuf,
    /// True where nothing of the flow was published before.
    pub is_first: bool,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Flows with parts that were made.
    pub built: usize,
    /// Flows that were published from parts at hand.
    pub restored: usize,
    /// Of those, how many for the first time.
    pub first: usize,
    /// Flows with nothing to do.
    pub fresh: usize,
    /// Flows that failed.
    pub failed: usize,
    /// Flows that were not tried.
    pub skipped: usize,
    /// True where the run was interrupted.
    pub interrupted: bool,
    /// Of those that failed, how many because a lock was waited for in vain.
    pub locked: usize,
    /// Why the index does not have all that was done; the stores do.
    pub unrecorded: Option<Error>,
    /// How long it took, planning included.
    pub took: Duration,
}

impl Summary {
    /// Counts an outcome.
    pub fn add_outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Fresh => self.fresh += 1,
            Outcome::Built(_) => self.built += 1,
            Outcome::Restored(done) => {
                self.restored += 1;
                self.first += usize::from(done.is_first);
            }
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }

    /// How many flows had something to do.
    pub fn flows_with_work(&self) -> usize {
        self.built + self.restored + self.failed + self.skipped
    }

    /// True where anything was published.
    pub fn has_published(&self) -> bool {
        self.built + self.restored > 0
    }

    /// True where every flow is as it should be.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.skipped == 0 && !self.interrupted && self.unrecorded.is_none()
    }
}
