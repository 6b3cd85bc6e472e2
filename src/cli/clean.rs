//! `hygge clean`: empties the cache, or removes what flows have published.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use tokio_util::sync::CancellationToken;

use super::args::{GlobalArgs, OutputFormat};
use super::wait_options::wait_unless;
use super::{open_session, print_line, runtime};
use crate::app::Session;
use crate::cache::index::IndexChanges;
use crate::cache::{Cache, CacheAccess, CacheLockWait, WaitCallback};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::Flow;
use crate::fs::{self, Lock, LockError};
use crate::graph::selection::Selection;
use crate::plan::PlanRequest;
use crate::report::output::OutputStream;
use crate::report::plain::{format_bytes, pluralize};
use crate::storage::Version;
use crate::store::receipt::Receipt;
use crate::store::{RemovalPlan, StoreError, StoreId, StoreSession, accepted_loss};

/// Empty the cache; what is fresh stays fresh. With --stores or --orphans, remove what was
/// published
#[derive(Debug, ClapArgs)]
pub(super) struct Clean {
    /// Remove what these flows have published, and their receipts, instead
    #[arg(long, value_name = "FLOW", num_args = 1.., conflicts_with = "orphans")]
    stores: Vec<String>,
    /// Remove the stores of this project that no flow of the config has any more, instead
    #[arg(long)]
    orphans: bool,
    /// Really remove stores; without it they are only listed, and the exit code is 2. Of orphans it
    /// says how many there are
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
    yes: Option<Option<usize>>,
    /// End with 4 where another process builds, instead of waiting for it
    #[arg(long)]
    no_wait: bool,
}

/// How many files of a store are listed.
const MAX_LISTED: usize = 5;

/// How often a lock is tried again.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, clean: &Clean) -> Result<u8> {
    if clean.yes.is_some() && clean.stores.is_empty() && !clean.orphans {
        let error = Error::new(
            ErrorKind::Config,
            "--yes is for --stores and --orphans: the cache is emptied without it",
        );
        return Err(error.with_hint("hygge clean empties the cache; hygge clean --stores FLOW --yes removes what was published"));
    }
    let session = open_session(global)?;
    runtime()?.block_on(async {
        if clean.stores.is_empty() && !clean.orphans {
            let cache = session.open_cache(CacheAccess::Inspect).await?;
            let freed = cache
                .clear(&wait_unless(clean.no_wait, OutputFormat::Text))
                .await?;
            print_line(&format!(
                "the cache is empty: {}, {}",
                pluralize(freed.0, "file"),
                format_bytes(freed.1)
            ));
            return Ok(0);
        }
        let project = &session.project;
        let folder = project.cache_folder();
        let entities = project
            .graph
            .flows()
            .filter_map(|flow| Some(flow.entity.as_ref()?.0.clone()));
        let with_entities = entities
            .chain(project.config.max_lost.keys().cloned())
            .collect();
        let cleaning = StoreCleaner {
            project: project.config.name.clone(),
            with_entities,
            wait: wait_unless(clean.no_wait, OutputFormat::Text),
        };
        let targets = if clean.orphans {
            orphan_targets(session).await?
        } else {
            published_targets(&session, &clean.stores)?
        };
        let cleared = cleaning.run(&targets, clean).await;
        // They are no loss that a build should stop at.
        let gone = targets
            .iter()
            .filter(|target| matches!(target.receipt_version(), Ok(None)));
        let receipts = gone.map(|target| (target.id.clone(), None)).collect();
        let cache = Cache::open(&folder, CacheAccess::Inspect).await?;
        if cache.is_writable() {
            cache
                .index
                .apply(IndexChanges {
                    receipts,
                    ..IndexChanges::default()
                })
                .await?;
        }
        cleared
    })
}

/// A store that shall go.
struct CleanTarget {
    /// The flow that published there.
    flow: String,
    id: StoreId,
    /// The store, or why there can be none.
    session: Result<Arc<dyn StoreSession>>,
}

impl CleanTarget {
    fn receipt_version(&self) -> Result<Option<Version>> {
        let session = self.session.as_ref().map_err(Error::clone)?;
        Ok(session.receipt_version()?)
    }

    fn display_name(&self) -> String {
        self.session.as_ref().map_or_else(
            |_| self.id.index_key().display().to_string(),
            |session| session.display_name(),
        )
    }
}

/// The stores of flows of the config.
fn published_targets(session: &Session, flows: &[String]) -> Result<Vec<CleanTarget>> {
    let selection = Selection {
        include: flows.to_vec(),
        only: true,
        ..Selection::default()
    };
    let (project, named) = (&session.project, session.select(&selection)?.named);
    let flows = named
        .iter()
        .filter_map(|name| project.graph.flow(name.as_str()));
    let target = |flow: &Arc<Flow>| CleanTarget {
        flow: flow.name.to_string(),
        id: project.store_id(flow).clone(),
        session: project.open_store(flow).map_err(Error::from),
    };
    Ok(flows.map(target).collect())
}

