//! `hygge completions` and `hygge man`: what a shell and a system want to know of the command line.

use std::io::{self, Write};

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

use super::print_bytes;
use crate::error::{Error, ErrorKind, Result};

/// Print completions for a shell
#[derive(Debug, ClapArgs)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

/// Print the manual page
#[derive(Debug, ClapArgs)]
pub(super) struct Man {}

/// Runs the command; gives the exit code.
pub(super) fn completions(command: &Completions, mut line: Command) -> Result<u8> {
    let mut text = Vec::new();
    clap_complete::generate(command.shell, &mut line, "hygge", &mut text);
    print_bytes(&text)
}

/// Runs the command; gives the exit code. The page has every command in it.
pub(super) fn man(_: &Man, mut command: Command) -> Result<u8> {
    command.build();
    let failed = |error: io::Error| Error::new(ErrorKind::Start, error);
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut text)
        .map_err(failed)?;
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        let page = clap_mangen::Man::new(sub.clone());
        writeln!(text, ".SH HYGGE {}", sub.get_name().to_uppercase()).map_err(failed)?;
        page.render_description_section(&mut text).map_err(failed)?;
        page.render_synopsis_section(&mut text).map_err(failed)?;
        page.render_options_section(&mut text).map_err(failed)?;
    }
    print_bytes(&text)
}
