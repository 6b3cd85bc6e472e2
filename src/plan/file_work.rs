//! What a flow's parts are made from where that is files.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use polars_arrow::datatypes::ArrowSchema;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::planned_part::PlannedPart;
use super::probe::Input;
use crate::error::Result;
use crate::format::projection::Projection;
use crate::format::shared_groups::SharedGroups;
use crate::format::{
    Format, Layout, OutputSpec, Piece, TransferMode, check_recodable, flow_schema,
};

/// Files that parts are made from.
#[derive(Clone, Debug)]
pub struct FileWork {
    /// Their format.
    pub format: Arc<dyn Format>,
    /// The files.
    pub files: Vec<Input>,
    /// What is in each of them.
    pub layouts: Vec<Layout>,
    /// How those become parts that are not projected.
    pub transfer: TransferMode,
    /// Those whose columns are not the flow's, by their number: what becomes of them.
    pub projected: Arc<BTreeMap<usize, ProjectedFile>>,
    /// Which of them have been found to hold what `layouts` says, by the first part that opened
    /// them.
    pub inspected: InspectedFiles,
    /// Groups from which several of the parts are cut.
    pub shared_groups: SharedGroups,
}

/// What becomes of a file whose columns are not those of its flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectedFile {
    /// The columns that it has for the flow.
    pub projection: Projection,
    /// How it becomes parts: it is decoded.
    pub transfer: TransferMode,
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
    pub(super) fn new(format: Arc<dyn Format>, files: Vec<Input>, layouts: Vec<Layout>) -> Self {
        Self {
            format,
            files,
            layouts,
            transfer: TransferMode::Undecoded,
            projected: Arc::default(),
            inspected: InspectedFiles::default(),
            shared_groups: SharedGroups::default(),
        }
    }

    /// The same for parts of this target, with the projections that files need.
    ///
    /// # Errors
    /// The files cannot become such parts.
    pub(super) fn with_target(
        self,
        format: &dyn Format,
        target: &OutputSpec,
        projections: BTreeMap<usize, Projection>,
    ) -> Result<Self> {
        let own: Vec<&Layout> = (0..self.files.len())
            .filter(|file| !projections.contains_key(file))
            .map(|file| &self.layouts[file])
            .collect();
        let transfer = if own.is_empty() {
            self.transfer
        } else {
            TransferMode::new(format, &own, target)?
        };
        let projected = projections.into_iter().map(|(file, projection)| {
            let transfer = TransferMode::for_projected(format, &self.layouts[file], target)?;
            let projected = ProjectedFile {
                projection,
                transfer,
            };
            Ok((file, projected))
        });
        Ok(Self {
            transfer,
            projected: Arc::new(projected.collect::<Result<_>>()?),
            ..self
        })
    }

    /// How a file becomes parts.
    pub fn transfer_of(&self, file: usize) -> TransferMode {
        let projected = self.projected.get(&file);
        projected.map_or(self.transfer, |projected| projected.transfer)
    }

    /// The columns that a file has for the flow, where they are not its own.
    pub fn projection(&self, file: usize) -> Option<&Projection> {
        self.projected
            .get(&file)
            .map(|projected| &projected.projection)
    }

    /// How a part of these pieces is made: all of its files become parts in the same way.
    pub fn part_transfer(&self, pieces: &[Piece]) -> TransferMode {
        self.transfer_of(pieces.first().map_or(0, |piece| piece.file))
    }

    /// True where nothing is decoded or packed anew, as far as files pass whole.
    pub(super) fn passes_undecoded(&self) -> bool {
        self.transfer == TransferMode::Undecoded && self.projected.is_empty()
    }

    /// True where rows of both files can come into one part: nothing is lost by it.
    pub(super) fn can_share_part(&self, one: usize, other: usize) -> bool {
        self.transfer_of(one) == self.transfer_of(other)
            && self.projection(one).is_some() == self.projection(other).is_some()
            && self.layouts[one].can_pack_with(&self.layouts[other])
    }

    /// The columns of the first file, as they come to the flow's store; `None` without a file.
    pub(super) fn first_columns(&self) -> Result<Option<ArrowSchema>> {
        let Some(first) = self.files.first() else {
            return Ok(None);
        };
        Ok(Some(flow_schema(
            self.format.as_ref(),
            first.open()?,
            self.projection(0),
        )?))
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
        let mut files: Vec<usize> = parts
            .iter()
            .filter(|part| part.existing.is_none())
            .flat_map(|part| &part.slice.pieces)
            .map(|piece| piece.file)
            .filter(|file| matches!(self.transfer_of(*file), TransferMode::Decoded { .. }))
            .collect();
        files.sort_unstable();
        files.dedup();
        files
            .into_par_iter()
            .map(|file| {
                let opened = self.files[file].open()?;
                Ok(check_recodable(
                    format,
                    &opened,
                    self.projection(file),
                    target,
                )?)
            })
            .collect()
    }
}
