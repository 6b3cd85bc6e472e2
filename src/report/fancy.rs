//! The display on a terminal: the plain lines, and below them how far the parts are.

use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::plain::Plain;
use super::{Notices, Report};
use crate::error::catch_panic;
use crate::execute::event::{Event, Summary};
use crate::plan::Plan;

/// How often the time that is shown goes on while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// The plain display with a line of progress on standard error.
pub struct Fancy {
    plain: Plain<'static>,
    bar: ProgressBar,
}

impl Fancy {
    /// Writes to standard error, which is a terminal.
    pub fn new() -> Self {
        Self { plain: Plain::new(Box::new(io::stderr())), bar: ProgressBar::hidden() }
    }

    /// The line appears with the first part that must be made.
    fn show(&mut self, parts: usize) {
        if self.bar.is_hidden() && parts > 0 {
            let style = ProgressStyle::with_template("{pos} of {len} parts {wide_bar} {elapsed}");
            self.bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            // Without a thread for it, the line moves with the parts only.
            drop(catch_panic(|| self.bar.enable_steady_tick(TICK)));
        }
        self.bar.inc_length(parts as u64);
    }
}

impl Default for Fancy {
    fn default() -> Self {
        Self::new()
    }
}

impl Report for Fancy {
    fn plan(&mut self, plan: &Plan) {
        self.plain.plan(plan);
    }

    fn notes(&mut self, plan: &Plan, notices: &Notices<'_>) {
        self.plain.notes(plan, notices);
    }

    fn warn(&mut self, text: &str) {
        self.plain.warn(text);
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { parts_to_make, .. } => self.show(*parts_to_make),
            Event::PartMade { .. } => return self.bar.inc(1),
            _ => {}
        }
        let plain = &mut self.plain;
        self.bar.suspend(|| plain.event(event));
    }

    fn summary(&mut self, summary: &Summary, hashed: u64) {
        self.bar.finish_and_clear();
        self.plain.summary(summary, hashed);
    }
}
