//! What is to be done for a flow with a table, and the keys of the parts that its partitions become.
//!
//! A partition may become several parts, and how many is known only when it was read. So each
//! part's key says where in its partition it stands, and that of the last one which parts stand
//! before it: a partition is used again where all of its parts are at hand, and of one reading.

use std::sync::Arc;

use polars_arrow::datatypes::ArrowSchema;

use super::chain_place::ChainPlace;
use crate::error::{Error, ErrorKind, Retry};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::{ReadPartition, ReadSession, RowSource, TableState};
use crate::shape::{Shape, ShapeError};
use crate::store::receipt::PublishedSet;

/// How many rows a part has that is made from a table, where nothing is said.
pub const DEFAULT_ROWS_PER_PART: u64 = 1_000_000;

/// The field of the recipe that names a table's watermark.
pub const WATERMARK_SETTING: &str = "home.watermark";

/// What a flow with a table is made of.
#[derive(Clone, Debug)]
pub struct TableWork {
    /// What the table has.
    pub table_state: Arc<TableState>,
    /// What keys of parts are made with.
    pub recipe: Fingerprint,
    /// What becomes of its rows, where something does.
    pub shape: Option<Arc<Shape>>,
    /// What reads it; `None` where it is only planned.
    pub session: Option<Arc<dyn ReadSession>>,
    /// What its reader should know of this build, in words.
    pub remarks: Vec<String>,
}

impl TableWork {
    /// The columns that come to the store.
    ///
    /// # Errors
    /// Those of the table do not fit what is to become of them.
    pub(super) fn output_columns(&self) -> Result<ArrowSchema, ShapeError> {
        let own = &self.table_state.arrow_schema;
        match &self.shape {
            None => Ok(own.clone()),
            Some(shape) => shape.output_schema(own),
        }
    }
}

/// The key of a part: where in its partition it stands, and whether the partition ends with it.
pub fn partition_part_key(
    recipe: &Fingerprint,
    answer: &TableState,
    partition: &ReadPartition,
    place: ChainPlace<'_>,
) -> Fingerprint {
    let mut key = KeyWriter::new(KeyKind::Part);
    key.digest(recipe)
        .text("unit")
        .text(&partition.name)
        .digest(&partition.digest)
        .digest(&answer.schema_digest);
    place.write_to(&mut key);
    key.finish()
}

/// A part that another flow made is no longer where it was seen: that flow has published it
/// meanwhile, or let it go.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a part of {0} that another flow made is no longer where it was")]
pub struct PartMoved(pub String);

impl From<PartMoved> for Error {
    fn from(error: PartMoved) -> Self {
        Self::new(ErrorKind::Flow, error)
            .with_hint("build again; nothing was published")
            .with_retry(Retry::Later)
    }
}

/// True where a set was made by the watermark that the table has now.
pub(super) fn has_same_watermark(table: &dyn RowSource, published: &PublishedSet) -> bool {
    published
        .components
        .settings
        .get(WATERMARK_SETTING)
        .map(String::as_str)
        == table.watermark()
}
