//! Which paths and tables an entity has: its name is joined to those of its flow.

use super::entities::Entity;
use super::named_blocks::path_block;
use super::node::{Key, Node, NodeValue};
use super::problem::Span;

/// Joins an entity to the paths that it did not write itself, unless a placeholder keeps them
/// apart.
pub(super) fn join_entity(block: &mut Node, own: &Node, entity: &Entity) {
    let NodeValue::Map(entries) = &mut block.value else {
        return;
    };
    for (key, part) in entries
        .iter_mut()
        .filter(|(key, _)| matches!(key.name.as_str(), "home" | "store"))
    {
        if own
            .get(&key.name)
            .is_some_and(|own| own.get("path").is_some())
        {
            continue;
        }
        let found = entity.found_path.as_ref().filter(|_| key.name == "home");
        let path = part.get("path").and_then(Node::text).unwrap_or_default();
        let mut is_apart = path.contains("{flow") || path.contains("{entity}");
        if key.name == "home" {
            // A glob may choose an entity's files out of one folder.
            part.for_each_text(&mut |text, _| is_apart |= text.contains("{entity}"));
        }
        if part.get("connection").is_some() && entity.found_path.is_none() {
            let own = own_keys(own, &key.name);
            let is_said = own.iter().any(|key| matches!(*key, "table" | "query"));
            match &entity.found_schema {
                Some(schema) if key.name == "home" && !is_said && !own.contains(&"connection") => {
                    set_table(part, schema, entity);
                }
                _ => join_table(part, is_said, is_apart, entity),
            }
            continue;
        }
        let NodeValue::Map(fields) = &mut part.value else {
            continue;
        };
        let path = fields
            .iter_mut()
            .find(|(key, _)| key.name == "path")
            .map(|(_, path)| path);
        match (found, path) {
            (Some((found, at)), Some(path)) => {
                *path = Node {
                    value: NodeValue::Text(found.clone()),
                    at: *at,
                }
            }
            (Some((found, at)), None) => fields.push(path_entry(found, *at)),
            (
                None,
                Some(Node {
                    value: NodeValue::Text(path),
                    ..
                }),
            ) if !is_apart => {
                *path = format!("{}/{}", path.trim_end_matches('/'), entity.name);
            }
            (None, _) => {}
        }
    }
    // What a pattern found is a home by itself.
    if let Some((found, at)) = &entity.found_path
        && !entries.iter().any(|(key, _)| key.name == "home")
    {
        let (key, path) = path_entry(found, *at);
        entries.push((
            Key {
                name: "home".into(),
                ..key
            },
            path_block(&path),
        ));
    }
}

/// The keys that an entity wrote itself.
fn own_keys<'o>(own: &'o Node, key: &str) -> Vec<&'o str> {
    own.get(key)
        .into_iter()
        .flat_map(Node::entries)
        .map(|(key, _)| key.name.as_str())
        .collect()
}

/// The table that a pattern found, behind its schema.
fn set_table(part: &mut Node, schema: &str, entity: &Entity) {
    let table = format!("{}.{}", quoted(schema), quoted(&entity.name));
    let NodeValue::Map(fields) = &mut part.value else {
        return;
    };
    fields.retain(|(key, _)| key.name != "table");
    let (key, table) = path_entry(&table, entity.at);
    fields.push((
        Key {
            name: "table".into(),
            ..key
        },
        table,
    ));
}

/// A name as it stands in `table`.
fn quoted(name: &str) -> String {
    if name.contains(['.', '"']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_string()
    }
}

/// The table of an entity is called like it: behind a schema, if one is said.
fn join_table(part: &mut Node, is_said: bool, is_apart: bool, entity: &Entity) {
    let is_said = is_said || part.get("query").is_some();
    let at = part.at;
    let NodeValue::Map(fields) = &mut part.value else {
        return;
    };
    let name = quoted(&entity.name);
    match fields
        .iter_mut()
        .find(|(key, _)| key.name == "table")
        .map(|(_, table)| table)
    {
        Some(Node {
            value: NodeValue::Text(table),
            ..
        }) if !is_said && !is_apart && !table.contains('{') => {
            *table = format!("{table}.{name}");
        }
        None if !is_said => {
            let key = Key {
                name: "table".into(),
                at,
                is_default: false,
            };
            fields.push((
                key,
                Node {
                    value: NodeValue::Text(name),
                    at,
                },
            ));
        }
        _ => {}
    }
}

fn path_entry(path: &str, at: Span) -> (Key, Node) {
    (
        Key {
            name: "path".into(),
            at,
            is_default: false,
        },
        Node {
            value: NodeValue::Text(path.to_string()),
            at,
        },
    )
}
