//! `hygge check`: is the config sound, can every home be read and every store be written?

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::args::{GlobalArgs, OutputFormat};
use super::wait_options::{OTHER_INTERRUPT_NOTE, watch_for_interrupts};
use super::{config_source, print_error, print_line, runtime};
use crate::app::{Run, Session};
use crate::cache::{Cache, CacheAccess};
use crate::config::connection::Connection;
use crate::config::problem::Problems;
use crate::config::variables::{VariableError, VariableErrors};
use crate::connection::{ConnectionError, ping};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::resolved::resolved_config;
use crate::flow::{Flow, FlowName};
use crate::graph::selection::Selection;
use crate::plan::check::{self, Endpoint};
use crate::plan::lost_entities::{self, LostEntities};
use crate::plan::project::Project;
use crate::plan::stale::Verdict;
use crate::plan::{HashProgress, PlanRequest};
use crate::report::json::JsonReport;
use crate::report::output::{self, OutputStream};
use crate::report::plain::pluralize;
use crate::report::progress::Progress;

/// Check the config, every home, every store and every connection
#[derive(Debug, ClapArgs)]
pub(super) struct Check {
    /// How to show it; as JSON also the config with all defaults put in
    #[arg(long, value_enum, default_value = "text")]
    format: OutputFormat,
}

