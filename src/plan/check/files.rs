//! Files, as far as can be told before a build: what becomes of their columns, and how parts are
//! called.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::FlowChecker;
use crate::error::Result;
use crate::flow::Flow;
use crate::format::inference::FactsOf;
use crate::format::{Format, Layout, OpenFile, TransferMode, check_recodable, flow_schema};
use crate::home::{FileSchema, Listing};
use crate::plan::drift::home_digest;
use crate::plan::folder_choice::list_files;
use crate::plan::home_columns::{HomeColumns, RecordedTypes};
use crate::plan::home_files::HomeFiles;
use crate::plan::inferred_types::{KnownTypes, format_with_types};
use crate::plan::input_checks::packing_remarks;
use crate::plan::slice;
use crate::plan::work::duplicate_name_error;
use crate::store::receipt::PublishedSet;
use crate::store::{PartNaming, StoreId};

/// What other flows will give can become parts of the store, as far as their homes tell. Those that
/// cannot be read are failures of their own.
pub(super) fn check_upstream_files(look: &FlowChecker<'_>) -> Result<()> {
    let sources = look.source_flows();
    let Some(first) = sources.last().copied() else {
        return Ok(());
    };
    let Some((listing, layouts)) = home_files(look, first) else {
        return Ok(());
    };
    let target = look.flow.store.output_spec();
    let mut names: Vec<String> = listing.files.iter().map(|file| file.name.clone()).collect();
    // Files that are packed on their way are as many as the rows make, and have other groups.
    for flow in sources.iter().rev() {
        let target = flow.store.output_spec();
        let is_unknown = target.rows_per_file.is_some() || target.partition_by.is_some();
        if is_unknown || flow.store.names_by_digest() {
            return Ok(());
        }
        // What is wrong with their names is said of that flow.
        let Ok(made) = part_names(flow, names.iter().map(String::as_str)) else {
            return Ok(());
        };
        names = made;
    }
    let known: Vec<&Layout> = layouts.iter().collect();
    check_part_names(
        look.flow,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
        &known,
        &listing,
    )?;
    // Where columns change on their way, they are looked at as those that come.
    let mut flows = sources.iter().copied().chain([look.flow]);
    if flows.any(|flow| flow.shape.is_some()) {
        return Ok(());
    }
    // What becomes of another format's columns on their way is said of the flow that changes it.
    if look.input_format(first).id() != look.format.id() {
        return Ok(());
    }
    let format = look.format.as_ref();
    if let TransferMode::Decoded { .. } = TransferMode::new(format, &known, &target)? {
        listing
            .files
            .par_iter()
            .map(|file| {
                let file = open_listed(&listing, &file.name)?;
                Ok(check_recodable(format, &file, None, &target)?)
            })
            .collect::<Result<()>>()?;
    }
    Ok(())
}

/// The files of a flow's home; nothing where it has none that can be read.
pub(super) fn home_files(look: &FlowChecker<'_>, flow: &Flow) -> Option<(Listing, Vec<Layout>)> {
    let listing = list_files(flow, flow.home.as_files()?).ok()?;
    let format = look.input_format(flow);
    let layouts = listing
        .files
        .par_iter()
        .map(|file| inspect(format.as_ref(), &listing, &file.name))
        .collect::<Result<Vec<_>>>()
        .ok()?;
    Some((listing, layouts))
}

/// The format of a flow's files, with the types that their first rows, and what its store says of
/// the last ones, give columns.
pub(super) fn typed_format(
    look: &FlowChecker<'_>,
    (flow, store): (&Flow, Option<&StoreId>),
    listing: &Listing,
) -> Result<Arc<dyn Format>> {
    let format = look.input_format(flow);
    if !format.infers_types() {
        return Ok(format.clone());
    }
    let facts = listing.files.par_iter().map(|file| {
        let opened = open_listed(listing, &file.name)?;
        Ok(format.reader().facts(&opened, FactsOf::Beginning)?)
    });
    let facts = facts.collect::<Result<Vec<_>>>()?;
    let receipt = match store {
        Some(store) => flow.store.open(store)?.receipt()?,
        None => None,
    };
    let stays = flow.mode.appends() && receipt.is_some();
    let published = receipt.as_ref().and_then(|receipt| receipt.latest());
    let home = home_digest(look.root, flow);
    let known = KnownTypes {
        columns: published
            .filter(|latest| stays || latest.home.is_none_or(|before| before == home))
            .map_or(&[], PublishedSet::home_columns),
        are_final: stays,
    };
    Ok(format_with_types(flow, format, &facts, known))
}

pub(super) fn open_listed(listing: &Listing, name: &str) -> Result<OpenFile> {
    Ok(OpenFile::new(&listing.location(name))?)
}

pub(super) fn inspect(format: &dyn Format, listing: &Listing, name: &str) -> Result<Layout> {
    Ok(format.reader().inspect(&open_listed(listing, name)?)?)
}

