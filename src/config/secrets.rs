//! Keeping secrets out of sight: what of a config's texts and messages may be shown.

use std::collections::BTreeSet;
use std::ops::Range;

use super::node::{Node, Secret, Value};
use super::suggest::nearest;
use super::url::{self, LEAST, Url};
use super::variables::{self, Kind, Variables};

/// What connections are made of, so that it is recognised elsewhere.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    /// Their texts.
    texts: Vec<String>,
    /// Variables that are a whole URL.
    variables: Vec<String>,
    /// What connections say, with their variables.
    written: Vec<String>,
    /// Variables that are a piece of what a connection says, whose values are long enough to be
    /// told from other words.
    pieces: BTreeSet<String>,
    /// Passwords.
    passwords: BTreeSet<String>,
}

impl Secrets {
    /// Takes in a text of a connection.
    pub(super) fn add(&mut self, text: &str) {
        let whole = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|inside| !inside.contains("${"));
        match whole.map(|inside| inside.split_once(":-").unwrap_or((inside, ""))) {
            Some((name, default)) => {
                self.variables.push(name.to_string());
                self.keep(default);
            }
            None => self.keep(text),
        }
        self.written.push(text.to_string());
    }

    /// Learns what the variables are, as far as they are known.
    pub(super) fn learn(&mut self, values: &Variables) {
        let is_long = |name: &&str| {
            values
                .get(*name)
                .is_some_and(|value| value.chars().count() >= LEAST)
        };
        // A file of a database is a path like others.
        for text in self
            .written
            .iter()
            .filter(|text| !text.starts_with("sqlite:"))
        {
            self.pieces.extend(
                variables::names_in(text)
                    .filter(is_long)
                    .map(str::to_string),
            );
            let filled = variables::filled_secret(text, values);
            let filled = filled
                .as_ref()
                .map_or(text.as_str(), |filled| filled.as_ref());
            let Some(url) = Url::parse(filled) else {
                continue;
            };
            let words = url.words();
            let is_word =
                |password: &String| words.iter().any(|word| word.eq_ignore_ascii_case(password));
            self.passwords.extend(
                url.passwords()
                    .into_iter()
                    .filter(|text| text.chars().count() >= LEAST && !is_word(text)),
            );
        }
    }

    /// What is shorter is found everywhere.
    fn keep(&mut self, text: &str) {
        // A single word, such as the name of a database, may stand elsewhere by chance.
        if text.len() >= LEAST && text.contains([':', '@', '=']) {
            self.texts.push(text.to_string());
        }
    }

    /// The secret that is in a text, if there is one.
    pub(super) fn found_in(&self, text: &str) -> Option<Kind> {
        if may_have_password(text)
            || self
                .texts
                .iter()
                .any(|secret| text.contains(secret.as_str()))
        {
            return Some(Kind::Url);
        }
        let is_there =
            |password: &String| text.contains(password.as_str()) && without(text, password) != text;
        self.passwords
            .iter()
            .any(is_there)
            .then_some(Kind::Password)
    }

    /// The same of a variable, as it stands between the braces.
    pub(super) fn found_in_variable(&self, inside: &str) -> Option<Kind> {
        let name = inside.split(":-").next().unwrap_or_default();
        if name.starts_with(super::CONNECTION_PREFIX)
            || self.variables.iter().any(|variable| variable == name)
        {
            return Some(Kind::Url);
        }
        self.pieces.contains(name).then_some(Kind::Piece)
    }

    /// The text of a file with every secret in it covered; `None` where there is none.
    pub(super) fn cover(
        &self,
        text: &str,
        is_yaml: bool,
        places: &[Range<usize>],
    ) -> Option<String> {
        match is_yaml {
            false => Some(self.covered(&covered_by_guess(text))),
            true if places.is_empty() && self.found_in(text).is_none() => None,
            true => Some(self.covered(&covered(text, places))),
        }
    }

    fn covered(&self, text: &str) -> String {
        let text = self.texts.iter().fold(text.to_string(), |text, secret| {
            text.replace(secret.as_str(), &"*".repeat(secret.len()))
        });
        self.passwords
            .iter()
            .fold(text, |text, password| without(&text, password))
    }
}

