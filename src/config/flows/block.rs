//! The keys of one flow: those of its own, its entity's and the defaults become one block, and that
//! the flow as it runs.

use super::{Expander, FLOW_ALIASES};
use crate::config::FlowBlock;
use crate::config::block_reader::{KnownKeys, block_keys, read_block_with};
use crate::config::entities::Entity;
use crate::config::merge::{flatten, mark_defaults, merge};
use crate::config::named_blocks::UnusedBlock;
use crate::config::node::{Key, Node, NodeValue};
use crate::config::problem::{Problem, Problems, Span, closest_match};
use crate::config::schema::{RunType, SHAPE_KEYS, SharedFields};
use crate::config::value_types::StringList;

impl Expander<'_> {
    pub(super) fn known_keys<'k>(&'k self, also: &'k [&'k str]) -> KnownKeys<'k> {
        KnownKeys {
            extra: also,
            key_locations: self.key_locations,
        }
    }

    /// The flow as it runs.
    pub(super) fn flow_block(
        &self,
        flow: &Key,
        entity: Option<Entity>,
        own: &Node,
        mut block: Node,
        problems: &mut Problems,
    ) -> Option<FlowBlock> {
        let at = entity.as_ref().map_or(flow.at, |entity| entity.at);
        let entity = entity.map(|entity| entity.name);
        let name = entity.as_ref().map_or_else(
            || flow.name.clone(),
            |entity| format!("{}.{entity}", flow.name),
        );
        let stand_in = entity.as_deref().unwrap_or(&flow.name);
        block.for_each_text(&mut |text, _| {
            if text.contains('{') {
                *text = text
                    .replace("{entity}", stand_in)
                    .replace("{flow}", &name)
                    .replace("{flow_name}", &name);
            }
        });
        let called = format!("flow {name}");
        let fields =
            read_block_with::<SharedFields>(&block, &called, self.known_keys(&[]), problems)?;
        let mut end = |key| self.home_or_store(key, &called, at, own, &block, problems);
        let (home, store) = (end("home"), end("store"));
        let store = store.map(|store| with_python_keys(store, &fields));
        let places = |key: &str, words: Option<StringList>| {
            let at = block.get(key).map(Node::texts).unwrap_or_default();
            words
                .unwrap_or_default()
                .0
                .into_iter()
                .zip(at.into_iter().map(|(_, at)| at))
                .collect()
        };
        Some(FlowBlock {
            flow: flow.name.clone(),
            entity,
            at,
            needs: places("needs", fields.needs),
            tags: fields.tags.unwrap_or_default().0,
            mode: fields.mode.or(fields.run_type.map(RunType::mode)),
            on_changed: fields.on_changed,
            on_vanished: fields.on_vanished,
            on_repeated: fields.on_repeated,
            on_drift: fields.on_drift,
            shape: shape_block(&block),
            max_shrink: fields.max_shrink,
            timeout: fields.timeout,
            queue_size: fields.queue_size,
            retries: fields.retries,
            continue_on_error: fields.continue_on_error,
            home,
            store,
            name,
        })
    }

    /// The home or the store of a flow. That it is missing is said, unless it is there and was
    /// refused.
    pub(super) fn home_or_store(
        &self,
        key: &'static str,
        called: &str,
        at: Span,
        own: &Node,
        block: &Node,
        problems: &mut Problems,
    ) -> Option<Node> {
        // Settings that only defaults say are no home and no store yet.
        let is_place =
            |key: &Key| !key.is_default || matches!(key.name.as_str(), "path" | "flow" | "table");
        let is_written = |node: &&Node| {
            node.entries().is_empty() || node.entries().iter().any(|(key, _)| is_place(key))
        };
        let found = block.get(key).filter(is_written);
        let Some(found) = found else {
            let is_mistyped = block.entries().iter().any(|(other, _)| {
                !block_keys::<SharedFields>().contains(&other.name.as_str())
                    && closest_match(&other.name, std::iter::once(key)).is_some()
            });
            let place = own
                .entries()
                .iter()
                .find(|(other, _)| other.name == key)
                .map(|(key, _)| key.at);
            if !is_mistyped {
                let problem = match place {
                    Some(place) => Problem::new(
                        place,
                        format!("{key} of {called} is nothing"),
                        "expected a path behind it",
                    ),
                    None => Problem::new(
                        at,
                        format!("{called} has no {key}"),
                        format!("expected the key {key} here"),
                    ),
                };
                problems.push(problem.with_hint(if key == "home" {
                    "home: folder/to/read"
                } else {
                    "store: folder/to/fill"
                }));
            }
            return None;
        };
        // What is no map was reported where it is written.
        Some(found)
            .filter(|node| matches!(node.value, NodeValue::Map(_)))
            .cloned()
    }

    /// A flow's or an entity's keys, with home and store as maps.
    pub(super) fn normalize(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        let mut node = flatten(node, called, FLOW_ALIASES, problems);
        if let NodeValue::Map(entries) = &mut node.value {
            for (key, value) in entries {
                let named = match key.name.as_str() {
                    "home" => &self.homes,
                    "store" => &self.stores,
                    _ => continue,
                };
                *value =
                    named.resolve_block(value, &format!("{} of {called}", named.kind), problems);
            }
        }
        node
    }

    pub(super) fn as_defaults(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        let mut node = self.normalize(node, called, problems);
        let _: Option<SharedFields> =
            read_block_with(&node, called, self.known_keys(&[]), problems);
        if let NodeValue::Map(entries) = &mut node.value {
            let blocks = entries
                .iter_mut()
                .filter(|(key, _)| matches!(key.name.as_str(), "home" | "store"));
            blocks.for_each(|(_, block)| mark_defaults(block));
        }
        node
    }
}

