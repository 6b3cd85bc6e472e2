//! One planned part that is to be made, with all that is needed for it in this process; for another
//! process, its job.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::job::{FinishedPart, JobSpec, UnitSpec};
use super::partition::PartitionTask;
use super::task::{InputError, WorkFiles, make_from_files};
use crate::cache::Cache;
use crate::cache::index::PartRecord;
use crate::cache::staging::Staging;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::flow::Flow;
use crate::format::{InputFiles, OpenFile, PartPieces, Piece, Reader};
use crate::fs;
use crate::home::ReadSession;
use crate::plan::chain_place::ChainPlace;
use crate::plan::file_work::FileWork;
use crate::plan::planned_part::{ExistingPart, PartLocation, PartOutputs, PlannedPart};
use crate::plan::slice::output_key;
use crate::plan::table_work::{PartMoved, TableWork, partition_part_key};
use crate::plan::work::{FlowWork, WorkSource};
use crate::storage::Location;
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
            "use the same hygge on all machines, and a folder that nobody else writes to; \
             nothing was published",
        )
    }
}

/// What was made of one planned part.
#[derive(Clone, Debug, Default)]
pub struct MadeParts {
    /// The parts, by their keys.
    pub parts: Vec<(Fingerprint, PartRecord)>,
    /// How many rows were read for them and left out; `None` where they were at hand already.
    pub filtered: Option<u64>,
}

