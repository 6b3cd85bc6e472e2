//! The files of a part whose rows go to folders by their values: one for each folder.
//!
//! Rows wait in memory, and beyond a size in files of their own, sorted by folders. So one file is
//! encoded at a time, however many folders there are.

use std::collections::BTreeMap;

use polars_arrow::datatypes::ArrowSchema;
use tokio_util::sync::CancellationToken;

use super::part_file::write_part;
use crate::cache::index::PartRecord;
use crate::cache::staging::{Staging, UnfinishedPart};
use crate::error::{Error, Result};
use crate::format::batch::{RecordBatch, batch_bytes, concat_batches};
use crate::format::ipc::spill;
use crate::format::shared_groups::SharedGroups;
use crate::format::{
    Compression, FormatError, InputFiles, JoinedGroups, OpenFile, OutputSpec, PartPieces,
    PartitionBy, Piece,
};
use crate::shape::{BoundPartitions, FolderRows, RowError};
use crate::storage::Location;

/// How many bytes of rows wait in memory.
const MAX_WAITING_BYTES: u64 = 128 << 20;

/// Files that are made of a part, which are not finished yet.
pub(super) type UnfinishedFiles = Vec<(UnfinishedPart, PartRecord)>;

/// Rows on their way to the files of their folders.
pub(super) struct FolderFiles<'a> {
    partitions: BoundPartitions,
    max_partitions: u64,
    /// All columns, those in names of folders among them.
    columns: ArrowSchema,
    target: &'a OutputSpec,
    compression: Compression,
    staging: &'a Staging,
    interrupted: &'a CancellationToken,
    folders: BTreeMap<String, WaitingRows>,
    waiting_bytes: u64,
    spills: Spills,
}

/// Rows of one folder.
#[derive(Default)]
struct WaitingRows {
    /// Those in files, which came first.
    spilled: Vec<Piece>,
    /// Those in memory, with their bytes.
    batches: Vec<(RecordBatch, u64)>,
}

/// Rows in files, by their columns alone.
#[derive(Default)]
struct Spills {
    files: Vec<(OpenFile, UnfinishedPart)>,
    /// Their heads are read once.
    shared: SharedGroups,
}

impl InputFiles for Spills {
    fn open(&self, file: usize) -> Result<OpenFile, Error> {
        Ok(self.files[file].0.clone())
    }

    fn shared_groups(&self) -> Option<&SharedGroups> {
        Some(&self.shared)
    }
}

impl<'a> FolderFiles<'a> {
    /// For rows with these columns.
    ///
    /// # Errors
    /// No folders can be made of them.
    pub(super) fn new(
        partition_by: &PartitionBy,
        columns: ArrowSchema,
        (target, compression): (&'a OutputSpec, Compression),
        staging: &'a Staging,
        interrupted: &'a CancellationToken,
    ) -> Result<Self, FormatError> {
        Ok(Self {
            partitions: BoundPartitions::new(partition_by, &columns)?,
            max_partitions: partition_by.max_partitions,
            columns,
            target,
            compression,
            staging,
            interrupted,
            folders: BTreeMap::new(),
            waiting_bytes: 0,
            spills: Spills::default(),
        })
    }

    /// Takes rows. `place` says of an error in one of them where that row came from.
    ///
    /// # Errors
    /// A row has no folder, or they cannot be written.
    pub(super) fn push(
        &mut self,
        rows: &RecordBatch,
        place: impl FnOnce(RowError) -> FormatError,
    ) -> Result<(), FormatError> {
        if rows.height() == 0 {
            return Ok(());
        }
        let split = self.partitions.split(rows);
        let split = match split.and_then(|split| self.check_count(split)) {
            Ok(split) => split,
            Err(error) => return Err(place(error)),
        };
        let (bytes, height) = (batch_bytes(rows), rows.height() as u64);
        for FolderRows { folder, rows, .. } in split {
            let share = bytes / height * rows.height() as u64;
            let waiting = self.folders.entry(folder).or_default();
            waiting.batches.push((rows, share));
        }
        self.waiting_bytes += bytes;
        if self.waiting_bytes > MAX_WAITING_BYTES {
            self.spill().map_err(FormatError::Input)?;
        }
        Ok(())
    }

    /// There are not too many folders.
    fn check_count(&self, split: Vec<FolderRows>) -> Result<Vec<FolderRows>, RowError> {
        let is_new = |found: &&FolderRows| !self.folders.contains_key(&found.folder);
        let mut new: Vec<&FolderRows> = split.iter().filter(is_new).collect();
        new.sort_by_key(|found| found.first);
        let known = self.folders.len() as u64;
        let room = usize::try_from(self.max_partitions.saturating_sub(known)).unwrap_or(usize::MAX);
        match new.get(room) {
            None => Ok(split),
            Some(found) => Err(RowError {
                row: Some(found.first),
                key: "max_partitions",
                message: format!(
                    "folder {} would be one more than {}",
                    found.folder, self.max_partitions
                ),
            }),
        }
    }

    /// What waits in memory goes to a file, folder by folder.
    fn spill(&mut self) -> Result<()> {
        let number = self.spills.files.len();
        let unfinished = self.staging.begin_part()?;
        let (schema, folders) = (self.partitions.schema(), &mut self.folders);
        write_part(&unfinished, |out| {
            let mut encoder = spill::begin(schema, Box::new(out))?;
            let waiting = folders.values_mut();
            let waiting = waiting.filter(|rows| !rows.batches.is_empty());
            for (group, rows) in waiting.enumerate() {
                let batches = std::mem::take(&mut rows.batches).into_iter();
                encoder.write(concat_batches(batches.map(|(rows, _)| rows).collect())?)?;
                rows.spilled.push(Piece {
                    file: number,
                    group: Some(group),
                    rows: None,
                });
            }
            encoder.finish()
        })?;
        let opened = OpenFile::new(&Location::local(unfinished.path().to_path_buf()))?;
        self.spills.files.push((opened, unfinished));
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Writes the files, in the order of their folders. Where no row came, there is one without
    /// rows, in no folder: it has all columns.
    ///
    /// # Errors
    /// One cannot be written.
    pub(super) fn finish(self) -> Result<UnfinishedFiles> {
        let writer = self.target.writer()?;
        if self.folders.is_empty() {
            let unfinished = self.staging.begin_part()?;
            let record = write_part(&unfinished, |out| {
                let encoder = writer.begin(&self.columns, self.compression, Box::new(out))?;
                encoder.finish()
            })?;
            return Ok(vec![(unfinished, record)]);
        }
        let (spills, schema) = (&self.spills, self.partitions.schema());
        let mut files = Vec::with_capacity(self.folders.len());
        for (folder, rows) in self.folders {
            if self.interrupted.is_cancelled() {
                return Err(Error::interrupted());
            }
            let unfinished = self.staging.begin_part()?;
            let record = write_part(&unfinished, |out| {
                let encoder = writer.begin(schema, self.compression, Box::new(out))?;
                let mut groups = JoinedGroups::new(encoder);
                let spilled = PartPieces {
                    inputs: spills,
                    pieces: &rows.spilled,
                    interrupted: self.interrupted,
                };
                if !rows.spilled.is_empty() {
                    spill::decode(&spilled, schema, &mut |batch| {
                        let bytes = batch_bytes(&batch);
                        groups.write(batch, bytes)
                    })?;
                }
                for (batch, bytes) in rows.batches {
                    groups.write(batch, bytes)?;
                }
                groups.finish()
            })?;
            files.push((unfinished, PartRecord { folder, ..record }));
        }
        Ok(files)
    }
}
