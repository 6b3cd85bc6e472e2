//! A config written out again as it was understood: every default and name put in, every path
//! whole.
//!
//! What is written is itself a config, and means the same. URLs of connections are not in it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{DEFAULT_RETRIES, Flow, Mode};
use crate::config::Config;
use crate::config::schema::OnDrift;
use crate::config::value_types::{ConfigDuration, Percentage};
use crate::shape::POLISH_KEY;

/// The config as it was understood. Flows stand in the order of their names.
pub fn resolved_config(config: &Config, flows: &[Arc<Flow>]) -> Value {
    let options = &config.options;
    let mut written = json!({
        "name": config.name,
        "options": {
            "continue_on_error": options.continue_on_error,
            "cache": { "dir": options.cache_folder.display().to_string(), "keep": options.cache_keep, "max_size": options.cache_size, "max_age": options.cache_age },
            "confine": options.confine,
        },
        // What is in its folder is written out too.
        "flows_dir": null,
        "flows": {},
    });
    if let Some(parts) = options.concurrency {
        written["options"]["concurrency"] = parts.into();
    }
    if let Some(file) = &options.env_file {
        written["options"]["env_file"] = file.display().to_string().into();
    }
    for flow in flows {
        let mut block = flow_block(flow);
        match &flow.entity {
            None => written["flows"][flow.name.as_str()] = block,
            Some((of, entity)) => {
                block["name"] = entity.as_str().into();
                let entities = &mut written["flows"][of.as_str()]["entities"];
                match entities.as_array_mut() {
                    Some(entities) => entities.push(block),
                    None => *entities = json!([block]),
                }
            }
        }
    }
    for name in &config.without_entities {
        written["flows"][name.as_str()] = json!({ "entities": [] });
    }
    escape_dollars(&mut written);
    let connections = config
        .connections
        .iter()
        .filter(|connection| connection.at.is_some());
    let connections: Map<String, Value> = connections
        .map(|connection| {
            (
                connection.name.clone(),
                json!({ "url": connection.display_url(), "pool_size": connection.pool_size }),
            )
        })
        .collect();
    if !connections.is_empty() {
        written["connections"] = connections.into();
    }
    written
}

fn flow_block(flow: &Flow) -> Value {
    let mut home = json!(flow.home.settings());
    home["type"] = flow.home.kind().into();
    let mut store = json!(flow.store.settings());
    store["type"] = flow.store.kind().into();
    let mut block = json!({
        "home": home,
        "store": store,
        "needs": flow.needs,
        "tags": flow.tags,
        "max_shrink": Percentage(flow.max_shrink),
    });
    if let Mode::Append {
        on_changed,
        on_vanished,
        on_repeated,
    } = flow.mode
    {
        block["mode"] = "append".into();
        // Files are meant by them.
        if flow.home.as_rows().is_none() {
            block["on_changed"] = json!(on_changed);
            block["on_vanished"] = json!(on_vanished);
            block["on_repeated"] = json!(on_repeated);
        }
    }
    if flow.mode == Mode::Merge {
        block["mode"] = "merge".into();
    }
    if flow.on_drift != OnDrift::default() {
        block["on_drift"] = json!(flow.on_drift);
    }
    for (key, value) in flow.shape.iter().flat_map(|shape| shape.settings()) {
        match key {
            POLISH_KEY => block["store"][key] = value,
            key => block[key] = value,
        }
    }
    if flow.retries != DEFAULT_RETRIES {
        block["retries"] = flow.retries.into();
    }
    if let Some(timeout) = flow.timeout {
        block["timeout"] = json!(ConfigDuration(timeout));
    }
    if let Some(batches) = flow.queue_size {
        block["queue_size"] = batches.into();
    }
    if let Some(goes_on) = flow.continue_on_error {
        block["continue_on_error"] = goes_on.into();
    }
    block
}

/// A dollar is one again when the texts are read.
fn escape_dollars(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(escape_dollars),
        Value::Object(fields) => fields.values_mut().for_each(escape_dollars),
        _ => {}
    }
}
