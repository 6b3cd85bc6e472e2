//! What planning works with, whatever flow it is about.

use std::sync::Arc;

use super::PlanRequest;
use super::project::Project;
use crate::cache::Cache;
use crate::connection::Databases;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::{Flow, FlowName};

/// The project, what was asked, and what that is answered by.
#[derive(Debug)]
pub struct PlanContext {
    /// The project.
    pub project: Project,
    /// What the run is about.
    pub request: PlanRequest,
    /// The cache.
    pub cache: Arc<Cache>,
    /// The databases of the config.
    pub databases: Arc<Databases>,
    /// False where it only looks, and nobody will lock a store.
    pub is_building: bool,
}

impl PlanContext {
    /// A flow by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn flow(&self, name: &FlowName) -> Result<Arc<Flow>> {
        self.project
            .graph
            .flow(name.as_str())
            .cloned()
            .ok_or_else(|| not_observed_error(name))
    }
}

pub(super) fn not_observed_error(name: &FlowName) -> Error {
    Error::new(ErrorKind::Flow, format!("flow {name} was not looked at"))
}
