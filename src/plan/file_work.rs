//! What a flow's parts are made from where that is files.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::planned_part::PlannedPart;
use super::probe::Input;
use crate::error::Result;
use crate::format::shared_groups::SharedGroups;
use crate::format::{Format, Layout, OutputSpec, TransferMode, check_recodable};

/// Files that parts are made from.
#[derive(Clone, Debug)]
pub struct FileWork {
    /// The files.
    pub files: Vec<Input>,
    /// What is in each of them.
    pub layouts: Vec<Layout>,
    /// How they become parts.
    pub transfer: TransferMode,
    /// Which of them have been found to hold what `layouts` says, by the first part that opened
    /// them.
    pub inspected: InspectedFiles,
    /// Groups from which several of the parts are cut.
    pub shared_groups: SharedGroups,
}

/// Files that were looked into.
#[derive(Clone, Debug, Default)]
pub struct InspectedFiles(Arc<Mutex<HashSet<usize>>>);

impl InspectedFiles {
    /// True where a file was looked into already.
    pub fn contains(&self, file: usize) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&file)
    }

    /// A file was looked into.
    pub fn insert(&self, file: usize) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(file);
    }
}

impl FileWork {
    /// Files that pass as they are, as long as nothing else is decided.
    pub(super) fn new(files: Vec<Input>, layouts: Vec<Layout>) -> Self {
        Self {
            files,
            layouts,
            transfer: TransferMode::Undecoded,
            inspected: InspectedFiles::default(),
            shared_groups: SharedGroups::default(),
        }
    }

    /// The same for parts of this target.
    ///
    /// # Errors
    /// The files cannot become such parts.
    pub(super) fn with_target(self, format: &dyn Format, target: &OutputSpec) -> Result<Self> {
        if self.files.is_empty() {
            return Ok(self);
        }
        let layouts: Vec<&Layout> = self.layouts.iter().collect();
        let transfer = TransferMode::new(format, &layouts, target)?;
        Ok(Self { transfer, ..self })
    }

    /// The same, with the groups from which several of these parts are cut.
    pub(super) fn with_shared_groups(self, parts: &[PlannedPart]) -> Self {
        let missing = parts
            .iter()
            .filter(|part| part.existing.is_none())
            .map(|part| part.slice.pieces.as_slice());
        Self {
            shared_groups: SharedGroups::for_parts(missing),
            ..self
        }
    }

    /// The names of the files, as the home has them.
    pub(super) fn names(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }

    /// Nothing is decoded before every file of every part that must be made was found decodable.
    pub(super) fn check_decodable(
        &self,
        parts: &[PlannedPart],
        format: &dyn Format,
        target: &OutputSpec,
    ) -> Result<()> {
        if !matches!(self.transfer, TransferMode::Decoded { .. }) {
            return Ok(());
        }
        let mut files: Vec<usize> = parts
            .iter()
            .filter(|part| part.existing.is_none())
            .flat_map(|part| &part.slice.pieces)
            .map(|piece| piece.file)
            .collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            check_recodable(format, &self.files[file].open()?, target)?;
        }
        Ok(())
    }
}
