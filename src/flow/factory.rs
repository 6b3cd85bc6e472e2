//! The Factory: turns the `type:` of a home or a store into its implementation.
//!
//! This is the one registry. A new format is one line in `FORMATS`; a home or store that is no
//! folder of files is one arm below.

use std::path::Path;
use std::sync::Arc;

use crate::config::node::{Key, Node, Value};
use crate::config::problem::{Problem, Problems};
use crate::config::schema::{Block, nearest};
use crate::format::Format;
use crate::format::parquet::Parquet;
use crate::home::Home;
use crate::home::files::FilesHome;
use crate::home::flow::FlowHome;
use crate::store::Store;
use crate::store::files::FilesStore;

/// The formats of files, the default first.
const FORMATS: &[&dyn Format] = &[&Parquet];

/// The `type:` of a home that is another flow.
const FLOW: &str = "flow";

/// Makes homes and stores by name.
#[derive(Debug)]
pub struct Factory {
    formats: &'static [&'static dyn Format],
}

impl Factory {
    /// The factory of everything that hygge knows.
    pub fn new() -> Self {
        Self { formats: FORMATS }
    }

    /// The home of a flow; a text alone is its path.
    pub fn home(&self, flow: &str, node: &Node, root: &Path, problems: &mut Problems) -> Option<Arc<dyn Home>> {
        let node = with_path(node);
        let mut block = Block::open(format!("home of flow {flow}"), &node, problems)?;
        let default = if block.optional(FLOW).is_some() { FLOW } else { self.formats[0].name() };
        let kind = self.kind(&mut block, default, &[FLOW], problems)?;
        let home: Option<Arc<dyn Home>> = match self.format(kind) {
            Some(format) => FilesHome::from_block(format, &mut block, root, problems).map(|home| Arc::new(home) as _),
            None => FlowHome::from_block(&mut block, problems).map(|home| Arc::new(home) as _),
        };
        block.finish(problems);
        home
    }

    /// The store of a flow; a text alone is its path.
    pub fn store(&self, flow: &str, node: &Node, root: &Path, problems: &mut Problems) -> Option<Arc<dyn Store>> {
        let node = with_path(node);
        let mut block = Block::open(format!("store of flow {flow}"), &node, problems)?;
        let kind = self.kind(&mut block, self.formats[0].name(), &[], problems)?;
        let store = FilesStore::from_block(self.format(kind)?, &mut block, root, problems);
        block.finish(problems);
        store.map(|store| Arc::new(store) as _)
    }

    fn format(&self, name: &str) -> Option<&'static dyn Format> {
        self.formats.iter().copied().find(|format| format.name() == name)
    }

    /// The `type:` of a block: one that is known, or a problem.
    fn kind<'a>(
        &self,
        block: &mut Block<'a>,
        default: &'static str,
        others: &[&'static str],
        problems: &mut Problems,
    ) -> Option<&'static str> {
        let mut known: Vec<&'static str> = self.formats.iter().map(|format| format.name()).collect();
        known.extend(others);
        let Some((written, at)) = block.text("type", problems) else { return Some(default) };
        let found = known.iter().copied().find(|name| *name == written);
        if found.is_none() {
            let problem = Problem::new(
                at,
                format!("{} has the unknown type {written:?}", block.name()),
                format!("expected one of {}", known.join(", ")),
            );
            problems.push(match nearest(written, known.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem,
            });
        }
        found
    }
}

impl Default for Factory {
    fn default() -> Self {
        Self::new()
    }
}

/// `home: some/path` means `home: {path: some/path}`.
fn with_path(node: &Node) -> Node {
    match &node.value {
        Value::Text(_) => {
            let key = Key { name: "path".into(), at: node.at };
            Node { value: Value::Map(vec![(key, node.clone())]), at: node.at }
        }
        _ => node.clone(),
    }
}
