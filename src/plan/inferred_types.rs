//! Types of columns that files do not say: those that are recorded, and what all values are of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars_arrow::array::Utf8ViewArray;
use polars_arrow::datatypes::ArrowDataType;

use crate::connection::types::SIMPLE_TYPES;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::flow::Flow;
use crate::format::canonical_schema::{type_from_name, type_name};
use crate::format::inference::{FileFacts, JoinedFacts};
use crate::format::{Format, WantedColumns};
use crate::home::RecordedColumn;
use crate::shape::cast_texts;

/// What a column is recorded as of which no value says a type.
pub(super) const NO_TYPE: &str = "null";

/// How many columns are named.
const SHOWN_COLUMNS: usize = 8;

/// What is known of the types of a flow's columns.
#[derive(Clone, Copy, Default)]
pub(super) struct KnownTypes<'a> {
    /// The columns, as they are recorded: those of its home when it was built the last time, where
    /// that was the same home, or those that the flow that is its home has published.
    pub(super) columns: &'a [RecordedColumn],
    /// True where parts stay whose columns have these types.
    pub(super) are_final: bool,
}

/// The format of a flow's files, where their columns have types that are known or found.
pub(super) fn format_with_types(
    flow: &Flow,
    format: &Arc<dyn Format>,
    facts: &[FileFacts],
    known: KnownTypes<'_>,
) -> Arc<dyn Format> {
    let no_text = Utf8ViewArray::new_empty(ArrowDataType::Utf8View);
    let is_text_type = |dtype: &ArrowDataType| cast_texts(&no_text, dtype).is_ok();
    // What no value has said before may be found now.
    let is_said = |column: &&RecordedColumn| known.are_final || column.declared != NO_TYPE;
    let recorded: BTreeMap<&str, ArrowDataType> = known
        .columns
        .iter()
        .filter(is_said)
        .filter_map(|column| Some((column.name.as_str(), type_from_name(&column.target_type)?)))
        .filter(|(_, dtype)| is_text_type(dtype))
        .collect();
    let files = flow.home.as_files();
    let may_widen = !known.are_final && files.is_some_and(|files| files.widens_types());
    let shape = flow.shape.as_ref();
    let wanted = shape.map_or(WantedColumns::All, |shape| shape.wanted());
    let known = |name: &str| recorded.get(name).cloned();
    let types = JoinedFacts::new(facts).types(&known, may_widen, &wanted);
    format
        .with_inferred(Arc::new(types))
        .unwrap_or_else(|| format.clone())
}

/// Columns as they are recorded: of those of which no value has said a type, that is noted.
pub(super) fn note_open_columns(columns: &mut [RecordedColumn], format: &dyn Format) {
    let Some(types) = format.inferred() else {
        return;
    };
    for column in columns
        .iter_mut()
        .filter(|column| types.is_open(&column.name))
    {
        column.declared = NO_TYPE.to_string();
    }
}

/// What another flow has published says its columns.
///
/// # Errors
/// It does not.
pub(super) fn check_columns_named(flow: &Flow, format: &dyn Format) -> Result<()> {
    let Some(upstream) = flow.upstream().filter(|_| !format.names_columns()) else {
        return Ok(());
    };
    let error = format!("the files of flow {upstream} do not say which columns they have");
    Err(Error::new(ErrorKind::Flow, error)
        .with_hint("its store has header: false: a header says it, or a home of files with types"))
}

/// A digest of what decides parts, and of the types that were found, where there are some.
pub(super) fn with_types_digest(digest: Fingerprint, format: &dyn Format) -> Fingerprint {
    let Some(types) = format.inferred().and_then(|types| types.digest()) else {
        return digest;
    };
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("with types").digest(&digest).digest(&types);
    writer.finish()
}

/// Which types were found, in words of the config; nothing where all columns are texts.
pub(super) fn describe_types(format: &dyn Format) -> Option<String> {
    let found = format.inferred()?.0.iter();
    let typed: Vec<String> = found
        .filter_map(|(name, found)| Some(format!("{name} is {}", type_word(&found.dtype)?)))
        .collect();
    let more = match typed.len().saturating_sub(SHOWN_COLUMNS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = typed.iter().take(SHOWN_COLUMNS);
    let shown = shown.map(String::as_str).collect::<Vec<_>>().join(", ");
    (!typed.is_empty()).then(|| {
        format!("types are inferred from the first rows, and checked in every row: {shown}{more}; types of the home gives a column another one")
    })
}

/// The word by which `types` gives a column a type; `None` for text, which it has without.
fn type_word(dtype: &ArrowDataType) -> Option<String> {
    use ArrowDataType as T;
    if matches!(dtype, T::Utf8View | T::Null) {
        return None;
    }
    let mut simple = SIMPLE_TYPES.iter();
    let word = simple.find(|(_, kind)| kind.to_arrow() == *dtype);
    Some(word.map_or_else(|| type_name(dtype), |(word, _)| word.to_string()))
}
