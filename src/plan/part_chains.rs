//! Chains: parts of which it is not known how many there are until they were made, of a partition of
//! a table or of a slice whose rows go to folders. Each key says which of them it is, and that of
//! the last one what stands before it: so they are found again one behind the other, and never some
//! of one reading with some of another.

use std::collections::HashSet;

use super::chain_place::ChainPlace;
use super::planned_part::{PartOutputs, PlannedPart};
use super::prepare::Preparer;
use super::probe::StoreState;
use super::slice::output_key;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::flow::Flow;

/// The most that are asked for in one round, of each chain.
const MAX_ROUND: usize = 256;

/// A chain as far as it was found.
struct PartialChain {
    number: usize,
    links: Vec<PlannedPart>,
    /// Their digests.
    digests: Vec<Fingerprint>,
}

impl PartialChain {
    /// One more, which is at hand; false where it is not.
    fn push(&mut self, part: &PlannedPart) -> bool {
        let Some(made) = &part.existing else {
            return false;
        };
        let mut part = part.clone();
        self.digests.push(made.record.digest);
        part.take_output(self.links.len(), &made.record);
        self.links.push(part);
        true
    }
}

/// Gives the part of a chain, by the chain's number, that has a place in it.
type PartAt<'a> = dyn Fn(usize, ChainPlace<'_>) -> PlannedPart + Sync + 'a;

impl Preparer<'_> {
    /// The chains whose parts are all at hand, by their numbers.
    pub(super) async fn find_chains(
        &mut self,
        (flow, state): (&Flow, &StoreState),
        chains: impl Iterator<Item = usize>,
        part_at: &PartAt<'_>,
    ) -> Result<Vec<(usize, Vec<PlannedPart>)>> {
        let published = published_keys(state);
        let mut open: Vec<PartialChain> = chains
            .map(|number| PartialChain {
                number,
                links: Vec::new(),
                digests: Vec::new(),
            })
            .collect();
        let mut whole = Vec::new();
        // Most are one part alone.
        let mut round = 1;
        while !open.is_empty() {
            let mut asked = Vec::with_capacity(open.len() * (round + 1));
            for chain in &open {
                let first = chain.links.len();
                asked.push(part_at(chain.number, ChainPlace::Last(&chain.digests)));
                let links = (first..first + round).map(ChainPlace::Link);
                asked.extend(links.map(|place| part_at(chain.number, place)));
            }
            let first_keys: Vec<[Fingerprint; 2]> = asked
                .chunks_exact(round + 1)
                .map(|asked| [asked[0].key, asked[1].key])
                .collect();
            self.find_existing(flow, state, &mut asked).await?;
            let mut next = Vec::new();
            let asked = asked.chunks_exact(round + 1);
            for ((mut chain, asked), keys) in open.into_iter().zip(asked).zip(first_keys) {
                // What is published is what was read last: where it has the chain, no part of
                // another reading is taken for it.
                let is_published = keys.iter().any(|key| published.contains(key));
                let may_be = |part: &PlannedPart| !is_published || published.contains(&part.key);
                let Some((last, links)) = asked.split_first() else {
                    continue;
                };
                if may_be(last) && chain.push(last) {
                    whole.push((chain.number, chain.links));
                    continue;
                }
                let before = chain.links.len();
                let mut links = links.iter();
                while links
                    .next()
                    .is_some_and(|link| may_be(link) && chain.push(link))
                {}
                if chain.links.len() > before {
                    next.push((chain, before));
                }
            }
            open = self
                .with_ends(
                    (flow, state),
                    (next, round),
                    part_at,
                    (&published, &mut whole),
                )
                .await?;
            round = (round * 2).min(MAX_ROUND);
        }
        Ok(whole)
    }

    /// Chains that end with one of the links that a round found are whole; gives those that may go
    /// on. Each comes with the number of links that it had before.
    async fn with_ends(
        &mut self,
        (flow, state): (&Flow, &StoreState),
        (chains, round): (Vec<(PartialChain, usize)>, usize),
        part_at: &PartAt<'_>,
        (published, whole): (&HashSet<Fingerprint>, &mut Vec<(usize, Vec<PlannedPart>)>),
    ) -> Result<Vec<PartialChain>> {
        let mut asked = Vec::new();
        for (chain, before) in &chains {
            // The end behind all links that are found is asked for by the next round.
            for length in before + 1..chain.links.len() {
                let place = ChainPlace::Last(&chain.digests[..length]);
                asked.push(part_at(chain.number, place));
            }
            if chain.links.len() < before + round {
                let place = ChainPlace::Last(&chain.digests);
                asked.push(part_at(chain.number, place));
            }
        }
        self.find_existing(flow, state, &mut asked).await?;
        let mut asked = asked.into_iter();
        let mut open = Vec::new();
        for (mut chain, before) in chains {
            let goes_on = chain.links.len() == before + round;
            let ends = before + 1..chain.links.len() + usize::from(!goes_on);
            let ends: Vec<(usize, PlannedPart)> = ends.zip(asked.by_ref()).collect();
            let end = ends.into_iter().find(|(length, end)| {
                let link = chain.links.get(*length);
                let goes_on = link.is_some_and(|link| published.contains(&link.key));
                end.existing.is_some() && (!goes_on || published.contains(&end.key))
            });
            match end {
                Some((length, end)) => {
                    chain.links.truncate(length);
                    chain.digests.truncate(length);
                    chain.push(&end);
                    whole.push((chain.number, chain.links));
                }
                None if goes_on => open.push(chain),
                None => {}
            }
        }
        Ok(open)
    }

    /// The parts of files, those that are at hand and those that must be made. Of a slice whose rows
    /// go to folders, all are at hand or none.
    pub(super) async fn find_outputs(
        &mut self,
        flow: &Flow,
        state: &StoreState,
        slices: Vec<PlannedPart>,
    ) -> Result<Vec<PlannedPart>> {
        let part_at = |slice: usize, place: ChainPlace<'_>| PlannedPart {
            key: output_key(&slices[slice].key, place),
            outputs: PartOutputs::One,
            ..slices[slice].clone()
        };
        let found = self
            .find_chains((flow, state), 0..slices.len(), &part_at)
            .await?;
        let mut parts: Vec<Vec<PlannedPart>> =
            slices.iter().map(|slice| vec![slice.clone()]).collect();
        for (slice, outputs) in found {
            parts[slice] = outputs;
        }
        Ok(parts.into_iter().flatten().collect())
    }
}

/// The keys of the parts of the set that is published, and of the latest.
fn published_keys(state: &StoreState) -> HashSet<Fingerprint> {
    let receipt = state.receipt.as_deref();
    let sets = receipt.map(|receipt| [&receipt.published, &receipt.latest]);
    let parts = sets.into_iter().flatten().flatten();
    parts
        .flat_map(|set| &set.manifest.parts)
        .map(|part| part.key)
        .collect()
}
