//! `hygge clean`: empties the cache, or removes what flows have published.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;

use super::args::{Args, Format};
use super::patience::unless;
use super::{load, open_cache, runtime, say, select};
use crate::cache::index::Batch;
use crate::cache::{Access, Cache, Said, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::Flow;
use crate::fs::{self, Lock, LockError};
use crate::graph::selection::Selection;
use crate::plan::{Planner, Request};
use crate::report::output::Output;
use crate::report::plain::{bytes, count};
use crate::store::{Clearing, StoreError};

/// Empty the cache; what is fresh stays fresh. With --stores or --orphans, remove what was published
#[derive(Debug, ClapArgs)]
pub(super) struct Clean {
    /// Remove what these flows have published, and their receipts, instead
    #[arg(long, value_name = "FLOW", num_args = 1.., conflicts_with = "orphans")]
    stores: Vec<String>,
    /// Remove the stores of this project that no flow of the config has any more, instead
    #[arg(long)]
    orphans: bool,
    /// Really remove stores; without it they are only listed, and the exit code is 2
    #[arg(long)]
    yes: bool,
    /// End with 4 where another process builds, instead of waiting for it
    #[arg(long)]
    no_wait: bool,
}

/// How many files of a store are listed.
const LISTED: usize = 5;

/// How often a lock is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs the command; gives the exit code.
pub(super) fn run(args: &Args, clean: &Clean) -> Result<u8> {
    let (_, project) = load(args.file.as_deref())?;
    runtime()?.block_on(async {
        if clean.stores.is_empty() && !clean.orphans {
            let cache = open_cache(&project, Access::Look).await?;
            let freed = cache.empty(&unless(clean.no_wait, Format::Text)).await?;
            say(&format!("the cache is empty: {}, {}", count(freed.0, "file"), bytes(freed.1)));
            return Ok(0);
        }
        let (name, folder) = (project.config.name.clone(), project.config.options.cache_folder.clone());
        let stores: Vec<Target> = if clean.orphans {
            let selected = select(&Selection::default(), &project)?;
            let request =
                Request { selected, force: false, slices: None, put_back: None, interrupted: Arc::default(), hashing: Arc::default() };
            let mut planner = Planner::new(project, request, Access::Look).await?;
            let orphans = planner.plan().await?.orphans;
            let mut stores = Vec::new();
            for orphan in orphans {
                let mut flows = planner.project.graph.flows();
                if let Some(reader) = flows.find(|flow| planner.project.reads(flow, &orphan.store)) {
                    say(&format!("left alone: {}: flow {} reads it", orphan.store.display(), reader.name));
                    continue;
                }
                // Whoever can read its receipt can clear it.
                let mut flows = planner.project.graph.flows();
                let keeper = flows.find(|flow| matches!(flow.store.receipt(&orphan.store), Ok(Some(_))));
                stores.extend(keeper.map(|flow| Target { name: orphan.flow, path: orphan.store.clone(), flow: flow.clone() }));
            }
            stores
        } else {
            let selection = Selection { include: clean.stores.clone(), only: true, ..Selection::default() };
            let named = select(&selection, &project)?.named;
            let flows = named.iter().filter_map(|name| project.graph.flow(name.as_str()));
            let target =
                |flow: &Arc<Flow>| Target { name: flow.name.to_string(), path: project.store_path(flow).to_path_buf(), flow: flow.clone() };
            flows.map(target).collect()
        };
        let cleared = clear(&name, &stores, clean.yes, &unless(clean.no_wait, Format::Text)).await;
        // They are no loss that a build should stop at.
        let gone = stores.iter().filter(|target| matches!(target.flow.store.receipt_stat(&target.path), Ok(None)));
        let receipts = gone.map(|target| (target.path.clone(), None)).collect();
        let cache = Cache::open(&folder, Access::Look).await?;
        if cache.is_writable() {
            cache.index.apply(Batch { receipts, ..Batch::default() }).await?;
        }
        cleared
    })
}

/// A store that shall go.
struct Target {
    /// The flow that published there.
    name: String,
    path: PathBuf,
    /// A flow that knows how such a store is read.
    flow: Arc<Flow>,
}

async fn clear(project: &str, stores: &[Target], is_sure: bool, wait: &Wait) -> Result<u8> {
    let mut failed = None;
    let mut cleared = 0;
    for target in stores {
        match clear_one(project, target, is_sure, wait).await {
            Ok(had_any) => cleared += usize::from(had_any),
            Err(error) => {
                say(&format!("left alone: {}: {error}", target.path.display()));
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if error.kind() == ErrorKind::Locked => Err(error),
        Some(error) => {
            let hint = error.hint().unwrap_or("what is left alone can be removed by hand, with its .json in .hygge beside it");
            Err(Error::new(ErrorKind::Flow, "not every store was removed").with_hint(hint))
        }
        None if cleared == 0 => {
            say("there is nothing to remove");
            Ok(0)
        }
        None if !is_sure => Err(Error::new(ErrorKind::Config, "nothing was removed yet").with_hint("--yes removes what is listed above")),
        None => Ok(0),
    }
}

/// Locks a store, as soon as nobody builds into it.
async fn lock(flow: &Flow, path: &Path, wait: &Wait) -> Result<Lock> {
    let holder = fs::words("which cleans it");
    let began = Instant::now();
    let said = Said::new({
        let store = flow.store.shown(path);
        move |held| Output::Error.line(&format!("waiting  for store {store}, which is in use by {}", held.who()))
    });
    let wait = Wait { said, ..wait.clone() };
    let mut is_told = false;
    loop {
        match flow.store.lock(path, &holder) {
            Err(StoreError::Locked(LockError::Held(held))) if wait.goes_on(began) => {
                wait.tell(began, &held, &mut is_told);
                tokio::time::sleep(PAUSE).await;
            }
            locked => return Ok(locked?),
        }
    }
}

/// Lists what would go, and removes it if that is sure. False where there is nothing.
async fn clear_one(project: &str, Target { name, path, flow }: &Target, is_sure: bool, wait: &Wait) -> Result<bool> {
    if flow.store.receipt_stat(path)?.is_none() {
        return Ok(false);
    }
    let _lock = lock(flow, path, wait).await?;
    let receipt = flow.store.receipt(path)?;
    if let Some(receipt) = receipt.filter(|receipt| (receipt.project.as_str(), receipt.flow.as_str()) != (project, name)) {
        let error = format!("flow {} of {} published there last", receipt.flow, receipt.project);
        return Err(Error::new(ErrorKind::Flow, error).with_hint(format!("it is for {} to remove it", receipt.project)));
    }
    let Clearing { files, bytes: size, table } = flow.store.clearing(path)?;
    if files.is_empty() && table.is_none() {
        return Ok(false);
    }
    if is_sure {
        flow.store.clear(path)?;
    }
    say(&format!(
        "{} store {} of flow {name}: {}",
        if is_sure { "removed" } else { "would remove" },
        flow.store.shown(path),
        table.unwrap_or_else(|| format!("{}, {}", count(files.len(), "file"), bytes(size)))
    ));
    for file in files.iter().take(LISTED) {
        say(&format!("  {}", file.display()));
    }
    if files.len() > LISTED {
        say(&format!("  and {} more", files.len() - LISTED));
    }
    if flow.mode.appends() && !is_sure {
        say("  it has mode: append: rows of inputs that its home no longer has cannot be made again");
    }
    Ok(true)
}
