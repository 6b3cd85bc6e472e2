//! The files that a build writes at its end: that they can be, so that nobody builds for an hour to
//! learn that they cannot, and that they are nothing else.

use std::path::{Path, PathBuf};

use super::depfile::{self, Syntax};
use crate::app::Run;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// The files that were named.
pub(super) struct OutputFiles<'b> {
    pub(super) stamp: Option<&'b Path>,
    pub(super) changed_stamp: Option<&'b Path>,
    pub(super) depfile: Option<&'b Path>,
    /// Who reads the depfile.
    pub(super) syntax: Option<Syntax>,
}

impl<'b> OutputFiles<'b> {
    fn given_files(&self) -> impl Iterator<Item = (&'static str, &'b Path)> {
        let places = [
            ("--stamp", self.stamp),
            ("--changed-stamp", self.changed_stamp),
            ("--depfile", self.depfile),
        ];
        places
            .into_iter()
            .filter_map(|(option, path)| Some((option, path?)))
    }

    /// They can be written, and are files of their own.
    pub(super) fn check_writable(&self) -> Result<()> {
        let mut known: Vec<(&str, PathBuf)> = Vec::new();
        for (option, path) in self.given_files() {
            check_file(option, path)?;
            let real = real_target(path)?;
            if let Some((other, _)) = known.iter().find(|(_, other)| *other == real) {
                return fail(
                    format!("{option} {}: it is the file of {other} too", path.display()),
                    "name two files",
                );
            }
            known.push((option, real));
        }
        match (self.syntax, self.stamp) {
            (Some(syntax), Some(stamp)) => depfile::check_stamp(stamp, syntax),
            _ => Ok(()),
        }
    }

    /// None of them is a file of the config or an input.
    pub(super) fn check_not_inputs(&self, run: &Run) -> Result<()> {
        for (option, path) in self.given_files() {
            if fs::stat(path)?.is_some() && depfile::is_input(run, &fs::real_path(path)?) {
                return fail(
                    format!("{option} {}: the build reads this file", path.display()),
                    "name another file",
                );
            }
        }
        Ok(())
    }
}

/// Where a file is, or will be.
fn real_target(path: &Path) -> Result<PathBuf> {
    match (fs::stat(path)?, path.file_name()) {
        (None, Some(name)) => Ok(fs::real_path(parent_folder(path))?.join(name)),
        _ => Ok(fs::real_path(path)?),
    }
}

fn parent_folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn fail<T>(error: String, hint: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Config, error).with_hint(hint))
}

fn check_file(option: &str, path: &Path) -> Result<()> {
    let folder = parent_folder(path);
    match fs::stat(folder)? {
        Some(found) if found.is_folder => {}
        Some(_) => {
            return fail(
                format!(
                    "{option} {}: {} is not a folder",
                    path.display(),
                    folder.display()
                ),
                "name another place",
            );
        }
        None => {
            let error = format!(
                "{option} {}: the folder {} does not exist",
                path.display(),
                folder.display()
            );
            return fail(error, "make the folder first");
        }
    }
    let found = fs::stat(path)?;
    match &found {
        Some(found) if found.is_folder => {
            return fail(
                format!("{option} {}: a folder is there", path.display()),
                "name a file",
            );
        }
        // It takes the place of the one before, and of nothing else.
        _ if option == "--depfile" => {
            let place = fs::resolve_for_writing(path)
                .map_err(|error| Error::new(ErrorKind::Config, error).with_hint("name a file"))?;
            let checked = if found.is_some() {
                fs::check_replaceable(&place)
            } else {
                fs::check_folder_writable(folder)
            };
            return checked.map_err(|error| Error::new(ErrorKind::Start, error));
        }
        Some(found) if !found.is_file => {
            return fail(
                format!("{option} {}: it is no file", path.display()),
                "name a file",
            );
        }
        None if fs::is_link(path)? => {
            return fail(
                format!(
                    "{option} {}: it is a link that leads nowhere",
                    path.display()
                ),
                "remove the link, or name a file",
            );
        }
        _ => {}
    }
    let checked = if found.is_some() {
        fs::check_touchable(path)
    } else {
        fs::check_folder_writable(folder)
    };
    checked.map_err(|error| Error::new(ErrorKind::Start, error))
}
