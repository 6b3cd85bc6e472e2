//! What all commands have.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What may stand before and behind every command.
#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// The config; without it hygge.yml is looked for, here and in the folders above.
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Ask no database which tables it has: entities are those of the last build; of check, look at
    /// the config and the graph only.
    #[arg(long, global = true)]
    pub(super) offline: bool,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
