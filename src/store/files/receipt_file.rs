//! The receipt of a store of files: a JSON file beside it.

use super::paths::FilesStorePaths;
use crate::fs::nofollow;
use crate::store::StoreError;
use crate::store::receipt::Receipt;

/// How large a receipt may be, in bytes: more than a million parts.
const MAX_RECEIPT_BYTES: u64 = 1 << 30;

pub(super) fn read_receipt(paths: &FilesStorePaths) -> Result<Option<Receipt>, StoreError> {
    let Some(bytes) = nofollow::read(&paths.receipt, MAX_RECEIPT_BYTES)? else {
        return Ok(None);
    };
    let unreadable = |reason: String| StoreError::UnreadableReceipt {
        receipt: paths.receipt.display().to_string(),
        reason,
    };
    let receipt: Receipt =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    receipt.check().map_err(unreadable)?;
    Ok(Some(receipt))
}

pub(super) fn write_receipt(paths: &FilesStorePaths, receipt: &Receipt) -> Result<(), StoreError> {
    let path = &paths.receipt;
    let mut text =
        serde_json::to_vec_pretty(receipt).map_err(|error| StoreError::UnreadableReceipt {
            receipt: path.display().to_string(),
            reason: error.to_string(),
        })?;
    text.push(b'\n');
    Ok(nofollow::write_atomically(path, &text)?)
}
