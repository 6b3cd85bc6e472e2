//! The depfile: what a build depends on, as a rule for make or for ninja.
//!
//! How each of them writes a name stands in `names`. What other flows make is left out: hygge looks
//! after it itself.

mod builtin_rules;
mod detect;
mod escaping;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::app::Run;
use crate::error::{Error, ErrorKind, Result, join_limited};
use crate::flow::Flow;
use crate::fs;
use crate::plan::Planner;

pub(super) use escaping::escape_for_make;

/// How many names or flows a warning tells.
const MAX_LISTED: usize = 3;

/// Who reads a depfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Syntax {
    /// GNU make, which includes it
    Make,
    /// ninja, by depfile = FILE
    Ninja,
}

/// What a depfile has, and what its reader cannot be told.
#[derive(Debug, Default)]
struct Dependencies {
    paths: BTreeSet<PathBuf>,
    /// Logs of SQLite databases, which are there only while somebody writes.
    wal_files: BTreeSet<PathBuf>,
    /// Flows that read a database of a server.
    server_flows: Vec<String>,
}

/// The stamp can be written into the depfile.
///
/// # Errors
/// Its name has letters that its reader has no way to write.
pub(super) fn check_stamp(stamp: &Path, syntax: Syntax) -> Result<()> {
    let hint = "name it with letters, digits, -, _ and .";
    let error = || {
        Error::new(
            ErrorKind::Config,
            format!(
                "--stamp {}: {} cannot be told this name",
                stamp.display(),
                syntax.tool_name()
            ),
        )
    };
    escape_path(stamp, syntax)
        .map(drop)
        .ok_or_else(|| error().with_hint(hint))
}

/// True for a file that the build reads, whoever makes it: one of the config, of a home, of a
/// database.
pub(super) fn is_input(run: &Run, file: &Path) -> bool {
    let needed = collect_dependencies(run, |_| false);
    needed.paths.iter().any(|path| {
        path.file_name() == file.file_name() && fs::real_path(path).is_ok_and(|real| real == file)
    })
}

/// Writes the rule: the stamp depends on the config, on every input file, on every folder that is
/// listed, and on the files of SQLite databases. Gives what its reader is to be warned of, in
/// words.
pub(super) fn write(path: &Path, stamp: &Path, syntax: Syntax, run: &Run) -> Result<Vec<String>> {
    let project = &run.planner.context.project;
    let made: BTreeSet<&Path> = project
        .graph
        .flows()
        .filter_map(|flow| project.store_id(flow).folder())
        .collect();
    let is_made = |path: &Path| path.ancestors().any(|above| made.contains(above));
    let needed = collect_dependencies(run, |path| {
        fs::real_path(path).is_ok_and(|real| is_made(&real))
    });
    let (mut kept, mut lost) = (BTreeSet::new(), Vec::new());
    for path in &needed.paths {
        match escape_path(path, syntax) {
            Some(name) => drop(kept.insert(name)),
            None => {
                // What is made, removed or renamed there is seen all the same.
                kept.extend(
                    path.ancestors()
                        .skip(1)
                        .find_map(|folder| escape_path(folder, syntax)),
                );
                lost.push(path.display().to_string());
            }
        }
    }
    let mut logs = Vec::new();
    for log in &needed.wal_files {
        match escape_wal_file(log, syntax) {
            Some(log) => logs.extend(Some(log).filter(|log| !log.is_empty())),
            // Not its folder instead: who reads the database changes that.
            None => lost.push(log.display().to_string()),
        }
    }
    let stamp = escape_path(stamp, syntax)
        .map(|name| name.target)
        .unwrap_or_default();
    let text = match syntax {
        Syntax::Make => make_rules(&stamp, &kept, &logs),
        Syntax::Ninja => ninja_rule(&stamp, &kept, &logs),
    };
    fs::write_atomically(path, text.as_bytes())?;
    let mut warnings = Vec::new();
    if !lost.is_empty() {
        warnings.push(format!(
            "{} cannot be told these names, and sees no change of their contents: {}",
            syntax.tool_name(),
            join_limited(&lost, MAX_LISTED)
        ));
    }
    if !needed.server_flows.is_empty() {
        warnings.push(format!(
            "{} sees no change in the databases of {}: run hygge each time (a FORCE target), or ask it by hygge build --check",
            syntax.tool_name(),
            join_limited(&needed.server_flows, MAX_LISTED)
        ));
    }
    Ok(warnings)
}

impl Syntax {
    /// What was said, else who runs hygge.
    pub(super) fn or_detect(said: Option<Self>) -> Self {
        said.unwrap_or_else(detect::detect_syntax)
    }

