//! Verdicts and their reasons: what the recorded set was made from, beside what is there now.
//!
//! Pure comparison. A reason says what was and what is, so that `hygge why` has nothing to add.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::probe::StoreState;
use super::rebuildable;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::Components;
use crate::flow::{Flow, FlowName};
use crate::home::{PROBE_INPUT, SCHEMA_INPUT};
use crate::store::receipt::{Part, PublishedSet};

/// Whether a flow must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Key, publish key and outputs are as recorded.
    Fresh,
    /// It runs.
    Stale {
        /// Why.
        reasons: Vec<Reason>,
    },
    /// Only publishing is left: every part is at hand, and nothing of the home is read.
    Restore {
        /// Why.
        reasons: Vec<Reason>,
    },
    /// Upstreams will run; decided when their output is known.
    Maybe {
        /// The upstreams.
        upstreams: Vec<FlowName>,
        /// What is known to differ whatever they give.
        reasons: Vec<Reason>,
    },
    /// It cannot run.
    Blocked {
        /// Why.
        error: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Verdict {
    /// The verdict's word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale { .. } => "stale",
            Self::Restore { .. } => "restore",
            Self::Maybe { .. } => "maybe",
            Self::Blocked { .. } => "blocked",
        }
    }

    /// The reasons, where there are some.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Stale { reasons } | Self::Restore { reasons } | Self::Maybe { reasons, .. } => {
                reasons
            }
            Self::Fresh | Self::Blocked { .. } => &[],
        }
    }
}

