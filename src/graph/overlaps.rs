//! Homes and stores keep out of each other's folders: where one lies in another, and where none may.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::problem::{Problem, Problems, Span};
use crate::flow::Flow;
use crate::fs;
use crate::store::TableId;

/// Paths of homes and stores as the config has them, with links resolved.
pub type RealPaths = HashMap<PathBuf, PathBuf>;

/// A flow with the real paths of its home and its store.
pub(super) struct FlowPaths<'a> {
    pub(super) flow: &'a Arc<Flow>,
    /// The path, and whether folders below it are read as well; `None` for another flow's output.
    pub(super) home: Option<(&'a Path, bool)>,
    /// The folder that is filled; `None` for a table.
    pub(super) store: Option<&'a Path>,
}

impl<'a> FlowPaths<'a> {
    pub(super) fn new(flow: &'a Arc<Flow>, real: &'a RealPaths) -> Self {
        let home = flow.home.as_files().and_then(|files| {
            let path = files.location().local_path()?;
            Some((lookup_real_path(path, real), files.is_recursive()))
        });
        Self {
            flow,
            home,
            store: flow
                .store
                .as_folder()
                .map(|path| lookup_real_path(path, real)),
        }
    }
}

/// The stores by their real paths.
pub(super) struct StorePaths<'a> {
    owners: HashMap<&'a [u8], Vec<&'a FlowPaths<'a>>>,
    /// The same in the order of their bytes: what lies below a path stands together.
    ordered: BTreeSet<&'a [u8]>,
}

impl<'a> StorePaths<'a> {
    pub(super) fn new(placed: &'a [FlowPaths<'a>]) -> Self {
        let mut owners: HashMap<&[u8], Vec<&FlowPaths<'_>>> = HashMap::with_capacity(placed.len());
        for place in placed {
            if let Some(store) = place.store {
                owners
                    .entry(store.as_os_str().as_bytes())
                    .or_default()
                    .push(place);
            }
        }
        let is_needed = placed
            .iter()
            .any(|place| matches!(place.home, Some((_, true))));
        let ordered = if is_needed {
            owners.keys().copied().collect()
        } else {
            BTreeSet::new()
        };
        Self { owners, ordered }
    }

    /// The flows whose store is the path or a folder above it, the nearest first; of each folder
    /// only the first two, since more than one is a problem.
    pub(super) fn enclosing(&self, path: &'a Path) -> impl Iterator<Item = &'a FlowPaths<'a>> {
        let mut end = Some(path.as_os_str().as_bytes());
        let folders = std::iter::from_fn(move || {
            let folder = end?;
            end = folder
                .iter()
                .rposition(|byte| *byte == b'/')
                .filter(|slash| *slash > 0)
                .map(|slash| &folder[..slash]);
            Some(folder)
        });
        folders
            .filter_map(|folder| self.owners.get(folder))
            .flat_map(|flows| flows.iter().take(2))
            .copied()
    }

    /// The flows whose store lies below the path.
    pub(super) fn below(&self, path: &Path) -> impl Iterator<Item = &'a FlowPaths<'a>> {
        // `join("")` puts one slash at the end.
        let folder = path.join("").into_os_string().into_vec();
        let from = (Bound::Included(folder.as_slice()), Bound::Unbounded);
        let below: Vec<&[u8]> = self
            .ordered
            .range::<[u8], _>(from)
            .copied()
            .take_while(|store| store.starts_with(&folder))
            .collect();
        below
            .into_iter()
            .filter_map(|store| self.owners.get(store))
            .flatten()
            .copied()
    }
}

pub(super) fn lookup_real_path<'a>(path: &'a Path, real: &'a RealPaths) -> &'a Path {
    real.get(path).map_or(path, PathBuf::as_path)
}

