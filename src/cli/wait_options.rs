//! How long a command waits for other processes, what it says meanwhile, and what ends it before.

use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::args::OutputFormat;
use super::parse_duration;
use crate::cache::{CacheLockWait, WaitCallback};
use crate::connection::set_interrupt_flag;
use crate::error::ErrorKind;
use crate::report::json::JsonReport;
use crate::report::output::{self, OutputStream};

/// What becomes of a run that is interrupted.
pub(super) const BUILD_INTERRUPT_NOTE: &str =
    "what is being published is finished, parts that are being made are dropped";

/// What becomes of anything else.
pub(super) const OTHER_INTERRUPT_NOTE: &str = "it ends after the file that it has in hand";

/// For how long to wait for locks.
#[derive(Debug, ClapArgs)]
pub(super) struct WaitOptions {
    /// End with 4 where another process builds into a store, instead of waiting for it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// How long to wait for another process, such as 90s, 10m or 1h [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
}

impl WaitOptions {
    /// How long; nothing where it is as long as it takes.
    pub(super) fn limit(&self) -> Option<Duration> {
        if self.no_wait {
            Some(Duration::ZERO)
        } else {
            self.wait
        }
    }

    /// The same, until the run is interrupted.
    pub(super) fn to_wait(
        &self,
        interrupted: &CancellationToken,
        format: OutputFormat,
    ) -> CacheLockWait {
        CacheLockWait {
            limit: self.limit(),
            interrupted: interrupted.clone(),
            on_wait: cache_wait_notice(format),
        }
    }
}

/// Waiting for who has the cache as long as it takes, or not at all; until Ctrl-C.
pub(super) fn wait_unless(no_wait: bool, format: OutputFormat) -> CacheLockWait {
    CacheLockWait {
        limit: no_wait.then_some(Duration::ZERO),
        interrupted: watch_for_interrupts(OTHER_INTERRUPT_NOTE),
        on_wait: cache_wait_notice(format),
    }
}

/// Says who has the cache that is waited for.
fn cache_wait_notice(format: OutputFormat) -> WaitCallback {
    WaitCallback::new(move |held| match format {
        OutputFormat::Text => OutputStream::Error.write_line(&format!(
            "waiting  for the cache, which is in use by {}",
            held.describe()
        )),
        OutputFormat::Json => {
            JsonReport.write_object("cache_waiting", json!({ "holder": held.describe() }))
        }
    })
}

/// The first Ctrl-C or SIGTERM is said to be seen, with what becomes of the run then, and is seen
/// in what is given; the second ends the process.
pub(super) fn watch_for_interrupts(then: &'static str) -> CancellationToken {
    let interrupted = CancellationToken::new();
    set_interrupt_flag(&interrupted);
    let seen = interrupted.clone();
    tokio::spawn(async move {
        let Ok(mut terminated) = signal(SignalKind::terminate()) else {
            return;
        };
        loop {
            let received = tokio::select! {
                received = tokio::signal::ctrl_c() => received.is_ok(),
                received = terminated.recv() => received.is_some(),
            };
            if !received {
                return;
            }
            if seen.is_cancelled() {
                output::clear_progress_on_exit();
                std::process::exit(ErrorKind::Interrupted.exit_code().into());
            }
            seen.cancel();
            // Whoever does not read what is said does not hold up the second.
            drop(spawn_blocking(move || {
                OutputStream::Error.write_line(&format!(
                    "hygge: interrupted: {then}; once more ends it at once"
                ))
            }));
        }
    });
    interrupted
}
