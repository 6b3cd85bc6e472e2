//! Flows: one movement from a home to a store each, made from the blocks of the config.
//!
//! A flow is pure description: nothing here looks at a disk.

pub mod factory;
pub mod from_blocks;
pub mod resolved;
pub mod schema;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::problem::Span;
use crate::config::schema::{OnChanged, OnDrift, OnRepeated, OnVanished};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::key::Components;
use crate::format::{Format, PartitionBy, WantedColumns};
use crate::home::{Home, PartitionFilter, RowTest, SliceRange};
use crate::shape::Shape;
use crate::store::{Store, StoreUpdate};

/// A flow's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowName(Arc<str>);

impl FlowName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FlowName {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl Borrow<str> for FlowName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One movement from a home to a store.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name.
    pub name: FlowName,
    /// Where the data lives.
    pub home: Arc<dyn Home>,
    /// Where the data settles.
    pub store: Arc<dyn Store>,
    /// Flows that must be built before it, declared by hand.
    pub needs: Vec<FlowName>,
    /// The flow of the config that it is an entity of, and the entity.
    pub entity: Option<(String, String)>,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// How a build changes the store.
    pub mode: Mode,
    /// What becomes of columns of its home that have changed.
    pub on_drift: OnDrift,
    /// What becomes of rows and columns on their way, where something does.
    pub shape: Option<Arc<Shape>>,
    /// How many of a hundred rows may vanish in one build.
    pub max_shrink: u8,
    /// How long a build of it may take.
    pub timeout: Option<Duration>,
    /// How many batches wait between a database and its encoder.
    pub queue_size: Option<u64>,
    /// How often it is tried again when a database fails with a transient error.
    pub retries: u64,
    /// Whether other flows begin when this one has failed; `None` for what the project says.
    pub continue_on_error: Option<bool>,
    /// Where it is written, for problems that are found later.
    pub spans: FlowSpans,
}

/// How a build changes a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It makes the whole set.
    #[default]
    Replace,
    /// It adds the inputs that were not moved yet.
    Append {
        /// What becomes of an input that was moved and has other bytes now.
        on_changed: OnChanged,
        /// What becomes of the rows of an input that is gone.
        on_vanished: OnVanished,
        /// What becomes of an input that has the bytes of one that was moved and is gone.
        on_repeated: OnRepeated,
    },
    /// It makes the whole set, and the rows of parts that are new take the place of those with
    /// their keys.
    Merge,
}

impl Mode {
    /// The mode's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Append { .. } => "append",
            Self::Merge => "merge",
        }
    }

    /// How a new set changes what a store holds.
    pub fn store_update(self) -> StoreUpdate {
        match self {
            Self::Replace => StoreUpdate::Replace,
            Self::Append { .. } => StoreUpdate::Append,
            Self::Merge => StoreUpdate::Merge,
        }
    }

    /// True where inputs are moved once and stay.
    pub fn appends(self) -> bool {
        matches!(self, Self::Append { .. })
    }

    /// What becomes of an input that was moved and has other bytes now.
    pub fn on_changed(self) -> OnChanged {
        if let Self::Append { on_changed, .. } = self {
            on_changed
        } else {
            OnChanged::Rewrite
        }
    }

    /// What becomes of an input that has the bytes of one that was moved and is gone.
    pub fn on_repeated(self) -> OnRepeated {
        if let Self::Append { on_repeated, .. } = self {
            on_repeated
        } else {
            OnRepeated::Skip
        }
    }

    /// What becomes of the rows of an input that is gone.
    pub fn on_vanished(self) -> OnVanished {
        if let Self::Append { on_vanished, .. } = self {
            on_vanished
        } else {
            OnVanished::Remove
        }
    }
}

/// Where a flow is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSpans {
    /// Its name.
    pub name: Span,
    /// The path of its home.
    pub home: Span,
    /// The path of its store.
    pub store: Span,
}

/// Settings of a recipe that decide which columns files have for their flow: a part's key has what
/// that is for its files.
pub const COLUMN_SETTINGS: [&str; 2] = ["home.hive_types", "home.schema"];

/// How often a flow is tried again where nothing is said.
const DEFAULT_RETRIES: u64 = 3;

/// A build may not empty a store, but anything less.
const DEFAULT_MAX_SHRINK: u8 = 99;

impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        let rest = |flow: &Self| {
            let names = (
                flow.name.clone(),
                flow.entity.clone(),
                flow.needs.clone(),
                flow.tags.clone(),
            );
            (
                names,
                (flow.mode, flow.on_drift),
                flow.max_shrink,
                flow.timeout,
                (flow.queue_size, flow.retries),
                flow.continue_on_error,
                flow.spans,
            )
        };
        *self.home == *other.home
            && *self.store == *other.store
            && self.shape == other.shape
            && rest(self) == rest(other)
    }
}

impl Eq for Flow {}

impl Flow {
    /// The recipe: adapter versions and what of the config decides the parts' bytes.
    ///
    /// `input` is the format of the home's files, which a home that is another flow does not know.
    pub fn recipe(&self, input: &dyn Format) -> Components {
        let target = self.store.output_spec();
        let mut recipe = Components::default();
        match self.home.as_rows() {
            Some(table) => recipe.settings.extend(table.recipe()),
            None => {
                recipe.set("home.format", input.id());
                recipe.set("home.format.version", input.version());
                let columns = self.home.as_files().map(|files| files.column_settings());
                let columns = columns.unwrap_or_default();
                for (key, value) in input.settings().iter().chain(&columns) {
                    recipe.set(format!("home.{key}"), setting_text(value));
                }
            }
        }
        for (key, value) in self.shape.iter().flat_map(|shape| shape.settings()) {
            recipe.set(key, setting_text(&value));
        }
        recipe.set("store.format", target.format.id());
        // Rows of a table that become files are made by the format; other files may pass whole,
        // which their parts tell.
        let is_made = self.home.as_rows().is_some() && self.store.capabilities().parts_readable;
        recipe.set(
            "store.format.version",
            if is_made {
                target.format.output_version()
            } else {
                target.format.version()
            },
        );
        target
            .format
            .settings()
            .iter()
            .for_each(|(key, value)| recipe.set(format!("store.{key}"), setting_text(value)));
        recipe.set("store.compression", target.compression.name);
        if let Some(level) = target.compression.level {
            recipe.set("store.compression_level", level);
        }
        if let Some(rows) = target.rows_per_file {
            recipe.set("store.rows_per_file", rows);
        }
        for (key, value) in target.partition_by.iter().flat_map(PartitionBy::recipe) {
            recipe.set(format!("store.{key}"), setting_text(&value));
        }
        recipe
    }

    /// What decides how its parts are published, field by field.
    pub fn placement(&self) -> BTreeMap<String, String> {
        let mut placement = self.store.placement();
        placement.insert("mode".into(), self.mode.name().into());
        placement
    }

    /// Which columns of its home are read.
    pub fn wanted_columns(&self) -> WantedColumns {
        let shape = self.shape.as_ref();
        shape.map_or(WantedColumns::All, |shape| shape.wanted())
    }

    /// What a database may test of rows before it sends them.
    pub fn row_tests(&self) -> Vec<RowTest> {
        let shape = self.shape.as_ref();
        shape.map(|shape| shape.row_tests()).unwrap_or_default()
    }

    /// True where rows that were moved cannot be taken back: they are added to a table.
    pub fn is_append_only(&self) -> bool {
        self.mode.appends() && !self.store.capabilities().append_revocable
    }

    /// Which units of its home slices mean that were asked for.
    ///
    /// # Errors
    /// It has no slices, or cannot replace them.
    pub fn partition_filter(&self, slices: &SliceRange) -> Result<PartitionFilter, Error> {
        let wrong =
            |error: String, hint: &str| Error::new(ErrorKind::Config, error).with_hint(hint);
        let Some(table) = self.home.as_rows() else {
            return Err(wrong(
                format!("flow {} has no slices: its home is no table", self.name),
                "leave --slice out",
            ));
        };
        if self.is_append_only() {
            let error = format!(
                "flow {} adds to a table, which cannot tell the rows of a slice from others",
                self.name
            );
            return Err(wrong(error, "mode: merge with a key, or mode: replace"));
        }
        table.partition_filter(slices)
    }

    /// The flow whose store this flow's home names.
    pub fn upstream(&self) -> Option<&str> {
        self.home.as_flow()
    }
}

/// A setting as a recipe has it.
fn setting_text(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}
