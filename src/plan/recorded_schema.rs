//! The schema of a set, as its receipt says it: names, types, which columns may be null, in order.

use super::project::Project;
use super::schema_changes::{describe_changes, file_columns};
use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::Flow;
use crate::format::OpenFile;
use crate::home::RecordedColumn;
use crate::storage::Location;
use crate::store::receipt::PublishedSet;

/// The schema of a set that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSchema {
    /// When the set was published, in RFC 3339.
    pub at: String,
    /// Its columns; none where that is not known.
    pub columns: Vec<RecordedColumn>,
}

/// A set whose schema was another than that of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    /// The run that published it.
    pub run: i64,
    /// Its schema.
    pub schema: RecordedSchema,
    /// What came of the columns of the one before, in words; nothing for the first that is known.
    pub changes: Vec<String>,
}

/// The schema of what a flow has published. A receipt that does not say it takes it from the files.
///
/// # Errors
/// The store cannot be asked, or the flow was never built.
pub fn published_schema(project: &Project, flow: &Flow) -> Result<RecordedSchema> {
    let receipt = project.open_store(flow)?.receipt()?;
    let published = receipt.and_then(|receipt| receipt.published);
    let Some(published) = published else {
        let error = format!("flow {} was never built: it has no schema yet", flow.name);
        return Err(Error::new(ErrorKind::Flow, error)
            .with_hint(format!("hygge build {} makes its first set", flow.name)));
    };
    let columns = if published.columns.is_empty() {
        columns_of_files(project, flow, &published)
    } else {
        published.columns
    };
    let at = published.at;
    Ok(RecordedSchema { at, columns })
}

/// The columns of the first part that can be read, where parts are files.
fn columns_of_files(
    project: &Project,
    flow: &Flow,
    published: &PublishedSet,
) -> Vec<RecordedColumn> {
    let Some(folder) = project.store_id(flow).folder() else {
        return Vec::new();
    };
    let format = flow.store.output_spec().format;
    let columns = published.manifest.parts.iter().find_map(|part| {
        let file = OpenFile::new(&Location::local(folder.join(&part.name))).ok()?;
        file_columns(format.as_ref(), &file).ok()
    });
    columns.unwrap_or_default()
}

/// The sets of a flow that are remembered and had another schema than the one before, the newest
/// first. What does not say its columns is passed over.
///
/// # Errors
/// The index cannot be read.
pub async fn schema_history(
    project: &Project,
    cache: &Cache,
    flow: &Flow,
) -> Result<Vec<SchemaChange>> {
    let sets = cache.index.past_sets(project.store_id(flow)).await?;
    let mut history: Vec<SchemaChange> = Vec::new();
    let mut before: Option<Vec<RecordedColumn>> = None;
    for set in sets.into_iter().rev() {
        let PublishedSet { at, columns, .. } = set.published;
        if columns.is_empty() {
            continue;
        }
        let is_first = before.is_none();
        let before = before.replace(columns.clone());
        let changes = before.map_or_else(Vec::new, |before| describe_changes(&before, &columns));
        if is_first || !changes.is_empty() {
            history.push(SchemaChange {
                run: set.run,
                schema: RecordedSchema { at, columns },
                changes,
            });
        }
    }
    history.reverse();
    Ok(history)
}
