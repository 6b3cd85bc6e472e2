//! Making the parts of one unit of a table: its rows come through a bounded queue and are encoded
//! as they come.
//!
//! It runs on a thread of its own. The unit is whole or not at all: only its last part's key says
//! that it is the last.

use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::task::{InputError, Written, write};
use crate::cache::Cache;
use crate::cache::index::PartRecord;
use crate::cache::staging::Unfinished;
use crate::connection::until;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::format::Target;
use crate::format::batch::concatenated;
use crate::home::Batch;
use crate::plan::table::{ROWS_PER_PART, TableWork, part_key};

/// How a unit is read.
pub(super) struct UnitTask<'a> {
    pub(super) table: &'a TableWork,
    pub(super) unit: usize,
    pub(super) target: Target,
    pub(super) queue: usize,
    pub(super) cache: &'a Cache,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) runtime: &'a Handle,
}

/// The rows of a unit as they come.
struct Coming<'a> {
    batches: mpsc::Receiver<Batch>,
    reading: Option<JoinHandle<Result<u64>>>,
    runtime: &'a Handle,
    interrupted: &'a AtomicBool,
    rows: u64,
}

impl Coming<'_> {
    /// The next rows; nothing behind the last.
    ///
    /// # Errors
    /// Reading failed, or the run shall end.
    fn next(&mut self) -> Result<Option<Batch>> {
        let (batches, interrupted) = (&mut self.batches, self.interrupted);
        let came = self.runtime.block_on(async {
            tokio::select! {
                batch = batches.recv() => Ok(batch),
                () = until(interrupted) => Err(Error::new(ErrorKind::Interrupted, "interrupted")),
            }
        })?;
        if let Some(batch) = &came {
            self.rows += batch.rows.height() as u64;
            return Ok(came);
        }
        // The queue is closed: it was read to its end, or it failed.
        let Some(reading) = self.reading.take() else {
            return Ok(None);
        };
        let read =
            self.runtime
                .block_on(reading)
                .map_err(|error| match error.try_into_panic() {
                    Ok(panic) => Error::of_panic(panic),
                    Err(error) => Error::new(ErrorKind::Flow, error),
                })??;
        if read != self.rows {
            return Err(InputError::Rows {
                read,
                written: self.rows,
            }
            .into());
        }
        Ok(None)
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.take() {
            // A thread may wait for room in the queue, whatever becomes of its task.
            self.batches.close();
            reading.abort();
            // Its query has been given up when it is over.
            drop(self.runtime.block_on(reading));
        }
    }
}

impl UnitTask<'_> {
    /// Reads the unit, and gives its parts by their keys.
    pub(super) fn make(&self) -> Result<Vec<(Fingerprint, PartRecord)>> {
        let Some(reading) = self.table.reading.clone() else {
            return Err(Error::new(ErrorKind::Flow, "its table was not opened"));
        };
        let (sender, batches) = mpsc::channel(self.queue);
        let rows = self.target.rows_per_file.unwrap_or(ROWS_PER_PART);
        let reading = Some(self.runtime.spawn(reading.read(self.unit, rows, sender)));
        let mut coming = Coming {
            batches,
            reading,
            runtime: self.runtime,
            interrupted: self.interrupted,
            rows: 0,
        };
        let mut parts = Vec::new();
        let mut next = coming.next()?;
        while let Some(first) = next {
            // One unit without rows stands for the table's columns where it has no rows at all.
            if first.rows.height() == 0 && self.unit > 0 {
                next = coming.next()?;
                continue;
            }
            let unfinished = self.cache.staging.begin()?;
            let written = self.encode(first, &mut coming, &unfinished)?;
            next = coming.next()?;
            parts.push(self.finish(unfinished, written, parts.len(), next.is_none())?);
        }
        Ok(parts)
    }

    /// Encodes batches until a part ends.
    fn encode(
        &self,
        first: Batch,
        coming: &mut Coming<'_>,
        unfinished: &Unfinished,
    ) -> Result<Written> {
        write(unfinished, |out| {
            let mut encoder = self
                .target
                .begin(&self.table.answer.columns, Box::new(out))?;
            let mut group = Vec::new();
            let mut count = 0;
            let mut next = Some(first);
            while let Some(Batch {
                rows,
                ends_group,
                ends_part,
            }) = next
            {
                count += rows.height() as u64;
                group.push(rows);
                if ends_group {
                    encoder.write(concatenated(std::mem::take(&mut group))?)?;
                }
                next = if ends_part { None } else { coming.next()? };
            }
            if !group.is_empty() {
                encoder.write(concatenated(group)?)?;
            }
            encoder.finish()?;
            Ok(count)
        })
    }

    fn finish(
        &self,
        unfinished: Unfinished,
        written: Written,
        number: usize,
        is_last: bool,
    ) -> Result<(Fingerprint, PartRecord)> {
        let TableWork { answer, recipe, .. } = self.table;
        let key = part_key(recipe, answer, &answer.units[self.unit], number, is_last);
        self.cache.staging.finish(unfinished, &written.digest)?;
        let record = PartRecord {
            digest: written.digest,
            rows: written.rows,
            bytes: written.bytes,
        };
        self.cache.note(&key, &record)?;
        Ok((key, record))
    }
}
