//! Keys: what is hashed and what is explained come from the same list of components.
//!
//! | key | covers | so that |
//! | --- | --- | --- |
//! | flow key | adapter versions, recipe, home | another recipe or another input makes a flow stale |
//! | part key | adapter versions, recipe, transfer mode, slice | an unchanged slice is not made again, wherever it lies |
//! | output digest | part names, digests, rows, bytes | an upstream rebuilt to equal bytes stops there |
//! | stats | recipe, placement, names and stats of home, store and receipt | what looks as it did is fresh, and nothing is loaded |
//!
//! File pattern and mode are not hashed but compared field by field: where they differ, the parts
//! are published under other names and nothing is read.
//!
//! It does not know where components come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::fs::Stat;

/// The kind of a key, which separates hashes of equal components from each other.
///
/// The text is BLAKE3's derive-key context; its number goes up when the meaning of a component
/// changes. Version 1: the first. Stats 2 (called `witness`): stores that were found fresh may hold
/// parts that must be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// What decides a flow's output.
    Flow,
    /// What decides one part's bytes.
    Part,
    /// What was published.
    Output,
    /// How everything looked when a flow was found fresh.
    Stats,
    /// A schema: the columns and types of a file.
    Schema,
    /// What a database answered a probe.
    Probe,
}

impl KeyKind {
    fn context(self) -> &'static str {
        match self {
            Self::Flow => "hygge 2026 flow key 1",
            Self::Part => "hygge 2026 part key 1",
            Self::Output => "hygge 2026 output digest 1",
            Self::Stats => "hygge 2026 witness 2",
            Self::Schema => "hygge 2026 schema 1",
            Self::Probe => "hygge 2026 probe 1",
        }
    }
}

/// Named values in order: what a key covers, and what `hygge why` explains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Components {
    /// Versions of adapters, fields of the recipe: `store.compression` = `zstd`.
    pub settings: BTreeMap<String, String>,
    /// What the home holds: a file's path below the home, or an upstream's name, and its digest.
    pub inputs: BTreeMap<String, Fingerprint>,
}

impl Components {
    /// Adds a setting.
    pub fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.settings.insert(name.into(), value.to_string());
    }

    /// The key of these components: every text is length-prefixed, both maps are in order.
    pub fn key(&self, kind: KeyKind) -> Fingerprint {
        let mut writer = KeyWriter::new(kind);
        writer.map(&self.settings).count(self.inputs.len());
        for (name, digest) in &self.inputs {
            writer.text(name).digest(digest);
        }
        writer.finish()
    }
}

/// Puts values into a key one by one.
#[derive(Debug)]
pub struct KeyWriter(blake3::Hasher);

impl KeyWriter {
    /// A key of this kind with nothing in it.
    pub fn new(kind: KeyKind) -> Self {
        Self(blake3::Hasher::new_derive_key(kind.context()))
    }

    /// A text, behind its length.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Bytes, behind their number.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len());
        self.0.update(bytes);
        self
    }

    /// A map of texts, in its order.
    pub fn map(&mut self, map: &BTreeMap<String, String>) -> &mut Self {
        self.count(map.len());
        for (name, value) in map {
            self.text(name).text(value);
        }
        self
    }

    /// Writes how a file looks.
    pub fn stat(&mut self, stat: &Stat) -> &mut Self {
        self.number(stat.size)
            .number(stat.mtime_ns.cast_unsigned())
            .number(stat.ctime_ns.cast_unsigned())
            .number(stat.inode)
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// How many values follow.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.number(count as u64)
    }

    /// A digest.
    pub fn digest(&mut self, digest: &Fingerprint) -> &mut Self {
        self.0.update(digest.as_bytes());
        self
    }

    /// The key.
    pub fn finish(&self) -> Fingerprint {
        Fingerprint(*self.0.finalize().as_bytes())
    }
}
