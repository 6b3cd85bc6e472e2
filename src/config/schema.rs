//! The blocks of a config as types: their fields are the keys, their comments the reference.
//!
//! `hygge schema` and docs/config.md are made from them. What only one home or store has stands in
//! that home's or store's own file.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::node::Secret;
use super::value_types::{
    BoundedNumber, ByteSize, ConfigDuration, IgnoredValue, PathText, Percentage, StringList,
};

/// The config of a project: `hygge.yml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "project", deny_unknown_fields)]
pub struct ProjectFields {
    /// The project's name, written into receipts.
    #[schemars(example = &"shop", extend("x-default" = "folder and file, as in `shop/hygge.yml`"))]
    pub name: Option<String>,
    /// Options of every run.
    pub options: Option<OptionsFields>,
    /// The folder with a folder for each further flow: `NAME/flow.yml`, and `NAME/entities/ENTITY.yml`; `null` for none.
    #[schemars(example = &"flows", extend("default" = "flows"))]
    pub flows_dir: Option<PathText>,
    /// The databases by name. `HYGGE_CONNECTION_NAME` in the environment goes before the one of that name.
    #[schemars(extend("x-type" = "map of [connections](#a-connection)"))]
    pub connections: Option<BTreeMap<String, ConnectionFields>>,
    /// Homes that several flows use by name, as in `home: NAME`.
    #[schemars(schema_with = "homes", extend("x-type" = "map of homes"))]
    pub homes: Option<BTreeMap<String, IgnoredValue>>,
    /// Stores that several flows use by name, as in `store: NAME`; `{flow}` and `{entity}` in the path keep them apart.
    #[schemars(schema_with = "stores", extend("x-type" = "map of stores"))]
    pub stores: Option<BTreeMap<String, IgnoredValue>>,
    /// What every flow has unless it says otherwise: any keys of [a flow](#a-flow).
    #[schemars(with = "Option<SharedFields>", extend("x-type" = "map"))]
    pub defaults: Option<IgnoredValue>,
    /// The flows by name: letters, digits, `_`, `-`, `.`; not beginning with `.` or `-`.
    #[schemars(schema_with = "flows", extend("x-type" = "map of [flows](#a-flow)", "x-default" = "required, here or in `flows_dir`"))]
    pub flows: Option<BTreeMap<String, IgnoredValue>>,
}

/// `options` of the project.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "options", deny_unknown_fields)]
pub struct OptionsFields {
    /// How many parts are made at once; `-j` goes before it.
    #[schemars(example = 4, extend("x-default" = "the number of processors"))]
    pub concurrency: Option<BoundedNumber<1, 1024>>,
    /// Whether other flows begin when one has failed; `--fail-fast` is `false`.
    #[schemars(example = false, extend("default" = true))]
    pub continue_on_error: Option<bool>,
    /// The cache.
    pub cache: Option<CacheFields>,
    /// A file of variables (no pipe), lines of `NAME=value` as dotenv has them: `'…'` keeps a dollar; the environment goes before it.
    #[schemars(example = &".env", extend("x-default" = "none is read"))]
    pub env_file: Option<PathText>,
    /// Whether a path of homes, stores, SQLite files, the cache or the config that leaves its folder, also by a link inside a home, is an error.
    #[schemars(example = true, extend("default" = false))]
    pub confine: Option<bool>,
}

/// `options.cache`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "cache", deny_unknown_fields)]
pub struct CacheFields {
    /// A folder of its own for the cache, or one that is not there yet; it may be deleted at any time, and may be a link.
    #[schemars(example = &"../.hygge-cache", extend("default" = ".hygge-cache"))]
    pub dir: Option<PathText>,
    /// Whether the cache keeps its own copy of what is published: where the filesystem can clone, always (by a copy where it cannot), or never.
    #[schemars(example = &"always", extend("default" = "auto"))]
    pub keep: Option<CacheKeep>,
    /// How much history the cache may have: the oldest parts that no store has any more go first.
    #[schemars(example = &"500MB", extend("default" = "10GB"))]
    pub max_size: Option<ByteSize>,
    /// How long a part stays in the cache that no store has any more.
    #[schemars(example = &"7d", extend("default" = "30d"))]
    pub max_age: Option<ConfigDuration>,
}

