//! When a run begins nothing new: it was interrupted, or a flow failed after which none shall.

use tokio_util::sync::CancellationToken;

use crate::execute::RunOptions;
use crate::execute::event::Outcome;

/// Whether the run still begins something.
#[derive(Debug)]
pub(super) struct StopCondition {
    interrupted: CancellationToken,
    fail_fast: bool,
    continue_on_error: bool,
    is_stopping: bool,
}

impl StopCondition {
    /// Nothing has happened yet.
    pub(super) fn new(options: &RunOptions) -> Self {
        Self {
            interrupted: options.interrupted.clone(),
            fail_fast: options.fail_fast,
            continue_on_error: options.continue_on_error,
            is_stopping: false,
        }
    }

    /// Nothing new begins from now on.
    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// A flow has failed, which may say for itself whether others go on.
    pub(super) fn on_failure(&mut self, continue_on_error: Option<bool>) {
        self.is_stopping |= self.fail_fast || !continue_on_error.unwrap_or(self.continue_on_error);
    }

    /// True where nothing new begins.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// True where the run was interrupted.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.is_cancelled()
    }

    /// What is cancelled when the run is interrupted.
    pub(super) fn interrupted(&self) -> &CancellationToken {
        &self.interrupted
    }

    /// How a flow ends that is not tried any more.
    pub(super) fn outcome(&self) -> Outcome {
        let because = if self.is_interrupted() {
            "interrupted"
        } else {
            "another flow failed"
        };
        Outcome::Skipped {
            because: because.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::StopCondition;
    use crate::execute::event::Outcome;

    fn condition(fail_fast: bool, continue_on_error: bool) -> StopCondition {
        StopCondition {
            interrupted: CancellationToken::new(),
            fail_fast,
            continue_on_error,
            is_stopping: false,
        }
    }

    #[test]
    fn a_failure_stops_the_run_unless_others_shall_go_on() {
        let stops = |fail_fast, continue_on_error, flow| {
            let mut condition = condition(fail_fast, continue_on_error);
            condition.on_failure(flow);
            condition.is_stopping()
        };
        assert!(!stops(false, true, None) && stops(false, false, None));
        assert!(stops(false, true, Some(false)) && !stops(false, false, Some(true)));
        assert!(stops(true, true, Some(true)), "fail_fast overrides all");
    }

    #[test]
    fn a_flow_is_skipped_for_the_interruption_before_the_failure() {
        let mut condition = condition(true, true);
        condition.on_failure(None);
        let said = |condition: &StopCondition| match condition.outcome() {
            Outcome::Skipped { because } => because,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&condition), "another flow failed");
        condition.interrupted.cancel();
        assert_eq!(said(&condition), "interrupted");
    }
}
