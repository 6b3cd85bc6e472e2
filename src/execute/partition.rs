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

use super::task::{InputError, MadePart, write_part};
use crate::cache::index::PartRecord;
use crate::cache::staging::{Staging, UnfinishedPart};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::format::batch::{RecordBatch, concat_batches};
use crate::format::{FormatError, OutputSpec};
use crate::home::{PartBatch, ReadSession};
use crate::plan::table_work::{DEFAULT_ROWS_PER_PART, partition_part_key};
use crate::shape::{BoundShape, Shape, ShapedRows};
use crate::threads::join_error;

/// Takes a part that was made, by its key.
pub(super) type CommitPart<'a> =
    &'a dyn Fn(&Fingerprint, UnfinishedPart, PartRecord) -> Result<PartRecord>;

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
            let unfinished = self.staging.begin_part()?;
            let written = self.encode(first, &mut coming, &unfinished)?;
            next = coming.next()?;
            parts.push(self.finish_part(unfinished, written, parts.len(), next.is_none())?);
        }
        Ok(parts)
    }

    /// Encodes batches until a part ends.
    fn encode(
        &self,
        first: PartBatch,
        coming: &mut RowStream<'_>,
        unfinished: &UnfinishedPart,
    ) -> Result<MadePart> {
        let (mut wrote, mut filtered) = (0, 0);
        let state = self.session.table_state();
        let shape = self
            .shape
            .map(|shape| shape.bind(&state.arrow_schema, &BTreeMap::new()));
        let shape = shape.transpose()?;
        let columns = shape
            .as_ref()
            .map_or(&state.arrow_schema, BoundShape::schema);
        // Rows of the partition that came before the next.
        let mut before = coming.rows - first.rows.height() as u64;
        let mut shaped = |rows: RecordBatch| {
            let first_row = before;
            before += rows.height() as u64;
            match &shape {
                None => Ok(ShapedRows { rows, filtered: 0 }),
                Some(shape) => shape.apply(&rows).map_err(|error| {
                    let place = format!("partition {}", state.partitions[self.partition].name);
                    FormatError::of_row(error, place, first_row)
                }),
            }
        };
        let written = write_part(unfinished, |out| {
            let mut encoder = self.target.begin(columns, Box::new(out))?;
            let mut group = Vec::new();
            let mut count = 0;
            let mut next = Some(first);
            while let Some(PartBatch {
                rows,
                ends_group,
                ends_part,
            }) = next
            {
                let ShapedRows {
                    rows,
                    filtered: left_out,
                } = shaped(rows)?;
                filtered += left_out;
                count += rows.height() as u64;
                group.push(rows);
                if ends_group {
                    encoder.write(concat_batches(std::mem::take(&mut group))?)?;
                }
                next = if ends_part { None } else { coming.next()? };
            }
            if !group.is_empty() {
                encoder.write(concat_batches(group)?)?;
            }
            wrote = encoder.finish()?;
            Ok(count)
        })?;
        let read = written.rows;
        if wrote != read {
            let written = wrote;
            return Err(InputError::RowCount { read, written }.into());
        }
        Ok(MadePart {
            record: written,
            filtered,
        })
    }

    fn finish_part(
        &self,
        unfinished: UnfinishedPart,
        made: MadePart,
        number: usize,
        is_last: bool,
    ) -> Result<(Fingerprint, MadePart)> {
        let state = self.session.table_state();
        let partition = &state.partitions[self.partition];
        let key = partition_part_key(self.recipe, state, partition, number, is_last);
        let record = (self.commit)(&key, unfinished, made.record)?;
        Ok((key, MadePart { record, ..made }))
    }
}
