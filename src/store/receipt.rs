//! What a store carries to say who published what there.
//!
//! The receipt and not the cache says who owns a store and what is in it: the cache may be
//! deleted at any time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind, KeyWriter};

/// The version of the receipt's form. Version 1: the first.
pub const VERSION: u32 = 1;

/// One receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this form.
    pub version: u32,
    /// The project whose flow published last.
    pub project: String,
    /// The flow that published last.
    pub flow: String,
    /// What is published.
    pub published: Option<Published>,
    /// What was about to be published when this was written: it is there, or it is not.
    pub pending: Option<Published>,
    /// The inode of the folder with what was about to be published: where it is says which.
    #[serde(default)]
    pub pending_inode: Option<u64>,
    /// The set before, which the folder beside the store still holds.
    pub previous: Option<Previous>,
}

/// The set before the one that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its parts.
    pub manifest: Manifest,
    /// When it was published, in RFC 3339.
    pub at: String,
}

impl From<Published> for Previous {
    fn from(published: Published) -> Self {
        Self { manifest: published.manifest, at: published.at }
    }
}

/// A published set and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The flow key.
    pub key: Fingerprint,
    /// What the flow key covers.
    pub components: Components,
    /// The digest of the input's schema.
    pub schema: Option<Fingerprint>,
    /// What the publish key covers.
    pub placement: BTreeMap<String, String>,
    /// The parts.
    pub manifest: Manifest,
    /// When, in RFC 3339.
    pub at: String,
}

/// The parts of a set in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The parts.
    pub parts: Vec<Part>,
}

/// One published part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its file's name.
    pub name: String,
    /// The part key: under which it is found again, even without an index.
    pub key: Fingerprint,
    /// The digest of its bytes.
    pub digest: Fingerprint,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Manifest {
    /// The flow's output digest: what a flow that reads this store depends on.
    pub fn output(&self) -> Fingerprint {
        let mut writer = KeyWriter::new(KeyKind::Output);
        writer.count(self.parts.len());
        for part in &self.parts {
            writer.text(&part.name).digest(&part.digest).number(part.rows).number(part.bytes);
        }
        writer.finish()
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}