/// A part that is to be made.
#[derive(Clone, Debug)]
pub struct PartTask {
    /// The flow that it is for.
    pub flow: Arc<Flow>,
    /// What is to be done for the flow.
    pub work: Arc<FlowWork>,
    /// Which of the parts of the work.
    pub number: usize,
    /// Where parts are staged.
    pub cache: Arc<Cache>,
    /// The config of the flow, by its absolute path.
    pub config: PathBuf,
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
        let record = record.clone();
        let is_there = match location {
            PartLocation::InStore => true,
            PartLocation::Staged => self.cache.staging.verify(&record.digest)?,
            PartLocation::OtherStore(path) => {
                self.cache.copy_in(&record, path, &self.interrupted)?
            }
        };
        Ok(is_there.then(|| MadeParts {
            parts: vec![(part.key, record)],
            filtered: None,
        }))
    }

    /// Makes it on this thread, which may wait. The runtime is what databases are asked in.
    ///
    /// # Errors
    /// What it is made from cannot be read, or staging not be written.
    pub fn make(&self, runtime: &Handle) -> Result<MadeParts> {
        let part = self.part();
        if let PartOutputs::Partition(partition) = part.outputs {
            return self.read_partition(partition, runtime);
        }
        let work = self.file_work()?;
        let files = WorkFiles(work);
        let made = make_from_files(
            &files,
            work.part_transfer(&part.slice.pieces),
            (&part.slice.pieces, part.slice.expected_rows()),
            &self.flow.store.output_spec(),
            &self.cache.staging,
            &self.interrupted,
        )?;
        let digests = made.files.iter().map(|(_, record)| record.digest);
        let keys = self.output_keys(&digests.collect::<Vec<_>>());
        let filtered = Some(made.filtered);
        let files = keys.into_iter().zip(made.files);
        let parts = files
            .map(|(key, (unfinished, record))| {
                Ok((key, self.cache.commit(&key, unfinished, record)?))
            })
            .collect::<Result<_>>()?;
        Ok(MadeParts { parts, filtered })
    }

    /// The keys of the parts that a part of files becomes, which have these digests.
    fn output_keys(&self, digests: &[Fingerprint]) -> Vec<Fingerprint> {
        let part = self.part();
        let place = |number| ChainPlace::behind(&digests[..number], number + 1 == digests.len());
        match part.outputs {
            PartOutputs::Folders => (0..digests.len())
                .map(|number| output_key(&part.key, place(number)))
                .collect(),
            PartOutputs::One | PartOutputs::Partition(_) => vec![part.key],
        }
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

    /// The table that it is made of, and what reads that.
    fn table(&self) -> Result<(&TableWork, &Arc<dyn ReadSession>)> {
        self.work
            .table()
            .and_then(|table| Some((table, table.session.as_ref()?)))
            .ok_or_else(|| Error::internal("its table was not opened"))
    }

    fn queue_size(&self) -> usize {
        let size = self.flow.queue_size.map(usize::try_from);
        size.and_then(Result::ok).unwrap_or(DEFAULT_QUEUE_SIZE)
    }

    fn read_partition(&self, partition: usize, runtime: &Handle) -> Result<MadeParts> {
        let (table, session) = self.table()?;
        let task = PartitionTask {
            session: session.clone(),
            partition,
            is_first: partition == 0,
            recipe: &table.recipe,
            shape: table.shape.as_deref(),
            target: self.flow.store.output_spec(),
            queue_size: self.queue_size(),
            staging: &self.cache.staging,
            commit: &|key, unfinished, record| self.cache.commit(key, unfinished, record),
            interrupted: &self.interrupted,
            runtime,
        };
        let made = task.make_parts()?;
        Ok(MadeParts {
            filtered: Some(made.iter().map(|(_, made)| made.filtered).sum()),
            parts: made
                .into_iter()
                .map(|(key, made)| (key, made.record))
                .collect(),
        })
    }

    /// What another process must know to make it; nothing where only this one can.
    pub fn job(&self) -> Option<JobSpec> {
        let (part, target) = (self.part(), self.flow.store.output_spec());
        if let PartOutputs::Partition(partition) = part.outputs {
            let (table, session) = self.table().ok()?;
            return Some(JobSpec::for_rows(UnitSpec::new(
                self.config.clone(),
                session.partition_spec(partition)?,
                partition == 0,
                table.recipe,
                table.shape.as_deref(),
                &target,
                self.queue_size(),
            )));
        }
        let work = self.file_work().ok()?;
        Some(JobSpec::for_files(work, &[part], &target))
    }

    /// Takes what another process made by the job into the cache, from the folder into which it
    /// was made.
    ///
    /// # Errors
    /// It is not what the job asked for, or its bytes are not what it says.
    pub fn take_finished(&self, folder: &Path, finished: &[FinishedPart]) -> Result<MadeParts> {
        let part = self.part();
        if let PartOutputs::Partition(partition) = part.outputs {
            return self.take_partition(partition, folder, finished);
        }
        let [finished] = finished else {
            return Err(self.other_part());
        };
        let records: Vec<&PartRecord> = finished
            .outputs
            .iter()
            .map(|output| &output.record)
            .collect();
        let digests = records.iter().map(|record| record.digest);
        let keys = self.output_keys(&digests.collect::<Vec<_>>());
        if finished.key != part.key || records.is_empty() || records.len() != keys.len() {
            return Err(self.other_part());
        }
        let rows = records.iter().map(|record| record.rows);
        let written = rows.fold(finished.filtered, u64::saturating_add);
        let is_other =
            |rows: &u64| *rows != written || finished.filtered > 0 && !part.slice.is_filtered;
        if let Some(read) = part.slice.rows.filter(is_other) {
            return Err(InputError::RowCount { read, written }.into());
        }
        // How many rows its files have only reading them tells, and whether any may be left out its
        // flow does.
        if part.slice.rows.is_none() && finished.filtered > 0 && !part.slice.is_filtered {
            let read = written - finished.filtered;
            return Err(InputError::RowCount { read, written }.into());
        }
        let outputs = keys.into_iter().zip(records);
        let parts = outputs
            .map(|(key, record)| Ok((key, self.take_file(folder, &key, record.clone())?)))
            .collect::<Result<_>>()?;
        let filtered = Some(finished.filtered);
        Ok(MadeParts { parts, filtered })
    }

    /// Takes all parts of a partition, or none.
    fn take_partition(
        &self,
        partition: usize,
        folder: &Path,
        finished: &[FinishedPart],
    ) -> Result<MadeParts> {
        let (table, session) = self.table()?;
        if finished.is_empty() && partition == 0 {
            return Err(self.other_part());
        }
        let state = session.table_state();
        let mut rows = 0_u64;
        let mut records = Vec::with_capacity(finished.len());
        let mut digests = Vec::with_capacity(finished.len());
        for (number, part) in finished.iter().enumerate() {
            let place = ChainPlace::behind(&digests, number + 1 == finished.len());
            let described = &state.partitions[partition];
            let key = partition_part_key(&table.recipe, state, described, place);
            digests.extend(part.outputs.first().map(|output| output.record.digest));
            rows = part.filtered.saturating_add(rows);
            records.push((key, self.output_of(part, &key)?));
        }
        // Before any of it is in the cache: what is there by these keys is a whole partition.
        let written = records.iter().map(|(_, record)| record.rows);
        let rows = written.fold(rows, u64::saturating_add);
        session.on_partition_read(partition, rows)?;
        let take = |(key, record)| Ok((key, self.take_file(folder, &key, record)?));
        let parts = records.into_iter().map(take).collect::<Result<_>>()?;
        let filtered = finished.iter().map(|part| part.filtered);
        let filtered = Some(filtered.fold(0, u64::saturating_add));
        Ok(MadeParts { parts, filtered })
    }

    /// The one file of a part that was asked for by this key.
    fn output_of(&self, finished: &FinishedPart, key: &Fingerprint) -> Result<PartRecord> {
        match finished.outputs.as_slice() {
            [output] if finished.key == *key => Ok(output.record.clone()),
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
        let part = self.part();
        if part.slice.rows.is_none() && !matches!(part.outputs, PartOutputs::Partition(_)) {
            let file = OpenFile::new(&Location::local(unfinished.path().to_path_buf()))?;
            let target = self.flow.store.output_spec();
            let (read, written) = (self.count_rows(target.format.reader(), file)?, record.rows);
            if read != written {
                return Err(InputError::RowCount { read, written }.into());
            }
        }
        self.cache.commit(key, unfinished, record)
    }

    /// How many rows a file has, read where it does not say it.
    fn count_rows(&self, reader: &dyn Reader, file: OpenFile) -> Result<u64> {
        if let Some(rows) = reader.inspect(&file)?.rows {
            return Ok(rows);
        }
        let whole = Piece {
            file: 0,
            group: None,
            rows: None,
        };
        let pieces = PartPieces {
            inputs: &OnlyFile(file),
            pieces: &[whole],
            interrupted: &self.interrupted,
        };
        Ok(reader.decode(&pieces, &mut |_| Ok(()))?)
    }
}

/// A file that is open already.
struct OnlyFile(OpenFile);

impl InputFiles for OnlyFile {
    fn open(&self, _: usize) -> Result<OpenFile> {
        Ok(self.0.clone())
    }
}