/// What was looked at, and what was found.
struct CheckFinding {
    what: &'static str,
    name: String,
    result: Result<String>,
    took: Option<Duration>,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, command: &Check) -> Result<u8> {
    let found = Arc::new(config_source(global.file.as_deref(), global.offline)?.load()?);
    let mut shown = CheckReport::new(command.format);
    let session = match Session::from_config(found.clone()) {
        Ok(session) => session,
        Err(error) => {
            shown.show_config_error(&error);
            return Ok(error.kind().exit_code());
        }
    };
    let project = &session.project;
    let flows: Vec<_> = project.graph.flows().cloned().collect();
    shown.show_config(|| resolved_config(&project.config, &flows));
    let files = match found.sources.len() {
        1 => found.path().display().to_string(),
        more => format!(
            "{} and {}",
            found.path().display(),
            pluralize(more - 1, "more file")
        ),
    };
    let config = project.config.clone();
    let connections = &config.connections;
    let and_connections = if connections.is_empty() {
        String::new()
    } else {
        format!(", {}", pluralize(connections.len(), "connection"))
    };
    let said = format!("{}{and_connections}", pluralize(flows.len(), "flow"));
    shown.show_result(&CheckFinding {
        what: "config",
        name: files,
        result: Ok(said),
        took: None,
    });
    let edges = flows
        .iter()
        .map(|flow| project.graph.upstreams(flow.name.as_str()).len())
        .sum();
    shown.show_result(&CheckFinding {
        what: "graph",
        name: pluralize(edges, "edge"),
        result: Ok("no circle, no store twice".into()),
        took: None,
    });
    let (session, remarks) = if global.offline {
        (session, Vec::new())
    } else {
        runtime()?.block_on(check_everything(session, &mut shown))?
    };
    let warnings = Problems::from_warnings(&found.sources, &config.warnings);
    let passed_over = config
        .near_misses
        .iter()
        .map(|(flow, said)| format!("flow {flow}: {said}"));
    let notes = flows
        .iter()
        .flat_map(|flow| no_effect_notes(flow))
        .chain(passed_over);
    let unset = if global.offline {
        unset_variables(connections, &flows)
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
    std::mem::forget((session, found));
    Ok(code)
}

/// Looks at what the config speaks of, and shows what was found; gives what is to be said of it
/// besides.
async fn check_everything(
    session: Session,
    shown: &mut CheckReport,
) -> Result<(Session, Vec<String>)> {
    // All of it ends by one of these: what has begun to see signals keeps them from ending the
    // process.
    let interrupted = watch_for_interrupts(OTHER_INTERRUPT_NOTE);
    let folder = session.project.cache_folder();
    let cache = Cache::check(&folder).await.map_err(Error::from);
    let name = folder
        .real_path
        .strip_prefix(session.project.root())
        .unwrap_or(&folder.real_path)
        .display()
        .to_string();
    let (session, mut stuck) = if cache.is_ok() {
        blocked_flows(session, &interrupted).await?
    } else {
        (session, HashMap::new())
    };
    let project = &session.project;
    shown.show_result(&CheckFinding {
        what: "cache",
        name,
        result: cache.map(|()| "can be used".to_string()),
        took: None,
    });
    let tables = unless_interrupted(&interrupted, check::probe_tables(project)).await?;
    let checked = check::check(project, &tables);
    // What was given up is no finding.
    unless_interrupted(&interrupted, ready(())).await?;
    let mut remarks = Vec::new();
    checked
        .iter()
        .filter(|checked| checked.outcome.is_err())
        .for_each(|checked| drop(stuck.remove(&checked.flow)));
    for mut checked in checked {
        let name = checked.flow.to_string();
        if checked.endpoint == Endpoint::Store
            && let Some(error) = stuck.remove(&checked.flow)
        {
            checked.outcome = Err(error);
        }
        remarks.extend(
            checked
                .remarks
                .iter()
                .map(|remark| format!("flow {name}: {remark}")),
        );
        shown.show_result(&CheckFinding {
            what: checked.endpoint.name(),
            name,
            result: checked.outcome,
            took: Some(checked.elapsed),
        });
    }
    for looked in lost_entities(project).await? {
        shown.show_result(&looked);
    }
    for looked in unless_interrupted(&interrupted, ping_connections(project)).await? {
        shown.show_result(&looked);
    }
    Ok((session, remarks))
}

/// Waits for something, but no longer than the command goes on.
async fn unless_interrupted<T>(
    interrupted: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T> {
    tokio::select! {
        // Whatever it has found by then.
        biased;
        () = interrupted.cancelled() => Err(Error::interrupted()),
        done = work => Ok(done),
    }
}

/// Why a build would not make flows whose home and store are well by themselves.
async fn blocked_flows(
    session: Session,
    interrupted: &CancellationToken,
) -> Result<(Session, HashMap<FlowName, Error>)> {
    let selected = session.select(&Selection::default())?;
    let hashing = Arc::<HashProgress>::default();
    let mut progress = output::is_terminal().then(|| Progress::new(hashing.clone()));
    let request = PlanRequest::new(selected, interrupted.clone(), hashing);
    let run = session.start(request, CacheAccess::Inspect).await?;
    let Run {
        loaded,
        mut planner,
    } = run;
    let plan = planner.plan().await?;
    planner.write_back().await?;
    if let Some(progress) = &mut progress {
        progress.finish();
    }
    let mut blocked = HashMap::new();
    for step in plan.flows {
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
        let upstreams = planner.context.project.graph.upstreams(name.as_str());
        planner.has_lost_entities(name)
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
    let project = planner.context.project;
    Ok((Session { loaded, project }, blocked))
}

/// What the config says and has no effect.
fn no_effect_notes(flow: &Flow) -> Vec<String> {
    let queue = flow
        .queue_size
        .filter(|_| flow.home.as_rows().is_none())
        .map(|_| "queue_size has no effect: nothing waits between files".to_string());
    let of_home = flow.home.ineffective_settings();
    of_home
        .into_iter()
        .chain(queue)
        .map(|note| format!("flow {}: {note}", flow.name))
        .collect()
}

/// Flows that have lost more entities than they allow, by what the cache knows, or the receipts
/// where there is none.
async fn lost_entities(project: &Project) -> Result<Vec<CheckFinding>> {
    if project.config.max_lost.is_empty() {
        return Ok(Vec::new());
    }
    let lost = lost_entities::load_and_find(project).await?;
    let all = lost_entities::count_lost(&lost);
    let looked = |lost: &LostEntities| CheckFinding {
        what: "entities",
        name: lost.flow.clone(),
        result: Err(lost.error(all)),
        took: None,
    };
    Ok(lost.iter().map(looked).collect())
}

/// The names of the connections that a flow uses.
fn connections_of(flow: &Flow) -> impl Iterator<Item = &str> {
    let store = flow
        .store
        .as_table()
        .map(|table| table.connection.name.as_str());
    flow.home
        .as_rows()
        .map(|table| table.connection().name.as_str())
        .into_iter()
        .chain(store)
}

/// Variables of connections that flows use, and that have no value.
fn unset_variables(connections: &[Connection], flows: &[Arc<Flow>]) -> Vec<String> {
    let used: BTreeSet<&str> = flows.iter().flat_map(|flow| connections_of(flow)).collect();
    let used = connections
        .iter()
        .filter(|connection| used.contains(connection.name.as_str()));
    let note = |connection: &Connection, error: VariableError| {
        format!("connection {}: {error}", connection.name)
    };
    used.flat_map(|connection| {
        connection
            .missing_variables()
            .into_iter()
            .map(|error| note(connection, error))
    })
    .collect()
}

/// Asks all connections at once.
async fn ping_connections(project: &Project) -> Vec<CheckFinding> {
    let (flows, connections) = (|| project.graph.flows(), &project.config.connections);
    let stores = flows().filter_map(|flow| flow.store.as_table());
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
                Err(_) if !is_used && !connection.missing_variables().is_empty() => Ok(format!(
                    "no flow uses it, and {}",
                    VariableErrors(connection.missing_variables())
                )),
                Err(error) => Err(error),
            };
            let found = found.map_err(Error::from);
            (
                number,
                CheckFinding {
                    what: "connection",
                    name: connection.name,
                    result: found,
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
struct CheckReport {
    json: Option<JsonReport>,
    failed: usize,
}

impl CheckReport {
    fn new(format: OutputFormat) -> Self {
        let json = matches!(format, OutputFormat::Json).then_some(JsonReport);
        Self { json, failed: 0 }
    }

    /// The config cannot be used.
    fn show_config_error(&mut self, error: &Error) {
        let Some(json) = &mut self.json else {
            return print_error(error);
        };
        let problems: Vec<Value> = match error.downcast_source::<Problems>() {
            Some(problems) => problems.to_json(),
            None => {
                vec![json!({ "message": error.to_string(), "hint": error.hint(), "places": [] })]
            }
        };
        json.write_object(
            "check_finished",
            json!({ "ok": false, "problems": problems, "warnings": [] }),
        );
    }

    fn show_config(&mut self, config: impl FnOnce() -> Value) {
        if let Some(json) = &mut self.json {
            json.write_object("config", json!({ "config": config() }));
        }
    }

    fn show_result(&mut self, looked: &CheckFinding) {
        self.failed += usize::from(looked.result.is_err());
        if let Some(json) = &mut self.json {
            let mut fields =
                json!({ "what": looked.what, "name": looked.name, "ok": looked.result.is_ok() });
            match &looked.result {
                Ok(found) => fields["found"] = found.as_str().into(),
                Err(error) => {
                    fields["error"] = error.to_string().into();
                    fields["hint"] = json!(error.hint());
                }
            }
            if let Some(took) = looked.took {
                fields["seconds"] = took.as_secs_f64().into();
            }
            return json.write_object("checked", fields);
        }
        let took = match looked.took {
            Some(took) if looked.what == "connection" => {
                format!(" ({:.1} ms)", took.as_secs_f64() * 1e3)
            }
            _ => String::new(),
        };
        match &looked.result {
            Ok(found) => print_line(&format!(
                "ok      {:<10} {}: {found}{took}",
                looked.what, looked.name
            )),
            Err(error) => {
                print_line(&format!(
                    "failed  {:<10} {}: {error}{took}",
                    looked.what, looked.name
                ));
                if let Some(hint) = error.hint() {
                    print_line(&format!("        hint: {hint}"));
                }
            }
        }
    }

    fn finish(&mut self, warnings: &Problems, notes: Vec<String>) {
        if let Some(json) = &mut self.json {
            let fields = json!({ "ok": self.failed == 0, "problems": [], "failed": self.failed, "warnings": warnings.to_json(), "notes": notes });
            return json.write_object("check_finished", fields);
        }
        if !warnings.is_empty() {
            OutputStream::Standard.write_lines(&format!("\nwarning: {warnings}"));
        }
        for note in notes {
            print_line(&format!("note: {note}"));
        }
        print_line(&match (self.failed, warnings.count()) {
            (0, 0) => "hygge: all is well".to_string(),
            (0, warnings) => format!(
                "hygge: all is well, with {}",
                pluralize(warnings, "warning")
            ),
            (failed, _) => format!("hygge: {failed} of what was checked failed"),
        });
    }
}
