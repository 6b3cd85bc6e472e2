//! Whether a set can be published where a store is. What belongs to another user would stop a build
//! at its end.

use super::{How, Site};
use crate::fs::{self, own};
use crate::store::StoreError;

/// Fails where something that a publication changes may not be changed. Changes nothing.
pub(super) fn check(site: &Site) -> Result<(), StoreError> {
    let parent = site
        .live
        .parent()
        .ok_or_else(|| StoreError::NotAFolder(site.live.clone()))?;
    let has_hidden = own::stat(&site.hidden)?.is_some();
    let is_there = fs::stat(&site.live)?.is_some();
    if site.how == How::Exchange || !has_hidden || !is_there {
        fs::check_writable(fs::nearest(parent)?)?;
    }
    if has_hidden {
        fs::check_writable(&site.hidden)?;
        fs::check_own_file(&site.lock)?;
        [&site.receipt, &site.next, &site.old]
            .into_iter()
            .try_for_each(|path| fs::check_replaceable(path))?;
    }
    if is_there {
        // A folder that moves to another is written to as well.
        fs::check_writable(&site.live)?;
        match site.how {
            How::Exchange => fs::check_replaceable(&site.live)?,
            How::InPlace if own::stat(&site.inside)?.is_some() => fs::check_writable(&site.inside)?,
            How::InPlace => {}
        }
    }
    Ok(())
}
