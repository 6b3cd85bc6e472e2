//! Flows as they are written become flows as they run: defaults, named homes and stores and
//! entities are put in.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use globset::GlobBuilder;

use super::merge::{Aliases, flattened, mark_defaults, merge};
use super::node::{Key, Node, Value};
use super::problem::{Problem, Problems, Span};
use super::read::{keys_of, read};
use super::schema::{EntityFields, FlowFields, PatternFields, SharedFields};
use super::words::Words;
use super::{Document, FlowBlock, Role};

/// Other names of a flow's keys.
pub const FLOW_ALIASES: &Aliases = &[("depends_on", "needs")];
/// Other names of a store's keys.
pub const STORE_ALIASES: &Aliases = &[("batch_size", "rows_per_file")];

/// What a pattern of entities found: the entity's name and its path, in order.
pub type Matches = Vec<(String, String)>;

/// What each pattern of the config found.
pub type Listings = BTreeMap<String, Matches>;

/// Every `from` of a config with its place: the patterns that are to be listed.
pub fn patterns(documents: &[Document]) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    let mut look = |flow: &Node| {
        let Some(entities) = flow.get("entities") else { return };
        let items = match &entities.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(entities),
        };
        for from in items.iter().filter_map(|item| item.get("from")) {
            found.extend(from.text().map(|text| (text.to_string(), from.at)));
        }
    };
    for document in documents {
        match &document.role {
            Role::Project => document.tree.get("flows").into_iter().flat_map(Node::entries).for_each(|(_, flow)| look(flow)),
            Role::Flow(_) => look(&document.tree),
            Role::Entity(..) => {}
        }
    }
    found
}

/// Makes the flows of a config.
pub struct Expander<'c> {
    defaults: Node,
    homes: Named<'c>,
    stores: Named<'c>,
    listings: &'c Listings,
    /// Entities that have a file of their own, by flow.
    files: HashMap<&'c str, Vec<(&'c str, &'c Node)>>,
    names: HashMap<String, Span>,
    flows: Vec<FlowBlock>,
    warnings: Vec<Problem>,
}

/// Homes or stores that have a name.
struct Named<'c> {
    what: &'static str,
    aliases: &'static Aliases,
    blocks: Vec<(&'c Key, Node)>,
    used: RefCell<BTreeSet<String>>,
}

/// An entity as it is written.
struct Entity {
    name: String,
    at: Span,
    /// Its own keys.
    block: Node,
    /// The path that a pattern found.
    found: Option<(String, Span)>,
}

