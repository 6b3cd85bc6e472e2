//! Merging blocks: `options` with the fields beside them, and what is far with what is nearer.

use super::node::{Key, Node, NodeValue};
use super::problem::{Problem, Problems};

/// Other names of keys, as pairs of what may be written and what it means.
pub type KeyAliases = [(&'static str, &'static str)];

/// A map in which `options` are put beside the other fields, and aliases have their real names.
///
/// A field that is there twice with two values is a problem; anything but a map is given back.
pub fn flatten(node: &Node, name: &str, aliases: &KeyAliases, problems: &mut Problems) -> Node {
    let NodeValue::Map(written) = &node.value else {
        return node.clone();
    };
    let mut entries: Vec<(Key, Node)> = Vec::with_capacity(written.len());
    for (key, value) in written {
        match &value.value {
            NodeValue::Null if key.name == "options" => {}
            NodeValue::Map(options) if key.name == "options" => {
                for (key, value) in options {
                    if key.name == "options" {
                        let message = format!("options of {name} has the unknown key \"options\"");
                        problems.push(
                            Problem::new(key.at, message, "not a key of this block")
                                .with_hint("put its keys one level up"),
                        );
                    } else {
                        insert_key(&mut entries, key, value, name, aliases, problems);
                    }
                }
            }
            _ if key.name == "options" => {
                let message = format!("options of {name} is {}", value.value.describe());
                problems.push(Problem::new(
                    value.at,
                    message,
                    "expected a map of keys and values",
                ));
            }
            _ => insert_key(&mut entries, key, value, name, aliases, problems),
        }
    }
    Node {
        value: NodeValue::Map(entries),
        at: node.at,
    }
}

fn insert_key(
    entries: &mut Vec<(Key, Node)>,
    key: &Key,
    value: &Node,
    name: &str,
    aliases: &KeyAliases,
    problems: &mut Problems,
) {
    let alias = aliases.iter().find(|(written, _)| *written == key.name);
    let real = alias.map_or(key.name.as_str(), |(_, real)| real);
    let Some((first, before)) = entries.iter().find(|(other, _)| other.name == real) else {
        entries.push((
            Key {
                name: real.to_string(),
                ..key.clone()
            },
            value.clone(),
        ));
        return;
    };
    // A key that is written twice in one map is a problem of its own.
    if !is_same_value(before, value) {
        let message = format!("{name} has {real} twice, with two values");
        let problem = Problem::new(key.at, message, "here it is another")
            .with_label(first.at, "here it is one");
        problems.push(problem.with_hint(match alias {
            Some((written, real)) => {
                format!("{written} is another name of {real}: keep one of them")
            }
            None => "keep one of them: options stand for the fields beside them".to_string(),
        }));
    }
}

/// Equal values, wherever they stand.
fn is_same_value(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (NodeValue::List(one), NodeValue::List(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_same_value(one, other))
        }
        (NodeValue::Map(one), NodeValue::Map(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|((key, one), (other_key, other))| {
                        key.name == other_key.name && is_same_value(one, other)
                    })
        }
        (one, other) => one == other,
    }
}

/// What is far with what is nearer over it: maps are merged, everything else is replaced, and
/// `null` takes a key away.
pub fn merge(base: Node, overrides: &Node) -> Node {
    let (NodeValue::Map(mut entries), NodeValue::Map(nearer)) = (base.value, &overrides.value)
    else {
        return overrides.clone();
    };
    for (key, value) in nearer {
        let position = entries.iter().position(|(other, _)| other.name == key.name);
        match (position, &value.value) {
            (Some(position), NodeValue::Null) => drop(entries.remove(position)),
            (None, NodeValue::Null) => {}
            (Some(position), _) => {
                let (_, far) = entries.remove(position);
                entries.insert(position, (key.clone(), merge(far, value)));
            }
            (None, _) => entries.push((key.clone(), value.clone())),
        }
    }
    Node {
        value: NodeValue::Map(entries),
        at: overrides.at,
    }
}

/// Marks every key of a map as one of `defaults`.
pub fn mark_defaults(node: &mut Node) {
    if let NodeValue::Map(entries) = &mut node.value {
        entries
            .iter_mut()
            .for_each(|(key, _)| key.is_default = true);
    }
}