/// The text with a password in it covered.
fn without(text: &str, password: &str) -> String {
    url::covered(text, password, |password| "*".repeat(password.len()))
}

/// Takes the connections' texts out of sight; gives where they stand.
pub(super) fn keep_secrets(
    tree: &mut Node,
    text: &str,
    secrets: &mut Secrets,
) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    keep_secrets_below(tree, true, &mut places);
    let written = places
        .iter()
        .filter_map(|place: &Range<usize>| text.get(place.clone()));
    written.for_each(|text| secrets.add(text.trim_matches(['"', '\''])));
    tree_secrets(tree, secrets);
    places
}

/// Also what is mistyped or stands in the wrong place; a flow may be called `url` or `connections`.
fn keep_secrets_below(node: &mut Node, is_top: bool, places: &mut Vec<Range<usize>>) {
    match &mut node.value {
        Value::List(items) => items
            .iter_mut()
            .for_each(|item| keep_secrets_below(item, false, places)),
        Value::Map(entries) => {
            for (key, node) in entries {
                let is_block = matches!(node.value, Value::Map(_) | Value::List(_));
                let is_connections =
                    is_top && nearest(&key.name, std::iter::once("connections")).is_some();
                if is_connections || !is_block && SECRET_KEYS.contains(&key.name.as_str()) {
                    node.keep_secret(places);
                } else {
                    keep_secrets_below(node, is_top && key.name == "options", places);
                }
            }
        }
        _ => {}
    }
}

/// Keys whose texts are secret, wherever they stand.
const SECRET_KEYS: [&str; 3] = ["url", "password", "dsn"];

/// What connections say, as it is after YAML was read.
fn tree_secrets(node: &Node, secrets: &mut Secrets) {
    match &node.value {
        Value::Secret(Secret(text)) => secrets.add(text),
        Value::List(items) => items.iter().for_each(|item| tree_secrets(item, secrets)),
        Value::Map(entries) => entries
            .iter()
            .for_each(|(_, node)| tree_secrets(node, secrets)),
        _ => {}
    }
}

/// A URL that may have a password in it.
pub(super) fn may_have_password(text: &str) -> bool {
    text.contains("://") && (text.contains('@') || text.contains("password="))
}

/// The text of a config with these places covered: letters of the same length stand for what is
/// there.
fn covered(text: &str, places: &[Range<usize>]) -> String {
    let mut covered = text.to_string();
    for range in places.iter().cloned() {
        if let Some(secret) = text.get(range.clone()) {
            let stars: String = secret
                .chars()
                .map(|letter| if letter == '\n' { '\n' } else { '*' })
                .collect();
            // Places count bytes: what is longer than a star is filled up behind it.
            covered.replace_range(
                range,
                &format!("{stars}{}", " ".repeat(secret.len() - stars.len())),
            );
        }
    }
    covered
}

/// The text of a file that cannot be read: if it may have connections, with every letter of every
/// value covered, so that the signs that YAML stumbles on are still seen.
fn covered_by_guess(text: &str) -> String {
    const MARKS: [&str; 6] = ["://", "url", "password", "dsn", "connection", "@"];
    let words = || {
        text.split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| (8..=14).contains(&word.len()))
    };
    let lower = text.to_lowercase();
    let may_have = MARKS.iter().any(|mark| lower.contains(mark))
        || words().any(|word| nearest(word, std::iter::once("connections")).is_some());
    if !may_have {
        return text.to_string();
    }
    let covered = |value: &str| {
        value
            .chars()
            .map(|letter| {
                if letter.is_alphanumeric() {
                    "*".repeat(letter.len_utf8())
                } else {
                    letter.to_string()
                }
            })
            .collect::<String>()
    };
    let line = |line: &str| match line.find(':') {
        // Keys stay, but for what is no key.
        Some(colon) if !line[..colon].contains(['@', '"', '\'', '{', '?']) => {
            format!("{}{}", &line[..=colon], covered(&line[colon + 1..]))
        }
        _ => covered(line),
    };
    text.split_inclusive('\n').map(line).collect()
}
