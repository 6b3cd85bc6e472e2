//! Executors: who makes the parts of a run.
//!
//! An executor knows no flow and no store, and publishes nothing.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::part_task::{MadeParts, PartTask};
use crate::error::Result;
use crate::threads::ThreadPool;

/// Makes parts: on threads of this process, or in other processes by what [`PartTask::job`] says.
///
/// Who submits a part decides how many are made at once, and never submits one twice at a time.
pub trait Executor: Debug + Send + Sync {
    /// Begins to make a part. What is given is polled for what came of it: the parts lie in staging
    /// then. Where [`PartTask::interrupted`] is cancelled, it ends soon.
    ///
    /// # Errors
    /// Of what is given: the part cannot be made.
    fn submit(&self, part: PartTask) -> BoxFuture<'static, Result<MadeParts>>;
}

/// Makes each part on a thread of this process.
#[derive(Clone, Debug, Default)]
pub struct ThreadExecutor {
    threads: ThreadPool,
}

impl Executor for ThreadExecutor {
    fn submit(&self, part: PartTask) -> BoxFuture<'static, Result<MadeParts>> {
        let runtime = Handle::current();
        let making = self.threads.run(move || part.make(&runtime));
        Box::pin(async move { making.await? })
    }
}
