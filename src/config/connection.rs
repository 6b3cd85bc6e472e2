//! Connections to databases: where they are, and how the URL is kept to oneself.
//!
//! Nothing is opened here. A URL keeps its variables until somebody asks for it, so that a build
//! that needs no database needs no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::loader::CONNECTION_PREFIX;
use super::node::Node;
use super::problem::{Problem, Problems, Span};
use super::schema::ConnectionFields;
pub use super::schema::SslMode;
use super::variables::{self, VariableErrors, Variables};

/// What a URL may begin with.
pub const SCHEMES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

/// How many sessions flows share where nothing is said.
const POOL_SIZE: u64 = 4;

/// How long opening a session may take where nothing is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A database by name.
#[derive(Clone)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Where it is written; `None` where it comes from the environment alone.
    pub at: Option<Span>,
    /// How many sessions all flows share to read; those that fill its tables share as many more.
    pub pool_size: u64,
    /// How long opening a session may take.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Option<Duration>,
    /// Whether it is spoken to by TLS; `None` for what the URL says.
    pub sslmode: Option<SslMode>,
    /// The path of root certificates, relative to the folder of the config.
    pub sslrootcert: Option<String>,
    /// What tells it from others, where it is not its place.
    pub identity: Option<String>,
    /// True where its file may not lie outside of the folder of the config.
    pub is_confined: bool,
    /// The URL as it is written.
    written: SecretString,
    /// The variables it uses, as they are now.
    variables: Variables,
}

/// Why a connection cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// A variable is missing.
    #[error(transparent)]
    Variable(#[from] VariableErrors),
    /// It is for no database that hygge knows. The URL is not shown.
    #[error("its URL begins with none of {}", SCHEMES.map(|scheme| format!("{scheme}:")).join(", "))]
    Scheme,
}

impl Connection {
    /// The URL, its variables filled in.
    ///
    /// # Errors
    /// A variable is not set, or the URL is for no database that hygge knows.
    pub fn url(&self) -> Result<SecretString, UrlError> {
        let url = SecretString::from(variables::filled_secret(self.written.expose_secret(), &self.variables)?.into_owned());
        if SCHEMES.iter().any(|scheme| url.expose_secret().strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':'))) {
            Ok(url)
        } else {
            Err(UrlError::Scheme)
        }
    }

    /// The URL as far as it may be shown: one that is nothing but variables, or no more than that it is there.
    pub fn shown(&self) -> &str {
        let written = self.written.expose_secret();
        let is_variable =
            written.starts_with("${") && written.ends_with('}') && !written.contains("://") && written.matches('}').count() == 1;
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$' | '{' | '}');
        if is_variable && written.chars().all(is_name) { written } else { REDACTED }
    }

    /// The warning of a connection that no flow uses.
    pub(super) fn unused(&self) -> Option<Problem> {
        let problem = Problem::new(self.at?, format!("no flow uses the connection {}", self.name), "it is not used");
        Some(problem.hint("home: {connection: NAME, table: TABLE} reads from it; flows of files need none"))
    }
}

/// What stands for a secret.
pub const REDACTED: &str = "[redacted]";

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        let rest = |connection: &Self| {
            let times = (connection.connect_timeout, connection.statement_timeout);
            let texts = (connection.name.clone(), connection.sslrootcert.clone(), connection.identity.clone());
            (texts, connection.at, (connection.pool_size, connection.is_confined), times, connection.sslmode, connection.variables.clone())
        };
        rest(self) == rest(other) && self.written.expose_secret() == other.written.expose_secret()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).field("url", &self.shown()).finish_non_exhaustive()
    }
}

/// The connections of the config and of the environment.
pub(super) fn resolve(
    written: BTreeMap<String, ConnectionFields>,
    project: &Node,
    variables: &Variables,
    problems: &mut Problems,
) -> Vec<Connection> {
    let places: BTreeMap<&str, (Span, &Node)> =
        project.get("connections").into_iter().flat_map(Node::entries).map(|(key, node)| (key.name.as_str(), (key.at, node))).collect();
    let mut from_environment: BTreeMap<&str, &String> =
        variables.iter().filter_map(|(name, value)| Some((name.strip_prefix(CONNECTION_PREFIX)?, value))).collect();
    let mut connections = Vec::new();
    for (name, fields) in written {
        let variable = variable_name(&name);
        let at = places.get(name.as_str()).map(|(at, _)| *at);
        let Some(url) = from_environment.remove(variable.as_str()).map(|value| value.replace('$', "$$")).or(fields.url.map(|url| url.0))
        else {
            let node = places.get(name.as_str()).map(|(_, node)| *node);
            if node.is_some_and(|node| node.get("url").is_some()) {
                // It was no text, and that was said.
                continue;
            }
            let place = node.map_or(project.at, |node| node.at);
            let problem = Problem::new(place, format!("connection {name} has no url"), "expected the key url here");
            problems.push(problem.hint(format!("url: \"${{SHOP_URL}}\", or export {CONNECTION_PREFIX}{variable}")));
            continue;
        };
        let used = variables::names_in(&url).filter_map(|name| variables.get_key_value(name));
        let used = used.map(|(name, value)| (name.clone(), value.clone())).collect();
        let pool_size = fields.pool_size.map_or(POOL_SIZE, |size| size.0);
        connections.push(Connection {
            name,
            at,
            pool_size,
            connect_timeout: fields.connect_timeout.map_or(CONNECT_TIMEOUT, |time| time.0),
            statement_timeout: fields.statement_timeout.map(|time| time.0),
            sslmode: fields.sslmode,
            sslrootcert: fields.sslrootcert.map(|path| path.0),
            identity: fields.identity,
            is_confined: false,
            written: url.into(),
            variables: used,
        });
    }
    for (variable, url) in from_environment {
        let url = url.replace('$', "$$").into();
        connections.push(Connection {
            name: variable.to_lowercase(),
            at: None,
            pool_size: POOL_SIZE,
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: None,
            sslmode: None,
            sslrootcert: None,
            identity: None,
            is_confined: false,
            written: url,
            variables: Variables::new(),
        });
    }
    connections
}

/// `my-shop` is `MY_SHOP` in the environment.
fn variable_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }).collect()
}
