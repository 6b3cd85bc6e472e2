//! `hygge show FLOW`: the schema of what a flow has published, and what became of it.

use std::sync::Arc;

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::args::{GlobalArgs, OutputFormat};
use super::{open_session, print_line, runtime};
use crate::cache::CacheAccess;
use crate::error::{Error, Result};
use crate::flow::FlowName;
use crate::home::RecordedColumn;
use crate::plan::recorded_schema::{
    RecordedSchema, SchemaChange, published_schema, schema_history,
};
use crate::report::json::JsonReport;
use crate::report::plain::{format_timestamp, pluralize};

/// Show the columns of what a flow has published: names, types, which may be null
#[derive(Debug, ClapArgs)]
pub(super) struct Show {
    /// The flow
    flow: String,
    /// Show its schema
    #[arg(long, required = true)]
    schema: bool,
    /// Show which earlier sets had another schema, and what changed
    #[arg(long)]
    history: bool,
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    format: OutputFormat,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, show: &Show) -> Result<u8> {
    let session = open_session(global)?;
    let (name, _) = session.select_one(&show.flow, |names| {
        format!("hygge show is about one: {names}")
    })?;
    let project = &session.project;
    let flow = project.graph.flow(name.as_str());
    let flow = flow.ok_or_else(|| Error::internal("a selected flow is not in the graph"))?;
    let schema = published_schema(project, flow)?;
    match show.format {
        OutputFormat::Text => print_schema(&name, &schema),
        OutputFormat::Json => JsonReport.write_object("schema", schema_fields(&name, &schema)),
    }
    if show.history {
        let history = runtime()?.block_on(async {
            let cache = Arc::new(session.open_cache(CacheAccess::Inspect).await?);
            schema_history(project, &cache, flow).await
        })?;
        print_history(&name, &history, show.format);
    }
    Ok(0)
}

fn print_schema(flow: &FlowName, schema: &RecordedSchema) {
    let at = format_timestamp(&schema.at);
    if schema.columns.is_empty() {
        return print_line(&format!(
            "flow {flow}: its set of {at} does not say its columns: an older hygge published it"
        ));
    }
    let count = pluralize(schema.columns.len(), "column");
    print_line(&format!("flow {flow}: {count}, in the set of {at}"));
    let width = |text: fn(&RecordedColumn) -> &str| {
        let lengths = schema
            .columns
            .iter()
            .map(|column| text(column).chars().count());
        lengths.max().unwrap_or_default()
    };
    let (names, types) = (
        width(|column| &column.name),
        width(|column| &column.target_type),
    );
    for column in &schema.columns {
        let declared = if column.declared == column.target_type {
            String::new()
        } else {
            format!("{} in the home", column.declared)
        };
        let nullable = match column.nullable {
            Some(true) => "may be null",
            Some(false) => "never null",
            None => "",
        };
        let line = format!(
            "  {:<names$}  {:<types$}  {nullable:<11}  {declared}",
            column.name, column.target_type
        );
        print_line(line.trim_end());
    }
}

fn print_history(flow: &FlowName, history: &[SchemaChange], format: OutputFormat) {
    if format == OutputFormat::Json {
        for change in history {
            let mut fields = schema_fields(flow, &change.schema);
            fields["run"] = json!(change.run);
            fields["changes"] = json!(change.changes);
            JsonReport.write_object("schema_change", fields);
        }
        return;
    }
    if history.is_empty() {
        print_line("no set of it is remembered");
    }
    for change in history {
        let at = format_timestamp(&change.schema.at);
        let what = if change.changes.is_empty() {
            format!(
                "{}, the first that is remembered",
                pluralize(change.schema.columns.len(), "column")
            )
        } else {
            change.changes.join("; ")
        };
        print_line(&format!("run {} of {at}: {what}", change.run));
    }
}

fn schema_fields(flow: &FlowName, schema: &RecordedSchema) -> Value {
    let column = |column: &RecordedColumn| {
        json!({
            "name": column.name,
            "type": column.target_type,
            "declared": column.declared,
            "nullable": column.nullable,
        })
    };
    json!({
        "flow": flow.as_str(),
        "at": schema.at,
        "columns": schema.columns.iter().map(column).collect::<Vec<_>>(),
    })
}
