//! `hygge check`: is the config sound, can every home be read and every store be written?

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::args::{Format, Global};
use super::patience::{OF_OTHERS, watch_for_interrupts};
use super::{print_error, read, runtime, say, select};
use crate::cache::{Access, Cache};
use crate::config::connection::Connection;
use crate::config::problem::Problems;
use crate::config::variables::{VariableError, VariableErrors};
use crate::connection::{ConnectionError, ping, until};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::resolved::resolved;
use crate::flow::{Flow, FlowName};
use crate::graph::selection::Selection;
use crate::plan::check::{self, Part};
use crate::plan::lost::{self, Lost};
use crate::plan::project::Project;
use crate::plan::stale::Verdict;
use crate::plan::{Hashing, Planner, Request};
use crate::report::json::Json;
use crate::report::output::{self, Output};
use crate::report::plain::count;
use crate::report::progress::Progress;

/// Check the config, every home, every store and every connection
#[derive(Debug, ClapArgs)]
pub(super) struct Check {
    /// Look at the config and the graph only
    #[arg(long)]
    offline: bool,
    /// How to show it; as JSON also the config with all defaults put in
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What was looked at, and what was found.
struct Looked {
    what: &'static str,
    name: String,
    found: Result<String>,
    took: Option<Duration>,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &Global, command: &Check) -> Result<u8> {
    let found = Arc::new(read(global.file.as_deref())?);
    let mut shown = Shown::new(command.format);
    let project = match Project::new(found.clone()) {
        Ok(project) => project,
        Err(error) => {
            shown.broken(&error);
            return Ok(error.kind().exit_code());
        }
    };
    let flows: Vec<_> = project.graph.flows().cloned().collect();
    shown.config(|| resolved(&project.config, &flows));
    let files = match found.sources.len() {
        1 => found.path().display().to_string(),
        more => format!(
            "{} and {}",
            found.path().display(),
            count(more - 1, "more file")
        ),
    };
    let config = project.config.clone();
    let connections = &config.connections;
    let and_connections = if connections.is_empty() {
        String::new()
    } else {
        format!(", {}", count(connections.len(), "connection"))
    };
    let said = format!("{}{and_connections}", count(flows.len(), "flow"));
    shown.looked(&Looked {
        what: "config",
        name: files,
        found: Ok(said),
        took: None,
    });
    let edges = flows
        .iter()
        .map(|flow| project.graph.upstreams(flow.name.as_str()).len())
        .sum();
    shown.looked(&Looked {
        what: "graph",
        name: count(edges, "edge"),
        found: Ok("no circle, no store twice".into()),
        took: None,
    });
    let (project, remarks) = if command.offline {
        (project, Vec::new())
    } else {
        runtime()?.block_on(look(project, &mut shown))?
    };
    let warnings = Problems::of_warnings(&found.sources, &config.warnings);
    let passed_over = config
        .passed_over
        .iter()
        .map(|(flow, said)| format!("flow {flow}: {said}"));
    let notes = flows.iter().flat_map(|flow| notes(flow)).chain(passed_over);
    let unset = if command.offline {
        unset(connections, &flows)
    } else {
        Vec::new()
    };
    shown.finish(&warnings, notes.chain(remarks).chain(unset).collect());
    let code = if shown.failed == 0 {
        0
    } else {
        ErrorKind::Flow.exit_code()
    };
    drop(flows);
    // The process ends: to take apart what is known would cost a tenth of the time.
    std::mem::forget((project, found));
    Ok(code)
}

/// Looks at what the config speaks of, and shows what was found; gives what is to be said of it
/// besides.
async fn look(project: Project, shown: &mut Shown) -> Result<(Project, Vec<String>)> {
    // All of it ends by one of these: what has begun to see signals keeps them from ending the
    // process.
    let interrupted = watch_for_interrupts(OF_OTHERS);
    let folder = project.cache_folder();
    let cache = Cache::check(&folder).await.map_err(Error::from);
    let name = folder
        .real
        .strip_prefix(project.root())
        .unwrap_or(&folder.real)
        .display()
        .to_string();
    let (project, mut stuck) = if cache.is_ok() {
        blocked(project, &interrupted).await?
    } else {
        (project, HashMap::new())
    };
    shown.looked(&Looked {
        what: "cache",
        name,
        found: cache.map(|()| "can be used".to_string()),
        took: None,
    });
    let tables = unless_interrupted(&interrupted, check::ask_tables(&project)).await?;
    let checked = check::check(&project, &tables);
    // What was given up is no finding.
    unless_interrupted(&interrupted, ready(())).await?;
    let mut remarks = Vec::new();
    checked
        .iter()
        .filter(|checked| checked.found.is_err())
        .for_each(|checked| drop(stuck.remove(&checked.flow)));
    for mut checked in checked {
        let name = checked.flow.to_string();
        if checked.part == Part::Store
            && let Some(error) = stuck.remove(&checked.flow)
        {
            checked.found = Err(error);
        }
        remarks.extend(
            checked
                .remarks
                .iter()
                .map(|remark| format!("flow {name}: {remark}")),
        );
        shown.looked(&Looked {
            what: checked.part.word(),
            name,
            found: checked.found,
            took: Some(checked.took),
        });
    }
    for looked in lost(&project).await? {
        shown.looked(&looked);
    }
    for looked in unless_interrupted(&interrupted, answers(&project)).await? {
        shown.looked(&looked);
    }
    Ok((project, remarks))
}

/// Waits for something, but no longer than the command goes on.
async fn unless_interrupted<T>(
    interrupted: &AtomicBool,
    work: impl Future<Output = T>,
) -> Result<T> {
    tokio::select! {
        // Whatever it has found by then.
        biased;
        () = until(interrupted) => Err(Error::new(ErrorKind::Interrupted, "interrupted")),
        done = work => Ok(done),
    }
}

/// Why a build would not make flows whose home and store are well by themselves.
async fn blocked(
    project: Project,
    interrupted: &Arc<AtomicBool>,
) -> Result<(Project, HashMap<FlowName, Error>)> {
    let selected = select(&Selection::default(), &project)?;
    let hashing = Arc::<Hashing>::default();
    let mut progress = output::is_terminal().then(|| Progress::new(hashing.clone()));
    let request = Request::new(selected, interrupted.clone(), hashing);
    let mut planner = Planner::new(project, request, Access::Look).await?;
    let plan = planner.plan().await?;
    planner.write_back().await?;
    if let Some(progress) = &mut progress {
        progress.end();
    }
    let mut blocked = HashMap::new();
    for step in plan.steps {
        let Verdict::Blocked { error, hint } = step.verdict else {
            continue;
        };
        let error = Error::new(ErrorKind::Flow, error);
        blocked.insert(
            step.flow,
            if let Some(hint) = hint {
                error.with_hint(hint)
            } else {
                error
            },
        );
    }
    // The first of a chain says it for those behind it, and a loss is said of the flow of the
    // config.
    let is_said = |name: &FlowName| {
        let upstreams = planner.project.graph.upstreams(name.as_str());
        planner.misses_entities_of(name)
            || upstreams
                .iter()
                .any(|upstream| blocked.contains_key(upstream))
    };
    let said: Vec<FlowName> = blocked
        .keys()
        .filter(|name| is_said(name))
        .cloned()
        .collect();
    said.iter().for_each(|name| drop(blocked.remove(name)));
    Ok((planner.project, blocked))
}

/// What the config says and has no effect.
fn notes(flow: &Flow) -> Vec<String> {
    let queue = flow
        .queue_size
        .filter(|_| flow.home.rows().is_none())
        .map(|_| "queue_size has no effect: nothing waits between files".to_string());
    let of_home = flow.home.without_effect();
    of_home
        .into_iter()
        .chain(queue)
        .map(|note| format!("flow {}: {note}", flow.name))
        .collect()
}

/// Flows that have lost more entities than they allow, by what the cache knows, or the receipts
/// where there is none.
async fn lost(project: &Project) -> Result<Vec<Looked>> {
    if project.config.max_lost.is_empty() {
        return Ok(Vec::new());
    }
    let lost = lost::look(project).await?;
    let all = lost::count(&lost);
    let looked = |lost: &Lost| Looked {
        what: "entities",
        name: lost.flow.clone(),
        found: Err(lost.error(all)),
        took: None,
    };
    Ok(lost.iter().map(looked).collect())
}

/// The names of the connections that a flow uses.
fn connections_of(flow: &Flow) -> impl Iterator<Item = &str> {
    let store = flow
        .store
        .table()
        .map(|table| table.connection.name.as_str());
    flow.home
        .rows()
        .map(|table| table.connection().name.as_str())
        .into_iter()
        .chain(store)
}

/// Variables of connections that flows use, and that have no value.
fn unset(connections: &[Connection], flows: &[Arc<Flow>]) -> Vec<String> {
    let used: BTreeSet<&str> = flows.iter().flat_map(|flow| connections_of(flow)).collect();
    let used = connections
        .iter()
        .filter(|connection| used.contains(connection.name.as_str()));
    let note = |connection: &Connection, error: VariableError| {
        format!("connection {}: {error}", connection.name)
    };
    used.flat_map(|connection| {
        connection
            .lacks()
            .into_iter()
            .map(|error| note(connection, error))
    })
    .collect()
}

/// Asks all connections at once.
async fn answers(project: &Project) -> Vec<Looked> {
    let (flows, connections) = (|| project.graph.flows(), &project.config.connections);
    let stores = flows().filter_map(|flow| flow.store.table());
    let filled: BTreeSet<&str> = stores.map(|table| table.connection.name.as_str()).collect();
    let used: BTreeSet<&str> = flows().flat_map(|flow| connections_of(flow)).collect();
    let mut asked = tokio::task::JoinSet::new();
    for (number, connection) in connections.iter().cloned().enumerate() {
        let (root, name) = (project.root().to_path_buf(), connection.name.as_str());
        let (is_filled, is_used) = (filled.contains(name), used.contains(name));
        asked.spawn(async move {
            let began = Instant::now();
            let answer = ping(&connection, &root).await;
            let found = match answer {
                Ok(true) => Ok("answers".to_string()),
                // The flow that fills it makes it.
                Ok(false) if is_filled => Ok("its file is not there yet".to_string()),
                Ok(false) if !is_used => {
                    Ok("no flow uses it, and its file is not there".to_string())
                }
                Ok(false) => Err(ConnectionError::NoFile(connection.name.clone())),
                // Nobody will ask for it.
                Err(_) if !is_used && !connection.lacks().is_empty() => Ok(format!(
                    "no flow uses it, and {}",
                    VariableErrors(connection.lacks())
                )),
                Err(error) => Err(error),
            };
            let found = found.map_err(Error::from);
            (
                number,
                Looked {
                    what: "connection",
                    name: connection.name,
                    found,
                    took: Some(began.elapsed()),
                },
            )
        });
    }
    let mut looked = asked.join_all().await;
    looked.sort_by_key(|(number, _)| *number);
    looked.into_iter().map(|(_, looked)| looked).collect()
}

/// Shows what was found as it comes.
struct Shown {
    json: Option<Json>,
    failed: usize,
}

impl Shown {
    fn new(format: Format) -> Self {
        let json = matches!(format, Format::Json).then_some(Json);
        Self { json, failed: 0 }
    }

