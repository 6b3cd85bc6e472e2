//! Formats, compressions and targets as a job has them: by their names.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::JobError;
use crate::flow::factory;
use crate::format::inference::InferredTypes;
use crate::format::{Compression, Format, OutputSpec, PartitionBy};

/// A format, by its name and its options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormatSpec {
    id: String,
    version: u32,
    made_version: u32,
    settings: Value,
    /// Types that were found for columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inferred: Option<InferredTypes>,
}

/// What parts are to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetSpec {
    format: FormatSpec,
    compression: CompressionSpec,
    rows_per_file: Option<u64>,
    partition_by: Option<PartitionBy>,
}

/// A compression, by its word.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompressionSpec {
    word: String,
    level: Option<u8>,
}

impl FormatSpec {
    pub(super) fn new(format: &dyn Format) -> Self {
        let (version, made_version) = (format.version(), format.output_version());
        Self {
            id: format.id().to_string(),
            version,
            made_version,
            settings: serde_json::json!(format.settings()),
            inferred: format.inferred().cloned(),
        }
    }

    /// The format, where this hygge makes the same of it.
    pub(super) fn format(&self) -> Result<Arc<dyn Format>, JobError> {
        let made = factory::format_from_settings(&self.id, &self.settings);
        let made = made.and_then(|format| match &self.inferred {
            None => Some(format),
            Some(types) => format.with_inferred(Arc::new(types.clone())),
        });
        made.filter(|format| {
            (format.version(), format.output_version()) == (self.version, self.made_version)
        })
        .ok_or_else(|| {
            let (id, version) = (&self.id, self.made_version);
            JobError::Unsupported(format!("the format {id} of version {version}"))
        })
    }
}

impl CompressionSpec {
    pub(super) fn new(compression: Compression) -> Self {
        Self {
            word: compression.name.to_string(),
            level: compression.level,
        }
    }

    /// The compression, where the format has it, and the level.
    pub(super) fn compression(&self, format: &dyn Format) -> Result<Compression, JobError> {
        let known = format
            .writer()
            .map_or(&[][..], |writer| writer.compressions());
        let name = known.iter().copied().find(|word| *word == self.word);
        let name =
            name.ok_or_else(|| JobError::Unsupported(format!("the compression {}", self.word)))?;
        let levels = format.writer().and_then(|writer| writer.levels(name));
        match self.level {
            Some(level) if !levels.is_some_and(|levels| levels.contains(&level)) => Err(
                JobError::Unsupported(format!("the compression {name} of level {level}")),
            ),
            level => Ok(Compression { name, level }),
        }
    }
}

impl TargetSpec {
    pub(super) fn new(target: &OutputSpec) -> Self {
        Self {
            format: FormatSpec::new(target.format.as_ref()),
            compression: CompressionSpec::new(target.compression),
            rows_per_file: target.rows_per_file,
            partition_by: target.partition_by.clone(),
        }
    }

    /// What parts are to be.
    pub(super) fn output_spec(&self) -> Result<OutputSpec, JobError> {
        let format = self.format.format()?;
        if self.rows_per_file == Some(0) {
            return Err(JobError::Wrong("parts of no rows".into()));
        }
        Ok(OutputSpec {
            compression: self.compression.compression(format.as_ref())?,
            format,
            rows_per_file: self.rows_per_file,
            partition_by: self.partition_by.clone(),
        })
    }
}