/// Whether the cache keeps its own copy of what is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum CacheKeep {
    #[default]
    /// Where that costs nothing.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a build changes a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum FlowMode {
    #[default]
    /// It makes the whole set.
    Replace,
    /// It adds the inputs that were not moved yet.
    Append,
    /// In a table, rows take the place of those with their key.
    Merge,
}

/// What becomes of an input that was moved and has other bytes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnChanged {
    #[default]
    /// The flow fails.
    Fail,
    /// What was made from it is made again.
    Rewrite,
    /// What was made from it stays as it is.
    Ignore,
}

/// What becomes of columns of a home that have changed since its flow was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename = "on_drift", deny_unknown_fields)]
pub struct OnDrift {
    /// A column that was not there.
    #[schemars(example = &"fail", extend("default" = "allow"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<DriftRule>,
    /// A column that is gone.
    #[schemars(example = &"warn", extend("default" = "fail"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<DriftRule>,
    /// A column whose type is another, which does not hold all that the one before holds.
    #[schemars(example = &"allow", extend("x-default" = "`warn` with `on_mismatch: widen` of the home, else `fail`"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retyped: Option<DriftRule>,
    /// A column whose type holds all that the one before holds, and more.
    #[schemars(example = &"allow", extend("x-default" = "`allow` with `schema: union` of the home, else `fail`"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widened: Option<DriftRule>,
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DriftRule {
    /// It is published.
    Allow,
    /// It is published, and said.
    Warn,
    /// The flow fails before anything is published.
    Fail,
}

/// What the Python hygge calls the mode of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RunType {
    /// The whole set is made.
    FullDrop,
    /// What is new is added.
    Incremental,
}

impl RunType {
    /// The mode that it is.
    pub fn mode(self) -> FlowMode {
        match self {
            Self::FullDrop => FlowMode::Replace,
            Self::Incremental => FlowMode::Append,
        }
    }
}

/// How names of columns are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum NameCase {
    /// `order_date`.
    Snake,
    /// `orderDate`.
    Camel,
    /// `OrderDate`.
    Pascal,
}

/// How letters of names are folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Casing {
    /// Not at all.
    #[default]
    Keep,
    /// All are small.
    Lower,
    /// All are capitals.
    Upper,
}

/// Keys of a flow that say what becomes of rows and columns on their way.
pub const SHAPE_KEYS: [&str; 8] = [
    "where", "cast", "add", "hash_id", "columns", "rename", "case", "casing",
];

/// What becomes of the rows of an input that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnVanished {
    #[default]
    /// They stay.
    Keep,
    /// They go too.
    Remove,
}

/// What becomes of an input that has the bytes of one that was moved under another name, and is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnRepeated {
    #[default]
    /// It is that one under a new name: nothing is added.
    Skip,
    /// It is another one, whose rows are added too.
    Add,
}

