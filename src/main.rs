//! The `hygge` command: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hygge::run(std::env::args_os())
}
