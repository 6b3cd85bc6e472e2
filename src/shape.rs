//! Shapes: what becomes of a home's rows and columns on their way, row by row: which rows come,
//! which columns, as which types and under which names.
//!
//! The order is that of the config's keys: `where`, `cast`, `add`, `hash_id`, `columns`, `rename`,
//! `case`, `casing`. The home's names hold up to `columns`.

mod arithmetic;
mod bind;
mod bound;
mod cast;
pub mod config_fields;
mod error;
mod evaluate;
mod exact_number;
mod expression;
mod filter;
mod folder_filter;
mod moment;
mod names;
mod partition_by;
mod polish;
mod row_tests;
mod skip;
mod template;
mod typed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use polars_arrow::datatypes::ArrowSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use bound::{BoundShape, ShapedRows};
pub(crate) use cast::{cast_texts, check_text_castable, is_text_of, text_of};
pub(crate) use error::nearest_column;
pub use error::{RowError, ShapeError};
pub use expression::{Expression, SyntaxError};
pub use folder_filter::FolderFilter;
pub use partition_by::{BoundPartitions, FolderRows};
pub use polish::{NameRules, Polish};
pub use template::{PLACEHOLDERS, placeholders};

use crate::config::node::NodeValue;
use crate::config::schema::{Casing, NameCase};
use crate::connection::types::ColumnType;
use crate::format::WantedColumns;
use crate::home::RowTest;

/// The key of a store's block that says what the Python hygge called so.
pub const POLISH_KEY: &str = "polish";

/// What becomes of a home's rows and columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Which rows come.
    pub filter: Option<Expression>,
    /// The types that columns are cast to.
    pub casts: BTreeMap<String, ColumnType>,
    /// Columns that hold one value, in order.
    pub added: Vec<AddedColumn>,
    /// Columns that hold the digest of others.
    pub hash_ids: Vec<HashId>,
    /// Which of the home's columns come, and in which order.
    pub columns: Option<ColumnChoice>,
    /// New names by old ones.
    pub renames: BTreeMap<String, String>,
    /// How all names are written.
    pub case: Option<NameCase>,
    /// How the letters of all names are folded in the end.
    #[serde(default)]
    pub casing: Casing,
    /// What the store's `polish` asks for.
    pub polish: Option<Polish>,
    /// The moment of the run, in microseconds since 1970, where an added column has it.
    pub run_time: Option<i64>,
}

/// A column that holds one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedColumn {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AddedValue,
}

/// The value of an added column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddedValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number, and never NaN.
    Float(f64),
    /// A text, in which something of the file or of the run may stand.
    Text(String),
    /// The moment of the run.
    RunTime,
    /// The same as a text, by the directives of `strftime`.
    RunTimeText(String),
}

/// A column that holds the digest of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashId {
    /// Its name.
    pub name: String,
    /// The columns.
    pub of: Vec<String>,
    /// True for bytes, false for their digits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_binary: bool,
}

/// Which of the home's columns come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnChoice {
    /// These, in this order.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