/// A connection to a database.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "connection", deny_unknown_fields)]
pub struct ConnectionFields {
    /// Where it is and how to log in. Its variables are asked for when it is opened, and it is never shown.
    #[schemars(example = &"${SHOP_URL}", extend("x-default" = "required, unless `HYGGE_CONNECTION_NAME` is set", "x-type" = "URL of `sqlite`, `postgres` or `mysql`"))]
    pub url: Option<Secret>,
    /// How many sessions all flows share to read; those that fill its tables share as many more.
    #[schemars(example = 8, extend("default" = 4))]
    pub pool_size: Option<BoundedNumber<1, 1000>>,
    /// How long opening a session may take.
    #[schemars(example = &"30s", extend("default" = "10s"))]
    pub connect_timeout: Option<ConfigDuration>,
    /// How long one statement may take; PostgreSQL's own limit for the user stays where nothing is said.
    #[schemars(example = &"2h", extend("x-default" = "as long as it takes"))]
    pub statement_timeout: Option<ConfigDuration>,
    /// Whether a server is spoken to by TLS, and how its certificate is checked. It goes before that of the URL.
    #[schemars(example = &"verify-full", extend("x-default" = "that of the URL, else `require`, and `prefer` on this machine"))]
    pub sslmode: Option<SslMode>,
    /// A file of root certificates, for `verify-ca` and `verify-full`.
    #[schemars(example = &"certificates/shop.pem", extend("x-default" = "those of the system"))]
    pub sslrootcert: Option<PathText>,
    /// What tells the database from others when its host or name changes and its data does not.
    #[schemars(example = &"shop", extend("x-default" = "kind, host, port and name of the database"))]
    pub identity: Option<String>,
}

/// How a server is spoken to, in libpq's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SslMode {
    /// Never by TLS.
    Disable,
    /// By TLS if the server can.
    Prefer,
    /// By TLS, whoever the server is.
    Require,
    /// The certificate must be signed by one of the root certificates.
    VerifyCa,
    /// It must also be that of the host.
    VerifyFull,
}

