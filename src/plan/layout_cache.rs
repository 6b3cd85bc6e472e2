//! What is in files, as their formats see it: remembered by digest, found out where it is not.

use std::collections::{BTreeMap, HashMap};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::probe::Input;
use crate::cache::Cache;
use crate::cache::index::layout_key;
use crate::error::{Result, catch_panic};
use crate::fingerprint::Fingerprint;
use crate::format::{Format, Layout};

/// The layouts of files.
#[derive(Debug, Default)]
pub(super) struct LayoutCache {
    known: HashMap<Fingerprint, Layout>,
    /// Those that the index does not have yet.
    new: Vec<(Fingerprint, Layout)>,
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

    /// Those that should be remembered.
    pub(super) fn take_new(&mut self) -> Vec<(Fingerprint, Layout)> {
        std::mem::take(&mut self.new)
    }
}

fn inspect(format: &dyn Format, file: &Input) -> Result<Layout> {
    let opened = file.open()?;
    let layout = format.reader().inspect(&opened)?;
    // It is recorded under the digest of these bytes.
    file.check_unchanged(&opened)?;
    Ok(layout)
}