impl<'c> Expander<'c> {
    /// Gets ready with what all flows share.
    pub fn new(project: &'c Node, documents: &'c [Document], listings: &'c Listings, problems: &mut Problems) -> Self {
        let named = |what, aliases: &'static Aliases, problems: &mut Problems| {
            let entries = project.get(what).into_iter().flat_map(Node::entries);
            let one = &what[..what.len() - 1];
            let blocks = entries
                .map(|(key, node)| {
                    let node = match node.text() {
                        Some(_) => with_path(node),
                        None => flattened(node, &format!("the {one} {}", key.name), aliases, problems),
                    };
                    (key, node)
                })
                .collect();
            Named { what: one, aliases, blocks, used: RefCell::default() }
        };
        let homes = named("homes", &[], problems);
        let stores = named("stores", STORE_ALIASES, problems);
        let mut files: HashMap<&str, Vec<_>> = HashMap::new();
        for document in documents {
            if let Role::Entity(flow, name) = &document.role {
                files.entry(flow).or_default().push((name.as_str(), &document.tree));
            }
        }
        let empty = Node { value: Value::Map(Vec::new()), at: project.at };
        let mut expander =
            Self { defaults: empty, homes, stores, listings, files, names: HashMap::new(), flows: Vec::new(), warnings: Vec::new() };
        if let Some(defaults) = project.get("defaults") {
            expander.defaults = expander.as_defaults(defaults, "defaults", problems);
        }
        expander
    }

    /// Adds the flow, or the flows of its entities.
    pub fn add(&mut self, key: &Key, node: &Node, problems: &mut Problems) {
        check_name("flow", &key.name, key.at, problems);
        let called = format!("flow {}", key.name);
        if !matches!(node.value, Value::Map(_)) {
            let message = format!("{called} is {}", node.value.describe());
            let problem = Problem::new(node.at, message, "expected a map with the keys home and store");
            let is_key = keys_of::<SharedFields>().contains(&key.name.as_str());
            problems.push(problem.hint(match is_key {
                true => format!("if {} belongs to the flow above it, indent it as far as the flow's other keys", key.name),
                false => format!("write:\n{}:\n  home: folder/to/read\n  store: folder/to/fill", key.name),
            }));
            return;
        }
        let own = self.shared(node, &called, problems);
        let _: Option<FlowFields> = read(&own, &called, keys_of::<SharedFields>(), problems);
        let mut base = self.defaults.clone();
        if let Some(defaults) = own.get("defaults") {
            base = merge(base, &self.as_defaults(defaults, &format!("defaults of {called}"), problems));
        }
        let entities = self.entities(key, &own, problems);
        let base = without(merge(base, &own), keys_of::<FlowFields>());
        let Some(entities) = entities else {
            self.push(&key.name, None, key.at, base, problems);
            return;
        };
        if entities.is_empty() {
            let problem = Problem::new(key.at, format!("{called} has no entities: nothing can select it"), "this flow");
            self.warnings.push(problem.hint("name some under entities, or take the flow out"));
        }
        for entity in entities {
            let called = format!("entity {} of {called}", entity.name);
            check_name("entity", &entity.name, entity.at, problems);
            let own = self.shared(&entity.block, &called, problems);
            let _: Option<EntityFields> = read(&own, &called, keys_of::<SharedFields>(), problems);
            let own = without(own, keys_of::<EntityFields>());
            let mut block = merge(base.clone(), &own);
            join(&mut block, &own, &entity);
            self.push(&key.name, Some(entity.name), entity.at, block, problems);
        }
    }

    /// Ends: flows that are named together become their names, and what is not used is said.
    pub fn finish(mut self, problems: &mut Problems) -> (Vec<FlowBlock>, Vec<Problem>) {
        let mut together: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for flow in &self.flows {
            if let Some(entity) = &flow.entity {
                together.entry(flow.flow.clone()).or_default().push((entity.clone(), flow.name.clone()));
            }
        }
        for flow in &mut self.flows {
            flow.needs = std::mem::take(&mut flow.needs)
                .into_iter()
                .flat_map(|(name, at)| match together.get(&name) {
                    Some(members) => members.iter().map(|(_, member)| (member.clone(), at)).collect(),
                    None => vec![(name, at)],
                })
                .collect();
            choose_upstream(flow, &together, problems);
        }
        for named in [&self.homes, &self.stores] {
            for (key, _) in named.blocks.iter().filter(|(key, _)| !named.used.borrow().contains(&key.name)) {
                let message = format!("no flow uses the {} {}", named.what, key.name);
                self.warnings.push(Problem::new(key.at, message, "it is not used").hint(format!("use it: {}: {}", named.what, key.name)));
            }
        }
        (self.flows, self.warnings)
    }

    fn push(&mut self, flow: &str, entity: Option<String>, at: Span, mut block: Node, problems: &mut Problems) {
        let name = entity.as_ref().map_or_else(|| flow.to_string(), |entity| format!("{flow}.{entity}"));
        if let Some(first) = self.names.insert(name.clone(), at) {
            // A key that is written twice is reported as that.
            if entity.is_some() || first.file != at.file {
                let problem = Problem::new(at, format!("two flows are called {name}"), "this one").also(first, "and this one");
                problems.push(problem.hint("give one of them another name"));
            }
            return;
        }
        let stand_in = entity.as_deref().unwrap_or(flow);
        block.each_text(&mut |text, _| {
            if text.contains('{') {
                *text = text.replace("{entity}", stand_in).replace("{flow}", &name).replace("{flow_name}", &name);
            }
        });
        let called = format!("flow {name}");
        let Some(fields) = read::<SharedFields>(&block, &called, &[], problems) else { return };
        let mut part = |key: &'static str, hint: &str| {
            if block.get(key).is_none() {
                let problem = Problem::new(at, format!("{called} has no {key}"), format!("expected the key {key} here"));
                problems.push(problem.hint(hint));
            }
            // What is no map was reported where it is written.
            block.get(key).filter(|node| matches!(node.value, Value::Map(_))).cloned()
        };
        let (home, store) = (part("home", "home: folder/to/read"), part("store", "store: folder/to/fill"));
        let places = |key: &str, words: Option<Words>| {
            let at = block.get(key).map(Node::texts).unwrap_or_default();
            words.unwrap_or_default().0.into_iter().zip(at.into_iter().map(|(_, at)| at)).collect()
        };
        self.flows.push(FlowBlock {
            flow: flow.to_string(),
            entity,
            at,
            needs: places("needs", fields.needs.clone()),
            tags: fields.tags.clone().unwrap_or_default().0,
            max_shrink: fields.max_shrink,
            timeout: fields.timeout,
            queue_size: fields.queue_size,
            continue_on_error: fields.continue_on_error,
            home,
            store,
            name,
        });
    }

    /// A flow's or an entity's keys, with home and store as maps.
    fn shared(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        let mut node = flattened(node, called, FLOW_ALIASES, problems);
        if let Value::Map(entries) = &mut node.value {
            for (key, value) in entries {
                let named = match key.name.as_str() {
                    "home" => &self.homes,
                    "store" => &self.stores,
                    _ => continue,
                };
                *value = named.block(value, &format!("{} of {called}", named.what), problems);
            }
        }
        node
    }

    fn as_defaults(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        let mut node = self.shared(node, called, problems);
        let _: Option<SharedFields> = read(&node, called, &[], problems);
        if let Value::Map(entries) = &mut node.value {
            let blocks = entries.iter_mut().filter(|(key, _)| matches!(key.name.as_str(), "home" | "store"));
            blocks.for_each(|(_, block)| mark_defaults(block));
        }
        node
    }

    /// The entities of a flow; `None` where it has none and is one flow itself.
    fn entities(&mut self, flow: &Key, own: &Node, problems: &mut Problems) -> Option<Vec<Entity>> {
        let written = own.get("entities");
        let files = self.files.remove(flow.name.as_str());
        if written.is_none() && files.is_none() {
            return None;
        }
        let (mut named, mut found) = (Vec::new(), Vec::new());
        for (name, tree) in files.unwrap_or_default() {
            let at = Span { line: 1, column: 1, length: 1, ..tree.at };
            check_file_name("entity", name, tree, problems);
            named.push(Entity { name: name.to_string(), at: Span { offset: 0, ..at }, block: tree.clone(), found: None });
        }
        let items = match written.map(|node| (node, &node.value)) {
            Some((_, Value::List(items))) => items.as_slice(),
            Some((node, Value::Map(_))) => std::slice::from_ref(node),
            Some((node, value)) => {
                let message = format!("entities of flow {} is {}", flow.name, value.describe());
                let problem = Problem::new(node.at, message, "expected a list of names, or a map with from");
                problems.push(problem.hint("entities: [users, orders], or entities: {from: \"data/home/*\"}"));
                &[]
            }
            None => &[],
        };
        for item in items {
            match (&item.value, item.get("name"), item.get("from")) {
                (Value::Text(name), ..) => {
                    let block = Node { value: Value::Map(Vec::new()), at: item.at };
                    named.push(Entity { name: name.clone(), at: item.at, block, found: None });
                }
                (Value::Map(_), None, Some(_)) => self.find(item, &flow.name, &mut found, problems),
                (Value::Map(_), Some(name), _) if name.text().is_some() => {
                    let text = name.text().unwrap_or_default().to_string();
                    named.push(Entity { name: text, at: name.at, block: item.clone(), found: None });
                }
                _ => {
                    let message = format!("an entity of flow {} is {}", flow.name, item.value.describe());
                    let problem = Problem::new(item.at, message, "expected a name, a map with name, or a map with from");
                    problems.push(problem.hint("entities: [users, {name: orders, store: other/folder}]"));
                }
            }
        }
        // An entity that is written out goes before the same one of a pattern, and keeps its path.
        for entity in found {
            match named.iter_mut().find(|other| other.name == entity.name) {
                Some(written) => written.found = entity.found,
                None => named.push(entity),
            }
        }
        Some(named)
    }

    /// The entities that a pattern found.
    fn find(&mut self, item: &Node, flow: &str, found: &mut Vec<Entity>, problems: &mut Problems) {
        let called = format!("entities of flow {flow}");
        let Some(PatternFields { from: Some(from), exclude }) = read(item, &called, &[], problems) else { return };
        let at = item.place_of("from");
        // A pattern that cannot be listed is a problem already.
        let Some(matches) = self.listings.get(&from.0) else { return };
        let excluded = exclude.unwrap_or_default().0;
        let mut globs = Vec::new();
        for (text, (_, at)) in excluded.iter().zip(item.get("exclude").map(Node::texts).unwrap_or_default()) {
            match GlobBuilder::new(text).build() {
                Ok(glob) => globs.push((glob.compile_matcher(), text, at, false)),
                Err(error) => {
                    let message = format!("exclude {text:?} cannot be used: {}", error.kind());
                    problems.push(Problem::new(at, message, "expected a glob such as \"tmp*\""));
                }
            }
        }
        for (name, path) in matches {
            let file = path.rsplit('/').next().unwrap_or(path);
            let mut is_out = false;
            for (glob, _, _, used) in &mut globs {
                if glob.is_match(name) || glob.is_match(file) {
                    (is_out, *used) = (true, true);
                }
            }
            if is_out {
                continue;
            }
            if let Some(other) = found.iter().find(|other| other.name == *name) {
                let (other, _) = other.found.clone().unwrap_or_default();
                let problem = Problem::new(at, format!("{other} and {path} are both the entity {name}"), "this pattern finds both");
                problems.push(problem.hint("leave one of them out by exclude"));
                continue;
            }
            let block = Node { value: Value::Map(Vec::new()), at };
            found.push(Entity { name: name.clone(), at, block, found: Some((path.clone(), at)) });
        }
        for (_, text, at, _) in globs.iter().filter(|(.., used)| !used) {
            self.warnings.push(Problem::new(*at, format!("exclude {text:?} of flow {flow} leaves nothing out"), "no entity is called so"));
        }
        if matches.is_empty() {
            self.warnings.push(
                Problem::new(at, format!("nothing matches {:?}", from.0), "expected folders or files")
                    .hint("paths are relative to the folder of hygge.yml"),
            );
        }
    }
}

