//! Feeding a load: staged parts are decoded, and their rows sent through a bounded queue.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;

use super::FORMAT;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::format::batch::{RecordBatch, empty};
use crate::format::{Cut, FormatError, Opened, Piece, Reader, Sources};
use crate::fs::own;
use crate::store::StoreError;
use crate::store::receipt::Part;
use crate::store::room::Room;

/// What comes through the queue.
pub(super) enum Message {
    /// Rows of a part, and how many of them came before.
    Rows(RecordBatch, Arc<str>, u64),
    /// A part has come whole.
    Part,
    /// All have: what was written shall stay.
    Done,
}

/// Decodes parts and sends their rows.
pub(super) fn feed(
    parts: &[&Part],
    room: &Room<'_>,
    interrupted: &AtomicBool,
    sender: &mpsc::Sender<Message>,
) -> Result<()> {
    for part in parts {
        let shown = part
            .inputs
            .first()
            .map_or(part.name.as_str(), |input| input.name.as_str());
        let sources = Staged {
            path: room.staged.place(&part.digest)?,
            shown: PathBuf::from(shown),
            digest: part.digest,
        };
        let shown: Arc<str> = shown.into();
        let opened = sources.open(0)?;
        FORMAT.readable(&opened).map_err(|error| match error {
            FormatError::Undecodable { .. } => Error::from(error).with_hint(
                "rows come into a table as values: give the home files without the column",
            ),
            other => other.into(),
        })?;
        let pieces = [Piece {
            file: 0,
            group: None,
            rows: None,
        }];
        let mut rows = 0;
        let mut is_heard = true;
        if part.rows == 0 {
            // A table without rows still has columns.
            drop(sender.blocking_send(Message::Rows(
                empty(&FORMAT.arrow_columns(&opened)?),
                shown.clone(),
                0,
            )));
        }
        FORMAT.decode(
            &Cut {
                sources: &sources,
                pieces: &pieces,
                interrupted,
            },
            &mut |batch| {
                let before = rows;
                rows += batch.height() as u64;
                is_heard = is_heard
                    && sender
                        .blocking_send(Message::Rows(batch, shown.clone(), before))
                        .is_ok();
                if is_heard {
                    Ok(())
                } else {
                    Err(FormatError::Encode("nobody takes its rows".into()))
                }
            },
        )?;
        if rows != part.rows {
            let error = format!(
                "{} has {rows} rows, and should have {}",
                part.name, part.rows
            );
            return Err(Error::new(ErrorKind::Flow, error)
                .with_hint("this is a fault of hygge: please report it; nothing was published"));
        }
        drop(sender.blocking_send(Message::Part));
    }
    Ok(())
}

/// One staged part.
struct Staged {
    path: PathBuf,
    /// What errors call it.
    shown: PathBuf,
    digest: Fingerprint,
}

impl Sources for Staged {
    fn open(&self, _: usize) -> Result<Opened> {
        match own::open(&self.path) {
            Ok(file) => Ok(Opened {
                file,
                path: self.shown.clone(),
            }),
            Err(error) if error.is_absent() => Err(StoreError::Part(self.digest.short()).into()),
            Err(error) => Err(error.into()),
        }
    }
}
