//! Feeding a load: staged parts are decoded, and their rows sent through a bounded queue.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::FORMAT;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::format::batch::{RecordBatch, empty};
use crate::format::{FileHead, FormatError, InputFiles, OpenFile, PartPieces, Piece, Reader};
use crate::fs::nofollow;
use crate::store::StoreError;
use crate::store::context::PublishContext;
use crate::store::receipt::Part;

/// What comes through the queue.
pub(super) enum LoadMessage {
    /// Rows of a part, and how many of them came before.
    Rows(RecordBatch, Arc<str>, u64),
    /// A part has come whole.
    PartEnd,
    /// All have: what was written shall stay.
    Done,
}

/// Decodes parts and sends their rows.
pub(super) fn send_parts(
    parts: &[&Part],
    context: &PublishContext<'_>,
    interrupted: &CancellationToken,
    sender: &mpsc::Sender<LoadMessage>,
) -> Result<()> {
    for part in parts {
        let shown = part
            .inputs
            .first()
            .map_or(part.name.as_str(), |input| input.name.as_str());
        let sources = StagedFile {
            path: context.staging.make_part_path(&part.digest)?,
            display_path: PathBuf::from(shown),
            digest: part.digest,
        };
        let shown: Arc<str> = shown.into();
        let opened = sources.open(0)?;
        FORMAT
            .check_readable(&opened)
            .map_err(|error| match error {
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
            drop(sender.blocking_send(LoadMessage::Rows(
                empty(&FORMAT.arrow_schema(&opened)?),
                shown.clone(),
                0,
            )));
        }
        FORMAT.decode(
            &PartPieces {
                inputs: &sources,
                pieces: &pieces,
                interrupted,
            },
            &mut |batch| {
                let before = rows;
                rows += batch.height() as u64;
                is_heard = is_heard
                    && sender
                        .blocking_send(LoadMessage::Rows(batch, shown.clone(), before))
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
        drop(sender.blocking_send(LoadMessage::PartEnd));
    }
    Ok(())
}

/// One staged part.
struct StagedFile {
    path: PathBuf,
    /// What errors call it.
    display_path: PathBuf,
    digest: Fingerprint,
}

impl InputFiles for StagedFile {
    fn open(&self, _: usize) -> Result<OpenFile> {
        match nofollow::open(&self.path) {
            Ok(file) => Ok(OpenFile {
                bytes: Arc::new(file),
                path: self.display_path.clone(),
                columns: None,
                head: FileHead::default(),
            }),
            Err(error) if error.is_not_found() => {
                Err(StoreError::UnusablePart(self.digest.short()).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}