impl Named<'_> {
    /// A home or store as a map: a text is a name or a path.
    fn block(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        let known = |name: &str| self.blocks.iter().find(|(key, _)| key.name == name).map(|(_, block)| block);
        match &node.value {
            Value::Text(name) => match known(name) {
                Some(block) => {
                    self.used.borrow_mut().insert(name.clone());
                    Node { at: node.at, ..block.clone() }
                }
                None => with_path(node),
            },
            Value::Map(_) => {
                let own = flattened(node, called, self.aliases, problems);
                let Some(name) = own.get("use") else { return own };
                let Some(block) = name.text().and_then(known) else {
                    let written = name.text().unwrap_or_default();
                    let message = format!("{called} uses {}, which is no {} of the config", name.value.describe(), self.what);
                    let problem = Problem::new(name.at, message, format!("expected a name of {}s", self.what));
                    problems.push(problem.did_you_mean(written, self.blocks.iter().map(|(key, _)| key.name.as_str()), None));
                    return without(own, &["use"]);
                };
                self.used.borrow_mut().extend(name.text().map(str::to_string));
                without(merge(block.clone(), &own), &["use"])
            }
            Value::Null => node.clone(),
            other => {
                let message = format!("{called} is {}", other.describe());
                let expected = format!("expected a path, the name of one of {}s, or a map", self.what);
                problems.push(Problem::new(node.at, message, expected));
                node.clone()
            }
        }
    }
}