impl Shape {
    /// True where nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.settings().is_empty()
    }

    /// What it says, by the keys of the config.
    pub fn settings(&self) -> Vec<(&'static str, Value)> {
        let mut settings = Vec::new();
        if let Some(filter) = &self.filter {
            settings.push(("where", json!(filter.text)));
        }
        if !self.casts.is_empty() {
            settings.push(("cast", json!(self.casts)));
        }
        if !self.added.is_empty() {
            // A list has an order.
            let added = self.added.iter();
            let added =
                added.map(|added| json!({ "name": added.name, "value": added.value.to_json() }));
            settings.push(("add", Value::Array(added.collect())));
        }
        if !self.hash_ids.is_empty() {
            settings.push(("hash_id", json!(self.hash_ids)));
        }
        match &self.columns {
            None => {}
            Some(ColumnChoice::Only(names)) => settings.push(("columns", json!(names))),
            Some(ColumnChoice::Except(names)) => {
                settings.push(("columns", json!({ "exclude": names })));
            }
        }
        if !self.renames.is_empty() {
            settings.push(("rename", json!(self.renames)));
        }
        if let Some(case) = self.case {
            settings.push(("case", json!(case)));
        }
        if self.casing != Casing::Keep {
            settings.push(("casing", json!(self.casing)));
        }
        if let Some(polish) = &self.polish {
            settings.push((POLISH_KEY, polish.to_json()));
        }
        settings
    }

    /// Which columns of a home are read for it.
    pub fn wanted(&self) -> WantedColumns {
        let filter = self.filter.iter().flat_map(Expression::columns);
        let hashed = self.all_hash_ids().flat_map(|hash| &hash.of);
        let used = filter.map(str::to_string).chain(hashed.cloned());
        match &self.columns {
            None => WantedColumns::All,
            Some(ColumnChoice::Only(chosen)) => {
                WantedColumns::Only(used.chain(chosen.iter().cloned()).collect())
            }
            Some(ColumnChoice::Except(others)) => {
                let used: BTreeSet<String> = used.collect();
                let unused = others.iter().filter(|name| !used.contains(*name));
                WantedColumns::Except(unused.cloned().collect())
            }
        }
    }

    /// Its names of columns are those of a home.
    ///
    /// # Errors
    /// The first that is not, with the nearest that is.
    pub fn check_names(&self, names: &BTreeSet<&str>) -> Result<(), ShapeError> {
        let filter = self.filter.iter().flat_map(Expression::columns);
        let filter = filter.map(|name| ("where", name));
        let casts = self.casts.keys().map(|name| ("cast", name.as_str()));
        let hashed = self.all_hash_ids().flat_map(|hash| &hash.of);
        let hashed = hashed.map(|name| ("hash_id", name.as_str()));
        let chosen = match &self.columns {
            None => &[][..],
            Some(ColumnChoice::Only(names) | ColumnChoice::Except(names)) => names.as_slice(),
        };
        let chosen = chosen.iter().map(|name| ("columns", name.as_str()));
        let renames = self.renames.keys().map(|name| ("rename", name.as_str()));
        let mut named = filter
            .chain(casts)
            .chain(hashed)
            .chain(chosen)
            .chain(renames);
        match named.find(|(_, name)| !names.contains(name)) {
            Some((key, name)) => Err(error::unknown_column(name, names).of_key(key)),
            None => Ok(()),
        }
    }

    /// The columns that decide which rows come.
    pub fn filter_columns(&self) -> BTreeSet<String> {
        let names = self.filter.iter().flat_map(Expression::columns);
        names.map(str::to_string).collect()
    }

    /// What values in names of folders decide of which rows come, where they have these columns.
    pub fn folder_filter(&self, columns: &ArrowSchema) -> Option<FolderFilter> {
        let filter = self.filter.as_ref()?;
        Some(FolderFilter::new(filter, columns)).filter(|filter| !filter.columns().is_empty())
    }

    /// What a database may test of rows before it sends them.
    pub fn row_tests(&self) -> Vec<RowTest> {
        let filter = self.filter.as_ref();
        filter.map(row_tests::row_tests).unwrap_or_default()
    }

    /// True where rows may be left out.
    pub fn filters(&self) -> bool {
        self.filter.is_some()
    }

    /// The placeholders of its texts.
    fn placeholders(&self) -> Vec<&'static str> {
        let values = self.all_added().map(|added| &added.value);
        let mut found: Vec<_> = values.flat_map(AddedValue::placeholders).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Columns that hold one value, those of `polish` included.
    fn all_added(&self) -> impl Iterator<Item = &AddedColumn> {
        let polished = self.polish.iter().flat_map(|polish| &polish.added);
        self.added.iter().chain(polished)
    }

    /// Columns that hold the digest of others, those of `polish` included.
    fn all_hash_ids(&self) -> impl Iterator<Item = &HashId> {
        let polished = self.polish.iter().flat_map(|polish| &polish.hash_ids);
        self.hash_ids.iter().chain(polished)
    }

    /// True where what it makes is not the same each time.
    pub fn has_run_time(&self) -> bool {
        self.placeholders().contains(&template::RUN_TIME)
    }

    /// What is to be known of it, in words.
    pub fn remark(&self) -> Option<String> {
        let has = |added: &&AddedColumn| added.value.placeholders().contains(&template::RUN_TIME);
        let name = &self.all_added().find(has)?.name;
        Some(format!(
            "column {name} holds the moment in which its rows were moved: a rebuild gives other bytes, and flows behind this one run"
        ))
    }

    /// True where what it makes depends on the file.
    pub fn has_file_values(&self) -> bool {
        self.placeholders()
            .iter()
            .any(|name| *name != template::RUN_TIME)
    }

    /// What it takes of a file, by its path below the home.
    pub fn file_values(&self, path: &str) -> BTreeMap<String, String> {
        template::file_values(path, &self.placeholders())
    }

    /// The same for what is made now.
    #[must_use]
    pub fn for_run(self: &Arc<Self>) -> Arc<Self> {
        if !self.has_run_time() {
            return self.clone();
        }
        Arc::new(Self {
            run_time: Some(Timestamp::now().as_microsecond()),
            ..Self::clone(self)
        })
    }

    /// The columns that it makes of all those of a home.
    ///
    /// # Errors
    /// It does not fit them.
    pub fn output_schema(&self, home: &ArrowSchema) -> Result<ArrowSchema, ShapeError> {
        self.check_names(&home.iter_names().map(|name| name.as_str()).collect())?;
        Ok(self.bind(home, &self.file_values(""))?.schema().clone())
    }

    /// What is to be known of the names that it makes of those of a home, in words.
    pub fn name_warnings(&self, home: &[String]) -> Vec<String> {
        let Some(polish) = &self.polish else {
            return Vec::new();
        };
        let is_chosen = |name: &&String| match &self.columns {
            None => true,
            Some(ColumnChoice::Only(names)) => names.contains(name),
            Some(ColumnChoice::Except(names)) => !names.contains(name),
        };
        let own = home.iter().filter(is_chosen);
        let hashed = self.all_hash_ids().map(|hash| &hash.name);
        let names: Vec<&str> = own.chain(hashed).map(String::as_str).collect();
        polish.names.describe_numbered(&names)
    }

    /// The shape for rows of these columns, which are all that are read for it; `file` is what it takes of their file.
    ///
    /// # Errors
    /// It does not fit them.
    pub fn bind(
        &self,
        home: &ArrowSchema,
        file: &BTreeMap<String, String>,
    ) -> Result<BoundShape, ShapeError> {
        BoundShape::new(self, home, file)
    }
}

/// No float of it is NaN.
impl Eq for AddedValue {}

impl AddedValue {
    /// A value that is no text.
    fn from_node(node: &NodeValue) -> Option<Self> {
        match node {
            NodeValue::Bool(value) => Some(Self::Boolean(*value)),
            NodeValue::Integer(value) => Some(Self::Integer(*value)),
            NodeValue::Float(value) if value.is_finite() => Some(Self::Float(*value)),
            _ => None,
        }
    }

    /// The placeholders that stand in it.
    fn placeholders(&self) -> Vec<&'static str> {
        match self {
            Self::Text(text) => placeholders(text).unwrap_or_default(),
            Self::RunTime | Self::RunTimeText(_) => vec![template::RUN_TIME],
            Self::Boolean(_) | Self::Integer(_) | Self::Float(_) => Vec::new(),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Boolean(value) => json!(value),
            Self::Integer(value) => json!(value),
            Self::Float(value) => json!(value),
            Self::Text(text) => json!(text),
            Self::RunTime | Self::RunTimeText(_) => json!(format!("{{{}}}", template::RUN_TIME)),
        }
    }
}
