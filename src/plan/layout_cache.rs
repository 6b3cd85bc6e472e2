//! What is in files, as their formats see it: remembered by digest, found out where it is not.

use std::collections::{BTreeMap, HashMap};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::probe::Input;
use crate::cache::Cache;
use crate::cache::index::{facts_key, layout_key};
use crate::error::{Result, catch_panic};
use crate::fingerprint::Fingerprint;
use crate::format::inference::{FactsOf, FileFacts};
use crate::format::{Format, Layout};

/// The layouts of files.
#[derive(Debug, Default)]
pub(super) struct LayoutCache {
    known: HashMap<Fingerprint, Layout>,
    /// Those that the index does not have yet.
    new: Vec<(Fingerprint, Layout)>,
    facts: HashMap<Fingerprint, FileFacts>,
    new_facts: Vec<(Fingerprint, FileFacts)>,
}

impl LayoutCache {
    /// The layouts of files: from the index where their bytes were seen before.
    ///
    /// # Errors
    /// A file cannot be read, or is none of the format.
    pub(super) async fn layouts(
        &mut self,
        cache: &Cache,
        format: &dyn Format,
        files: &[Input],
    ) -> Result<Vec<Layout>> {
        let keys: Vec<Fingerprint> = files
            .iter()
            .map(|file| layout_key(format, &file.digest))
            .collect();
        let unknown: Vec<Fingerprint> = keys
            .iter()
            .filter(|key| !self.known.contains_key(key))
            .copied()
            .collect();
        self.known.extend(cache.index.layouts(&unknown).await?);
        let new: BTreeMap<Fingerprint, &Input> = keys
            .iter()
            .copied()
            .zip(files)
            .filter(|(key, _)| !self.known.contains_key(key))
            .collect();
        let inspect = |file: &Input| catch_panic(|| inspect(format, file)).flatten();
        let inspected = new
            .into_par_iter()
            .map(|(key, file)| Ok((key, inspect(file)?)))
            .collect::<Result<Vec<_>>>()?;
        for (key, layout) in inspected {
            self.known.insert(key, layout.clone());
            self.new.push((key, layout));
        }
        Ok(keys
            .iter()
            .filter_map(|key| self.known.get(key))
            .cloned()
            .collect())
    }

    /// What the values of files could be: of their beginnings, or of all.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) async fn facts(
        &mut self,
        cache: &Cache,
        (format, of): (&dyn Format, FactsOf),
        files: &[Input],
    ) -> Result<Vec<FileFacts>> {
        let key = |file: &Input| facts_key(format, &file.digest, of);
        let unknown: Vec<Fingerprint> = files
            .iter()
            .map(key)
            .filter(|key| !self.facts.contains_key(key))
            .collect();
        self.facts.extend(cache.index.facts(&unknown).await?);
        let is_missing = |file: &&Input| !self.facts.contains_key(&key(file));
        let missing: BTreeMap<Fingerprint, &Input> = files
            .iter()
            .filter(is_missing)
            .map(|file| (key(file), file))
            .collect();
        let look = |file: &Input| -> Result<FileFacts> {
            let opened = file.open()?;
            let facts = format.reader().facts(&opened, of)?;
            file.check_unchanged(&opened)?;
            Ok(facts)
        };
        let found = missing
            .into_par_iter()
            .map(|(key, file)| Ok((key, catch_panic(|| look(file)).flatten()?)))
            .collect::<Result<Vec<_>>>()?;
        self.facts.extend(found.iter().cloned());
        self.new_facts.extend(found);
        let known = files.iter().filter_map(|file| self.facts.get(&key(file)));
        Ok(known.cloned().collect())
    }

    /// Those that should be remembered.
    pub(super) fn take_new(&mut self) -> Vec<(Fingerprint, Layout)> {
        std::mem::take(&mut self.new)
    }

    /// The facts that should be remembered.
    pub(super) fn take_new_facts(&mut self) -> Vec<(Fingerprint, FileFacts)> {
        std::mem::take(&mut self.new_facts)
    }
}

fn inspect(format: &dyn Format, file: &Input) -> Result<Layout> {
    let opened = file.open()?;
    let layout = format.reader().inspect(&opened)?;
    // It is recorded under the digest of these bytes.
    file.check_unchanged(&opened)?;
    Ok(layout)
}
