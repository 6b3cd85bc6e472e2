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
mod output_files;
mod part;
mod restore;
mod schema;
mod shell;
mod show;
mod wait_options;
mod why;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::app::{ConfigSource, Session};
use crate::config::problem::Problems;
use crate::config::value_types;
use crate::config::variables::NOT_UTF8;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::report::output::{self, OutputStream};
use crate::threads;

use args::GlobalArgs;

/// make for data: builds only what is stale.
#[derive(Debug, Parser)]
#[command(name = "hygge", version, arg_required_else_help = true)]
struct Args {
    #[command(flatten)]
    global: GlobalArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Check(check::Check),
    Build(build::Build),
    Why(why::Why),
    Graph(graph::GraphArgs),
    Show(show::Show),
    Log(log::Log),
    Restore(restore::Restore),
    Cache(cache::CacheArgs),
    Clean(clean::Clean),
    #[command(hide = true)]
    Part(part::PartArgs),
    Schema(schema::Schema),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// Runs one command line, and gives its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    if !is_utf8_locale(variable) {
        output::use_ascii_boxes();
    }
    if variable("TERM").is_some_and(|terminal| terminal == "dumb") {
        output::disable_redraw();
    }
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let code = match Args::try_parse_from(&arguments) {
        Ok(args) => run_command(&args),
        Err(error) => show_usage(&escaped_usage_error(&arguments).unwrap_or(error)),
    };
    let Some(error) = output::take_write_error() else {
        return ExitCode::from(code);
    };
    let error = Error::new(
        ErrorKind::Start,
        format!("failed to write the output: {error}"),
    );
    let is_done = matches!(code, 0 | build::PENDING_EXIT_CODE);
    print_error(&if is_done {
        error.with_hint("what was asked for was done, and could not be said")
    } else {
        error
    });
    // What failed before is what matters more.
    ExitCode::from(if is_done {
        ErrorKind::Start.exit_code()
    } else {
        code
    })
}

/// The same error of arguments in which nothing acts on a terminal; nothing where nothing did.
fn escaped_usage_error(arguments: &[OsString]) -> Option<clap::Error> {
    let shown: Vec<_> = arguments
        .iter()
        .map(|argument| argument.to_string_lossy())
        .collect();
    let escaped: Vec<_> = shown
        .iter()
        .map(|argument| escape::line(argument))
        .collect();
    if escaped == shown {
        None
    } else {
        Args::try_parse_from(escaped.iter().map(|argument| OsString::from(&**argument))).err()
    }
}

/// Help and version are no errors; clap knows where each belongs.
fn show_usage(error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    let text = text.trim_end_matches('\n');
    if error.use_stderr() {
        OutputStream::Error.write_lines(text);
        return ErrorKind::Config.exit_code();
    }
    OutputStream::Standard.write_lines(text);
    0
}

/// True where a locale is for UTF-8, or where none is said, as in many a container. The first that
/// is set counts.
fn is_utf8_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty());
    set.is_none_or(|locale| locale.to_lowercase().replace('-', "").contains("utf8"))
}

fn run_command(args: &Args) -> u8 {
    crate::error::silence_caught_panics();
    let global = &args.global;
    let result = match &args.command {
        Command::Init(init) => init::run(init),
        Command::Check(check) => check::run(global, check),
        Command::Build(build) => build::run(global, build),
        Command::Why(why) => why::run(global, why),
        Command::Graph(graph) => graph::run(global, graph),
        Command::Show(show) => show::run(global, show),
        Command::Log(log) => log::run(global, log),
        Command::Restore(restore) => restore::run(global, restore),
        Command::Cache(cache) => cache::run(global, cache),
        Command::Clean(clean) => clean::run(global, clean),
        Command::Part(part) => part::run(part),
        Command::Schema(schema) => schema::run(schema),
        Command::Completions(completions) => shell::completions(completions, Args::command()),
        Command::Man(man) => shell::man(man, Args::command()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            error.kind().exit_code()
        }
    }
}

fn print_error(error: &Error) {
    let text = format!("error: {error}");
    // Problems of the config are shown with their lines.
    if error.downcast_source::<Problems>().is_some() {
        OutputStream::Error.write_lines(&text)
    } else {
        OutputStream::Error.write_line(&text)
    }
    if let Some(hint) = error.hint() {
        OutputStream::Error.write_line(&format!("hint: {hint}"));
    }
}

/// Writes what a command was asked for to standard output.
fn print_bytes(text: &[u8]) -> Result<u8> {
    OutputStream::Standard.write_bytes(text);
    Ok(0)
}

/// Prints a line for people on standard output.
fn print_line(line: &str) {
    OutputStream::Standard.write_line(line);
}

/// Finds and understands the config.
fn open_session(global: &GlobalArgs) -> Result<Session> {
    Session::open(&config_source(global.file.as_deref(), global.offline)?)
}

/// Where the config is looked for. This is where the environment is read, and nowhere else.
fn config_source(file: Option<&Path>, is_offline: bool) -> Result<ConfigSource> {
    let working_folder = std::env::current_dir().map_err(|error| {
        let error = Error::new(ErrorKind::Start, format!("the working directory cannot be used: {error}"));
        error.with_hint("it may have been removed, or moved: go to another, or name the config by -f FILE from there")
    })?;
    // One that is no text is an error where it is used.
    let variable = |(name, value): (OsString, OsString)| {
        Some((
            name.into_string().ok()?,
            value.into_string().unwrap_or_else(|_| NOT_UTF8.into()),
        ))
    };
    Ok(ConfigSource {
        file: file.map(Path::to_path_buf),
        working_folder,
        environment: std::env::vars_os().filter_map(variable).collect(),
        is_offline,
    })
}

/// A time as the config has it; none at all is one too.
fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    value_types::parse_duration(text)
        .ok_or_else(|| "expected a time such as 90s, 10m or 1h".to_string())
}

/// How long a command waits at its end for what nobody waits for any more: SQLite may be in the
/// middle of waiting for a lock.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// The runtime that waits; work is done on its blocking threads.
struct CommandRuntime(Runtime);

impl CommandRuntime {
    fn block_on<T>(self, work: impl Future<Output = T>) -> T {
        let done = self.0.block_on(work);
        self.0.shutdown_timeout(SHUTDOWN_TIMEOUT);
        done
    }
}

fn runtime() -> Result<CommandRuntime> {
    threads::build_runtime(Builder::new_multi_thread().enable_all()).map(CommandRuntime)
}

#[cfg(test)]
mod tests {
    use super::is_utf8_locale;

    #[test]
    fn the_first_locale_that_is_set_says_whether_boxes_are_drawn() {
        let with = |set: &'static [(&str, &str)]| {
            is_utf8_locale(move |name| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_string())
            })
        };
        assert!(
            with(&[])
                && with(&[("LANG", "")])
                && with(&[("LANG", "de_DE.UTF-8")])
                && with(&[("LC_CTYPE", "C.utf8")])
        );
        assert!(
            with(&[("LC_ALL", "C.UTF-8"), ("LANG", "C")]),
            "LC_ALL overrides the others"
        );
        assert!(!with(&[("LANG", "C")]) && !with(&[("LC_ALL", "POSIX"), ("LANG", "C.UTF-8")]));
    }
}
