//! Keeping secrets out of sight: what of a config's texts and messages may be shown.

use std::collections::BTreeSet;
use std::ops::Range;

use super::node::{Node, NodeValue, Secret};
use super::suggest::closest_match;
use super::url::{self, MIN_SECRET_LENGTH, Url};
use super::variables::{self, SecretKind, Variables};

/// What connections are made of, so that it is recognised elsewhere.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    /// Their texts.
    texts: Vec<String>,
    /// Variables that are a whole URL.
    url_variables: Vec<String>,
    /// What connections say, with their variables.
    connection_texts: Vec<String>,
    /// Variables that are a piece of what a connection says, whose values are long enough to be
    /// told from other words.
    fragments: BTreeSet<String>,
    /// Passwords.
    passwords: BTreeSet<String>,
}

impl Secrets {
    /// Takes in a text of a connection.
    pub(super) fn add_connection_text(&mut self, text: &str) {
        let whole = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|inside| !inside.contains("${"));
        match whole.map(|inside| inside.split_once(":-").unwrap_or((inside, ""))) {
            Some((name, default)) => {
                self.url_variables.push(name.to_string());
                self.add_secret(default);
            }
            None => self.add_secret(text),
        }
        self.connection_texts.push(text.to_string());
    }

    /// Learns what the variables are, as far as they are known.
    pub(super) fn resolve_variables(&mut self, values: &Variables) {
        let is_long = |name: &&str| {
            values
                .get(*name)
                .is_some_and(|value| value.chars().count() >= MIN_SECRET_LENGTH)
        };
        // A file of a database is a path like others.
        for text in self
            .connection_texts
            .iter()
            .filter(|text| !text.starts_with("sqlite:"))
        {
            self.fragments.extend(
                variables::variable_names(text)
                    .filter(is_long)
                    .map(str::to_string),
            );
            let filled = variables::interpolate_secret(text, values);
            let filled = filled
                .as_ref()
                .map_or(text.as_str(), |filled| filled.as_ref());
            let Some(url) = Url::parse(filled) else {
                continue;
            };
            let words = url.plain_words();
            let is_word =
                |password: &String| words.iter().any(|word| word.eq_ignore_ascii_case(password));
            self.passwords.extend(
                url.passwords()
                    .into_iter()
                    .filter(|text| text.chars().count() >= MIN_SECRET_LENGTH && !is_word(text)),
            );
        }
    }

    /// What is shorter is found everywhere.
    fn add_secret(&mut self, text: &str) {
        // A single word, such as the name of a database, may stand elsewhere by chance.
        if text.len() >= MIN_SECRET_LENGTH && text.contains([':', '@', '=']) {
            self.texts.push(text.to_string());
        }
    }

    /// The secret that is in a text, if there is one.
    pub(super) fn find_in(&self, text: &str) -> Option<SecretKind> {
        if may_have_password(text)
            || self
                .texts
                .iter()
                .any(|secret| text.contains(secret.as_str()))
        {
            return Some(SecretKind::Url);
        }
        let is_there = |password: &String| {
            text.contains(password.as_str()) && redact_password(text, password) != text
        };
        self.passwords
            .iter()
            .any(is_there)
            .then_some(SecretKind::Password)
    }

    /// The same of a variable, as it stands between the braces.
    pub(super) fn find_in_variable(&self, inside: &str) -> Option<SecretKind> {
        let name = inside.split(":-").next().unwrap_or_default();
        if name.starts_with(super::CONNECTION_PREFIX)
            || self.url_variables.iter().any(|variable| variable == name)
        {
            return Some(SecretKind::Url);
        }
        self.fragments
            .contains(name)
            .then_some(SecretKind::Fragment)
    }

    /// The text of a file with every secret in it covered; `None` where there is none.
    pub(super) fn redact_file(
        &self,
        text: &str,
        is_yaml: bool,
        places: &[Range<usize>],
    ) -> Option<String> {
        match is_yaml {
            false => Some(self.redact_known(&redact_unparsed(text))),
            true if places.is_empty() && self.find_in(text).is_none() => None,
            true => Some(self.redact_known(&redact_ranges(text, places))),
        }
    }

    fn redact_known(&self, text: &str) -> String {
        let text = self.texts.iter().fold(text.to_string(), |text, secret| {
            text.replace(secret.as_str(), &"*".repeat(secret.len()))
        });
        self.passwords
            .iter()
            .fold(text, |text, password| redact_password(&text, password))
    }
}

/// The text with a password in it covered.
fn redact_password(text: &str, password: &str) -> String {
    url::redact_word(text, password, |password| "*".repeat(password.len()))
}

/// Takes the connections' texts out of sight; gives where they stand.
pub(super) fn extract_secrets(
    tree: &mut Node,
    text: &str,
    secrets: &mut Secrets,
) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    extract_secrets_below(tree, true, &mut places);
    let written = places
        .iter()
        .filter_map(|place: &Range<usize>| text.get(place.clone()));
    written.for_each(|text| secrets.add_connection_text(text.trim_matches(['"', '\''])));
    collect_tree_secrets(tree, secrets);
    places
}

/// Also what is mistyped or stands in the wrong place; a flow may be called `url` or `connections`.
fn extract_secrets_below(node: &mut Node, is_top: bool, places: &mut Vec<Range<usize>>) {
    match &mut node.value {
        NodeValue::List(items) => items
            .iter_mut()
            .for_each(|item| extract_secrets_below(item, false, places)),
        NodeValue::Map(entries) => {
            for (key, node) in entries {
                let is_block = matches!(node.value, NodeValue::Map(_) | NodeValue::List(_));
                let is_connections =
                    is_top && closest_match(&key.name, std::iter::once("connections")).is_some();
                if is_connections || !is_block && SECRET_KEYS.contains(&key.name.as_str()) {
                    node.redact(places);
                } else {
                    extract_secrets_below(node, is_top && key.name == "options", places);
                }
            }
        }
        _ => {}
    }
}

/// Keys whose texts are secret, wherever they stand.
const SECRET_KEYS: [&str; 3] = ["url", "password", "dsn"];

/// What connections say, as it is after YAML was read.
fn collect_tree_secrets(node: &Node, secrets: &mut Secrets) {
    match &node.value {
        NodeValue::Secret(Secret(text)) => secrets.add_connection_text(text),
        NodeValue::List(items) => items
            .iter()
            .for_each(|item| collect_tree_secrets(item, secrets)),
        NodeValue::Map(entries) => entries
            .iter()
            .for_each(|(_, node)| collect_tree_secrets(node, secrets)),
        _ => {}
    }
}

/// A URL that may have a password in it.
pub(super) fn may_have_password(text: &str) -> bool {
    text.contains("://") && (text.contains('@') || text.contains("password="))
}

/// The text of a config with these places covered: letters of the same length stand for what is
/// there.
fn redact_ranges(text: &str, places: &[Range<usize>]) -> String {
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
fn redact_unparsed(text: &str) -> String {
    const MARKS: [&str; 6] = ["://", "url", "password", "dsn", "connection", "@"];
    let words = || {
        text.split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| (8..=14).contains(&word.len()))
    };
    let lower = text.to_lowercase();
    let may_have = MARKS.iter().any(|mark| lower.contains(mark))
        || words().any(|word| closest_match(word, std::iter::once("connections")).is_some());
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