/// What a flow, an entity and `defaults` may all have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "shared", deny_unknown_fields)]
pub struct SharedFields {
    /// Where the data is: a path, the name of one of `homes`, or a map.
    #[schemars(schema_with = "home", example = &"data/home/numbers", extend("x-default" = "required", "x-type" = "path, name or map"))]
    pub home: Option<IgnoredValue>,
    /// The folder to fill: a path, the name of one of `stores`, or a map.
    #[schemars(schema_with = "store", example = &"data/store/numbers", extend("x-default" = "required", "x-type" = "path, name or map"))]
    pub store: Option<IgnoredValue>,
    /// Flows that must be built before; a flow with entities stands for all of them. Also `depends_on`.
    #[schemars(example = ["users", "orders"], extend("x-default" = "none"))]
    pub needs: Option<StringList>,
    /// Words to select it by, as in `tag:nightly`.
    #[schemars(example = ["nightly"], extend("x-default" = "none"))]
    pub tags: Option<StringList>,
    /// Whether a build makes the whole set, or adds what it has not moved yet.
    #[schemars(example = &"append", extend("default" = "replace"))]
    pub mode: Option<FlowMode>,
    /// With `mode: append`: what becomes of an input that was moved and has other bytes now.
    #[schemars(example = &"rewrite", extend("default" = "fail"))]
    pub on_changed: Option<OnChanged>,
    /// With `mode: append`: whether the rows of an input that is gone stay.
    #[schemars(example = &"remove", extend("default" = "keep"))]
    pub on_vanished: Option<OnVanished>,
    /// With `mode: append`: whether a file with the bytes of one that was moved, and is gone, is that one under a new name, or more rows to add.
    #[schemars(example = &"add", extend("default" = "skip"))]
    pub on_repeated: Option<OnRepeated>,
    /// What becomes of columns of the home that have changed: `allow`, `warn` or `fail` for each kind of change; `--accept-drift` publishes them once.
    #[schemars(example = serde_json::json!({ "removed": "warn" }), extend("x-type" = "[rules](#changed-columns)", "x-default" = "see there"))]
    pub on_drift: Option<OnDrift>,
    /// Which rows come, by an [expression](#expressions) over the home's columns.
    #[serde(rename = "where")]
    #[schemars(example = &"amount > 0 and state <> 'void'", extend("x-default" = "all", "x-type" = "expression"))]
    pub filter: Option<String>,
    /// Types that columns of the home become; a value that would not stay the same fails with its row.
    #[schemars(example = serde_json::json!({ "amount": "decimal(12,2)" }), extend("x-default" = "their own", "x-type" = "map of types"))]
    pub cast: Option<BTreeMap<String, String>>,
    /// Columns that hold one value: a text, a number or a boolean. See [there](#columns-and-rows) for what may stand in a text.
    #[schemars(schema_with = "added_columns", example = serde_json::json!({ "loaded_from": "{file.name}", "batch": 7 }), extend("x-default" = "none", "x-type" = "map of values"))]
    pub add: Option<IgnoredValue>,
    /// A column, or a list of them, that holds the digest of others.
    #[schemars(schema_with = "hash_ids", example = serde_json::json!({ "name": "id", "of": ["country", "number"] }), extend("x-default" = "none", "x-type" = "map or list"))]
    pub hash_id: Option<IgnoredValue>,
    /// Which columns of the home come: these, in this order, or all but those of `exclude`.
    #[schemars(schema_with = "columns", example = serde_json::json!({ "exclude": ["password"] }), extend("x-default" = "all", "x-type" = "list, or map with `exclude`"))]
    pub columns: Option<IgnoredValue>,
    /// New names of the home's columns, by the old ones.
    #[schemars(example = serde_json::json!({ "cust_no": "customer_id" }), extend("x-default" = "their own", "x-type" = "map of names"))]
    pub rename: Option<BTreeMap<String, String>>,
    /// How the names of all columns are written.
    #[schemars(example = &"snake", extend("x-default" = "as they are"))]
    pub case: Option<NameCase>,
    /// How the letters of all names are folded in the end, for databases that fold them otherwise than the home.
    #[schemars(example = &"upper", extend("default" = "keep"))]
    pub casing: Option<Casing>,
    /// As the Python hygge writes it: `rows_per_file` of the store, where that does not say it.
    #[schemars(example = 10_000, extend("x-default" = "none"))]
    pub batch_size: Option<BoundedNumber<1, { u64::MAX }>>,
    /// As the Python hygge writes it: the `key` of a store in a database, where that does not say it; nothing for files.
    #[schemars(example = &"id", extend("x-default" = "none"))]
    pub key_column: Option<String>,
    /// As the Python hygge writes it: `full_drop` is `mode: replace`, `incremental` is `mode: append`.
    #[schemars(example = &"incremental", extend("x-default" = "what `mode` says"))]
    pub run_type: Option<RunType>,
    /// How many of a hundred rows may vanish in one build; `--accept-shrink` publishes the rest.
    #[schemars(example = &"10%", extend("default" = "99%"))]
    pub max_shrink: Option<Percentage>,
    /// For how long its parts may be in work; a build that takes longer fails, and the next goes on with the finished parts.
    #[schemars(example = &"10m", extend("x-default" = "as long as it takes"))]
    pub timeout: Option<ConfigDuration>,
    /// How many batches of rows wait between a database and its encoder. Nothing waits between files.
    #[schemars(example = 10, extend("default" = 10))]
    pub queue_size: Option<BoundedNumber<1, 1000>>,
    /// How often it is tried again when a database fails with a transient error; each wait is twice as long, from a second on.
    #[schemars(example = 5, extend("default" = 3))]
    pub retries: Option<BoundedNumber<0, 100>>,
    /// Whether other flows begin when this one has failed.
    #[schemars(example = false, extend("x-default" = "that of `options`"))]
    pub continue_on_error: Option<bool>,
}

/// What only a flow may have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "flow", deny_unknown_fields)]
pub struct FlowFields {
    /// In `flow.yml` only: the name of its folder, once more.
    pub name: Option<String>,
    /// One flow each, called `FLOW.ENTITY`: names, maps with a `name` and overrides, patterns.
    #[schemars(schema_with = "entities", example = ["users", "orders"], extend("x-default" = "none", "x-type" = "list or [pattern](#a-pattern-of-entities)"))]
    pub entities: Option<IgnoredValue>,
    /// What every entity has unless it or the flow says otherwise: any keys of a flow but `entities`.
    #[schemars(with = "Option<SharedFields>", extend("x-type" = "map"))]
    pub defaults: Option<IgnoredValue>,
    /// Keys of the flow may also stand in here.
    #[schemars(schema_with = "any_map", extend("x-type" = "map"))]
    pub options: Option<IgnoredValue>,
}

