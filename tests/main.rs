//! All integration tests: one binary, because linking polars is slow.

mod architecture;
mod bad_input;
mod broken;
mod build;
mod cache;
mod common;
mod config;
mod docs;
mod exact;
mod inputs;
mod loader;
mod locks;
mod make;
mod options;
mod planning;
mod project;
mod publish;
mod rows;
mod samples;
mod secrets;
mod show;
mod steps;