/// A store with what the Python hygge says of it beside it.
pub(super) fn with_python_keys(mut store: Node, fields: &SharedFields) -> Node {
    let has = |keys: &[&str]| {
        let entries = store.entries().iter();
        entries
            .map(|(key, _)| key.name.as_str())
            .any(|key| keys.contains(&key))
    };
    let is_table = has(&["connection", "table"]);
    let rows = fields.batch_size.filter(|_| !has(&["rows_per_file"]));
    let rows = rows.and_then(|rows| i64::try_from(rows.0).ok());
    let key = fields
        .key_column
        .clone()
        .filter(|_| is_table && !has(&["key"]));
    let entries = rows
        .map(|rows| ("rows_per_file", NodeValue::Integer(rows)))
        .into_iter()
        .chain(key.map(|key| ("key", NodeValue::Text(key))));
    let at = store.at;
    let entry = |(name, value): (&str, NodeValue)| {
        let key = Key {
            name: name.to_string(),
            at,
            is_default: true,
        };
        (key, Node { value, at })
    };
    let entries: Vec<_> = entries.map(entry).collect();
    if let NodeValue::Map(written) = &mut store.value {
        written.extend(entries);
    }
    store
}

/// The keys that say what becomes of rows and columns.
pub(super) fn shape_block(block: &Node) -> Option<Node> {
    let is_said = |(key, node): &&(Key, Node)| {
        SHAPE_KEYS.contains(&key.name.as_str()) && node.value != NodeValue::Null
    };
    let entries: Vec<_> = block.entries().iter().filter(is_said).cloned().collect();
    (!entries.is_empty()).then_some(Node {
        value: NodeValue::Map(entries),
        at: block.at,
    })
}

/// Keys that say where a home or a store is, and of which kind.
const LOCATION_KEYS: [&str; 6] = ["path", "flow", "type", "connection", "table", "query"];

/// [`merge`] for the keys of flows: a nearer home of another kind takes the place of the far one.
pub(super) fn merge_flow(mut far: Node, near: &Node) -> Node {
    let kind = |block: &Node| {
        let is_table = || {
            ["connection", "table", "query"]
                .iter()
                .any(|key| block.get(key).is_some())
        };
        let marked = block
            .get("flow")
            .map(|_| "flow")
            .or_else(|| is_table().then_some("sql"));
        block
            .get("type")
            .and_then(Node::text)
            .or(marked)
            .map(str::to_string)
    };
    if let NodeValue::Map(entries) = &mut far.value {
        for (key, block) in entries
            .iter_mut()
            .filter(|(key, _)| matches!(key.name.as_str(), "home" | "store"))
        {
            let Some(near) = near.get(&key.name) else {
                continue;
            };
            let is_other = match (kind(block), kind(near)) {
                (far, Some(near)) => {
                    far.as_deref() != Some(&near)
                        && (far.is_some() || near == "flow" || near == "sql")
                }
                (Some(far), None) => (far == "flow" || far == "sql") && near.get("path").is_some(),
                (None, None) => false,
            };
            if let (true, NodeValue::Map(fields)) = (is_other, &mut block.value) {
                fields.retain(|(key, _)| {
                    key.is_default && !LOCATION_KEYS.contains(&key.name.as_str())
                });
            }
        }
    }
    merge(far, near)
}

/// The home and the store of what is no flow.
pub(super) fn unused_home_and_store(block: &Node, called: &str) -> Vec<UnusedBlock> {
    let part = |what| {
        Some(UnusedBlock {
            kind: what,
            label: format!("{what} of {called}"),
            block: block.get(what)?.clone(),
        })
    };
    ["home", "store"].into_iter().filter_map(part).collect()
}
