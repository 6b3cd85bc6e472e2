//! What tests share.

use std::process::Output;

pub(crate) mod databases;
pub(crate) mod disk;
pub(crate) mod executor;
pub(crate) mod files;
pub(crate) mod locks;
pub(crate) mod outside;
pub(crate) mod peers;
pub(crate) mod sandbox;
pub(crate) mod tree;
pub(crate) mod values;

/// A program ended well; else what it said.
#[track_caller]
pub(crate) fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
