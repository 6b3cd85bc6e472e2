//! What stands beside the columns of a home's files: notes of writers.
//!
//! It reads footers and nothing else, and is asked for flows that are about to read.

use crate::error::{Error, Result};
use crate::format::{Format, Layout, OpenFile};

/// Which files share no part with the one before them, and why: the first of them with all that is
/// to say, the others as a number.
pub(super) fn packing_remarks(
    format: &dyn Format,
    layouts: &[&Layout],
    names: &[&str],
    open: impl Fn(usize) -> Result<OpenFile>,
) -> Result<Vec<String>> {
    let filled: Vec<usize> = (0..layouts.len())
        .filter(|file| layouts[*file].rows.is_some_and(|rows| rows > 0))
        .collect();
    let apart: Vec<(usize, usize)> = filled
        .windows(2)
        .map(|pair| (pair[0], pair[1]))
        .filter(|(one, other)| !layouts[*one].can_pack_with(layouts[*other]))
        .collect();
    let Some((one, other)) = apart.first().copied() else {
        return Ok(Vec::new());
    };
    let passthrough = format.passthrough();
    let difference = passthrough
        .map(|format| {
            format
                .packing_conflict(&open(one)?, &open(other)?)
                .map_err(Error::from)
        })
        .transpose()?
        .flatten();
    let difference = difference.unwrap_or_else(|| "what they say of their values differs".into());
    let more = match apart.len() - 1 {
        0 => String::new(),
        1 => "; a part ends so between two other files too".into(),
        more => format!("; parts end so between {} other files too", more + 1),
    };
    Ok(vec![format!(
        "a part ends between {} and {}, which cannot share one: {difference}{more}",
        names[one], names[other]
    )])
}