/// What only an entity may have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "entity", deny_unknown_fields)]
pub struct EntityFields {
    /// The entity's name. It is joined to the paths of the flow's home and store, unless `{entity}` stands in them.
    #[schemars(example = &"users", extend("x-default" = "required; in `entities/ENTITY.yml` that of the file"))]
    pub name: Option<String>,
    /// Keys of the entity may also stand in here.
    #[schemars(schema_with = "any_map", extend("x-type" = "map"))]
    pub options: Option<IgnoredValue>,
}

/// Entities that are found: one for each folder or file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "pattern", deny_unknown_fields)]
pub struct PatternFields {
    /// A pattern of paths; what matches is an entity's home, its name without ending the entity's. Where the home has a `connection`, a pattern of tables: `public.*`.
    #[schemars(example = &"data/home/*", extend("x-default" = "required"))]
    pub from: Option<PathText>,
    /// Finds views as well as tables.
    #[schemars(example = true, extend("default" = false))]
    pub views: Option<bool>,
    /// Globs of names that are none.
    #[schemars(example = ["tmp*"], extend("x-default" = "none"))]
    pub exclude: Option<StringList>,
    /// What becomes of a pattern that finds nothing: an error, or a flow without entities.
    #[schemars(example = &"skip", extend("default" = "fail"))]
    pub if_empty: Option<IfEmpty>,
    /// How many of a hundred entities that were published before may be gone; `--accept-lost=N` accepts more.
    #[schemars(example = &"10%", extend("default" = "50%"))]
    pub max_lost: Option<Percentage>,
}

/// What becomes of a pattern of entities that finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum IfEmpty {
    #[default]
    /// It is an error.
    Fail,
    /// The flow is none for now.
    Skip,
}

fn home(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, { "$ref": "#/$defs/home" }, { "type": "null" }] })
}

fn store(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, { "$ref": "#/$defs/store" }, { "type": "null" }] })
}

fn homes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "null"], "additionalProperties": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/named_home" }] } })
}

fn stores(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "null"], "additionalProperties": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/named_store" }] } })
}

fn flows(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "null"], "additionalProperties": { "$ref": "#/$defs/flow" } })
}

fn entities(generator: &mut SchemaGenerator) -> Schema {
    let pattern = generator.subschema_for::<PatternFields>();
    json_schema!({
        "anyOf": [
            { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/entity" }, pattern] } },
            pattern,
            { "type": "null" }
        ]
    })
}

fn added_columns(_: &mut SchemaGenerator) -> Schema {
    let value = json_schema!({ "type": ["string", "number", "boolean"] });
    let named = json_schema!({
        "type": "object",
        "properties": { "name": { "type": "string" }, "value": value },
        "required": ["name", "value"],
        "additionalProperties": false
    });
    json_schema!({ "anyOf": [
        { "type": "object", "additionalProperties": { "anyOf": [value, { "type": "null" }] } },
        { "type": "array", "items": named },
        { "type": "null" }
    ] })
}

fn hash_ids(_: &mut SchemaGenerator) -> Schema {
    let names = json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let one = json_schema!({
        "type": "object",
        "properties": { "name": { "type": "string" }, "of": { "anyOf": [{ "type": "string" }, names] } },
        "required": ["name", "of"],
        "additionalProperties": false
    });
    json_schema!({ "anyOf": [one, { "type": "array", "items": one }, { "type": "null" }] })
}

fn columns(_: &mut SchemaGenerator) -> Schema {
    let names = json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let exclude = json_schema!({
        "type": "object",
        "properties": { "exclude": names },
        "required": ["exclude"],
        "additionalProperties": false
    });
    json_schema!({ "anyOf": [names, exclude, { "type": "string" }, { "type": "null" }] })
}

/// A map whose keys are read elsewhere.
pub fn any_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "null"] })
}
