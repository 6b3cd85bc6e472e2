//! What tests share.

pub(crate) mod files;
pub(crate) mod sandbox;