    /// The config cannot be used.
    fn broken(&mut self, error: &Error) {
        let Some(json) = &mut self.json else {
            return print_error(error);
        };
        let problems: Vec<Value> = match error.cause::<Problems>() {
            Some(problems) => problems.to_json(),
            None => {
                vec![json!({ "message": error.to_string(), "hint": error.hint(), "places": [] })]
            }
        };
        json.object(
            "check_finished",
            json!({ "ok": false, "problems": problems, "warnings": [] }),
        );
    }

    fn config(&mut self, config: impl FnOnce() -> Value) {
        if let Some(json) = &mut self.json {
            json.object("config", json!({ "config": config() }));
        }
    }

    fn looked(&mut self, looked: &Looked) {
        self.failed += usize::from(looked.found.is_err());
        if let Some(json) = &mut self.json {
            let mut fields =
                json!({ "what": looked.what, "name": looked.name, "ok": looked.found.is_ok() });
            match &looked.found {
                Ok(found) => fields["found"] = found.as_str().into(),
                Err(error) => {
                    fields["error"] = error.to_string().into();
                    fields["hint"] = json!(error.hint());
                }
            }
            if let Some(took) = looked.took {
                fields["seconds"] = took.as_secs_f64().into();
            }
            return json.object("checked", fields);
        }
        let took = match looked.took {
            Some(took) if looked.what == "connection" => {
                format!(" ({:.1} ms)", took.as_secs_f64() * 1e3)
            }
            _ => String::new(),
        };
        match &looked.found {
            Ok(found) => say(&format!(
                "ok      {:<10} {}: {found}{took}",
                looked.what, looked.name
            )),
            Err(error) => {
                say(&format!(
                    "failed  {:<10} {}: {error}{took}",
                    looked.what, looked.name
                ));
                if let Some(hint) = error.hint() {
                    say(&format!("        hint: {hint}"));
                }
            }
        }
    }

    fn finish(&mut self, warnings: &Problems, notes: Vec<String>) {
        if let Some(json) = &mut self.json {
            let fields = json!({ "ok": self.failed == 0, "problems": [], "failed": self.failed, "warnings": warnings.to_json(), "notes": notes });
            return json.object("check_finished", fields);
        }
        if !warnings.is_empty() {
            Output::Standard.lines(&format!("\nwarning: {warnings}"));
        }
        for note in notes {
            say(&format!("note: {note}"));
        }
        say(&match (self.failed, warnings.count()) {
            (0, 0) => "hygge: all is well".to_string(),
            (0, warnings) => format!("hygge: all is well, with {}", count(warnings, "warning")),
            (failed, _) => format!("hygge: {failed} of what was checked failed"),
        });
    }
}
