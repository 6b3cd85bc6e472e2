//! `hygge schema`: the JSON Schema of the config, for editors.

use std::io::{self, Write};

use clap::Args as ClapArgs;

use crate::error::{Error, ErrorKind, Result};
use crate::flow::schema::schema;

/// Print the JSON Schema of hygge.yml
#[derive(Debug, ClapArgs)]
pub(super) struct Schema {}

/// Runs the command; gives the exit code.
pub(super) fn run(_: &Schema) -> Result<u8> {
    io::stdout().write_all(text().as_bytes()).map_err(|error| Error::new(ErrorKind::Start, error))?;
    Ok(0)
}

/// The schema as it is written into files.
pub(super) fn text() -> String {
    format!("{:#}\n", schema())
}
