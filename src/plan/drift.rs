//! Drift: columns of a home that have changed since its flow was published, and what the config says
//! of that. Nothing is published before it is decided.

use std::collections::HashMap;

use super::context::PlanContext;
use super::schema_changes::with_namesakes;
use super::work::{FlowWork, WorkSource};
use crate::config::schema::DriftRule;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::flow::Flow;
use crate::format::widening::is_widened;
use crate::home::{FileSchema, RecordedColumn, Source};
use crate::store::receipt::PublishedSet;

/// A change of a column, in words.
struct ColumnChange {
    kind: ChangeKind,
    text: String,
}

/// What may become of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChangeKind {
    Added,
    Removed,
    Retyped,
    Widened,
}

impl ChangeKind {
    fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Retyped => "retyped",
            Self::Widened => "widened",
        }
    }

    fn rule(self, flow: &Flow) -> DriftRule {
        let rules = &flow.on_drift;
        let unites = flow.home.as_files();
        let unites = unites.is_some_and(|files| files.schema_rule() == FileSchema::Union);
        let widened = if unites {
            DriftRule::Allow
        } else {
            DriftRule::Fail
        };
        match self {
            Self::Added => rules.added.unwrap_or(DriftRule::Allow),
            Self::Removed => rules.removed.unwrap_or(DriftRule::Fail),
            Self::Retyped => rules.retyped.unwrap_or(DriftRule::Fail),
            Self::Widened => rules.widened.unwrap_or(widened),
        }
    }
}

/// Compares the columns of a flow's home with those of the set that builds go on from; gives what is
/// to be said of changes that are published all the same.
///
/// # Errors
/// Columns have changed in a way that fails: all of them are named.
pub(super) fn check_drift(
    context: &PlanContext,
    flow: &Flow,
    work: &FlowWork,
    published: Option<&PublishedSet>,
) -> Result<Vec<String>> {
    let Some(published) = published.filter(|before| is_same_home(before, work)) else {
        return Ok(Vec::new());
    };
    // What is read by a watermark is compared where it is added.
    let has_watermark = flow
        .home
        .as_rows()
        .is_some_and(|rows| rows.watermark().is_some());
    if has_watermark || matches!(work.source, WorkSource::AtHand) {
        return Ok(Vec::new());
    }
    let request = &context.request;
    let accepts = request.accept_drift || request.forgets_schema(&flow.name);
    let (mut failing, mut remarks) = (Vec::new(), Vec::new());
    for change in changes(published, work) {
        let text = format!("{} ({})", change.text, change.kind.name());
        match change.kind.rule(flow) {
            DriftRule::Allow => {}
            DriftRule::Fail if !accepts => failing.push(text),
            DriftRule::Warn | DriftRule::Fail => remarks.push(text),
        }
    }
    if !failing.is_empty() {
        let error = format!(
            "the columns of its home have changed: {}",
            failing.join("; ")
        );
        let hint = format!(
            "hygge build --accept-drift {} publishes them once, and on_drift of the flow says what is published always",
            flow.name
        );
        return Err(Error::new(ErrorKind::Flow, error).with_hint(hint));
    }
    let remark = |text: String| format!("a column of its home has changed: {text}");
    Ok(remarks.into_iter().map(remark).collect())
}

/// What became of each column that was recorded; nothing where it is not known which they were.
fn changes(published: &PublishedSet, work: &FlowWork) -> Vec<ColumnChange> {
    let (before, now) = (&published.columns, &work.columns.recorded);
    if before.is_empty() || now.is_empty() {
        return Vec::new();
    }
    let is_absent = |absent: &[String], column: &RecordedColumn| {
        let top = |name: &&String| {
            let rest = column.name.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        absent.iter().any(|name| top(&name))
    };
    let was_there = |column: &&RecordedColumn| !is_absent(&published.absent_columns, column);
    let is_there = |column: &&RecordedColumn| !is_absent(&work.columns.absent, column);
    let before = with_namesakes(before.iter().filter(was_there));
    let now = with_namesakes(now.iter().filter(is_there));
    let there: HashMap<_, _> = now.iter().copied().collect();
    let were_there: HashMap<_, _> = before.iter().copied().collect();
    let mut changes = Vec::new();
    for (name, old) in &before {
        let Some(new) = there.get(name) else {
            let text = format!("{} is gone", old.name);
            let kind = ChangeKind::Removed;
            changes.push(ColumnChange { kind, text });
            continue;
        };
        let (from, to) = (&old.target_type, &new.target_type);
        if from == to {
            continue;
        }
        let kind = if is_widened(from, to) {
            ChangeKind::Widened
        } else {
            ChangeKind::Retyped
        };
        let text = format!("{} was {from}, and is {to}", old.name);
        changes.push(ColumnChange { kind, text });
    }
    let added = now
        .iter()
        .filter(|(name, _)| !were_there.contains_key(name));
    changes.extend(added.map(|(_, new)| ColumnChange {
        kind: ChangeKind::Added,
        text: format!("{} ({}) is new", new.name, new.target_type),
    }));
    changes
}

/// True where a set was made of the same home, as far as its receipt says which that was.
fn is_same_home(published: &PublishedSet, work: &FlowWork) -> bool {
    match (published.home, work.home) {
        (Some(before), Some(now)) => before == now,
        _ => true,
    }
}

/// The digest of what says which columns a flow's home has: where it is, and how it is read. What
/// hygge makes of it, and its versions, are not in it.
pub(super) fn home_digest(context: &PlanContext, flow: &Flow) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("home").text(flow.home.kind());
    match flow.home.source() {
        Source::Flow(upstream) => {
            writer.text(upstream);
        }
        Source::Rows(rows) => {
            let mut recipe = rows.recipe();
            recipe.retain(|name, _| !name.ends_with("version"));
            writer.map(&recipe);
            let table = rows.table().unwrap_or_default();
            writer.count(table.len());
            for name in table {
                writer.text(name);
            }
        }
        Source::Files(files) => {
            // A project that is moved has the same homes.
            let root = &context.project.root;
            let place = files.location().local_path();
            let below = place.and_then(|path| path.strip_prefix(root).ok());
            let place = below.or(place).unwrap_or(std::path::Path::new(""));
            writer.text(&place.to_string_lossy());
            for (name, value) in flow.home.settings() {
                if name != "path" && name != "batch_size" {
                    writer.text(name).text(&value.to_string());
                }
            }
        }
    }
    writer.finish()
}
