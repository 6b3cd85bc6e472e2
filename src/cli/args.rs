//! The command line as clap sees it: what all commands have.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::{build, cache, check, clean, graph, init, log, restore, schema, shell, why};

/// make for data: builds only what is stale.
#[derive(Debug, Parser)]
#[command(name = "hygge", version, arg_required_else_help = true)]
pub(super) struct Args {
    /// The config; without it hygge.yml is looked for, here and in the folders above.
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(init::Init),
    Check(check::Check),
    Build(build::Build),
    Why(why::Why),
    Graph(graph::GraphArgs),
    Log(log::Log),
    Restore(restore::Restore),
    Cache(cache::CacheArgs),
    Clean(clean::Clean),
    Schema(schema::Schema),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
