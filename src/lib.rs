//! hygge is make for data: flows move data from homes to stores, and only what is stale runs.
//!
//! The modules stand in the order in which a build passes through them, and a module uses only what
//! stands above it (ARCHITECTURE.md says why, `tests/architecture.rs` holds it): config ->
//! storage -> connection, home, store, format, shape -> flow -> graph -> cache -> plan, publish -> execute
//! -> report -> app.

pub mod error;
pub mod fs;
pub mod threads;

pub mod fingerprint;

pub mod config;

pub mod storage;

pub mod connection;
pub mod format;
pub mod home;
pub mod shape;
pub mod store;

pub mod flow;
pub mod graph;

pub mod cache;

pub mod plan;
pub mod publish;

pub mod execute;

pub mod report;

pub mod app;
pub mod cli;

pub use cli::run;
