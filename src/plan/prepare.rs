//! Preparing: which parts a flow needs, which of them are at hand, and where.
//!
//! It looks at what is recorded, staged and published, and reads nothing but footers that are not
//! known yet.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::append::{self, AppendError};
use super::context::PlanContext;
use super::drift;
use super::existing_parts::PartFinder;
use super::file_work::FileWork;
use super::flow_states::FlowStates;
use super::home_columns::{HomeColumns, RecordedTypes};
use super::home_files::HomeFiles;
use super::inferred_types::{
    KnownTypes, check_columns_named, describe_types, format_with_types, note_open_columns,
    with_types_digest,
};
use super::input_checks::packing_remarks;
use super::layout_cache::LayoutCache;
use super::output_columns::{check_stays_alike, output_columns, shaped_projections};
use super::part_numbers::{FreedNumber, reuse_numbers};
use super::planned_part::{PartOutputs, PlannedPart};
use super::probe::{Input, StoreState};
use super::queries::FlowKey;
use super::rebuildable;
use super::schema_changes;
use super::slice::{self, SlicedFile};
use super::stale::{self, MADE_VERSION};
use super::table_columns::check_table_columns;
use super::table_states::TableStates;
use super::view::PlanView;
use super::work::{FlowWork, SetColumns, WorkSource};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::flow::{Flow, FlowName};
use crate::format::canonical_schema;
use crate::format::inference::FactsOf;
use crate::format::projection::Projection;
use crate::format::{Format, Layout, OutputSpec};
use crate::home::{FileSchema, RecordedColumn};
use crate::store::receipt::{PartInput, PublishedSet};

/// What a build makes, and what of the set before stays.
#[derive(Default)]
struct BuildScope {
    files: Vec<Input>,
    retained: Vec<PlannedPart>,
    /// The highest number that the name of a part ever had.
    sequence: u64,
    /// The schema of what stays.
    schema: Option<Fingerprint>,
    /// The numbers of parts that go.
    freed_numbers: Vec<FreedNumber>,
    /// What gave no row before, and is not moved again.
    empty_inputs: Vec<PartInput>,
}

/// Finds out what is to be done for flows that must run.
pub(super) struct Preparer<'a> {
    pub(super) context: &'a PlanContext,
    pub(super) flows: &'a mut FlowStates,
    pub(super) tables: &'a TableStates,
    pub(super) parts: &'a mut PartFinder,
    pub(super) layouts: &'a mut LayoutCache,
    /// The flows of whose files all values are looked at.
    pub(super) looks_at_all: &'a HashSet<FlowName>,
}

