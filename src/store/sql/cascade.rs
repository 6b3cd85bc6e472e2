//! Rows of other tables that would go or change with rows of this one, by foreign keys of theirs.

use super::catalog::Cascade;
use super::resolved_table::ResolvedTable;
use super::{SqlStore, engine_of};
use crate::connection::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::store::StoreUpdate;

/// Refuses a load that would remove or change rows of other tables, unless the store says that it
/// may.
///
/// # Errors
/// Tables refer to this one in such a way: all of them are named.
pub(super) async fn check(
    store: &SqlStore,
    resolved: &ResolvedTable,
    session: &mut Session,
    change: StoreUpdate,
) -> Result<()> {
    let removes = change == StoreUpdate::Replace
        || change == StoreUpdate::Merge && store.delete_where.is_some();
    let changes = change == StoreUpdate::Merge;
    if store.cascade || !resolved.exists || !(removes || changes) {
        return Ok(());
    }
    let is_changed = |cascade: &Cascade| {
        // What a merge changes are the columns that are not its key. Where no column is named, it
        // is the primary key.
        changes
            && !cascade.is_on_delete
            && cascade
                .columns
                .iter()
                .any(|column| !store.key.contains(column))
    };
    let found = engine_of(session).cascades(resolved, session).await?;
    let found: Vec<&Cascade> = found
        .iter()
        .filter(|cascade| removes && cascade.is_on_delete || is_changed(cascade))
        .collect();
    refuse(store, &found)
}

/// Refuses to remove the rows of a table where those of others would go with them.
///
/// # Errors
/// Tables refer to this one in such a way: all of them are named.
pub(super) async fn check_removal(
    store: &SqlStore,
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<()> {
    let found = engine_of(session).cascades(resolved, session).await?;
    let found: Vec<&Cascade> = found
        .iter()
        .filter(|cascade| cascade.is_on_delete)
        .collect();
    if store.cascade {
        Ok(())
    } else {
        refuse(store, &found)
    }
}

fn refuse(store: &SqlStore, found: &[&Cascade]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let others: Vec<String> = found
        .iter()
        .map(|cascade| format!("{} ({})", cascade.table, cascade.rule))
        .collect();
    let error = format!(
        "other tables would lose or change rows with those of table {}: {}",
        store.relation,
        others.join(", ")
    );
    Err(Error::new(ErrorKind::Flow, error).with_hint(
        "cascade: true of the store allows it; mode: merge changes rows and removes none; or \
         change the foreign key to NO ACTION",
    ))
}