/// `home: some/path` means `home: {path: some/path}`.
fn with_path(node: &Node) -> Node {
    let key = Key { name: "path".into(), at: node.at, is_default: false };
    Node { value: Value::Map(vec![(key, node.clone())]), at: node.at }
}

fn without(mut node: Node, keys: &[&str]) -> Node {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|(key, _)| !keys.contains(&key.name.as_str()));
    }
    node
}

/// Names that can be typed, selected, and be part of a path.
fn check_name(what: &str, name: &str, at: Span, problems: &mut Problems) {
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(fits) {
        let problem = Problem::new(at, format!("the {what} name {name:?} cannot be used"), "expected letters, digits, _, - and .");
        problems.push(problem.hint("a name may not begin with . or -"));
    }
}

/// A file that repeats the name it has must repeat it as it is.
pub fn check_file_name(what: &str, name: &str, tree: &Node, problems: &mut Problems) {
    if let Some(written) = tree.get("name")
        && written.text() != Some(name)
    {
        let message = format!("the {what} {name} is called {}", written.value.describe());
        problems.push(
            Problem::new(written.at, message, format!("expected {name}")).hint("its name is that of its file or folder: take name out"),
        );
    }
}

/// Joins an entity to the paths that it did not write itself, unless `{entity}` is in the block.
fn join(block: &mut Node, own: &Node, entity: &Entity) {
    let Value::Map(entries) = &mut block.value else { return };
    for (key, part) in entries.iter_mut() {
        let is_home = key.name == "home";
        if !(is_home || key.name == "store") {
            continue;
        }
        if own.get(&key.name).is_some_and(|own| own.get("path").is_some()) {
            continue;
        }
        let mut has_placeholder = false;
        part.each_text(&mut |text, _| has_placeholder |= text.contains("{entity}"));
        let Value::Map(fields) = &mut part.value else { continue };
        match fields.iter_mut().find(|(key, _)| key.name == "path") {
            Some((_, path)) => match (&entity.found, &mut path.value) {
                (Some((found, _)), Value::Text(text)) if is_home => *text = found.clone(),
                (_, Value::Text(text)) if !has_placeholder => *text = format!("{}/{}", text.trim_end_matches('/'), entity.name),
                _ => {}
            },
            None => {
                if let (Some((found, at)), true) = (&entity.found, is_home) {
                    let key = Key { name: "path".into(), at: *at, is_default: false };
                    fields.push((key, Node { value: Value::Text(found.clone()), at: *at }));
                }
            }
        }
    }
    // A pattern is a home by itself.
    if let Some((found, at)) = &entity.found
        && !entries.iter().any(|(key, _)| key.name == "home")
    {
        let key = Key { name: "home".into(), at: *at, is_default: false };
        entries.push((key, with_path(&Node { value: Value::Text(found.clone()), at: *at })));
    }
}

/// `flow: NAME` of a flow with entities means the one with this flow's entity.
fn choose_upstream(flow: &mut FlowBlock, together: &HashMap<String, Vec<(String, String)>>, problems: &mut Problems) {
    let Some(Value::Map(entries)) = flow.home.as_mut().map(|home| &mut home.value) else { return };
    let Some((_, upstream)) = entries.iter_mut().find(|(key, _)| key.name == "flow") else { return };
    let Some(members) = upstream.text().and_then(|name| together.get(name)) else { return };
    let same = members.iter().find(|(entity, _)| Some(entity) == flow.entity.as_ref());
    if let Some((_, member)) = same {
        upstream.value = Value::Text(member.clone());
        return;
    }
    let name = upstream.text().unwrap_or_default();
    let names: Vec<&str> = members.iter().map(|(_, member)| member.as_str()).take(5).collect();
    let message = format!("flow {} reads flow {name}, which is {} flows", flow.name, members.len());
    let problem = Problem::new(upstream.at, message, "expected one flow");
    problems.push(problem.hint(format!("name one of them, such as {}", names.join(", "))));
    flow.home = None;
}