/// The files can become parts of the store: the same columns, none of them lost, and nothing that
/// cannot be decoded where it must be. Gives what the reader should know.
pub(super) fn check_files(
    format: &dyn Format,
    listing: &Listing,
    layouts: &[Layout],
    (flow, store): (&Flow, &StoreId),
) -> Result<Vec<String>> {
    let known: Vec<&Layout> = layouts.iter().collect();
    let names: Vec<&str> = listing
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    let opened = |file: usize| open_listed(listing, names[file]);
    let columns = home_columns((flow, Some(store)), format, listing, layouts)?;
    let home_files = HomeFiles {
        format,
        names: &names,
        layouts: &known,
        open: &opened,
    };
    let target = flow.store.output_spec();
    let projections = columns.shaped_projections((flow.shape.as_ref(), &target), &home_files)?;
    check_part_names(flow, &names, &known, listing)?;
    slice::check_part_count(
        names.iter().copied().zip(known.iter().copied()),
        flow.store.output_spec().rows_per_file,
    )?;
    if !flow.store.capabilities().parts_readable {
        names
            .par_iter()
            .enumerate()
            .map(|(number, name)| {
                let file = open_listed(listing, name)?;
                Ok(flow_schema(format, file, projections.get(&number)).map(drop)?)
            })
            .collect::<Result<()>>()?;
    }
    let own = (0..layouts.len()).filter(|file| !projections.contains_key(file));
    let own: Vec<&Layout> = own.map(|file| &layouts[file]).collect();
    let decodes_own = !own.is_empty()
        && matches!(
            TransferMode::new(format, &own, &target)?,
            TransferMode::Decoded { .. }
        );
    names
        .par_iter()
        .enumerate()
        .map(|(number, name)| {
            let projection = projections.get(&number);
            match projection {
                Some(_) => drop(TransferMode::for_projected(
                    format,
                    &layouts[number],
                    &target,
                )?),
                None if decodes_own => {}
                None => return Ok(()),
            }
            let file = open_listed(listing, name)?;
            Ok(check_recodable(format, &file, projection, &target)?)
        })
        .collect::<Result<()>>()?;
    let mut remarks = columns.remarks(flow.home.as_ref());
    remarks.extend(flow.shape.iter().filter_map(|shape| shape.remark()));
    remarks.extend(columns.describe_decoded_files(&names));
    remarks.extend(columns.warnings(&names, None));
    if target.rows_per_file.is_some() {
        remarks.extend(packing_remarks(format, &known, &names, opened)?);
    }
    Ok(remarks)
}

/// The columns of a home's files, which can be of one flow; where they are united, with those that
/// its store says.
pub(super) fn home_columns(
    (flow, store): (&Flow, Option<&StoreId>),
    format: &dyn Format,
    listing: &Listing,
    layouts: &[Layout],
) -> Result<HomeColumns> {
    let names = listing.files.iter().map(|file| file.name.as_str());
    let names: Vec<&str> = names.collect();
    let files = HomeFiles {
        format,
        names: &names,
        layouts: &layouts.iter().collect::<Vec<_>>(),
        open: &|file| open_listed(listing, names[file]),
    };
    let home = flow.home.as_files();
    let rule = home.map_or(FileSchema::Strict, |home| home.schema_rule());
    let receipt = match store.filter(|_| rule != FileSchema::Strict) {
        Some(store) => flow.store.open(store)?.receipt()?,
        None => None,
    };
    let published = receipt.as_ref().and_then(|receipt| receipt.latest());
    let recorded = published.map(RecordedTypes::from_published).transpose()?;
    HomeColumns::new(
        flow.home.as_ref(),
        &files,
        &recorded.unwrap_or_default(),
        None,
    )
}

/// No two parts get one name. What is made of a digest, only a build knows.
fn check_part_names(
    flow: &Flow,
    names: &[&str],
    layouts: &[&Layout],
    listing: &Listing,
) -> Result<()> {
    // For which folders parts are is known when they are made.
    let has_folders = flow.store.output_spec().partition_by.is_some();
    if !flow.store.capabilities().parts_readable || flow.store.names_by_digest() || has_folders {
        return Ok(());
    }
    let rows_per_file = flow.store.output_spec().rows_per_file;
    let sizes: Vec<u64> = listing
        .files
        .iter()
        .map(|file| file.version.size())
        .collect();
    let can_share = |one: usize, other: usize| layouts[one].can_pack_with(layouts[other]);
    let of_slices =
        rows_per_file.map(|_| slice::slices(layouts, &sizes, rows_per_file, &can_share));
    let firsts: Vec<&str> = match &of_slices {
        Some(slices) => slices
            .iter()
            .map(|slice| slice.pieces.first().map_or("", |piece| names[piece.file]))
            .collect(),
        None => names.to_vec(),
    };
    part_names(flow, firsts.iter().copied()).map(drop)
}

/// The names of the parts that are made of these files, one of each.
fn part_names<'n>(flow: &Flow, files: impl Iterator<Item = &'n str>) -> Result<Vec<String>> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut parts = Vec::new();
    for (sequence, name) in (1..).zip(files) {
        let stem = Path::new(name)
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let part = flow.store.part_name(&PartNaming {
            sequence,
            stem: &stem,
            digest: None,
        })?;
        if let Some(first) = owners.insert(part.clone(), name) {
            return Err(duplicate_name_error(&part, first, name));
        }
        parts.push(part);
    }
    Ok(parts)
}
