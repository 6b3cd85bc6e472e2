//! All integration tests: one binary, because linking polars is slow.

mod architecture;
mod bad_input;
mod build;
mod common;
mod exact;
mod make;
mod locks;
mod publish;
