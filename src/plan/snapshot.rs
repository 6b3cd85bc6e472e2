//! Looking: how homes and stores look, by names and stats. Nothing is read.
//!
//! Where a flow looks as it did when it was last found fresh, and the config says the same of it,
//! it is fresh by the digest of these stats, and what is recorded of it need not even be loaded.

use std::path::Path;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::folder_choice::list_files;
use crate::connection::run_with_timeout;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::fingerprint::stat::UnixNanos;
use crate::flow::Flow;
use crate::format::Format;
use crate::home::{HomeError, Listing};
use crate::storage::Version;
use crate::store::{StoreId, StoreStats};

/// How a flow's home and store look.
#[derive(Debug)]
pub struct FlowStats {
    /// When it was looked at.
    pub taken_at: UnixNanos,
    /// What the home lists; nothing where the home is another flow.
    pub home: Result<Listing>,
    /// What the store shows.
    pub store: Result<StoreStats>,
}

/// Looks at flows and their stores. No link of a home may lead out of the folder `within`, where one
/// is said.
pub fn stat_flows(flows: &[(&Arc<Flow>, &StoreId)], within: Option<&Path>) -> Vec<FlowStats> {
    flows
        .par_iter()
        .map(|(flow, store)| {
            let (at, store) = (UnixNanos::now(), observe_store(flow, store));
            let is_built = store.as_ref().is_ok_and(|store| store.receipt.is_some());
            let listed = flow
                .home
                .as_files()
                .map_or_else(|| Ok(Listing::default()), |files| list_files(flow, files));
            let listed = listed.and_then(|listing| {
                within
                    .map_or(Ok(()), |root| listing.check_confined(root))
                    .map(|()| listing)
            });
            let home = match listed {
                // All that was in it was moved: there is nothing to add.
                Err(HomeError::NothingMatches { .. }) if is_built && flow.mode.appends() => {
                    Ok(flow
                        .home
                        .as_files()
                        .map_or_else(Listing::default, |files| Listing::empty(files.location())))
                }
                listed => listed.map_err(Into::into),
            };
            FlowStats {
                taken_at: at,
                home,
                store,
            }
        })
        .collect()
}

fn observe_store(flow: &Flow, store: &StoreId) -> Result<StoreStats> {
    run_with_timeout(flow.timeout, || Ok(flow.store.open(store)?.observe()?))
}

/// Everything that decides whether a flow is fresh, as far as it can be seen without reading.
#[derive(Clone, Debug)]
pub struct StatSnapshot<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Its store.
    pub store: &'a StoreId,
    /// The format of what it reads.
    pub input_format: Arc<dyn Format>,
    /// How its home and its store look.
    pub stats: &'a FlowStats,
    /// The version of the receipt of the flow that is its home.
    pub upstream_receipt: Option<&'a Version>,
}

impl StatSnapshot<'_> {
    /// The digest of what the config says of the output, and of how everything looks.
    ///
    /// `None` where something cannot be looked at, or there is no receipt.
    pub fn stat_digest(&self) -> Option<Fingerprint> {
        let (home, shown) = (
            self.stats.home.as_ref().ok()?,
            self.stats.store.as_ref().ok()?,
        );
        // How a table looks is not to be seen.
        if self.flow.home.as_rows().is_some()
            || self.flow.upstream().is_some() != self.upstream_receipt.is_some()
        {
            return None;
        }
        let mut writer = KeyWriter::new(KeyKind::Stats);
        writer
            .map(&self.flow.recipe(self.input_format.as_ref()).settings)
            .map(&self.flow.placement());
        writer.text(&format!("{:?}", self.flow.mode));
        writer
            .bytes(home.folder.display_path().as_os_str().as_encoded_bytes())
            .count(home.files.len());
        for file in &home.files {
            file.version.write_to(writer.text(&file.name));
        }
        writer
            .bytes(self.store.index_key().as_os_str().as_encoded_bytes())
            .count(shown.live.files.len());
        for (name, stat) in &shown.live.files {
            writer.text(name).stat(stat);
        }
        writer.count(shown.live.folders.len());
        shown.receipt.as_ref()?.write_to(&mut writer);
        if let Some(version) = self.upstream_receipt {
            version.write_to(&mut writer);
        }
        Some(writer.finish())
    }

    /// True where nothing is so young that it could have changed since without looking different.
    pub fn has_aged(&self) -> bool {
        let (Ok(home), Ok(store)) = (&self.stats.home, &self.stats.store) else {
            return false;
        };
        let taken_at = self.stats.taken_at;
        let mut versions = home
            .files
            .iter()
            .map(|file| &file.version)
            .chain(&store.receipt)
            .chain(self.upstream_receipt);
        versions.all(|version| version.has_aged(taken_at))
            && store
                .live
                .files
                .values()
                .all(|stat| taken_at.has_aged(stat))
    }
}