impl Preparer<'_> {
    /// What is known.
    pub(super) fn view(&self) -> PlanView<'_> {
        PlanView {
            context: self.context,
            flows: self.flows,
            tables: self.tables,
        }
    }

    /// Finds the parts that were made before and are at hand.
    pub(super) async fn find_existing(
        &mut self,
        flow: &Flow,
        state: &StoreState,
        parts: &mut [PlannedPart],
    ) -> Result<()> {
        let index_cache = &mut self.flows.index_cache;
        self.parts
            .find(self.context, index_cache, (flow, state), parts)
            .await
    }

    /// Finds out what is to be done for a flow that is not fresh.
    pub(super) async fn flow_work(&mut self, flow: &Flow, key: &FlowKey) -> Result<FlowWork> {
        let state = self.flows.store(&flow.name).cloned().unwrap_or_default();
        let format = self.context.project.input_format(flow);
        let mut work = match self.tables.get(&flow.name).cloned() {
            Some(Ok(table)) => {
                self.table_flow_work(flow, key, state.clone(), table)
                    .await?
            }
            _ => {
                self.file_flow_work(flow, key, &state, format.clone())
                    .await?
            }
        };
        let store = self.context.project.store_id(flow);
        let remarks = check_table_columns(flow, store, &work)?;
        work.remarks.extend(remarks);
        work.home = Some(drift::home_digest(self.context.project.root(), flow));
        let before = state.receipt.as_ref().and_then(|receipt| receipt.latest());
        let changed = drift::check_drift(self.context, flow, &work, before)?;
        work.warnings.extend(changed);
        if let Some(shape) = &flow.shape {
            work.warnings
                .extend(shape.name_warnings(&work.home_names()));
        }
        Ok(work)
    }

    /// The same for a flow that reads files.
    async fn file_flow_work(
        &mut self,
        flow: &Flow,
        key: &FlowKey,
        state: &StoreState,
        format: Arc<dyn Format>,
    ) -> Result<FlowWork> {
        check_columns_named(flow, format.as_ref())?;
        let target = flow.store.output_spec();
        let scope = self.build_scope(flow, state).await?;
        let cache = &self.context.cache;
        let layouts = self
            .layouts
            .layouts(cache, format.as_ref(), &scope.files)
            .await?;
        let mut parts = scope.retained;
        let latest = state.receipt.as_ref().and_then(|receipt| receipt.latest());
        if self.context.request.forgets_schema(&flow.name) && !parts.is_empty() {
            let error =
                "--forget-schema and --infer: parts that stay have the columns that are recorded";
            let hint =
                "hygge build --force makes them again as well, as far as their inputs are there";
            return Err(Error::new(ErrorKind::Flow, error).with_hint(hint));
        }
        if let Some(published) = latest.filter(|_| !parts.is_empty()) {
            append::check_same_folders(published, key)?;
        }
        let latest = latest.filter(|_| !self.context.request.forgets_schema(&flow.name));
        let upstream = flow.upstream().map(FlowName::from);
        let upstream = upstream.and_then(|upstream| self.flows.receipt(&upstream).cloned());
        let upstream_set = upstream
            .as_ref()
            .and_then(|receipt| receipt.published.as_ref());
        let format = if format.infers_types() {
            let home = drift::home_digest(self.context.project.root(), flow);
            let is_same = |latest: &&PublishedSet| latest.home.is_none_or(|known| known == home);
            let recorded = latest.filter(|latest| !parts.is_empty() || is_same(latest));
            let known = KnownTypes {
                columns: match (&upstream_set, recorded) {
                    (Some(upstream), _) => &upstream.columns,
                    (None, recorded) => recorded.map_or(&[], PublishedSet::home_columns),
                },
                are_final: !parts.is_empty(),
            };
            self.typed_format(flow, &format, &scope.files, known)
                .await?
        } else {
            format
        };
        let files = FileWork::new(format.clone(), scope.files, layouts);
        let format = format.as_ref();
        let mut recorded_types = self.recorded_types(flow, latest, &parts)?;
        recorded_types.set_found_types(format);
        let mut columns = home_columns((flow, upstream_set), format, &files, &recorded_types)?;
        if !parts.is_empty() {
            // What is added need not have all columns of what stays.
            columns.absent.clear();
        }
        let warnings = columns.warnings(&files.names(), latest);
        let mut recorded = recorded_columns(&files, &columns, format, state, &parts);
        note_open_columns(&mut recorded, format);
        if let Some(schema) = scope
            .schema
            .filter(|_| !parts.is_empty() && columns.digest.is_some())
            && (columns.united.is_none() || recorded_types.arrow_schema.is_none())
            && !columns.have_schema(&schema, &files.layouts)
            && let Some(error) =
                self.view()
                    .column_difference(flow, (format, &recorded), &files.files, &parts)?
        {
            return Err(error);
        }
        let counted = files.names().into_iter().zip(&files.layouts);
        slice::check_part_count(counted, target.rows_per_file)?;
        let mut remarks = file_remarks(flow, format, &files, &columns, state)?;
        if state.receipt.is_none()
            && let Ok(listing) = self.flows.listing(&flow.name)
        {
            remarks.extend(listing.describe_left_out());
        }
        let has_files = !files.files.is_empty();
        let projections = shaped_projections(flow, format, &files, &columns)?;
        let files = files.with_target(format, &target, projections)?;
        let set_columns = if !has_files {
            latest.map(SetColumns::from_published).unwrap_or_default()
        } else {
            let (recorded, of_home) = if flow.shape.is_some() {
                let mut output = output_columns(&files, format)?;
                if let Some(latest) = latest.filter(|_| !parts.is_empty()) {
                    schema_changes::unite_nullability(&mut output, &latest.columns);
                }
                (output, Some(recorded))
            } else {
                (recorded, None)
            };
            SetColumns {
                recorded,
                of_home,
                folder_columns: folder_columns(&columns, latest.filter(|_| !parts.is_empty())),
                absent: columns.absent.clone(),
                arrow_schema: columns
                    .united
                    .as_ref()
                    .map(canonical_schema::schema_to_text),
            }
        };
        check_stays_alike(&set_columns, latest, &parts, &files)?;
        let recipe = with_types_digest(key.recipe_digest(), format);
        let mut new = new_parts(&files, &recipe, &target);
        let has_folders = target.partition_by.is_some();
        if self.context.request.is_forced(&flow.name) {
        } else if has_folders {
            new = self.find_outputs(flow, state, new).await?;
        } else {
            self.find_existing(flow, state, &mut new).await?;
        }
        let freed_numbers = if has_folders {
            scope.freed_numbers
        } else {
            reuse_numbers(new.iter_mut(), &scope.freed_numbers);
            Vec::new()
        };
        parts.append(&mut new);
        let mut work = FlowWork {
            schema: columns.digest.or(scope.schema),
            columns: set_columns,
            sequence: scope.sequence,
            freed_numbers,
            empty_inputs: scope.empty_inputs,
            remarks,
            warnings,
            source: WorkSource::Files(files.with_shared_groups(&parts)),
            parts,
            ..FlowWork::from_state(flow, key, state)
        };
        // Parts that stay may have been made so, whatever becomes of what is new.
        let stays = work.parts.iter().any(|part| part.name.is_some());
        let is_undecoded = work.files().is_some_and(FileWork::passes_undecoded);
        if stays || !is_undecoded || target.rows_per_file.is_some() {
            work.components
                .set(MADE_VERSION, target.format.output_version());
        }
        work.part_names(flow, &[])?;
        if let Some(files) = work.files() {
            files.check_decodable(&work.parts, format, &target)?;
        }
        Ok(work)
    }

    /// The format of files whose values say their types, with those.
    async fn typed_format(
        &mut self,
        flow: &Flow,
        format: &Arc<dyn Format>,
        files: &[Input],
        known: KnownTypes<'_>,
    ) -> Result<Arc<dyn Format>> {
        let of = if self.looks_at_all.contains(&flow.name) {
            FactsOf::All
        } else {
            FactsOf::Beginning
        };
        let cache = &self.context.cache;
        let facts = self.layouts.facts(cache, (format.as_ref(), of), files);
        Ok(format_with_types(flow, format, &facts.await?, known))
    }

    /// What is recorded of the columns of the set that is gone on from; of parts that stay, and do
    /// not say it, what is in their files.
    fn recorded_types(
        &self,
        flow: &Flow,
        published: Option<&PublishedSet>,
        stay: &[PlannedPart],
    ) -> Result<RecordedTypes> {
        let rule = flow.home.as_files().map(|files| files.schema_rule());
        let is_strict = rule.is_none_or(|rule| rule == FileSchema::Strict);
        let Some(published) = published.filter(|_| !is_strict || !stay.is_empty()) else {
            return Ok(RecordedTypes::default());
        };
        let mut recorded = RecordedTypes::from_published(published)?;
        recorded.is_final = !stay.is_empty();
        let is_shaped = flow.shape.is_some()
            || published.home_columns.is_some()
            || flow.store.output_spec().partition_by.is_some();
        if recorded.arrow_schema.is_none() && !is_strict && !is_shaped {
            let mut names = stay.iter().filter_map(|part| part.name.as_ref());
            let first = names.find_map(|name| self.view().open_published(flow, name));
            let format = flow.store.output_spec().format;
            let columns = first.map(|part| format.reader().readable_schema(&part));
            recorded.arrow_schema = columns.transpose()?;
        }
        Ok(recorded)
    }

    /// With `mode: append` only what was not moved yet is made, besides what is lost and can be
    /// made again.
    async fn build_scope(&mut self, flow: &Flow, state: &StoreState) -> Result<BuildScope> {
        let files = self.view().input_files(flow)?;
        let published = state.receipt.as_ref().and_then(|receipt| receipt.latest());
        let Some(published) = published.filter(|_| flow.mode.appends()) else {
            return Ok(BuildScope {
                files,
                ..BuildScope::default()
            });
        };
        let digests = self.view().input_digests(flow)?;
        let parts = &published.manifest.parts;
        let mut lost = if self.context.request.is_forced(&flow.name) {
            rebuildable::rebuildable_parts(&digests, parts)
        } else {
            stale::outdated_parts(flow, published, &digests)
        };
        loop {
            let appending = append::append_plan(&digests, published, flow, &lost)?;
            let mut stay: Vec<PlannedPart> = appending
                .retained
                .iter()
                .map(PlannedPart::from_published)
                .collect();
            self.find_existing(flow, state, &mut stay).await?;
            let gone: Vec<String> = stay
                .iter()
                .filter(|part| part.existing.is_none())
                .filter_map(|part| part.name.clone())
                .collect();
            if gone.is_empty() {
                let files = files
                    .into_iter()
                    .filter(|file| appending.to_move.contains(&file.name))
                    .collect();
                let sequence = published.highest_number();
                let removed = appending.removed.iter();
                let numbers = removed.filter_map(FreedNumber::of_part).collect();
                return Ok(BuildScope {
                    files,
                    retained: stay,
                    sequence,
                    schema: published.schema_digest,
                    freed_numbers: numbers,
                    empty_inputs: appending.empty_inputs,
                });
            }
            lost.extend(gone);
        }
    }

    /// What is to be done to have a set again that was published once.
    ///
    /// # Errors
    /// A part of it is no longer at hand.
    pub(super) async fn restore_work(
        &mut self,
        flow: &Flow,
        published: PublishedSet,
    ) -> Result<FlowWork> {
        let state = self.flows.store(&flow.name)?.clone();
        let mut parts: Vec<PlannedPart> = published
            .manifest
            .parts
            .iter()
            .map(PlannedPart::from_published)
            .collect();
        self.find_existing(flow, &state, &mut parts).await?;
        if let Some(part) = parts.iter().find(|part| part.existing.is_none()) {
            let error = format!(
                "part {} of that set is no longer at hand, or damaged",
                part.name.as_deref().unwrap_or_default()
            );
            let hint = if !flow.mode.appends() {
                "it was let go by options.cache.max_size or max_age, or somebody changed it; hygge build --force makes a set of what the home has"
            } else {
                "it was let go by options.cache.max_size or max_age, or somebody changed it: look for it below .hygge/displaced beside the store"
            };
            return Err(Error::new(ErrorKind::Flow, error).with_hint(hint));
        }
        Ok(FlowWork {
            columns: SetColumns::from_published(&published),
            key: published.key,
            components: published.components,
            placement: published.placement,
            schema: published.schema_digest,
            home: published.home,
            parts,
            sequence: published.max_sequence,
            empty_inputs: published.empty_inputs,
            pinned: published.pinned,
            altered: state.altered,
            receipt_version: state.receipt_version,
            ..FlowWork::empty()
        })
    }
}

