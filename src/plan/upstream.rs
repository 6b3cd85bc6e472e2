//! Why what another flow has published cannot be read.

use crate::error::{Error, ErrorKind};

pub(super) fn altered_upstream_error(upstream: &str) -> Error {
    let error = format!(
        "the store of its home, flow {upstream}, is not as it was published: files are missing or were altered"
    );
    Error::new(ErrorKind::Flow, error).with_hint(format!("hygge build {upstream}"))
}

pub(super) fn unbuilt_upstream_error(upstream: &str) -> Error {
    Error::new(
        ErrorKind::Flow,
        format!("its home, flow {upstream}, was never built"),
    )
    .with_hint(format!("hygge build {upstream}"))
}
