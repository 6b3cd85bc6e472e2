//! Why a job is refused.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind};

/// Why a job cannot be done here.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It is no job.
    #[error("the job cannot be read: {0}")]
    Unreadable(serde_json::Error),
    /// It has something that is not known here.
    #[error("the job has {0}, which this hygge does not know")]
    Unsupported(String),
    /// It contradicts itself.
    #[error("the job has {0}")]
    Wrong(String),
    /// The config has no such connection.
    #[error("the job needs the connection {name}, which {} does not have", config.display())]
    NoConnection {
        /// The name.
        name: String,
        /// The config.
        config: PathBuf,
    },
    /// The connection is not that of whoever wrote the job.
    #[error("the connection {0} leads to another database than it does where the job was written")]
    OtherDatabase(String),
    /// What was made before is not told in a way that can be read.
    #[error("the record {} cannot be read: {source}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl From<JobError> for Error {
    fn from(error: JobError) -> Self {
        let hint = match &error {
            JobError::Unreadable(_) | JobError::Wrong(_) => None,
            JobError::Unsupported(_) => {
                Some("the job was written by another version: use the same hygge on all machines")
            }
            JobError::NoConnection { .. } => Some("use the same config on all machines"),
            JobError::OtherDatabase(_) => {
                Some("give the variables of its URL the same values on all machines")
            }
            JobError::Record { .. } => Some("delete it: what it tells of is made again"),
        };
        let error = Self::new(ErrorKind::Config, error);
        hint.into_iter().fold(error, Self::with_hint)
    }
}
