//! What tests share.

pub(crate) mod databases;
pub(crate) mod disk;
pub(crate) mod files;
pub(crate) mod locks;
pub(crate) mod outside;
pub(crate) mod peers;
pub(crate) mod sandbox;
pub(crate) mod tree;
pub(crate) mod values;
