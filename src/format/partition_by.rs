//! What a store says of folders that are called after values.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Which columns say in which folder a row lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionBy {
    /// The columns, the one of the outermost folder first.
    pub columns: Vec<String>,
    /// True where the columns stay in the files as well.
    pub keep_columns: bool,
    /// How many folders there may be.
    pub max_partitions: u64,
}

impl PartitionBy {
    /// The key of the config.
    pub const KEY: &'static str = "partition_by";

    /// What of it decides the bytes of parts, by the keys of the config.
    pub fn recipe(&self) -> Vec<(&'static str, Value)> {
        let keeps = self.keep_columns.then_some(("keep_column", json!(true)));
        [(Self::KEY, json!(self.columns))]
            .into_iter()
            .chain(keeps)
            .collect()
    }
}
