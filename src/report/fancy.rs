//! The display on a terminal: the plain lines, and below them how far the run is.

use super::output::Output;
use super::plain::Plain;
use super::progress::Progress;
use super::{Notices, Report};
use crate::execute::event::{Event, Summary};
use crate::plan::Plan;

/// The plain display with a line of progress on standard error.
pub struct Fancy {
    plain: Plain,
    progress: Progress,
}

impl Fancy {
    /// Writes to standard error, which is a terminal.
    pub fn new(progress: Progress) -> Self {
        Self {
            plain: Plain::new(Output::Error),
            progress,
        }
    }
}

impl Report for Fancy {
    fn plan(&mut self, plan: &Plan) {
        self.progress.end();
        self.plain.plan(plan);
    }

    fn notes(&mut self, plan: &Plan, notices: &Notices<'_>) {
        self.progress.plan(plan);
        self.plain.notes(plan, notices);
    }

    fn warn(&mut self, text: &str) {
        self.plain.warn(text);
    }

    fn event(&mut self, event: &Event) {
        self.progress.event(event);
        self.plain.event(event);
    }

    fn summary(&mut self, summary: &Summary, hashed: u64) {
        self.progress.end();
        self.plain.summary(summary, hashed);
    }
}