/// One reason why a flow is not fresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the fields are named after what they hold: what was, and what is"
)]
pub enum Reason {
    /// There is no receipt: the store was never built.
    FirstBuild,
    /// It was asked for.
    Forced,
    /// What is recorded of its columns shall count no longer.
    SchemaForgotten,
    /// Slices of it were asked for.
    Slices { slices: String },
    /// A field of the recipe differs.
    Config {
        field: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// A reader or writer of hygge's gives other bytes than it did.
    Adapter {
        field: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// The home has a file that it had not.
    InputAdded { name: String },
    /// The home no longer has a file.
    InputRemoved { name: String },
    /// A file of the home has other bytes.
    InputChanged {
        name: String,
        old: Fingerprint,
        new: Fingerprint,
    },
    /// With `mode: append`: an input has the bytes of one that was moved and is gone, as if it had
    /// another name now.
    InputRenamed { old: String, new: String },
    /// With `mode: append`: an input has bytes again that it had, and that were moved then.
    InputBack { name: String },
    /// The upstream published something else.
    Upstream {
        flow: String,
        old: Option<Fingerprint>,
        new: Fingerprint,
    },
    /// The columns of the home differ; in words, where it is known what they were.
    Schema {
        old: Fingerprint,
        new: Fingerprint,
        columns: Vec<String>,
    },
    /// Another flow, or a flow of another project, published there last.
    Owner { old: String, new: String },
    /// The parts go by other names.
    Placement {
        field: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// A published file is gone.
    OutputMissing { name: String },
    /// Someone changed a published file; it is kept aside.
    OutputAltered { name: String },
    /// A publication died; it will be finished or undone.
    Interrupted,
    /// The folder holds what hygge did not make, and it was told to take it over.
    Adopted { names: Vec<String> },
    /// Nothing tells without reading whether the table changed.
    NoProbe,
    /// The probe of a table answers something else.
    Probe {
        old: Option<Fingerprint>,
        new: Fingerprint,
    },
    /// An earlier set was asked for, or the latest again.
    PutBack { run: i64, pinned: bool },
}

/// Stands before an upstream among the inputs: no path below a home begins like it.
pub const UPSTREAM_PREFIX: &str = "/flow/";

/// The setting that tells the database of a home from others.
const DATABASE_SETTING: &str = "home.database";

/// How many changes of columns a reason tells.
const MAX_SHOWN_COLUMNS: usize = 5;

/// The setting of a set that says by which version of the format its parts were made that did not
/// pass whole. It is no part of a key, because only the parts can tell whether it matters.
pub const MADE_VERSION: &str = "store.format.made.version";

/// The version of sets that do not say one.
const FIRST_MADE_VERSION: &str = "1";

/// The version by which a set was made, where that is not the one of today and some of its parts
/// did not pass whole.
fn outdated_version(published: &PublishedSet, version: u32) -> Option<String> {
    let made = published
        .components
        .settings
        .get(MADE_VERSION)
        .map_or(FIRST_MADE_VERSION, String::as_str);
    let is_outdated = made != version.to_string()
        && published
            .manifest
            .parts
            .iter()
            .any(|part| !passed_whole(part));
    is_outdated.then(|| made.to_string())
}

/// A part that passed whole has the bytes of the file that it was made from.
fn passed_whole(part: &Part) -> bool {
    part.inputs.iter().any(|input| input.digest == part.digest)
}

/// True for flows whose parts may pass whole: what becomes of other rows is in their keys.
fn may_pass_whole(flow: &Flow) -> bool {
    flow.home.as_rows().is_none() && flow.store.capabilities().parts_readable
}

/// Why a set must be made again though its config and its home are what they were.
pub(super) fn outdated_reason(flow: &Flow, published: &PublishedSet) -> Option<Reason> {
    let version = flow.store.output_spec().format.output_version();
    let old = outdated_version(published, version).filter(|_| may_pass_whole(flow))?;
    Some(Reason::Adapter {
        field: MADE_VERSION.into(),
        old: Some(old),
        new: Some(version.to_string()),
    })
}

/// With `mode: append`: the parts, by name, that were made by an older version and can be made
/// again.
pub(super) fn outdated_parts(
    flow: &Flow,
    published: &PublishedSet,
    inputs: &BTreeMap<String, Fingerprint>,
) -> HashSet<String> {
    if outdated_reason(flow, published).is_none() {
        return HashSet::new();
    }
    let parts = &published.manifest.parts;
    let mut again = rebuildable::rebuildable_parts(inputs, parts);
    again.retain(|name| {
        parts
            .iter()
            .any(|part| part.name == *name && !passed_whole(part))
    });
    again
}

/// What differs between the recorded set and what would be made now; nothing where it is fresh.
pub fn reasons(
    now: Option<&Components>,
    placement: &BTreeMap<String, String>,
    state: &StoreState,
) -> Vec<Reason> {
    let Some(receipt) = &state.receipt else {
        return vec![Reason::FirstBuild];
    };
    let mut reasons = Vec::new();
    if receipt.pending.is_some() {
        reasons.push(Reason::Interrupted);
    }
    let Some(published) = &receipt.published else {
        return reasons;
    };
    if let Some(now) = now {
        compare_components(published, now, &mut reasons);
    }
    for (field, old, new) in changed_fields(&published.placement, placement) {
        reasons.push(Reason::Placement { field, old, new });
    }
    reasons.extend(
        state
            .missing
            .iter()
            .map(|name| Reason::OutputMissing { name: name.clone() }),
    );
    reasons.extend(
        state
            .altered
            .iter()
            .map(|name| Reason::OutputAltered { name: name.clone() }),
    );
    reasons
}

fn compare_components(published: &PublishedSet, now: &Components, reasons: &mut Vec<Reason>) {
    let before = &published.components;
    let mut settings = before.settings.clone();
    settings.remove(MADE_VERSION);
    for (field, old, new) in changed_fields(&settings, &now.settings) {
        reasons.push(if field.ends_with(".version") {
            Reason::Adapter { field, old, new }
        } else {
            Reason::Config { field, old, new }
        });
    }
    compare_inputs(published, now, reasons);
}

/// What differs between what the home had and what it has.
pub(super) fn compare_inputs(
    published: &PublishedSet,
    now: &Components,
    reasons: &mut Vec<Reason>,
) {
    let before = &published.components;
    for (name, new) in &now.inputs {
        let old = before.inputs.get(name);
        match (name.strip_prefix(UPSTREAM_PREFIX), old) {
            (_, Some(old)) if old == new => {}
            (_, Some(old)) if name == SCHEMA_INPUT => reasons.push(Reason::Schema {
                old: *old,
                new: *new,
                columns: Vec::new(),
            }),
            (_, old) if name == PROBE_INPUT => reasons.push(Reason::Probe {
                old: old.copied(),
                new: *new,
            }),
            (Some(flow), old) => reasons.push(Reason::Upstream {
                flow: flow.to_string(),
                old: old.copied(),
                new: *new,
            }),
            (None, Some(old)) => reasons.push(Reason::InputChanged {
                name: name.clone(),
                old: *old,
                new: *new,
            }),
            (None, None) => reasons.push(Reason::InputAdded { name: name.clone() }),
        }
    }
    let is_other = |name: &String| {
        name.starts_with(UPSTREAM_PREFIX) || [SCHEMA_INPUT, PROBE_INPUT].contains(&name.as_str())
    };
    let gone = before
        .inputs
        .keys()
        .filter(|name| !now.inputs.contains_key(*name) && !is_other(name));
    reasons.extend(gone.map(|name| Reason::InputRemoved { name: name.clone() }));
}

type FieldChange = (String, Option<String>, Option<String>);

fn changed_fields(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<FieldChange> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    differing
        .map(|name| (name.clone(), old.get(name).cloned(), new.get(name).cloned()))
        .collect()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
        match self {
            Self::FirstBuild => write!(f, "never built"),
            Self::Forced => write!(f, "forced"),
            Self::SchemaForgotten => write!(f, "its columns are those of today's files"),
            Self::Slices { slices } => write!(f, "slices {slices} were asked for"),
            // What is recorded of a database is a digest, which says nothing to anybody.
            Self::Config {
                field,
                old: Some(_),
                new: Some(_),
            } if field == DATABASE_SETTING => {
                write!(
                    f,
                    "{field} is another than it was: the kind, the host, the port, the name or the path of its connection"
                )
            }
            Self::Config { field, old, new } | Self::Placement { field, old, new } => {
                write!(f, "{field} was {}, is {}", or_none(old), or_none(new))
            }
            Self::Adapter { field, old, new } if field == MADE_VERSION => write!(
                f,
                "its parts were packed, compressed anew or decoded by version {} of hygge's format, and it is {}",
                or_none(old),
                or_none(new)
            ),
            Self::Adapter { field, old, new } => write!(
                f,
                "hygge's {field} was {}, is {}",
                or_none(old),
                or_none(new)
            ),
            Self::InputAdded { name } => write!(f, "input {name} is new"),
            Self::InputRemoved { name } => write!(f, "input {name} is gone"),
            Self::InputChanged { name, old, new } => write!(
                f,
                "input {name} changed ({} -> {})",
                old.short(),
                new.short()
            ),
            Self::InputBack { name } => {
                write!(f, "input {name} has bytes again that were moved already")
            }
            Self::InputRenamed { old, new } => {
                write!(
                    f,
                    "input {new} has the bytes of {old}, which was added before: skipped; on_repeated: add adds it"
                )
            }
            Self::Upstream {
                flow,
                old: Some(old),
                new,
            } => {
                write!(
                    f,
                    "flow {flow} gave something else ({} -> {})",
                    old.short(),
                    new.short()
                )
            }
            Self::Upstream {
                flow,
                old: None,
                new,
            } => write!(f, "flow {flow} is its home now ({})", new.short()),
            Self::Schema { old, new, columns } if columns.is_empty() => {
                write!(
                    f,
                    "the columns changed: what is known of them besides names and types, or all of it ({} -> {})",
                    old.short(),
                    new.short()
                )
            }
            Self::Schema { columns, .. } => {
                let more = columns.len().saturating_sub(MAX_SHOWN_COLUMNS);
                let more = if more > 0 {
                    format!("; and {more} more")
                } else {
                    String::new()
                };
                write!(
                    f,
                    "the columns changed: {}{more}",
                    columns
                        .iter()
                        .take(MAX_SHOWN_COLUMNS)
                        .cloned()
                        .collect::<Vec<_>>()
                        .join("; ")
                )
            }
            Self::Owner { old, new } => write!(f, "{new} takes the store over from {old}"),
            Self::OutputMissing { name } => write!(f, "output {name} is missing"),
            Self::OutputAltered { name } => write!(f, "output {name} was altered by someone else"),
            Self::NoProbe => {
                write!(
                    f,
                    "it has no probe, so that nothing says whether it changed: add probe: {{columns: [...]}} to its home"
                )
            }
            Self::Probe {
                old: Some(old),
                new,
            } => write!(
                f,
                "its probe answers otherwise ({} -> {})",
                old.short(),
                new.short()
            ),
            Self::Probe { old: None, .. } => write!(f, "its probe was never asked"),
            Self::Interrupted => write!(f, "a publication was interrupted"),
            Self::Adopted { names } => {
                write!(f, "takes over a folder that has {}", names.join(", "))
            }
            Self::PutBack { pinned: false, .. } => write!(f, "the latest set was asked for"),
            Self::PutBack { run, .. } => write!(f, "the set of run {run} was asked for"),
        }
    }
}