/// The stores that no flow has any more, in the order of their flows. What a flow reads is left
/// alone.
async fn orphan_targets(session: Session) -> Result<Vec<CleanTarget>> {
    let selected = session.select(&Selection::default())?;
    let request = PlanRequest::new(selected, CancellationToken::new(), Arc::default());
    let mut planner = session.start(request, CacheAccess::Inspect).await?.planner;
    let (removable, others) = planner.removable_stores().await?;
    for flow in others {
        print_line(&format!(
            "left alone: a table of flow {flow}: the config has no connection to it any more"
        ));
    }
    let mut targets = Vec::new();
    for orphan in removable {
        let mut flows = planner.context.project.graph.flows();
        let reads = |flow: &&Arc<Flow>| {
            let folder = orphan.id.folder();
            folder.is_some_and(|folder| planner.context.project.reads_from(flow, folder))
        };
        match flows.find(reads) {
            Some(reader) => print_line(&format!(
                "left alone: {}: flow {} reads it",
                orphan.session.display_name(),
                reader.name
            )),
            None => targets.push(CleanTarget {
                flow: orphan.flow,
                id: orphan.id,
                session: Ok(orphan.session),
            }),
        }
    }
    targets.sort_by(|a, b| a.flow.cmp(&b.flow));
    Ok(targets)
}

/// Removing the stores of a project.
struct StoreCleaner {
    project: String,
    /// The flows of the config that have entities, or may have some.
    with_entities: BTreeSet<String>,
    wait: CacheLockWait,
}

/// What was found to remove.
#[derive(Default)]
struct CleanSummary {
    stores: usize,
    /// How many of each flow of the config, its entities taken together.
    flows: BTreeMap<String, usize>,
    lines: Vec<String>,
    failed: Option<Error>,
}

