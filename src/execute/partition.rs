//! Making the parts of one partition of a table: its rows come through a bounded queue and are
//! encoded as they come.
//!
//! It runs on a thread of its own. The partition is whole or not at all: only its last part's key
//! says that it is the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::folder_files::FolderFiles;
use super::part_file::write_part;
use super::task::{InputError, MadeFiles};
use crate::cache::index::PartRecord;
use crate::cache::staging::{Staging, UnfinishedPart};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::format::batch::{RecordBatch, concat_batches};
use crate::format::{FormatError, OutputSpec};
use crate::home::{PartBatch, ReadSession};
use crate::plan::chain_place::ChainPlace;
use crate::plan::table_work::{DEFAULT_ROWS_PER_PART, partition_part_key};
use crate::shape::{BoundShape, RowError, Shape, ShapedRows};
use crate::threads::join_error;

/// Takes a part that was made, by its key.
pub(super) type CommitPart<'a> =
    &'a dyn Fn(&Fingerprint, UnfinishedPart, PartRecord) -> Result<PartRecord>;

/// A part that was made.
pub(super) struct MadePart {
    pub(super) record: PartRecord,
    /// How many rows were read for it and left out.
    pub(super) filtered: u64,
}

/// How a partition is read.
pub(super) struct PartitionTask<'a> {
    pub(super) session: Arc<dyn ReadSession>,
    /// Which of the partitions of the session.
    pub(super) partition: usize,
    /// True for the one that stands for the table's columns where the table has no rows at all.
    pub(super) is_first: bool,
    /// What keys of parts are made with.
    pub(super) recipe: &'a Fingerprint,
    /// What becomes of the rows, where something does.
    pub(super) shape: Option<&'a Shape>,
    pub(super) target: OutputSpec,
    pub(super) queue_size: usize,
    pub(super) staging: &'a Staging,
    pub(super) commit: CommitPart<'a>,
    pub(super) interrupted: &'a CancellationToken,
    pub(super) runtime: &'a Handle,
}

/// The rows of a partition as they come.
struct RowStream<'a> {
    batches: mpsc::Receiver<PartBatch>,
    read_task: Option<JoinHandle<Result<u64>>>,
    runtime: &'a Handle,
    interrupted: &'a CancellationToken,
    rows: u64,
}

impl RowStream<'_> {
    /// The next rows; nothing behind the last.
    ///
    /// # Errors
    /// Reading failed, or the run shall end.
    fn next(&mut self) -> Result<Option<PartBatch>> {
        let (batches, interrupted) = (&mut self.batches, self.interrupted);
        let came = self.runtime.block_on(async {
            tokio::select! {
                batch = batches.recv() => Ok(batch),
                () = interrupted.cancelled() => Err(Error::interrupted()),
            }
        })?;
        if let Some(batch) = &came {
            self.rows += batch.rows.height() as u64;
            return Ok(came);
        }
        // The queue is closed: it was read to its end, or it failed.
        let Some(reading) = self.read_task.take() else {
            return Ok(None);
        };
        let read = self.runtime.block_on(reading).map_err(join_error)??;
        if read != self.rows {
            return Err(InputError::RowCount {
                read,
                written: self.rows,
            }
            .into());
        }
        Ok(None)
    }
}

impl Drop for RowStream<'_> {
    fn drop(&mut self) {
        if let Some(reading) = self.read_task.take() {
            // A thread may wait for room in the queue, whatever becomes of its task.
            self.batches.close();
            reading.abort();
            // Its query has been given up when it is over.
            drop(self.runtime.block_on(reading));
        }
    }
}

