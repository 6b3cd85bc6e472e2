//! What is told of a run, and what has been told already.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cache::index::PartRecord;
use crate::error::{Error, ErrorKind};
use crate::execute::event::{Event, Outcome, Summary};
use crate::flow::FlowName;
use crate::plan::stale::Reason;
use crate::plan::work::FlowWork;
use crate::store::context::PublishNotes;

/// Tells whoever listens.
pub(super) struct Announcer<'r> {
    on_event: &'r mut dyn FnMut(Event),
    /// Why flows run that have begun to work.
    reasons: HashMap<FlowName, Vec<Reason>>,
    /// Flows of which it was said that they began.
    announced: BTreeSet<FlowName>,
    summary: Summary,
    wait_sender: mpsc::UnboundedSender<(FlowName, String)>,
    wait_receiver: mpsc::UnboundedReceiver<(FlowName, String)>,
}

impl<'r> Announcer<'r> {
    /// Nothing has been told yet.
    pub(super) fn new(on_event: &'r mut dyn FnMut(Event)) -> Self {
        let (wait_sender, wait_receiver) = mpsc::unbounded_channel();
        Self {
            on_event,
            reasons: HashMap::new(),
            announced: BTreeSet::new(),
            summary: Summary::default(),
            wait_sender,
            wait_receiver,
        }
    }

    /// Where a thread says for whom this flow waits.
    pub(super) fn wait_sender(&self, flow: &FlowName) -> mpsc::UnboundedSender<String> {
        let (said, mut heard) = mpsc::unbounded_channel();
        let (forward, flow) = (self.wait_sender.clone(), flow.clone());
        tokio::spawn(async move {
            while let Some(holder) = heard.recv().await {
                drop(forward.send((flow.clone(), holder)));
            }
        });
        said
    }

    /// The next flow that waits for another process, and who that is.
    pub(super) async fn next_wait(&mut self) -> Option<(FlowName, String)> {
        self.wait_receiver.recv().await
    }

    /// A flow waits for another process.
    pub(super) fn waiting(&mut self, flow: FlowName, holder: String) {
        (self.on_event)(Event::Waiting { flow, holder });
    }

    /// A flow begins to work; that is said once, however often it is tried.
    pub(super) fn started(&mut self, flow: &FlowName, work: &FlowWork, reasons: &[Reason]) {
        self.reasons.insert(flow.clone(), reasons.to_vec());
        if !self.announced.insert(flow.clone()) {
            return;
        }
        let parts_to_make = work.parts_to_make();
        (self.on_event)(Event::Started {
            flow: flow.clone(),
            reasons: reasons.to_vec(),
            parts_to_make,
            parts_kept: work.parts.len() - parts_to_make,
        });
        // They are said once; a plan says them always.
        if reasons.contains(&Reason::FirstBuild) {
            self.remarks(flow, work.remarks.clone());
        }
        self.remarks(flow, work.warnings.clone());
    }

    /// The database of a flow failed, and it rests.
    pub(super) fn retrying(&mut self, flow: &FlowName, error: &Error, delay: Duration) {
        (self.on_event)(Event::Retrying {
            flow: flow.clone(),
            error: error.clone(),
            delay,
        });
    }

    /// A type that was found in the first rows of files does not hold.
    pub(super) fn looking_at_all(&mut self, flow: &FlowName, error: &Error) {
        let text =
            format!("{error}: types are inferred from all rows now, and parts are made again");
        self.remarks(flow, vec![text]);
    }

    /// A part was made.
    pub(super) fn part_made(&mut self, flow: &FlowName, record: &PartRecord) {
        (self.on_event)(Event::PartMade {
            flow: flow.clone(),
            rows: record.rows,
            bytes: record.bytes,
        });
    }

    /// What a store did besides what it was asked for.
    pub(super) fn notes(&mut self, flow: &FlowName, notes: PublishNotes) {
        if let Some(recovery) = notes.recovery {
            (self.on_event)(Event::Recovered {
                flow: flow.clone(),
                recovery,
            });
        }
        self.remarks(flow, notes.remarks);
        // Below it they have the names that they had in the store.
        let Some(folder) = notes
            .displaced_folder
            .filter(|_| !notes.displaced.is_empty())
        else {
            return;
        };
        let name = |place: &PathBuf| {
            let below = place.strip_prefix(&folder).unwrap_or(place);
            below.to_string_lossy().into_owned()
        };
        let names = notes.displaced.iter().map(name).collect();
        (self.on_event)(Event::Displaced {
            flow: flow.clone(),
            names,
            folder,
        });
    }

    fn remarks(&mut self, flow: &FlowName, remarks: Vec<String>) {
        for text in remarks {
            (self.on_event)(Event::Remark {
                flow: flow.clone(),
                text,
            });
        }
    }

    /// Counts how a flow ended. Gives its place among those that had something to do, and why it
    /// ran.
    pub(super) fn count(&mut self, flow: &FlowName, outcome: &Outcome) -> (usize, Vec<Reason>) {
        if let Outcome::Failed(error) = outcome {
            self.summary.locked += usize::from(error.kind() == ErrorKind::Locked);
        }
        self.summary.add_outcome(outcome);
        let reasons = self.reasons.remove(flow).unwrap_or_default();
        (self.summary.flows_with_work(), reasons)
    }

    /// A flow has ended.
    pub(super) fn ended(
        &mut self,
        flow: &FlowName,
        outcome: Outcome,
        elapsed: Duration,
        retries: u64,
    ) {
        (self.on_event)(Event::Ended {
            flow: flow.clone(),
            outcome,
            elapsed,
            retries,
        });
    }

    /// How the run ended: whether it was interrupted, and why the index does not have all of it.
    pub(super) fn finish(self, interrupted: bool, unrecorded: Option<Error>) -> Summary {
        Summary {
            interrupted,
            unrecorded,
            ..self.summary
        }
    }
}