pub(super) fn check_overlaps(
    place: &FlowPaths<'_>,
    stores: &StorePaths<'_>,
    problems: &mut Problems,
) {
    let FlowPaths {
        flow,
        home,
        store: Some(store),
    } = *place
    else {
        return;
    };
    // Each flow is reported once, beside one other: the first of its folder, or the nearest around
    // it.
    if let Some(other) = stores
        .enclosing(store)
        .find(|other| other.flow.name != flow.name)
    {
        let is_same = other.store == Some(store);
        let how = if is_same {
            "are the same folder"
        } else {
            "lie in one another"
        };
        if !is_same || other.flow.spans.name < flow.spans.name {
            problems.push(shared_store_problem(
                (other.flow, flow),
                &format!("{how}: {}", store.display()),
                "give each flow a folder of its own",
            ));
        }
    }
    let Some((home, _)) = home else { return };
    if home.starts_with(store) || store.starts_with(home) {
        let how = match (home == store, home.starts_with(store)) {
            (true, _) => "are the same folder",
            (_, true) => "lie in one another: its home is in its store",
            _ => "lie in one another: its store is in its home",
        };
        let message = format!("home and store of flow {} {how}", flow.name);
        let problem = Problem::new(flow.spans.store, message, "it would read what it writes")
            .with_label(flow.spans.home, "its home");
        problems.push(problem.with_hint("choose a store beside the home"));
    }
}

/// No two flows fill one table, by one spelling of its name; by two of them, their database finds
/// out.
pub(super) fn check_shared_tables(flows: &[Arc<Flow>], problems: &mut Problems) {
    let mut owners: HashMap<&TableId, &Flow> = HashMap::new();
    for flow in flows {
        let Some(table) = flow.store.as_table() else {
            continue;
        };
        if let Some(first) = owners.get(table.id) {
            problems.push(shared_store_problem(
                (first, flow),
                &format!("are the same table: {table}"),
                "give each flow a table of its own",
            ));
        } else {
            owners.insert(table.id, flow);
        }
    }
}

fn shared_store_problem((first, flow): (&Flow, &Flow), how: &str, hint: &'static str) -> Problem {
    let message = format!("the stores of flows {} and {} {how}", first.name, flow.name);
    Problem::new(flow.spans.store, message, "this flow's store")
        .with_label(first.spans.store, "and this one's")
        .with_hint(hint)
}

/// Cache, homes and stores keep out of each other's folders.
pub(super) fn check_cache_overlap(place: &FlowPaths<'_>, cache: &Path, problems: &mut Problems) {
    let FlowPaths { flow, home, store } = *place;
    let other_cache = "options.cache.dir names another folder for the cache";
    if store.is_some_and(|store| store.starts_with(cache) || cache.starts_with(store)) {
        let message = format!(
            "the store of flow {} and the cache lie in one another: {}",
            flow.name,
            cache.display()
        );
        problems.push(Problem::new(flow.spans.store, message, "its store").with_hint(other_cache));
    }
    if store
        .and_then(Path::file_name)
        .is_some_and(|name| name == ".hygge")
    {
        let problem = Problem::new(
            flow.spans.store,
            format!("the store of flow {} is called .hygge", flow.name),
            "its store",
        );
        problems.push(
            problem
                .with_hint("that is the name of the folder in which receipts lie: choose another"),
        );
    } else if store.is_some_and(|store| store.iter().any(|name| name == ".hygge")) {
        let problem = Problem::new(
            flow.spans.store,
            format!(
                "the store of flow {} lies in a folder called .hygge",
                flow.name
            ),
            "its store",
        );
        problems.push(problem.with_hint("that is where receipts and locks lie: choose another"));
    }
    let Some((home, deep)) = home else { return };
    // What is hidden is not read.
    let is_hidden = |name: &OsStr| name.to_str().is_some_and(fs::is_hidden);
    if home.starts_with(cache)
        || cache
            .strip_prefix(home)
            .is_ok_and(|below| deep && !below.iter().any(is_hidden))
    {
        let message = format!(
            "flow {} would read the cache: {}",
            flow.name,
            cache.display()
        );
        problems.push(Problem::new(flow.spans.home, message, "its home").with_hint(other_cache));
    }
}

/// With `confine`, everything stays in the folder of the config.
pub(super) fn check_confined(
    what: &str,
    path: &Path,
    at: Span,
    root: &Path,
    problems: &mut Problems,
) {
    if !path.starts_with(root) {
        let message = format!("{what} leaves the folder of the config: {}", path.display());
        let problem = Problem::new(at, message, "expected a path below it");
        problems.push(problem.with_hint("options.confine: true asks for that"));
    }
}
