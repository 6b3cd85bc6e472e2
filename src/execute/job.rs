//! Jobs: parts that are to be made, with all that is needed for it. Whoever can read what they are
//! made of makes the same bytes of it: a thread of this process, or another process on another
//! machine (`hygge part --job FILE`).
//!
//! A job knows no flow, no index and no store, and it has no secret: connections stand in it by
//! their names. Nobody publishes by it.

mod completion_records;
mod error;
mod file_parts;
mod finished_part;
mod format_spec;
mod unit;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::cache::staging::Staging;
use crate::config::loader::LoadedConfig;
use crate::error::Result;
use crate::format::OutputSpec;
use crate::fs::nofollow;
use crate::plan::file_work::FileWork;
use crate::plan::planned_part::PlannedPart;

pub use error::JobError;
pub use finished_part::{FinishedPart, PartOutput, PartOutputKind};
pub use unit::UnitSpec;

use completion_records::CompletionRecords;
use file_parts::FileParts;

/// The version of what a job says. A process that does not know it refuses the job.
const VERSION: u32 = 8;

/// What is to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    version: u32,
    work: JobWork,
}

/// What it is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JobWork {
    Files(Box<FileParts>),
    Rows(Box<UnitSpec>),
}

/// The version of a job, whatever else it says.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl JobSpec {
    /// Parts of a flow that are made of files: these of its work.
    pub fn for_files(work: &FileWork, parts: &[&PlannedPart], target: &OutputSpec) -> Self {
        let parts = FileParts::new(work, parts, target);
        Self::new(JobWork::Files(Box::new(parts)))
    }

    /// The parts of a partition of a table.
    pub fn for_rows(unit: UnitSpec) -> Self {
        Self::new(JobWork::Rows(Box::new(unit)))
    }

    fn new(work: JobWork) -> Self {
        let version = VERSION;
        Self { version, work }
    }

    /// Reads a job.
    ///
    /// # Errors
    /// It is none, it is one of another version, or it contradicts itself.
    pub fn read(text: &str) -> Result<Self, JobError> {
        // What else it says depends on that.
        let Versioned { version } = serde_json::from_str(text).map_err(JobError::Unreadable)?;
        if version != VERSION {
            return Err(JobError::Unsupported(format!("version {version}")));
        }
        let job: Self = serde_json::from_str(text).map_err(JobError::Unreadable)?;
        match &job.work {
            JobWork::Files(parts) => parts.check()?,
            JobWork::Rows(unit) => unit.check()?,
        }
        Ok(job)
    }

    /// Makes all parts into a folder: each is named after its digest there, and has a record that
    /// is written once, last. `load_config` reads a config with the variables of this process.
    ///
    /// # Errors
    /// A part cannot be made. Those that were made before stay.
    pub fn run(
        &self,
        folder: PathBuf,
        load_config: &dyn Fn(&Path) -> Result<LoadedConfig>,
        interrupted: &CancellationToken,
    ) -> Result<Vec<FinishedPart>> {
        nofollow::create_folder(&folder)?;
        let records = CompletionRecords::new(folder.join("done"))?;
        let staging = Staging::new(folder);
        let made = match &self.work {
            JobWork::Files(parts) => parts.run(&staging, &records, interrupted)?,
            JobWork::Rows(unit) => unit.run(&staging, &records, load_config, interrupted)?,
        };
        staging.end_run();
        Ok(made)
    }
}