impl StoreCleaner {
    /// The flow that an entity is of, as far as the config has it.
    fn config_flow<'n>(&self, name: &'n str) -> &'n str {
        let mut bases = name.match_indices('.').map(|(at, _)| &name[..at]);
        bases
            .find(|base| self.with_entities.contains(*base))
            .unwrap_or(name)
    }

    async fn run(&self, targets: &[CleanTarget], clean: &Clean) -> Result<u8> {
        let mut listed = self.clear_all(targets, false).await;
        let wanted = listed.stores;
        if clean.orphans {
            listed.lines.extend(
                listed
                    .flows
                    .iter()
                    .map(|(flow, stores)| format!("flow {flow}: {}", pluralize(*stores, "store"))),
            );
        }
        let is_sure = wanted > 0 && clean.is_confirmed(wanted, &listed)?;
        let CleanSummary {
            stores,
            lines,
            failed,
            ..
        } = if is_sure {
            self.clear_all(targets, true).await
        } else {
            listed
        };
        // Before a question they are shown already.
        if is_sure || !clean.can_ask() {
            lines.iter().for_each(|line| print_line(line));
        }
        match failed {
            Some(error) if error.kind() == ErrorKind::Locked => Err(error),
            Some(error) => {
                let hint = error.hint().unwrap_or(
                    "what is left alone can be removed by hand, with its .json in .hygge beside it",
                );
                Err(Error::new(ErrorKind::Flow, "not every store was removed").with_hint(hint))
            }
            None if stores == 0 => {
                print_line("there is nothing to remove");
                Ok(0)
            }
            None if !is_sure => {
                let hint = format!(
                    "--yes{} removes what is listed above",
                    if clean.orphans {
                        format!("={wanted}")
                    } else {
                        String::new()
                    }
                );
                Err(Error::new(ErrorKind::Config, "nothing was removed yet").with_hint(hint))
            }
            None => Ok(0),
        }
    }

    /// Looks at all of them, or removes them.
    async fn clear_all(&self, targets: &[CleanTarget], is_sure: bool) -> CleanSummary {
        let mut listed = CleanSummary::default();
        for target in targets {
            match self.clear_one(target, is_sure).await {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => {
                    *listed
                        .flows
                        .entry(self.config_flow(&target.flow).to_string())
                        .or_default() += 1;
                    listed.stores += 1;
                    listed.lines.extend(lines);
                }
                Err(error) => {
                    listed
                        .lines
                        .push(format!("left alone: {}: {error}", target.display_name()));
                    listed.failed = Some(error);
                }
            }
        }
        listed
    }

    /// Lists what would go, and removes it if that is sure. Nothing where there is nothing.
    async fn clear_one(
        &self,
        CleanTarget { flow, id, session }: &CleanTarget,
        is_sure: bool,
    ) -> Result<Vec<String>> {
        let session = session.as_ref().map_err(Error::clone)?;
        if session.receipt_version()?.is_none() {
            return Ok(Vec::new());
        }
        let _lock = self.lock(session.as_ref()).await?;
        let receipt = session.receipt()?;
        if let Some(receipt) = receipt.as_ref().filter(|receipt| {
            (receipt.project.as_str(), receipt.flow.as_str()) != (&self.project, flow)
        }) {
            let error = format!(
                "flow {} of {} published there last",
                receipt.flow, receipt.project
            );
            return Err(Error::new(ErrorKind::Flow, error)
                .with_hint(format!("it is for {} to remove it", receipt.project)));
        }
        let RemovalPlan {
            files,
            bytes: size,
            table_summary: table,
        } = session.removable()?;
        if files.is_empty() && table.is_none() {
            return Ok(Vec::new());
        }
        if is_sure {
            session.clear()?;
            accepted_loss::set_loss_accepted(id, false)?;
        }
        let mut lines = vec![format!(
            "{} store {} of flow {flow}: {}",
            if is_sure { "removed" } else { "would remove" },
            session.display_name(),
            table.unwrap_or_else(|| format!(
                "{}, {}",
                pluralize(files.len(), "file"),
                format_bytes(size)
            ))
        )];
        lines.extend(
            files
                .iter()
                .take(MAX_LISTED)
                .map(|file| format!("  {}", file.display())),
        );
        if files.len() > MAX_LISTED {
            lines.push(format!("  and {} more", files.len() - MAX_LISTED));
        }
        if receipt.is_some_and(|receipt| is_append(&receipt)) && !is_sure {
            lines.push("  it has mode: append: rows of inputs that its home no longer has cannot be made again".into());
        }
        Ok(lines)
    }

    /// Locks a store, as soon as nobody builds into it.
    async fn lock(&self, session: &dyn StoreSession) -> Result<Lock> {
        let holder = fs::lock_holder_text("which cleans it");
        let began = Instant::now();
        let said = WaitCallback::new({
            let store = session.display_name();
            move |held| {
                OutputStream::Error.write_line(&format!(
                    "waiting  for store {store}, which is in use by {}",
                    held.describe()
                ))
            }
        });
        let wait = CacheLockWait {
            on_wait: said,
            ..self.wait.clone()
        };
        let mut is_told = false;
        loop {
            match session.lock(&holder) {
                Err(StoreError::Locked(LockError::Held(held))) if wait.should_continue(began) => {
                    wait.report_holder(began, &held, &mut is_told);
                    tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
                }
                locked => return Ok(locked?),
            }
        }
    }
}

/// True where the rows of what was published may be nowhere else.
fn is_append(receipt: &Receipt) -> bool {
    let mode = receipt
        .published
        .as_ref()
        .and_then(|published| published.placement.get("mode"));
    mode.is_some_and(|mode| mode == "append")
}

impl Clean {
    /// True where somebody sits there who can be asked.
    fn can_ask(&self) -> bool {
        self.orphans
            && self.yes.is_none()
            && io::stdin().is_terminal()
            && io::stdout().is_terminal()
    }

    /// True where so many stores shall really go: how many they are is said for orphans, because a
    /// config that has lost its flows makes orphans of everything.
    fn is_confirmed(&self, stores: usize, listed: &CleanSummary) -> Result<bool> {
        let wrong = |error: String| {
            listed.lines.iter().for_each(|line| print_line(line));
            Err(Error::new(ErrorKind::Config, error)
                .with_hint(format!("--yes={stores} removes what is listed above")))
        };
        match self.yes {
            Some(Some(number)) if number != stores => wrong(format!(
                "nothing was removed: --yes={number}, and there are {}",
                pluralize(stores, "store")
            )),
            Some(None) if self.orphans => wrong(format!(
                "nothing was removed: orphans are removed by their number, and there are {stores}"
            )),
            Some(_) => Ok(true),
            None if self.can_ask() => {
                listed.lines.iter().for_each(|line| print_line(line));
                Ok(prompt_for_number(stores))
            }
            None => Ok(false),
        }
    }
}

/// Asks for a number; true where it is typed.
fn prompt_for_number(number: usize) -> bool {
    let mut out = io::stdout().lock();
    let asked = write!(
        out,
        "type {number} to remove {}: ",
        if number == 1 { "it" } else { "them" }
    )
    .and_then(|()| out.flush());
    let mut answer = String::new();
    // Who cannot be asked has said nothing.
    asked.is_ok()
        && io::stdin().lock().read_line(&mut answer).is_ok()
        && answer.trim() == number.to_string()
}
