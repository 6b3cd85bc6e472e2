//! `hygge part`: makes the parts of a job in a process of its own. It is hidden: who runs jobs
//! writes them.

use std::fmt::Display;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tokio_util::sync::CancellationToken;

use super::{config_source, print_bytes};
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
    let job = JobSpec::read(&read_job(&command.job)?)?;
    fs::create_folder(&command.into)?;
    let folder = fs::real_path(&command.into)?;
    let load = |path: &Path| config_source(Some(path), true)?.read();
    let made = job.run(folder, &load, &CancellationToken::new())?;
    let mut lines = Vec::new();
    for part in made {
        serde_json::to_writer(&mut lines, &part).map_err(Error::internal)?;
        lines.push(b'\n');
    }
    print_bytes(&lines)
}

fn read_job(path: &Path) -> Result<String> {
    let failed = |why: &dyn Display| {
        let path = path.display();
        Error::new(
            ErrorKind::Config,
            format!("failed to read the job {path}: {why}"),
        )
    };
    let mut text = String::new();
    fs::open(path)?
        .take(MAX_JOB_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    if text.len() as u64 > MAX_JOB_BYTES {
        return Err(failed(&format!("it has more than {MAX_JOB_BYTES} bytes")));
    }
    Ok(text)
}