    fn tool_name(self) -> &'static str {
        match self {
            Self::Make => "make",
            Self::Ninja => "ninja",
        }
    }
}

fn collect_dependencies(run: &Run, is_left_out: impl Fn(&Path) -> bool) -> Dependencies {
    let (loaded, planner) = (&run.loaded, &run.planner);
    let mut needed = Dependencies {
        paths: loaded
            .sources
            .iter()
            .map(|source| source.path.clone())
            .collect(),
        ..Dependencies::default()
    };
    needed.paths.extend(loaded.folders.iter().cloned());
    needed.paths.extend(loaded.env_file.clone());
    for name in &planner.context.request.selected.flows {
        if let Some(flow) = planner.context.project.graph.flow(name.as_str()) {
            add_database(flow, planner, &mut needed);
        }
        // A home that cannot be read has failed its flow; there is nothing to depend on.
        let Ok(listing) = planner.flows.listing(name) else {
            continue;
        };
        let files = listing
            .files
            .iter()
            .filter_map(|file| Some(listing.location(&file.name).local_path()?.to_path_buf()));
        let paths = files.chain(listing.folders.iter().cloned());
        needed.paths.extend(paths.filter(|path| !is_left_out(path)));
    }
    needed
}

/// What a flow reads of a database: a file, or what no file shows.
fn add_database(flow: &Flow, planner: &Planner, needed: &mut Dependencies) {
    let Some(table) = flow.home.as_rows() else {
        return;
    };
    // Without a URL that can be used its flow has failed.
    let Ok(database) = planner.context.databases.for_connection(table.connection()) else {
        return;
    };
    let Some(file) = database.file.clone() else {
        return needed.server_flows.push(format!("flow {}", flow.name));
    };
    needed.wal_files.insert(fs::with_suffix(&file, "-wal"));
    needed.paths.insert(file);
}

/// A name as it is written where it depends on others, and where others depend on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EscapedName {
    prerequisite: String,
    target: String,
}

/// A path as its reader reads it; `None` for one that it has no way to write.
fn escape_path(path: &Path, syntax: Syntax) -> Option<EscapedName> {
    let path: PathBuf = path.components().collect();
    let path = path.to_str().filter(|path| !path.is_empty())?;
    match syntax {
        Syntax::Make => {
            let target = escaping::escape_for_make(path)?;
            // Only in a target does a percent sign mean a pattern.
            Some(EscapedName {
                prerequisite: target.replace("\\%", "%"),
                target,
            })
        }
        Syntax::Ninja => escaping::escape_for_ninja(path).map(|name| EscapedName {
            prerequisite: name.clone(),
            target: name,
        }),
    }
}

/// The log of a SQLite database as its reader reads it, empty where that needs not know it; `None`
/// where it has no way to write it.
fn escape_wal_file(log: &Path, syntax: Syntax) -> Option<String> {
    match syntax {
        // make looks for it when it reads this: a target that is not there would be new each time.
        Syntax::Make => escaping::wildcard_for_make(log),
        // One that is not there is dirty for ninja each time.
        Syntax::Ninja if !fs::stat(log).is_ok_and(|found| found.is_some()) => Some(String::new()),
        Syntax::Ninja => escape_path(log, syntax).map(|name| name.prerequisite),
    }
}

/// Each file is a target without a recipe too, so that one that is gone is no error.
fn make_rules(stamp: &str, kept: &BTreeSet<EscapedName>, logs: &[String]) -> String {
    let names: Vec<&str> = kept
        .iter()
        .map(|name| name.prerequisite.as_str())
        .chain(logs.iter().map(String::as_str))
        .collect();
    let mut text = String::new();
    for (word, line) in [
        (escaping::EQUALS, "eq := =\n\n"),
        (escaping::COMMA, "comma := ,\n\n"),
    ] {
        if stamp.contains(word) || names.iter().any(|name| name.contains(word)) {
            text.push_str(line);
        }
    }
    text.push_str(&format!("{stamp}: \\\n  {}\n", names.join(" \\\n  ")));
    for name in kept {
        text.push_str(&format!("\n{}:\n", name.target));
    }
    text.push_str(
        "\n# Takes away rules of its own, by which make would make x of x.sh, x.c and the like.\n",
    );
    text.push_str(&builtin_rules::cancel_rules(
        kept.iter().map(|name| name.target.as_str()),
    ));
    text
}

fn ninja_rule(stamp: &str, kept: &BTreeSet<EscapedName>, logs: &[String]) -> String {
    let names: Vec<&str> = kept
        .iter()
        .map(|name| name.prerequisite.as_str())
        .chain(logs.iter().map(String::as_str))
        .collect();
    format!("{stamp}: \\\n  {}\n", names.join(" \\\n  "))
}