impl PartitionTask<'_> {
    /// Reads the partition, and gives its parts by their keys.
    pub(super) fn make_parts(&self) -> Result<Vec<(Fingerprint, MadePart)>> {
        let (sender, batches) = mpsc::channel(self.queue_size);
        let rows = self.target.rows_per_file.unwrap_or(DEFAULT_ROWS_PER_PART);
        let reading = Some(self.runtime.spawn(self.session.clone().read_partition(
            self.partition,
            rows,
            sender,
        )));
        let mut coming = RowStream {
            batches,
            read_task: reading,
            runtime: self.runtime,
            interrupted: self.interrupted,
            rows: 0,
        };
        let mut parts = Vec::new();
        let mut next = coming.next()?;
        while let Some(first) = next {
            if first.rows.height() == 0 && !self.is_first {
                next = coming.next()?;
                continue;
            }
            let made = self.encode(first, &mut coming)?;
            next = coming.next()?;
            let (last, mut filtered) = (made.files.len(), made.filtered);
            for (number, (unfinished, record)) in (1..).zip(made.files) {
                let is_last = next.is_none() && number == last;
                let made = MadePart {
                    record,
                    // What was left out is counted once.
                    filtered: std::mem::take(&mut filtered),
                };
                let digests: Vec<Fingerprint> = parts
                    .iter()
                    .map(|(_, made): &(_, MadePart)| made.record.digest)
                    .collect();
                let place = ChainPlace::behind(&digests, is_last);
                parts.push(self.finish_part(unfinished, made, place)?);
            }
        }
        Ok(parts)
    }

    /// Encodes batches until a part ends.
    fn encode(&self, first: PartBatch, coming: &mut RowStream<'_>) -> Result<MadeFiles> {
        let state = self.session.table_state();
        let shape = self
            .shape
            .map(|shape| shape.bind(&state.arrow_schema, &BTreeMap::new()));
        let shape = shape.transpose()?;
        let columns = shape
            .as_ref()
            .map_or(&state.arrow_schema, BoundShape::schema);
        let mut rows = PartRows {
            // Rows of the partition that came before the next.
            read_before: coming.rows - first.rows.height() as u64,
            next: Some(first),
            coming,
            shape: shape.as_ref(),
            place: format!("partition {}", state.partitions[self.partition].name),
            filtered: 0,
        };
        if let Some(partition_by) = &self.target.partition_by {
            let mut folders = FolderFiles::new(
                partition_by,
                columns.clone(),
                (&self.target, self.target.compression_for_rows()?),
                self.staging,
                self.interrupted,
            )?;
            let mut count = 0;
            while let Some(group) = rows.next_group()? {
                let joined = group.rows()?;
                count += joined.height() as u64;
                folders.push(&joined, |error| group.error(error))?;
            }
            let files = folders.finish()?;
            let written = files.iter().map(|(_, record)| record.rows).sum();
            check_written(count, written)?;
            let filtered = rows.filtered;
            return Ok(MadeFiles { files, filtered });
        }
        let unfinished = self.staging.begin_part()?;
        let mut wrote = 0;
        let record = write_part(&unfinished, |out| {
            let mut encoder = self.target.begin(columns, Box::new(out))?;
            let mut count = 0;
            while let Some(group) = rows.next_group()? {
                let joined = group.rows()?;
                count += joined.height() as u64;
                encoder.write(joined)?;
            }
            wrote = encoder.finish()?;
            Ok(count)
        })?;
        check_written(record.rows, wrote)?;
        Ok(MadeFiles {
            files: vec![(unfinished, record)],
            filtered: rows.filtered,
        })
    }

    fn finish_part(
        &self,
        unfinished: UnfinishedPart,
        made: MadePart,
        place: ChainPlace<'_>,
    ) -> Result<(Fingerprint, MadePart)> {
        let state = self.session.table_state();
        let partition = &state.partitions[self.partition];
        let key = partition_part_key(self.recipe, state, partition, place);
        let record = (self.commit)(&key, unfinished, made.record)?;
        Ok((key, MadePart { record, ..made }))
    }
}

/// All rows that were read were written.
fn check_written(read: u64, written: u64) -> Result<()> {
    if read == written {
        Ok(())
    } else {
        Err(InputError::RowCount { read, written }.into())
    }
}

/// The rows of one part as they come, group by group.
struct PartRows<'r, 'c> {
    coming: &'r mut RowStream<'c>,
    next: Option<PartBatch>,
    shape: Option<&'r BoundShape>,
    /// How many rows of the partition came before the next.
    read_before: u64,
    /// What errors call the partition.
    place: String,
    /// How many rows were left out.
    filtered: u64,
}

impl PartRows<'_, '_> {
    /// The next group; nothing where the part ends.
    fn next_group(&mut self) -> Result<Option<RowGroup<'_>>, FormatError> {
        let mut batches = Vec::new();
        while let Some(PartBatch {
            rows,
            ends_group,
            ends_part,
        }) = self.next.take()
        {
            let first_row = self.read_before;
            self.read_before += rows.height() as u64;
            let shaped = match self.shape {
                None => ShapedRows::all(rows),
                Some(shape) => shape
                    .apply(&rows)
                    .map_err(|error| FormatError::of_row(error, self.place.clone(), first_row))?,
            };
            self.filtered += shaped.filtered;
            batches.push((shaped, first_row));
            self.next = if ends_part { None } else { self.coming.next()? };
            if ends_group {
                break;
            }
        }
        Ok((!batches.is_empty()).then_some(RowGroup {
            batches,
            place: &self.place,
        }))
    }
}

/// Rows of a partition that come into one group, in batches with their first rows.
struct RowGroup<'r> {
    batches: Vec<(ShapedRows, u64)>,
    place: &'r str,
}

impl RowGroup<'_> {
    fn rows(&self) -> Result<RecordBatch, FormatError> {
        let batches = self.batches.iter();
        concat_batches(batches.map(|(shaped, _)| shaped.rows.clone()).collect())
    }

    /// The error of one of the rows, by its row of the partition.
    fn error(&self, error: RowError) -> FormatError {
        let mut row = error.row;
        for (shaped, first_row) in &self.batches {
            let height = shaped.rows.height();
            match row {
                Some(later) if later >= height => row = Some(later - height),
                _ => {
                    let error = shaped.error_before(RowError { row, ..error });
                    return FormatError::of_row(error, self.place.to_string(), *first_row);
                }
            }
        }
        FormatError::of_row(RowError { row: None, ..error }, self.place.to_string(), 0)
    }
}
