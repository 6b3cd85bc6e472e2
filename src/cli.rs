//! The command line: parse, dispatch, and print an error once.

mod args;
mod build;
mod cache;
mod check;
mod clean;
mod depfile;
mod graph;
mod init;
mod log;
mod patience;
mod restore;
mod schema;
mod shell;
mod why;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use crate::cache::{Access, Cache};
use crate::config::loader::{self, Found};
use crate::config::words;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::selection::{Selected, Selection};
use crate::plan::project::Project;
use crate::threads;

use args::{Args, Command};

/// Runs one command line, and gives its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are not errors; clap knows where each belongs.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { ErrorKind::Config.exit_code() } else { 0 });
        }
    };
    crate::error::keep_caught_panics_quiet();
    let result = match &args.command {
        Command::Init(init) => init::run(init),
        Command::Check(check) => check::run(&args, check),
        Command::Build(build) => build::run(&args, build),
        Command::Why(why) => why::run(&args, why),
        Command::Graph(graph) => graph::run(&args, graph),
        Command::Log(log) => log::run(&args, log),
        Command::Restore(restore) => restore::run(&args, restore),
        Command::Cache(cache) => cache::run(&args, cache),
        Command::Clean(clean) => clean::run(&args, clean),
        Command::Schema(schema) => schema::run(schema),
        Command::Completions(completions) => shell::completions(completions),
        Command::Man(man) => shell::man(man),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print_error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn print_error(error: &Error) {
    let mut out = io::stderr().lock();
    // There is nowhere left to say that this failed.
    drop(writeln!(out, "error: {error}"));
    if let Some(hint) = error.hint() {
        drop(writeln!(out, "hint: {hint}"));
    }
}

/// Writes what a command was asked for to standard output.
fn print(text: &[u8]) -> Result<u8> {
    io::stdout().write_all(text).map_err(|error| Error::new(ErrorKind::Start, error))?;
    Ok(0)
}

/// Prints a line for people on standard output.
fn say(line: &str) {
    // Who closed our output does not want to read more.
    drop(writeln!(io::stdout(), "{line}"));
}

/// Finds and understands the config.
fn load(file: Option<&Path>) -> Result<(Arc<Found>, Project)> {
    let found = Arc::new(read(file)?);
    let project = Project::new(found.clone())?;
    Ok((found, project))
}

/// Finds the config. This is where the environment is read, and nowhere else.
fn read(file: Option<&Path>) -> Result<Found> {
    // Files of the config are parsed on all processors.
    threads::begin_pool()?;
    let working = std::env::current_dir().map_err(|error| {
        let message = format!("the folder that this was started in cannot be used: {error}");
        Error::new(ErrorKind::Start, message).with_hint("it may have been removed: change into another folder")
    })?;
    let utf8 = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    loader::load(file, &working, &std::env::vars_os().filter_map(utf8).collect())
}

/// The flows that a selection means. One without entities is said to be that, not to be unknown.
fn select(selection: &Selection, project: &Project) -> Result<Selected> {
    selection.resolve(&project.graph).map_err(|error| {
        let without = &project.config.without_entities;
        match selection.include.iter().find(|name| without.contains(name)) {
            Some(name) => Error::new(ErrorKind::Config, format!("flow {name} has no entities")).with_hint("hygge check --offline says why"),
            None => error,
        }
    })
}

/// The cache of a project.
async fn open_cache(project: &Project, access: Access) -> Result<Cache> {
    Ok(Cache::open(&project.cache_folder(), access).await?)
}

/// A time as the config has it; none at all is one too.
fn parse_time(text: &str) -> std::result::Result<Duration, String> {
    words::parse_time(text).ok_or_else(|| "expected a time such as 90s, 10m or 1h".to_string())
}

/// The runtime that waits; work is done on its blocking threads.
fn runtime() -> Result<tokio::runtime::Runtime> {
    threads::runtime(tokio::runtime::Builder::new_multi_thread().enable_all())
}
