//! One planned part that is to be made, with all that is needed for it in this process; for another
//! process, its job.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::job::{FinishedPart, JobSpec};
use super::partition::PartitionTask;
use super::task::{InputError, WorkFiles, make_from_files};
use crate::cache::Cache;
use crate::cache::index::PartRecord;
use crate::cache::staging::Staging;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::flow::Flow;
use crate::format::Format;
use crate::fs;
use crate::plan::file_work::FileWork;
use crate::plan::table_work::PartMoved;
use crate::plan::work::{ExistingPart, FlowWork, PartLocation, PlannedPart, WorkSource};
use crate::store::StoreError;

/// How many batches wait between a database and its encoder where nothing is said.
const DEFAULT_QUEUE_SIZE: usize = 10;

/// Why what another process made is not taken.
#[derive(Debug, thiserror::Error)]
pub enum JobResultError {
    /// It is not what it was asked for.
    #[error("another process was asked for the part {0}, and has made something else")]
    OtherPart(String),
    /// The bytes are not those that it says.
    #[error("the part that another process made at {} is not what it says", .0.display())]
    Altered(PathBuf),
}

impl From<JobResultError> for Error {
    fn from(error: JobResultError) -> Self {
        Self::new(ErrorKind::Flow, error).with_hint(
            "use the same hygge on all machines, and a folder that nobody else writes to; nothing was published",
        )
    }
}

/// Parts that were made of one planned part, by their keys.
pub type MadeParts = Vec<(Fingerprint, PartRecord)>;

/// A part that is to be made.
#[derive(Clone, Debug)]
pub struct PartTask {
    /// The flow that it is for.
    pub flow: Arc<Flow>,
    /// What is to be done for the flow.
    pub work: Arc<FlowWork>,
    /// Which of the parts of the work.
    pub number: usize,
    /// The format of the input files.
    pub input_format: Arc<dyn Format>,
    /// Where parts are staged.
    pub cache: Arc<Cache>,
    /// Cancelled when the part shall not be made any more.
    pub interrupted: CancellationToken,
}

impl PartTask {
    fn part(&self) -> &PlannedPart {
        &self.work.parts[self.number]
    }

    /// True where the part was at hand when it was planned.
    pub(super) fn is_at_hand(&self) -> bool {
        self.part().existing.is_some()
    }

    /// Makes sure of a part that is at hand: it lies in staging then, or is still in the store
    /// where it is published. Nothing where it must be made again.
    pub(super) fn ensure(&self) -> Result<Option<MadeParts>> {
        let part = self.part();
        let Some(ExistingPart { record, location }) = &part.existing else {
            return Ok(None);
        };
        let is_there = match location {
            PartLocation::InStore => true,
            PartLocation::Staged => self.cache.staging.verify(&record.digest)?,
            PartLocation::OtherStore(path) => {
                self.cache.copy_in(record, path, &self.interrupted)?
            }
        };
        Ok(is_there.then(|| vec![(part.key, *record)]))
    }

    /// Makes it on this thread, which may wait. The runtime is what databases are asked in.
    ///
    /// # Errors
    /// What it is made from cannot be read, or staging not be written.
    pub fn make(&self, runtime: &Handle) -> Result<MadeParts> {
        let part = self.part();
        if let Some(partition) = part.partition {
            return self.partition_task(partition, runtime)?.make_parts();
        }
        let work = self.file_work()?;
        let files = WorkFiles {
            work,
            home: self.input_format.as_ref(),
        };
        let (unfinished, record) = make_from_files(
            &files,
            work.transfer,
            (&part.slice.pieces, part.slice.rows),
            &self.flow.store.output_spec(),
            &self.cache.staging,
            &self.interrupted,
        )?;
        Ok(vec![(
            part.key,
            self.cache.commit(&part.key, unfinished, record)?,
        )])
    }

    /// The files that it is made from.
    ///
    /// # Errors
    /// It was at hand, and is not planned to be made again.
    fn file_work(&self) -> Result<&FileWork> {
        let part = self.part();
        if let Some(name) = &part.name {
            // What it was made from is not planned with.
            return Err(StoreError::UnusablePart(name.clone()).into());
        }
        match &self.work.source {
            WorkSource::Files(work) => Ok(work),
            WorkSource::Table(_) => {
                // Its rows are read by partitions, and which of them it has is known only when
                // that is planned anew.
                let partition = part.inputs.first().map(|input| input.name.clone());
                Err(PartMoved(partition.unwrap_or_default()).into())
            }
            WorkSource::AtHand => Err(Error::internal("a part is made from nothing")),
        }
    }

    fn partition_task<'a>(
        &'a self,
        partition: usize,
        runtime: &'a Handle,
    ) -> Result<PartitionTask<'a>> {
        let table = self.work.table();
        let table = table.ok_or_else(|| Error::internal("it has no table"))?;
        let queue_size = self.flow.queue_size.map(usize::try_from);
        Ok(PartitionTask {
            table,
            partition,
            target: self.flow.store.output_spec(),
            queue_size: queue_size
                .and_then(Result::ok)
                .unwrap_or(DEFAULT_QUEUE_SIZE),
            cache: &self.cache,
            interrupted: &self.interrupted,
            runtime,
        })
    }

    /// What another process must know to make it; nothing where only this one can.
    pub fn job(&self) -> Option<JobSpec> {
        let part = self.part();
        let work = self.file_work().ok().filter(|_| part.partition.is_none())?;
        Some(JobSpec::new(
            work,
            &[part],
            self.input_format.as_ref(),
            &self.flow.store.output_spec(),
        ))
    }

    /// Takes what another process made by the job into the cache, from the folder into which it
    /// was made.
    ///
    /// # Errors
    /// It is not what the job asked for, or its bytes are not what it says.
    pub fn take_finished(&self, folder: &Path, finished: &[FinishedPart]) -> Result<MadeParts> {
        let part = self.part();
        let [finished] = finished else {
            return Err(self.other_part());
        };
        let record = self.output_of(finished, &part.key)?;
        let written = record.rows;
        if let Some(read) = part.slice.rows.filter(|rows| *rows != written) {
            return Err(InputError::RowCount { read, written }.into());
        }
        Ok(vec![(part.key, self.take_file(folder, &part.key, record)?)])
    }

    /// The one file of a part that was asked for by this key.
    fn output_of(&self, finished: &FinishedPart, key: &Fingerprint) -> Result<PartRecord> {
        match finished.outputs.as_slice() {
            [output] if finished.key == *key => Ok(output.record),
            _ => Err(self.other_part()),
        }
    }

    fn other_part(&self) -> Error {
        JobResultError::OtherPart(self.part().stem.clone()).into()
    }

    /// Takes a file that another process made: what is digested is what lies in staging.
    fn take_file(
        &self,
        folder: &Path,
        key: &Fingerprint,
        record: PartRecord,
    ) -> Result<PartRecord> {
        let source = Staging::new(folder.to_path_buf()).part_path(&record.digest);
        let unfinished = self.cache.staging.begin_part()?;
        let (digest, bytes) = fs::copy(&source, unfinished.path(), |_| {
            fs::check_interrupted(&self.interrupted)
        })?;
        if (Fingerprint::from_bytes(digest), bytes) != (record.digest, record.bytes) {
            return Err(JobResultError::Altered(source).into());
        }
        self.cache.commit(key, unfinished, record)
    }
}
