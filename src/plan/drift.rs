//! Drift: columns of a home that have changed since its flow was published, and what the config says
//! of that. Nothing is published before it is decided.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::context::PlanContext;
use super::inferred_types::NO_TYPE;
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
    /// True where one of the types is that of a column in which nothing has a value.
    is_guess: bool,
}

impl ColumnChange {
    fn new(kind: ChangeKind, text: String) -> Self {
        Self {
            kind,
            text,
            is_guess: false,
        }
    }

    fn added(column: &RecordedColumn) -> Self {
        let text = format!("{} ({}) is new", column.name, column.target_type);
        Self::new(ChangeKind::Added, text)
    }
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
        // What another flow has published was decided there.
        let is_decided = flow.upstream().is_some();
        let fail_unless = |is_allowed: bool| {
            if is_allowed {
                DriftRule::Allow
            } else {
                DriftRule::Fail
            }
        };
        // Types that were found in values are other ones because the config allows it.
        let finds_types = || {
            let files = flow.home.as_files();
            let widens = files.is_some_and(|files| files.widens_types());
            widens.then_some(DriftRule::Warn)
        };
        let fail_unless_found =
            |is_allowed: bool| finds_types().unwrap_or_else(|| fail_unless(is_allowed));
        match self {
            Self::Added => rules.added.unwrap_or(DriftRule::Allow),
            Self::Removed => rules.removed.unwrap_or(fail_unless(is_decided)),
            Self::Retyped => rules
                .retyped
                .unwrap_or_else(|| fail_unless_found(is_decided)),
            Self::Widened => rules
                .widened
                .unwrap_or_else(|| fail_unless_found(is_decided || unites)),
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
    if matches!(work.source, WorkSource::AtHand) {
        return Ok(Vec::new());
    }
    let request = &context.request;
    // With a watermark, --force is what reads the rows anew whose columns have changed.
    let has_watermark = flow
        .home
        .as_rows()
        .is_some_and(|rows| rows.watermark().is_some());
    let accepts = request.accept_drift
        || request.forgets_schema(&flow.name)
        || has_watermark && request.is_forced(&flow.name);
    let (mut failing, mut remarks) = (Vec::new(), Vec::new());
    let files = work.files();
    let finds_types = files.is_some_and(|files| files.format.infers_types());
    for change in changes(published, work, finds_types) {
        let text = format!("{} ({})", change.text, change.kind.name());
        match change.kind.rule(flow) {
            DriftRule::Allow => {}
            DriftRule::Fail if change.is_guess => remarks.push(text),
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
fn changes(published: &PublishedSet, work: &FlowWork, finds_types: bool) -> Vec<ColumnChange> {
    let (before, now) = (published.home_columns(), work.columns.home_columns());
    if before.is_empty() || now.is_empty() {
        return Vec::new();
    }
    let was_absent: HashSet<&String> = published.absent_columns.iter().collect();
    let is_absent: HashSet<&String> = work.columns.absent.iter().collect();
    // A column that no file had any more is known still.
    let before = with_namesakes(before.iter());
    let now = with_namesakes(
        now.iter()
            .filter(|column| !is_absent.contains(&column.name)),
    );
    let known: HashMap<_, _> = before.iter().copied().collect();
    let there: HashMap<_, _> = now.iter().copied().collect();
    let removed = before
        .iter()
        .filter(|(name, old)| !there.contains_key(name) && !was_absent.contains(&old.name));
    let removed: Vec<_> = removed.map(|(_, old)| *old).collect();
    let added = now.iter().filter(|(name, _)| !known.contains_key(name));
    let added: Vec<_> = added.map(|(_, new)| *new).collect();
    let mut changes = Vec::new();
    for old in &removed {
        let new = added
            .iter()
            .find(|new| is_inside(&old.name, &new.name) || is_inside(&new.name, &old.name));
        changes.push(match new {
            Some(new) => {
                let text = format!(
                    "{} was {}, and is {} now",
                    old.name, old.target_type, new.name
                );
                ColumnChange::new(ChangeKind::Retyped, text)
            }
            None => ColumnChange::new(ChangeKind::Removed, format!("{} is gone", old.name)),
        });
    }
    for (name, new) in &now {
        let Some(old) = known.get(name) else {
            continue;
        };
        let (from, to) = (&old.target_type, &new.target_type);
        // What is not read has no type that is found in values.
        let is_unread = finds_types && (from == NO_TYPE || to == NO_TYPE);
        if is_unread {
            continue;
        }
        if from != to {
            let kind = if is_widened(from, to) {
                ChangeKind::Widened
            } else {
                ChangeKind::Retyped
            };
            changes.push(ColumnChange {
                is_guess: is_guess(old) || is_guess(new),
                ..ColumnChange::new(kind, format!("{} was {from}, and is {to}", old.name))
            });
        } else if was_absent.contains(&new.name) {
            changes.push(ColumnChange::added(new));
        }
    }
    changes.extend(added.into_iter().map(ColumnChange::added));
    // Texts have no others inside of them.
    if changes.is_empty() && !finds_types && has_other_structure(published, work) {
        let text = "what its columns consist of is put together in another way".into();
        changes.push(ColumnChange::new(ChangeKind::Retyped, text));
    }
    changes
}

/// True where no database declares a type, and no value says one.
fn is_guess(column: &RecordedColumn) -> bool {
    column.declared == NO_TYPE && column.target_type != "null"
}

/// True where a column with values is a field of another, or an element of it.
fn is_inside(outer: &str, inner: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// True where files have the same columns with values as before, and other lists, maps or groups
/// around them.
fn has_other_structure(published: &PublishedSet, work: &FlowWork) -> bool {
    let is_plain =
        |folders: &[String], schema: &Option<String>| folders.is_empty() && schema.is_none();
    let has_files = work.files().is_some_and(|files| !files.files.is_empty());
    let stays = work.parts.iter().any(|part| part.name.is_some());
    // Receipts of before say digests of other kinds.
    has_files
        && !stays
        && published.home.is_some()
        && is_plain(&published.folder_columns, &published.arrow_schema)
        && is_plain(&work.columns.folder_columns, &work.columns.arrow_schema)
        && published.schema_digest.is_some_and(|before| {
            work.schema.is_some_and(|now| now != before) && !work.has_schema(&before)
        })
}

/// True where a set was made of the same home, as far as its receipt says which that was.
fn is_same_home(published: &PublishedSet, work: &FlowWork) -> bool {
    match (published.home, work.home) {
        (Some(before), Some(now)) => before == now,
        _ => true,
    }
}

/// What of a table's recipe says nothing of its columns.
const NOT_OF_COLUMNS: [&str; 4] = [
    "home.slice",
    "home.watermark",
    "home.primary_key",
    "home.on_invalid",
];

/// What a home of files says besides which columns they have.
const NOT_OF_FILES: [&str; 3] = ["path", "batch_size", "on_mismatch"];

/// The digest of what says which columns a flow's home has: where it is, and how it is read. What
/// hygge makes of it, and its versions, are not in it.
pub(super) fn home_digest(root: &Path, flow: &Flow) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("home").text(flow.home.kind());
    match flow.home.source() {
        Source::Flow(upstream) => {
            writer.text(upstream);
        }
        Source::Rows(rows) => {
            let mut recipe = rows.recipe();
            let decides =
                |name: &str| !name.ends_with("version") && !NOT_OF_COLUMNS.contains(&name);
            recipe.retain(|name, _| decides(name));
            writer.map(&recipe);
            let table = rows.table().unwrap_or_default();
            writer.count(table.len());
            for name in table {
                writer.text(name);
            }
        }
        Source::Files(files) => {
            // A project that is moved has the same homes.
            let place = files.location().local_path();
            let below = place.and_then(|path| path.strip_prefix(root).ok());
            let place = below.or(place).unwrap_or(Path::new(""));
            writer.text(&place.to_string_lossy());
            for (name, value) in flow.home.settings() {
                if !NOT_OF_FILES.contains(&name) {
                    writer.text(name).text(&value.to_string());
                }
            }
        }
    }
    writer.finish()
}
