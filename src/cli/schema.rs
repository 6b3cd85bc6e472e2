//! `hygge schema`: the JSON Schema of the config, for editors.

use clap::Args as ClapArgs;

use super::print_bytes;
use crate::error::Result;
use crate::flow::schema::schema;

/// Print the JSON Schema of hygge.yml
#[derive(Debug, ClapArgs)]
pub(super) struct Schema {}

/// Runs the command; gives the exit code.
pub(super) fn run(_: &Schema) -> Result<u8> {
    print_bytes(text().as_bytes())
}

/// The schema as it is written into files.
pub(super) fn text() -> String {
    format!("{:#}\n", schema())
}
