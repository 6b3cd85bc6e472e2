//! The display on a terminal: the plain lines, and below them how far the run is.

use super::output::OutputStream;
use super::plain::PlainReport;
use super::progress::Progress;
use super::{Notices, Report};
use crate::execute::event::{Event, Summary};
use crate::plan::Plan;

/// The plain display with a line of progress on standard error.
pub struct TerminalReport {
    plain: PlainReport,
    progress: Progress,
}

impl TerminalReport {
    /// Writes to standard error, which is a terminal.
    pub fn new(progress: Progress) -> Self {
        Self {
            plain: PlainReport::new(OutputStream::Error),
            progress,
        }
    }
}

impl Report for TerminalReport {
    fn plan(&mut self, plan: &Plan) {
        self.progress.finish();
        self.plain.plan(plan);
    }

    fn notices(&mut self, plan: &Plan, notices: &Notices<'_>) {
        self.progress.set_plan(plan);
        self.plain.notices(plan, notices);
    }

    fn warn(&mut self, text: &str) {
        self.plain.warn(text);
    }

    fn event(&mut self, event: &Event) {
        self.progress.event(event);
        self.plain.event(event);
    }

    fn summary(&mut self, summary: &Summary, hashed: u64) {
        self.progress.finish();
        self.plain.summary(summary, hashed);
    }
}
