//! `hygge part`: makes the parts of a job in a process of its own. It is hidden: who runs jobs
//! writes them.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use tokio_util::sync::CancellationToken;

use super::print_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::execute::job::JobSpec;
use crate::fs;

/// How large a job may be, in bytes.
const MAX_JOB_BYTES: u64 = 1 << 30;

/// Make the parts of a job
#[derive(Debug, ClapArgs)]
pub(super) struct PartArgs {
    /// The job, a file of JSON
    #[arg(long, value_name = "FILE")]
    job: PathBuf,

    /// Where parts and their records go
    #[arg(long, value_name = "FOLDER")]
    into: PathBuf,
}

/// Runs the command; gives the exit code.
pub(super) fn run(command: &PartArgs) -> Result<u8> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Config,
            format!("failed to read the job {}: {error}", command.job.display()),
        )
    };
    let mut text = String::new();
    fs::open(&command.job)?
        .take(MAX_JOB_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    fs::create_folder(&command.into)?;
    let made =
        JobSpec::read(&text)?.run(fs::real_path(&command.into)?, &CancellationToken::new())?;
    let mut lines = Vec::new();
    for part in made {
        serde_json::to_writer(&mut lines, &part).map_err(Error::internal)?;
        lines.push(b'\n');
    }
    print_bytes(&lines)
}