impl PlanView<'_> {
    /// How the columns of the first new input differ from those of a part that stays; `None` where
    /// they only are stored in other ways, which receipts of older versions do not tell apart.
    fn column_difference(
        &self,
        flow: &Flow,
        (format, columns): (&dyn Format, &[RecordedColumn]),
        files: &[Input],
        stay: &[PlannedPart],
    ) -> Result<Option<Error>> {
        let (Some(new), Some(part)) = (
            files.first(),
            stay.iter().find_map(|part| part.name.as_ref()),
        ) else {
            return Err(Error::new(ErrorKind::Flow, "there is nothing to compare"));
        };
        let before = self.flows.receipt(&flow.name);
        let latest = before.and_then(|receipt| receipt.latest());
        let before = latest.map_or(&[][..], PublishedSet::home_columns);
        let changes = if before.is_empty() || columns.is_empty() {
            Vec::new()
        } else {
            schema_changes::column_changes(before, columns)
        };
        let has_folders = latest.is_some_and(|published| !published.folder_columns.is_empty());
        let is_made = flow.shape.is_some() || flow.store.output_spec().partition_by.is_some();
        let difference = match self.open_published(flow, part) {
            _ if !changes.is_empty() => Some(changes.join("; ")),
            // The columns of a file are not all that its rows have.
            _ if (has_folders || is_made) && !before.is_empty() => None,
            Some(published) if flow.store.output_spec().format.id() == format.id() => format
                .reader()
                .schema_difference(&new.open()?, &published)?,
            _ => Some("the schemas differ".to_string()),
        };
        Ok(difference.map(|difference| {
            AppendError::Columns {
                input: new.name.clone(),
                difference,
            }
            .into()
        }))
    }
}

