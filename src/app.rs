//! What commands share: a project that is open, and a run of it from its plan to its end.
//!
//! It knows no command line and no terminal: what is to be said goes to reports.

mod run;
mod session;
mod table_lists;

pub use run::Run;
pub use session::{ConfigSource, Session};
