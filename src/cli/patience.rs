//! How long a command waits for other processes, and what ends it before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args as ClapArgs;
use tokio::signal::unix::{SignalKind, signal};

use super::parse_time;
use crate::cache::Wait;
use crate::error::ErrorKind;

/// For how long to wait for locks.
#[derive(Debug, ClapArgs)]
pub(super) struct Patience {
    /// End with 4 where another process builds into a store, instead of waiting for it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// How long to wait for another process, such as 90s, 10m or 1h [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    wait: Option<Duration>,
}

impl Patience {
    /// How long; nothing where it is as long as it takes.
    pub(super) fn limit(&self) -> Option<Duration> {
        if self.no_wait { Some(Duration::ZERO) } else { self.wait }
    }

    /// The same, until the run is interrupted.
    pub(super) fn wait(&self, interrupted: &Arc<AtomicBool>) -> Wait {
        Wait { limit: self.limit(), interrupted: interrupted.clone() }
    }
}

/// Not waiting at all.
pub(super) fn at_once() -> Wait {
    Wait { limit: Some(Duration::ZERO), interrupted: Arc::default() }
}

/// Waiting as long as it takes, or not at all; until Ctrl-C.
pub(super) fn unless(no_wait: bool) -> Wait {
    Wait { limit: no_wait.then_some(Duration::ZERO), interrupted: watch_for_interrupts() }
}

/// The first Ctrl-C or SIGTERM lets what is being published finish, and is seen in what is given; the second
/// ends the process.
pub(super) fn watch_for_interrupts() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = interrupted.clone();
    tokio::spawn(async move {
        let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
        loop {
            let received = tokio::select! {
                received = tokio::signal::ctrl_c() => received.is_ok(),
                received = terminated.recv() => received.is_some(),
            };
            if !received {
                return;
            }
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(ErrorKind::Interrupted.exit_code().into());
            }
        }
    });
    interrupted
}
