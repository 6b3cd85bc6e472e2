//! Rows of a table: one partition, which becomes one or several parts. Their keys are known when it
//! was read.
//!
//! It is read in the moment of a session that whoever wrote the job holds until it is done.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use super::completion_records::CompletionRecords;
use super::error::JobError;
use super::finished_part::FinishedPart;
use super::format_spec::TargetSpec;
use crate::cache::staging::Staging;
use crate::config;
use crate::config::connection::Connection;
use crate::config::loader::LoadedConfig;
use crate::connection::{Databases, database_id};
use crate::error::{Error, Result};
use crate::execute::partition::PartitionTask;
use crate::fingerprint::Fingerprint;
use crate::flow::factory::Factory;
use crate::format::OutputSpec;
use crate::home::{PartitionSpec, ReadSession, join_partition};
use crate::shape::Shape;
use crate::threads::build_runtime;

/// How many batches may wait between a database and its encoder.
const MAX_QUEUE_SIZE: usize = 1000;

/// A partition of a table that is to be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitSpec {
    /// The config that has the connection, by its absolute path.
    config: PathBuf,
    partition: PartitionSpec,
    /// True for the partition that stands for the columns of a table without rows.
    is_first: bool,
    /// What keys of parts are made with.
    recipe: Fingerprint,
    /// What becomes of the rows, where something does.
    shape: Option<Shape>,
    target: TargetSpec,
    queue_size: usize,
}

impl UnitSpec {
    /// A partition whose rows come through a queue of so many batches.
    pub(in crate::execute) fn new(
        config: PathBuf,
        partition: PartitionSpec,
        is_first: bool,
        recipe: Fingerprint,
        shape: Option<&Shape>,
        target: &OutputSpec,
        queue_size: usize,
    ) -> Self {
        Self {
            config,
            partition,
            is_first,
            recipe,
            shape: shape.cloned(),
            target: TargetSpec::new(target),
            queue_size,
        }
    }

    /// Fails where it contradicts itself.
    pub(super) fn check(&self) -> Result<(), JobError> {
        if !(1..=MAX_QUEUE_SIZE).contains(&self.queue_size) {
            let size = self.queue_size;
            return Err(JobError::Wrong(format!(
                "a queue of {size} batches, expected 1 to {MAX_QUEUE_SIZE}"
            )));
        }
        if !self.config.is_absolute() {
            let path = self.config.display();
            return Err(JobError::Wrong(format!("the relative path {path}")));
        }
        self.partition.check().map_err(JobError::Wrong)
    }

    /// Makes its parts, where they have no record yet.
    pub(super) fn run(
        &self,
        staging: &Staging,
        records: &CompletionRecords,
        load_config: &dyn Fn(&Path) -> Result<LoadedConfig>,
        interrupted: &CancellationToken,
    ) -> Result<Vec<FinishedPart>> {
        // The snapshot is part of it: rows of another moment are others.
        let own = serde_json::to_vec(self).map_err(Error::internal)?;
        let own = Fingerprint::hash_bytes(&own);
        if let Some(made) = records.read(&own)? {
            return Ok(made);
        }
        let target = self.target.output_spec()?;
        let loaded = load_config(&self.config)?;
        let connection = self.connection(&loaded)?;
        let databases = Databases::new(&loaded.root);
        let runtime = build_runtime(Builder::new_multi_thread().enable_all())?;
        let session = runtime.block_on(join_partition(&self.partition, &connection, &databases))?;
        let made = self.make(
            session.clone(),
            target,
            staging,
            runtime.handle(),
            interrupted,
        );
        runtime.block_on(async {
            session.close().await;
            // What is given up ends at the server before this process does.
            databases.wait_for_cancellations().await;
        });
        let made = made?;
        records.write(&own, &made)?;
        Ok(made)
    }

    /// The connection that it names, with the secrets that this process has.
    fn connection(&self, loaded: &LoadedConfig) -> Result<Connection> {
        let name = self.partition.connection();
        let (config, problems) = config::resolve(loaded, &Factory::key_owners());
        let config = config.ok_or_else(|| problems.sorted())?;
        let mut connections = config.connections.into_iter();
        let connection = connections.find(|connection| connection.name == name);
        let connection = connection.ok_or_else(|| JobError::NoConnection {
            name: name.to_string(),
            config: self.config.clone(),
        })?;
        let found = database_id(&connection).map_err(|error| error.with_connection(name))?;
        if !self.partition.is_of_database(&found) {
            return Err(JobError::OtherDatabase(name.to_string()).into());
        }
        Ok(connection)
    }

    fn make(
        &self,
        session: Arc<dyn ReadSession>,
        target: OutputSpec,
        staging: &Staging,
        runtime: &Handle,
        interrupted: &CancellationToken,
    ) -> Result<Vec<FinishedPart>> {
        let task = PartitionTask {
            session,
            partition: 0,
            is_first: self.is_first,
            recipe: &self.recipe,
            shape: self.shape.as_ref(),
            target,
            queue_size: self.queue_size,
            staging,
            commit: &|_, unfinished, record| {
                staging.finish(unfinished, &record.digest)?;
                Ok(record)
            },
            interrupted,
            runtime,
        };
        let made = task.make_parts()?;
        let finished = made
            .into_iter()
            .map(|(key, made)| FinishedPart::new(key, [made.record], made.filtered));
        Ok(finished.collect())
    }
}
