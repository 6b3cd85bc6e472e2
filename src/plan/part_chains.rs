//! Parts of which it is not known how many there are until they were made: of a partition of a
//! table, of a slice whose rows go to folders. Each key says which of them it is and whether it is
//! the last, so that they are found again one behind the other.

use super::planned_part::{PartOutputs, PlannedPart};
use super::prepare::Preparer;
use super::probe::StoreState;
use super::slice::output_key;
use crate::error::Result;
use crate::flow::Flow;

/// The most that are asked for in one round, of each.
const MAX_ROUND: usize = 256;

impl Preparer<'_> {
    /// The parts of each of so many that are all at hand; nothing of one that must be made again.
    /// `part` gives the part of one, by its number, as if it were the last or not.
    pub(super) async fn find_chains(
        &mut self,
        (flow, state): (&Flow, &StoreState),
        chains: impl Iterator<Item = usize>,
        part: &(dyn Fn(usize, usize, bool) -> PlannedPart + Sync),
    ) -> Result<Vec<(usize, Vec<PlannedPart>)>> {
        let mut open: Vec<(usize, Vec<PlannedPart>)> =
            chains.map(|chain| (chain, Vec::new())).collect();
        let mut whole = Vec::new();
        // Most are one part alone.
        let mut round = 1;
        while !open.is_empty() {
            let mut asked = Vec::with_capacity(open.len() * round * 2);
            for (chain, found) in &open {
                for number in found.len()..found.len() + round {
                    asked.extend([true, false].map(|is_last| part(*chain, number, is_last)));
                }
            }
            self.find_existing(flow, state, &mut asked).await?;
            let mut next = Vec::new();
            for ((chain, mut found), asked) in open.into_iter().zip(asked.chunks_exact(round * 2)) {
                let (before, mut is_whole) = (found.len(), false);
                for pair in asked.chunks_exact(2) {
                    let place = pair.iter().position(|part| part.existing.is_some());
                    let Some(place) = place.filter(|_| !is_whole) else {
                        break;
                    };
                    let mut part = pair[place].clone();
                    if let Some(made) = &pair[place].existing {
                        part.take_output(found.len(), &made.record);
                    }
                    found.push(part);
                    is_whole = place == 0;
                }
                if is_whole {
                    whole.push((chain, found));
                } else if found.len() == before + round {
                    next.push((chain, found));
                }
            }
            open = next;
            round = (round * 2).min(MAX_ROUND);
        }
        Ok(whole)
    }

    /// The parts of files, those that are at hand and those that must be made. Of a slice whose rows
    /// go to folders, all are at hand or none.
    pub(super) async fn find_outputs(
        &mut self,
        flow: &Flow,
        state: &StoreState,
        slices: Vec<PlannedPart>,
    ) -> Result<Vec<PlannedPart>> {
        let part = |slice: usize, number, is_last| PlannedPart {
            key: output_key(&slices[slice].key, number, is_last),
            outputs: PartOutputs::One,
            ..slices[slice].clone()
        };
        let found = self
            .find_chains((flow, state), 0..slices.len(), &part)
            .await?;
        let mut parts: Vec<Vec<PlannedPart>> =
            slices.iter().map(|slice| vec![slice.clone()]).collect();
        for (slice, outputs) in found {
            parts[slice] = outputs;
        }
        Ok(parts.into_iter().flatten().collect())
    }
}
