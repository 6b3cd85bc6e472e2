//! The JSON Schema of the whole config, made from the types that read it.
//!
//! Editors complete and check by it. It says what each key is; what keys mean together (a cycle, a
//! path twice) only `hygge check` knows.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::factory::{Factory, Registration};
use crate::config::flows::FLOW_ALIASES;
use crate::config::merge::KeyAliases;
use crate::config::named_blocks::STORE_ALIASES;
use crate::config::schema::{EntityFields, FlowFields, ProjectFields};

/// The schema of `hygge.yml`; that of `flow.yml` and of an entity's file are `$defs/flow` and
/// `$defs/entity` in it.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let flow = block_schema::<FlowFields>(&mut generator, FLOW_ALIASES);
    let entity = block_schema::<EntityFields>(&mut generator, FLOW_ALIASES);
    let homes = kind_schemas(Factory::homes(), &[], &mut generator);
    let stores = kind_schemas(Factory::stores(), STORE_ALIASES, &mut generator);
    let mut root = generator.into_root_schema_for::<ProjectFields>().to_value();
    let shared = root["$defs"]["shared"].clone();
    for (name, mut own) in [
        ("flow", flow),
        ("entity", entity),
        ("shared", json!({ "description": shared["description"] })),
    ] {
        own["type"] = "object".into();
        own["additionalProperties"] = false.into();
        let properties = object_entry(&mut own, "properties");
        for (key, value) in shared["properties"].as_object().into_iter().flatten() {
            properties
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
        add_aliases(properties, FLOW_ALIASES);
        root["$defs"][name] = own;
    }
    for (name, kinds) in [("home", homes), ("store", stores)] {
        // What has a name cannot use another one.
        let mut named = kinds.clone();
        named
            .iter_mut()
            .for_each(|kind| drop(object_entry(kind, "properties").remove("use")));
        root["$defs"][format!("named_{name}")] = json!({ "anyOf": named });
        root["$defs"][name] = json!({ "anyOf": kinds });
    }
    root["title"] = "hygge.yml".into();
    root["patternProperties"] =
        json!({ "^x-": { "description": "For anchors: hygge passes over it." } });
    relax(&mut root);
    root
}

fn block_schema<T: JsonSchema>(generator: &mut SchemaGenerator, aliases: &KeyAliases) -> Value {
    let mut schema = T::json_schema(generator).to_value();
    add_aliases(object_entry(&mut schema, "properties"), aliases);
    schema
}

/// One schema for each word that `type:` may be.
fn kind_schemas<T: ?Sized>(
    kinds: &[Registration<T>],
    aliases: &KeyAliases,
    generator: &mut SchemaGenerator,
) -> Vec<Value> {
    let mut schemas = Vec::new();
    for kind in kinds {
        for word in kind.type_names() {
            let (mut schema, of_format) = kind.schemas(word, generator);
            let format = kind.format(word);
            let properties = object_entry(&mut schema, "properties");
            if let (Some(writer), Some(compression)) = (
                format.as_ref().and_then(|format| format.writer()),
                properties.get_mut("compression"),
            ) {
                compression["enum"] = json!(writer.compressions());
            }
            if let Some(mut of_format) = of_format {
                properties.append(object_entry(&mut of_format, "properties"));
            }
            add_aliases(properties, aliases);
            let default = if schemas.is_empty() {
                json!(word)
            } else {
                Value::Null
            };
            properties.insert("type".into(), json!({ "description": "What it is, which decides its other keys.", "enum": [word], "examples": [word], "default": default }));
            let named = "The name of one of `homes` or `stores`: what is beside it goes before what that has.";
            properties.insert("use".into(), json!({ "description": named, "type": "string", "x-default": "none", "examples": ["lake"] }));
            properties.insert("options".into(), json!({ "description": "Keys of this block may also stand in here.", "type": "object" }));
            schema["title"] = word.into();
            schemas.push(schema);
        }
    }
    schemas
}

fn add_aliases(properties: &mut Map<String, Value>, aliases: &KeyAliases) {
    for (alias, real) in aliases {
        if let Some(schema) = properties.get(*real) {
            let mut schema = schema.clone();
            schema["description"] = format!("Another name of `{real}`.").into();
            schema["x-alias-of"] = (*real).into();
            properties.insert((*alias).into(), schema);
        }
    }
}

fn object_entry<'v>(schema: &'v mut Value, key: &str) -> &'v mut Map<String, Value> {
    if !schema[key].is_object() {
        schema[key] = json!({});
    }
    // It was just made one.
    schema[key]
        .as_object_mut()
        .unwrap_or_else(|| unreachable!("{key} is an object"))
}

/// Every key may be `null`, which unsets it, and every value may come from a variable.
fn relax(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(relax),
        Value::Object(fields) => {
            // What is missing is said by hygge, which knows defaults.
            fields.remove("required");
            fields.values_mut().for_each(relax);
            if let Some(Value::Object(properties)) = fields.get_mut("properties") {
                properties.values_mut().for_each(relax_property);
            }
        }
        _ => {}
    }
}

/// What of a property is said of the key and not of its value.
const KEY_ANNOTATIONS: [&str; 6] = [
    "description",
    "default",
    "examples",
    "x-type",
    "x-default",
    "x-alias-of",
];

fn relax_property(property: &mut Value) {
    let kind = describe_type(property);
    let Value::Object(fields) = property else {
        return;
    };
    let mut outer: Map<String, Value> = Map::new();
    for key in KEY_ANNOTATIONS {
        outer.extend(
            fields
                .remove(key)
                .filter(|value| !value.is_null())
                .map(|value| (key.to_string(), value)),
        );
    }
    outer.entry("x-type").or_insert_with(|| kind.into());
    let inner = Value::Object(std::mem::take(fields));
    let is_text = inner["type"] == "string" && inner.get("enum").is_none();
    let is_number = ["integer", "number"]
        .iter()
        .any(|kind| has_type(&inner, kind));
    let is_boolean = has_type(&inner, "boolean");
    let mut any = vec![inner, json!({ "type": "null" })];
    if !is_text {
        let pattern = match (is_number, is_boolean) {
            (true, _) => r"\$\{|^[0-9][0-9_]*$",
            (_, true) => r"\$\{|^(true|false)$",
            _ => r"\$\{",
        };
        any.push(json!({ "type": "string", "pattern": pattern }));
    }
    outer.insert("anyOf".into(), any.into());
    *fields = outer;
}

fn has_type(schema: &Value, kind: &str) -> bool {
    schema["type"] == kind
        || schema["type"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|other| other == kind))
}

/// What kind of value a key has, in words.
fn describe_type(schema: &Value) -> String {
    // What may be missing is one of two: itself, or null.
    let inner = schema["anyOf"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["type"] != "null" && one.get("$ref").is_none());
    if let Some(inner) = inner {
        return inner["x-type"]
            .as_str()
            .map_or_else(|| describe_type(inner), str::to_string);
    }
    let words = schema["enum"]
        .as_array()
        .or_else(|| schema["oneOf"].as_array());
    let words: Vec<&str> = words
        .into_iter()
        .flatten()
        .filter_map(|word| word.as_str().or_else(|| word["const"].as_str()))
        .collect();
    match (words.is_empty(), &schema["minimum"], &schema["maximum"]) {
        (false, ..) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        (_, Value::Number(least), Value::Number(most)) => format!("number from {least} to {most}"),
        (_, Value::Number(least), _) => format!("number of at least {least}"),
        _ if has_type(schema, "boolean") => "boolean".into(),
        _ if has_type(schema, "string") => "text".into(),
        _ => "map".into(),
    }
}
