//! Columns that come to a table: whether they have a place there, before anything is read or
//! written.

use std::time::Duration;

use super::work::{FlowWork, WorkSource};
use crate::connection::run_with_timeout;
use crate::error::{Error, Result, Retry};
use crate::flow::Flow;
use crate::store::StoreId;

/// Has a flow's table judge the columns that come, by their types alone; gives what is to be known
/// of them, in words.
///
/// # Errors
/// Columns that do not fit: all of them are named.
pub(super) fn check_table_columns(
    flow: &Flow,
    store: &StoreId,
    work: &FlowWork,
) -> Result<Vec<String>> {
    if flow.store.capabilities().parts_readable {
        return Ok(Vec::new());
    }
    let columns = match &work.source {
        WorkSource::Table(table) => Some(table.output_columns()?),
        WorkSource::Files(work) => work.first_columns()?,
        WorkSource::AtHand => None,
    };
    let Some(columns) = columns else {
        return Ok(Vec::new());
    };
    let check = || {
        let store = flow.store.open(store)?;
        store.check_columns(&columns, flow.mode.store_update())
    };
    if work.table().is_none_or(|table| table.session.is_none()) {
        return Ok(check()?);
    }
    // The session that its home is read by may be the last that there is for this user, or that a
    // pooler has. What is not found now is found when the table is filled.
    match run_with_timeout(Some(TABLE_CHECK_TIMEOUT), check).map_err(Error::from) {
        Err(error) if matches!(error.retry(), Retry::Later | Retry::TimedOut) => Ok(Vec::new()),
        checked => checked,
    }
}

/// How long a table is asked for its columns while its flow's home is open.
const TABLE_CHECK_TIMEOUT: Duration = Duration::from_secs(3);