/// The columns of the files of a flow, which can become parts together.
///
/// # Errors
/// What is wrong with one of them, or with how it fits the others.
fn home_columns(
    (flow, upstream): (&Flow, Option<&PublishedSet>),
    format: &dyn Format,
    work: &FileWork,
    recorded: &RecordedTypes,
) -> Result<HomeColumns> {
    let files = HomeFiles {
        format,
        names: &work.names(),
        layouts: &work.layouts.iter().collect::<Vec<_>>(),
        open: &|file| work.files[file].open(),
    };
    HomeColumns::new(flow.home.as_ref(), &files, recorded, upstream)
}

/// The columns that stand in names of folders, also those of parts that stay.
fn folder_columns(columns: &HomeColumns, stays: Option<&PublishedSet>) -> Vec<String> {
    let mut names = stays.map_or_else(Vec::new, |published| published.folder_columns.clone());
    for name in columns.folder_names() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What is to be said of files besides.
fn file_remarks(
    flow: &Flow,
    format: &dyn Format,
    work: &FileWork,
    columns: &HomeColumns,
    state: &StoreState,
) -> Result<Vec<String>> {
    let known: Vec<&Layout> = work.layouts.iter().collect();
    let mut remarks = match flow.store.output_spec().rows_per_file {
        Some(_) => packing_remarks(format, &known, &work.names(), |file| {
            work.files[file].open()
        })?,
        None => Vec::new(),
    };
    remarks.extend(columns.describe_decoded_files(&work.names()));
    // What is passed over is said once.
    if let Some(files) = flow.home.as_files().filter(|_| state.receipt.is_none()) {
        remarks.extend(files.describe_unread_files()?);
        remarks.extend(columns.remarks(flow.home.as_ref()));
        remarks.extend(describe_types(format));
    }
    Ok(remarks)
}

/// The columns of files, as they are recorded; without files those of before. What may be null in
/// one of them, or in a part that stays, may be null in the set.
fn recorded_columns(
    work: &FileWork,
    home: &HomeColumns,
    format: &dyn Format,
    state: &StoreState,
    parts: &[PlannedPart],
) -> Vec<RecordedColumn> {
    let published = state.receipt.as_ref().and_then(|receipt| receipt.latest());
    let before = published.map_or(&[][..], PublishedSet::home_columns);
    if let Some(united) = &home.united {
        return schema_changes::recorded_leaves(canonical_schema::leaves(united));
    }
    let mut distinct = HashSet::new();
    let others = work.files.iter().zip(&work.layouts);
    let mut schemas = others
        .filter(|(_, layout)| distinct.insert(layout.stored_digest))
        // A file that changes meanwhile is noticed when it is read.
        .map(|(file, _)| {
            let opened = file.open();
            let columns = opened.and_then(|file| schema_changes::file_columns(format, &file));
            columns.unwrap_or_default()
        });
    let Some(mut columns) = schemas.next() else {
        return before.to_vec();
    };
    for other in schemas {
        schema_changes::unite_nullability(&mut columns, &other);
    }
    columns.extend(home.recorded_folder_columns());
    if parts.iter().any(|part| part.name.is_some()) {
        schema_changes::unite_nullability(&mut columns, before);
    }
    columns
}

/// The parts that files become.
fn new_parts(work: &FileWork, recipe: &Fingerprint, target: &OutputSpec) -> Vec<PlannedPart> {
    let FileWork { files, layouts, .. } = work;
    let layouts: Vec<&Layout> = layouts.iter().collect();
    let sizes: Vec<u64> = files.iter().map(|file| file.version.size()).collect();
    let sliced = files.iter().enumerate().map(|(number, file)| SlicedFile {
        digest: file.digest,
        projection: work.projection(number).map(Projection::digest),
    });
    let sliced: Vec<SlicedFile> = sliced.collect();
    let can_share = |one: usize, other: usize| work.can_share_part(one, other);
    let mut unused: Vec<bool> = vec![true; files.len()];
    let moved = |file: usize| PartInput {
        name: files[file].name.clone(),
        digest: files[file].digest,
        is_replaced: false,
    };
    let mut parts = Vec::new();
    for mut slice in slice::slices(&layouts, &sizes, target.rows_per_file, &can_share) {
        let mut projections = slice.pieces.iter().map(|piece| work.projection(piece.file));
        slice.is_filtered = projections.any(|found| found.is_some_and(Projection::filters));
        let key = slice::part_key(
            recipe,
            work.part_transfer(&slice.pieces),
            &slice,
            &sliced,
            target.format.output_version(),
        );
        let mut used: Vec<usize> = slice.pieces.iter().map(|piece| piece.file).collect();
        used.dedup();
        used.iter().for_each(|file| unused[*file] = false);
        let inputs: Vec<PartInput> = used.into_iter().map(moved).collect();
        let stem = inputs.first().map_or("", |input| input.name.as_str());
        let stem = Path::new(stem)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        parts.push(PlannedPart {
            key,
            slice,
            stem,
            name: None,
            sequence: None,
            inputs,
            existing: None,
            folder: String::new(),
            outputs: match &target.partition_by {
                Some(_) => PartOutputs::Folders,
                None => PartOutputs::One,
            },
        });
    }
    // A file without rows is in no slice, and has been moved all the same.
    if let Some(last) = parts.last_mut() {
        last.inputs.extend(
            unused
                .iter()
                .enumerate()
                .filter(|(_, unused)| **unused)
                .map(|(file, _)| moved(file)),
        );
    }
    parts
}
