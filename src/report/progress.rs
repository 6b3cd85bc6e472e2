//! How far a run is, in one line on a terminal: what is looked at while it is planned, then parts
//! and flows.
//!
//! It draws a few times a second on a thread of its own. Where the line stands is for `output`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::output;
use super::plain::{format_bytes, pluralize};
use crate::execute::event::Event;
use crate::flow::FlowName;
use crate::plan::stale::Verdict;
use crate::plan::{HashProgress, Plan};

/// How often the line is drawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// What takes less needs no line.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// How long the bar is where there is room.
const BAR_WIDTH: usize = 30;

/// The line, as long as this value lives.
pub struct Progress {
    shared: Arc<SharedProgress>,
    ticker: Option<JoinHandle<()>>,
}

struct SharedProgress {
    state: Mutex<ProgressState>,
    changed: Condvar,
}

struct ProgressState {
    started_at: Instant,
    hashing: Arc<HashProgress>,
    flows: BTreeMap<FlowName, FlowProgress>,
    /// True from when the first flow begins.
    is_running: bool,
    is_finished: bool,
    /// The most of the whole that was shown: what turns out to be more than was planned takes
    /// nothing back.
    max_fraction: f64,
}

/// What is known of one flow.
#[derive(Default)]
struct FlowProgress {
    parts: usize,
    parts_made: usize,
    has_ended: bool,
}

