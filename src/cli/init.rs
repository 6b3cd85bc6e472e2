//! `hygge init`: a project that builds at once, on a small sample of its own.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;

use super::schema;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// Begin a project, with a small sample that builds at once
#[derive(Debug, ClapArgs)]
pub(super) struct Init {
    /// Its folder, which is made where it is missing
    #[arg(default_value = ".")]
    folder: PathBuf,
}

const CONFIG: &str = include_str!("init/hygge.yml");
const GITIGNORE: &str = "# What hygge makes: its cache, its receipts, and the stores.\n.hygge-cache/\n.hygge/\n/data/store/\n";
const SAMPLE_NORTH: &[u8] = include_bytes!("../../data/home/numbers/north.parquet");
const SAMPLE_SOUTH: &[u8] = include_bytes!("../../data/home/numbers/south.parquet");

/// Something is there already.
#[derive(Debug, thiserror::Error)]
#[error("{} would be overwritten: nothing was written", .0.join(", "))]
struct WouldOverwrite(Vec<String>);

/// Runs the command; gives the exit code.
pub(super) fn run(init: &Init) -> Result<u8> {
    let folder = &init.folder;
    let schema = schema::text();
    let config = CONFIG.replace("{name}", &project_name(folder)?);
    let files: [(&str, &[u8]); 4] = [
        ("hygge.yml", config.as_bytes()),
        ("hygge.schema.json", schema.as_bytes()),
        ("data/home/numbers/north.parquet", SAMPLE_NORTH),
        ("data/home/numbers/south.parquet", SAMPLE_SOUTH),
    ];
    let mut there = Vec::new();
    for (name, _) in files.iter().chain(&[("hygge.yaml", &[][..])]) {
        if fs::stat(&folder.join(name))
            .map_err(startup_error)?
            .is_some()
        {
            there.push(folder.join(name).display().to_string());
        }
    }
    if !there.is_empty() {
        return Err(Error::new(ErrorKind::Config, WouldOverwrite(there))
            .with_hint("name another folder: hygge init FOLDER"));
    }
    for (name, bytes) in files {
        write(&folder.join(name), bytes)?;
    }
    let ignored = folder.join(".gitignore");
    let has_ignored = fs::stat(&ignored).map_err(startup_error)?.is_some();
    if !has_ignored {
        write(&ignored, GITIGNORE.as_bytes())?;
    }
    print_next_steps(folder, has_ignored);
    Ok(0)
}

/// A project is called after its folder, as far as YAML lets it.
fn project_name(folder: &Path) -> Result<String> {
    let real = fs::real_path(
        &std::path::absolute(folder).map_err(|error| Error::new(ErrorKind::Start, error))?,
    )
    .map_err(startup_error)?;
    let name = real
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(serde_json::Value::String(if name.is_empty() {
        "hygge".into()
    } else {
        name.replace('$', "$$")
    })
    .to_string())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_folder(parent).map_err(startup_error)?;
    }
    fs::write_atomically(path, bytes).map_err(startup_error)
}

fn startup_error(error: fs::FsError) -> Error {
    Error::new(ErrorKind::Start, error)
}

fn print_next_steps(folder: &Path, has_ignored: bool) {
    let quoted = folder.display().to_string().replace('\'', "'\\''");
    let at = if folder == Path::new(".") {
        String::new()
    } else {
        format!("cd '{quoted}'; ")
    };
    super::print_line(&format!(
        "wrote {} and a small sample that it reads",
        folder.join("hygge.yml").display()
    ));
    if has_ignored {
        super::print_line(
            ".gitignore was there already: it should have .hygge-cache/, .hygge/ and your stores",
        );
    }
    super::print_line(&format!("next: {at}hygge build"));
}
