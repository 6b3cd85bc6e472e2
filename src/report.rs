//! Displays: what a person or a program sees of a plan and of a run.

pub mod json;
pub mod output;
pub mod plain;
pub mod progress;
pub mod terminal;

use crate::cache::index::IndexReset;
use crate::execute::event::{Event, Summary};
use crate::plan::Plan;

/// What is noticed besides the plan before anything runs.
#[derive(Clone, Copy, Debug)]
pub struct Notices<'a> {
    /// Stale flows that are not selected.
    pub unselected: &'a [String],
    /// Flows without an entity.
    pub without_entities: &'a [String],
    /// Tables that are entities and came or went since the last build, in words.
    pub table_changes: &'a [String],
    /// Why the index was begun anew, and how many receipts were found.
    pub rebuilt_index: Option<(&'a IndexReset, usize)>,
}

/// Shows plans and events as they come.
pub trait Report {
    /// A plan that will not be run: `--dry-run`.
    fn plan(&mut self, plan: &Plan);

    /// What is noticed before anything runs.
    fn notices(&mut self, plan: &Plan, notices: &Notices<'_>);

    /// Something went wrong that changes no result.
    fn warn(&mut self, text: &str);

    /// Something happened.
    fn event(&mut self, event: &Event);

    /// The run has ended. `hashed` are the bytes that were read only to fingerprint them.
    fn summary(&mut self, summary: &Summary, hashed: u64);
}

/// Several reports show the same.
impl Report for Vec<Box<dyn Report>> {
    fn plan(&mut self, plan: &Plan) {
        self.iter_mut().for_each(|report| report.plan(plan));
    }

    fn notices(&mut self, plan: &Plan, notices: &Notices<'_>) {
        self.iter_mut()
            .for_each(|report| report.notices(plan, notices));
    }

    fn warn(&mut self, text: &str) {
        self.iter_mut().for_each(|report| report.warn(text));
    }

    fn event(&mut self, event: &Event) {
        self.iter_mut().for_each(|report| report.event(event));
    }

    fn summary(&mut self, summary: &Summary, hashed: u64) {
        self.iter_mut()
            .for_each(|report| report.summary(summary, hashed));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Writes down what it is told.
    struct Recorder(Rc<RefCell<Vec<String>>>, &'static str);

    impl Recorder {
        fn note(&self, what: &str) {
            self.0.borrow_mut().push(format!("{} {what}", self.1));
        }
    }

    impl Report for Recorder {
        fn plan(&mut self, plan: &Plan) {
            self.note(&format!("plan {}", plan.flows.len()));
        }

        fn notices(&mut self, _: &Plan, notices: &Notices<'_>) {
            self.note(&format!("notices {}", notices.unselected.join(",")));
        }

        fn warn(&mut self, text: &str) {
            self.note(text);
        }

        fn event(&mut self, event: &Event) {
            self.note(&format!("{event:?}"));
        }

        fn summary(&mut self, summary: &Summary, hashed: u64) {
            self.note(&format!("{} {hashed}", summary.built));
        }
    }

    #[test]
    fn several_reports_are_told_the_same_in_their_order() {
        let told = Rc::default();
        let mut both: Vec<Box<dyn Report>> = vec![
            Box::new(Recorder(Rc::clone(&told), "a")),
            Box::new(Recorder(Rc::clone(&told), "b")),
        ];
        let plan = Plan {
            flows: Vec::new(),
            orphans: Vec::new(),
            pinned: Vec::new(),
            has_probed_tables: false,
        };
        let unselected = ["other".to_string()];
        let notices = Notices {
            unselected: &unselected,
            without_entities: &[],
            table_changes: &[],
            rebuilt_index: None,
        };
        both.plan(&plan);
        both.notices(&plan, &notices);
        both.warn("careful");
        both.event(&Event::Waiting {
            flow: "f".into(),
            holder: "someone".into(),
        });
        both.summary(&Summary::default(), 7);
        let waiting = "Waiting { flow: f, holder: \"someone\" }";
        let expected: Vec<String> = ["plan 0", "notices other", "careful", waiting, "0 7"]
            .iter()
            .flat_map(|what| [format!("a {what}"), format!("b {what}")])
            .collect();
        assert_eq!(*told.borrow(), expected);
    }
}