impl Progress {
    /// Begins with what is looked at.
    pub fn new(hashing: Arc<HashProgress>) -> Self {
        let state = ProgressState {
            started_at: Instant::now(),
            hashing,
            flows: BTreeMap::new(),
            is_running: false,
            is_finished: false,
            max_fraction: 0.0,
        };
        let shared = Arc::new(SharedProgress {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let drawing = shared.clone();
        // Without a thread there is no line, and everything else goes on.
        let ticker = Builder::new()
            .name("progress".into())
            .spawn(move || drawing.draw_until_finished())
            .ok();
        Self { shared, ticker }
    }

    /// What is to be done is known, as far as it is before tables are read.
    pub(super) fn set_plan(&self, plan: &Plan) {
        let mut state = self.shared.state();
        for step in plan
            .flows
            .iter()
            .filter(|step| step.verdict != Verdict::Fresh)
        {
            let parts = step.work.as_ref().map_or(0, |work| work.parts_to_make());
            state.flows.insert(
                step.flow.clone(),
                FlowProgress {
                    parts,
                    ..FlowProgress::default()
                },
            );
        }
    }

    /// Something happened.
    pub(super) fn event(&self, event: &Event) {
        let mut state = self.shared.state();
        match event {
            Event::Started {
                flow,
                parts_to_make,
                ..
            } => {
                state.is_running = true;
                state.flows.entry(flow.clone()).or_default().parts = *parts_to_make;
            }
            Event::PartMade { flow, .. } => {
                let flow = state.flows.entry(flow.clone()).or_default();
                flow.parts_made += 1;
                // A slice of a table may become several.
                flow.parts = flow.parts.max(flow.parts_made);
            }
            Event::Ended { flow, .. } => {
                state.flows.entry(flow.clone()).or_default().has_ended = true
            }
            _ => {}
        }
    }

    /// Takes the line away.
    pub fn finish(&mut self) {
        self.shared.state().is_finished = true;
        self.shared.changed.notify_all();
        if let Some(ticker) = self.ticker.take() {
            drop(ticker.join());
            output::clear_progress();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl SharedProgress {
    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_until_finished(&self) {
        let mut state = self.state();
        while !state.is_finished {
            (state, _) = self
                .changed
                .wait_timeout(state, REDRAW_INTERVAL)
                .unwrap_or_else(PoisonError::into_inner);
            if !state.is_finished
                && let Some(line) = state.line(output::terminal_width())
            {
                output::show_progress(&line);
            }
        }
    }
}

impl ProgressState {
    fn line(&mut self, columns: usize) -> Option<String> {
        let took = self.started_at.elapsed();
        if self.is_running {
            self.parts_line(took, columns)
        } else {
            self.planning_line(took)
        }
    }

    fn planning_line(&self, took: Duration) -> Option<String> {
        let (done, wanted) = self.hashing.bytes();
        match wanted {
            _ if took < SHOW_AFTER => None,
            0 => Some(format!(
                "looking at what is there, {}",
                format_elapsed(took)
            )),
            _ => Some(format!(
                "reading what may have changed: {} of {}, {}",
                format_bytes(done),
                format_bytes(wanted),
                format_elapsed(took)
            )),
        }
    }

    fn parts_line(&mut self, took: Duration, columns: usize) -> Option<String> {
        let (parts, made) = self.flows.values().fold((0, 0), |(parts, made), flow| {
            (parts + flow.parts, made + flow.parts_made)
        });
        if parts == 0 {
            return None;
        }
        let whole: f64 = self
            .flows
            .values()
            .map(FlowProgress::fraction_done)
            .sum::<f64>()
            / self.flows.len() as f64;
        self.max_fraction = self.max_fraction.max(whole);
        let ended = self.flows.values().filter(|flow| flow.has_ended).count();
        let of_flows = if self.flows.len() > 1 {
            format!(", {ended} of {}", pluralize(self.flows.len(), "flow"))
        } else {
            String::new()
        };
        let text = format!(
            "{made} of {}{of_flows}, {}",
            pluralize(parts, "part"),
            format_elapsed(took)
        );
        let room = columns.saturating_sub(text.len() + 2).min(BAR_WIDTH);
        Some(if room < 5 {
            text
        } else {
            format!("{text} {}", bar(self.max_fraction, room))
        })
    }
}

impl FlowProgress {
    fn fraction_done(&self) -> f64 {
        match self {
            Self {
                has_ended: true, ..
            } => 1.0,
            Self { parts: 0, .. } => 0.0,
            Self {
                parts,
                parts_made: made,
                ..
            } => *made as f64 / *parts as f64,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a few columns"
)]
fn bar(part: f64, room: usize) -> String {
    let full = ((part * room as f64) as usize).min(room);
    "█".repeat(full) + &"░".repeat(room - full)
}

fn format_elapsed(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(flows: &[(&str, usize, usize, bool)]) -> ProgressState {
        let flow = |(name, parts, made, has_ended): &(&str, usize, usize, bool)| {
            (
                FlowName::from(*name),
                FlowProgress {
                    parts: *parts,
                    parts_made: *made,
                    has_ended: *has_ended,
                },
            )
        };
        let flows = flows.iter().map(flow).collect();
        ProgressState {
            started_at: Instant::now(),
            hashing: Arc::default(),
            flows,
            is_running: true,
            is_finished: false,
            max_fraction: 0.0,
        }
    }

    fn full(line: Option<String>) -> usize {
        line.expect("a line").matches('█').count()
    }

    #[test]
    fn there_is_no_line_before_there_is_something_to_make() {
        assert_eq!(state(&[("a", 0, 0, false)]).line(80), None);
        assert!(
            ProgressState {
                is_running: false,
                ..state(&[])
            }
            .line(80)
            .is_none(),
            "what takes a moment is not shown"
        );
    }

    #[test]
    fn what_is_read_for_a_while_is_said() {
        let mut state = ProgressState {
            started_at: Instant::now() - SHOW_AFTER,
            is_running: false,
            ..state(&[])
        };
        assert_eq!(
            state.line(80).as_deref(),
            Some("looking at what is there, 1 s")
        );
        state.hashing.expect(3_400_000_000);
        state.hashing.add(1_200_000_000);
        assert_eq!(
            state.line(80).as_deref(),
            Some("reading what may have changed: 1.2 GB of 3.4 GB, 1 s")
        );
    }

    #[test]
    fn the_bar_never_goes_back_and_is_full_only_at_the_end() {
        let mut state = state(&[("a", 10, 9, false), ("b", 0, 0, false)]);
        let before = full(state.line(80));
        state.flows.insert(
            "b".into(),
            FlowProgress {
                parts: 1000,
                ..FlowProgress::default()
            },
        );
        state.flows.insert(
            "a".into(),
            FlowProgress {
                parts: 90,
                parts_made: 9,
                has_ended: false,
            },
        );
        assert_eq!(full(state.line(80)), before, "more to do than was known");
        assert!(before > 0 && before < BAR_WIDTH);
        state
            .flows
            .values_mut()
            .for_each(|flow| flow.has_ended = true);
        assert_eq!(full(state.line(80)), BAR_WIDTH);
    }

    #[test]
    fn a_line_is_no_longer_than_the_terminal_is_wide() {
        for columns in 2..120 {
            let line = state(&[("a", 10, 9, false), ("b", 5, 2, false)])
                .line(columns)
                .expect("a line");
            assert!(
                line.chars().count() < columns || !line.contains(['█', '░']),
                "{columns}: {line}"
            );
        }
    }
}
