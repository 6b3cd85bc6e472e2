//! Connections to databases: where they are, and how the URL is kept to oneself.
//!
//! Nothing is opened here. A URL keeps its variables until somebody asks for it, so that a build
//! that needs no database needs no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::named_blocks::without_keys;
use super::node::{Node, NodeValue, Secret};
use super::problem::{Problem, Problems, Span};
use super::schema::ConnectionFields;
pub use super::schema::SslMode;
use super::suggest::closest_match;
use super::url::{self, MIN_SECRET_LENGTH, Url};
use super::variables::{self, NOT_UTF8, VariableError, VariableErrors, Variables};
use super::{CONNECTION_PREFIX, PGSSLMODE};

/// What a URL may begin with.
pub const SCHEMES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

/// What the URL of a connection begins with that is written wrong: nothing that can be opened.
const BROKEN_SCHEME: &str = "broken";

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
    /// What the environment says of that to PostgreSQL's clients, as it is written; it comes last.
    pub pgsslmode: Option<String>,
    /// The path of root certificates as it is written, relative to the folder of the config.
    sslrootcert: Option<String>,
    /// What tells it from others, where it is not its place, as it is written.
    identity: Option<String>,
    /// True where its file may not lie outside of the folder of the config.
    pub is_confined: bool,
    /// The URL as it is written.
    raw_url: SecretString,
    /// The variables it uses, as they are now.
    variables: Variables,
}

/// Why a connection cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// A variable is missing.
    #[error(transparent)]
    Variable(#[from] VariableErrors),
    /// Nothing is written.
    #[error("its URL is empty")]
    Empty,
    /// It is for no database that hygge knows. The URL is not shown.
    #[error("its URL begins with none of {}", SCHEMES.map(|scheme| format!("{scheme}:")).join(", "))]
    Scheme,
    /// A part of it would be taken for another.
    #[error("its URL cannot be read: {0}")]
    Unreadable(&'static str),
}

impl Connection {
    /// One of which nothing is said.
    fn with_defaults() -> Self {
        Self {
            name: String::new(),
            at: None,
            pool_size: POOL_SIZE,
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: None,
            sslmode: None,
            pgsslmode: None,
            sslrootcert: None,
            identity: None,
            is_confined: false,
            raw_url: String::new().into(),
            variables: Variables::new(),
        }
    }

    /// One of the config, with the variables that it names.
    fn from_fields(
        name: String,
        at: Option<Span>,
        url: String,
        fields: ConnectionFields,
        variables: &Variables,
    ) -> Self {
        let (sslrootcert, identity) = (fields.sslrootcert.map(|path| path.0), fields.identity);
        let texts = [Some(&url), sslrootcert.as_ref(), identity.as_ref()]
            .into_iter()
            .flatten();
        let used = texts
            .flat_map(|text| variables::variable_names(text))
            .filter_map(|name| variables.get_key_value(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Self {
            name,
            at,
            pool_size: fields.pool_size.map_or(POOL_SIZE, |size| size.0),
            connect_timeout: fields
                .connect_timeout
                .map_or(CONNECT_TIMEOUT, |time| time.0),
            statement_timeout: fields.statement_timeout.map(|time| time.0),
            sslmode: fields.sslmode,
            pgsslmode: variables.get(PGSSLMODE).cloned(),
            sslrootcert,
            identity,
            is_confined: false,
            raw_url: url.into(),
            variables: used,
        }
    }

    /// One that only a variable of the environment says.
    fn from_variable(variable: &str, url: &str, variables: &Variables) -> Self {
        let used = variables
            .get_key_value(&format!("{CONNECTION_PREFIX}{variable}"))
            .map(|(name, value)| (name.clone(), value.clone()));
        Self {
            name: variable.to_lowercase(),
            pgsslmode: variables.get(PGSSLMODE).cloned(),
            raw_url: url_from_variable(variable, url).into(),
            variables: used.into_iter().collect(),
            ..Self::with_defaults()
        }
    }

    /// SQLite in memory, by the name of another connection.
    pub fn in_memory(name: &str) -> Self {
        Self {
            name: name.to_string(),
            raw_url: "sqlite::memory:".to_string().into(),
            ..Self::with_defaults()
        }
    }

    /// The URL, its variables filled in.
    ///
    /// # Errors
    /// A variable is not set, or the URL is for no database that hygge knows.
    pub fn url(&self) -> Result<SecretString, UrlError> {
        let written = self.raw_url.expose_secret();
        let filled = variables::interpolate_secret(written, &self.variables)?;
        if let Some(path) = written.strip_prefix("sqlite:") {
            check_path_variables(
                path.strip_prefix("//")
                    .unwrap_or(path)
                    .split('?')
                    .next()
                    .unwrap_or_default(),
                &self.variables,
            )?;
        }
        if !SCHEMES.iter().any(|scheme| {
            filled
                .strip_prefix(scheme)
                .is_some_and(|rest| rest.starts_with(':'))
        }) {
            let is_empty = |name: &&str| self.variables.get(*name).is_some_and(String::is_empty);
            return Err(match variables::variable_names(written).find(is_empty) {
                Some(name) => VariableErrors(vec![VariableError::Empty(name.to_string())]).into(),
                None if filled.trim().is_empty() => UrlError::Empty,
                None => UrlError::Scheme,
            });
        }
        Ok(url::driver_url(&filled)
            .map_err(UrlError::Unreadable)?
            .into())
    }

    /// The path of root certificates, relative to the folder of the config.
    ///
    /// # Errors
    /// A variable is not set.
    pub fn sslrootcert(&self) -> Result<Option<String>, UrlError> {
        let Some(written) = &self.sslrootcert else {
            return Ok(None);
        };
        check_path_variables(written, &self.variables)?;
        Ok(Some(
            variables::interpolate_secret(written, &self.variables)?.into_owned(),
        ))
    }

    /// The path of root certificates as it is written, which may be shown.
    pub fn raw_sslrootcert(&self) -> &str {
        self.sslrootcert.as_deref().unwrap_or_default()
    }

    /// What tells it from others, where it is not its place.
    ///
    /// # Errors
    /// A variable is not set.
    pub fn identity(&self) -> Result<Option<String>, UrlError> {
        let filled = self
            .identity
            .as_ref()
            .map(|written| variables::interpolate_secret(written, &self.variables))
            .transpose()?;
        Ok(filled.map(std::borrow::Cow::into_owned))
    }

    /// What must not be shown of it: what is in its URL, and what variables put into it, where they
    /// are long enough to be told from other words.
    pub fn secrets(&self) -> Vec<String> {
        let written = self.raw_url.expose_secret();
        let url = self.url();
        let url = url.as_ref().map_or(written, |url| url.expose_secret());
        // A file of a database is shown like other paths.
        if url.starts_with("sqlite:") {
            return Vec::new();
        }
        let is_whole = |value: &&String| value.as_str() != url;
        let values = self
            .variables
            .values()
            .filter(|value| value.chars().count() >= MIN_SECRET_LENGTH)
            .filter(is_whole)
            .cloned();
        let mut secrets: Vec<String> = vec![url.to_string()];
        secrets.extend(values);
        secrets.extend(Url::parse(url).iter().flat_map(Url::secrets));
        secrets
    }

    /// What it lacks of the variables that it needs.
    pub fn missing_variables(&self) -> Vec<VariableError> {
        let errors = [
            self.url().err(),
            self.sslrootcert().err(),
            self.identity().err(),
        ]
        .into_iter()
        .flatten();
        let of_variables = errors.filter_map(|error| match error {
            UrlError::Variable(errors) => Some(errors.0),
            _ => None,
        });
        of_variables.flatten().collect()
    }

    /// Warnings about parameters of its URL that nobody reads.
    fn unknown_parameter_warnings(&self, project: Span) -> Vec<Problem> {
        let Ok(url) = self.url() else {
            return Vec::new();
        };
        let (unknown, known) = url::unknown_parameters(url.expose_secret());
        let warn = |name: String| {
            let message = format!(
                "the URL of connection {} has the parameter {name}, which nobody reads",
                self.name
            );
            let problem = Problem::new(self.at.unwrap_or(project), message, "its URL");
            if url::IGNORED_PARAMETERS.contains(&name.as_str()) {
                return problem.with_hint(
                    "take it out: hygge's sessions have UTC and utf8mb4, by which values arrive as \
                     they are",
                );
            }
            match closest_match(&name, known.iter().copied())
                .or((name == "unix_socket").then_some("socket"))
            {
                Some(near) => problem.with_hint(format!("did you mean {near}?")),
                None => {
                    problem.with_hint(format!("parameters that are read: {}", known.join(", ")))
                }
            }
        };
        unknown.into_iter().map(warn).collect()
    }

    /// The URL as far as it may be shown: one that is nothing but variables, or no more than that
    /// it is there.
    pub fn display_url(&self) -> &str {
        let written = self.raw_url.expose_secret();
        let is_variable = written.starts_with("${")
            && written.ends_with('}')
            && !written.contains("://")
            && written.matches('}').count() == 1;
        let is_name = |letter: char| {
            letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$' | '{' | '}')
        };
        if is_variable && written.chars().all(is_name) {
            written
        } else {
            REDACTED
        }
    }

    /// The warning of root certificates that nothing is compared with.
    pub(super) fn unverified_warning(&self) -> Option<Problem> {
        let url = self.url().ok()?;
        let url = url.expose_secret();
        let parameter = |names| Url::parse(url)?.parameter(names);
        let is_named = self.sslrootcert.is_some() || parameter(CERTIFICATE_PARAMETERS).is_some();
        let of_environment = || {
            self.pgsslmode
                .clone()
                .filter(|_| url.starts_with("postgres"))
        };
        let verifies = match self.sslmode {
            Some(mode) => matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull),
            None => parameter(TLS_PARAMETERS)
                .or_else(of_environment)
                .is_some_and(|mode| mode.to_ascii_lowercase().starts_with("verify")),
        };
        if !is_named || verifies {
            return None;
        }
        let message = format!(
            "the root certificates of connection {} verify nothing",
            self.name
        );
        let problem = Problem::new(self.at?, message, "its sslmode takes any certificate");
        Some(problem.with_hint(
            "sslmode: verify-full compares the server's certificate with them, and its name with \
             the host",
        ))
    }

    /// The warning of a connection that no flow uses.
    pub(super) fn unused_warning(&self) -> Option<Problem> {
        let problem = Problem::new(
            self.at?,
            format!("no flow uses the connection {}", self.name),
            "it is not used",
        );
        Some(problem.with_hint(
            "home: {connection: NAME, table: TABLE} reads from it; flows of files need none",
        ))
    }
}

/// The parameters of URLs that say whether there is to be TLS.
pub const TLS_PARAMETERS: &[&str] = &["sslmode", "ssl-mode"];

/// Those that name root certificates.
const CERTIFICATE_PARAMETERS: &[&str] = &["sslrootcert", "ssl-root-cert", "sslca", "ssl-ca"];

/// What stands for a secret.
pub const REDACTED: &str = "[redacted]";

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        let rest = |connection: &Self| {
            let times = (connection.connect_timeout, connection.statement_timeout);
            let texts = (
                connection.name.clone(),
                connection.sslrootcert.clone(),
                connection.identity.clone(),
            );
            let tls = (connection.sslmode, connection.pgsslmode.clone());
            let pool = (connection.pool_size, connection.is_confined);
            (
                texts,
                connection.at,
                pool,
                times,
                tls,
                connection.variables.clone(),
            )
        };
        rest(self) == rest(other) && self.raw_url.expose_secret() == other.raw_url.expose_secret()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("url", &self.display_url())
            .finish_non_exhaustive()
    }
}

/// The connections of the config and of the environment.
pub(super) fn resolve(
    written: BTreeMap<String, ConnectionFields>,
    project: &Node,
    variables: &Variables,
    problems: &mut Problems,
) -> Vec<Connection> {
    let places: BTreeMap<&str, (Span, &Node)> = project
        .get("connections")
        .into_iter()
        .flat_map(Node::entries)
        .map(|(key, node)| (key.name.as_str(), (key.at, node)))
        .collect();
    let mut from_environment: BTreeMap<&str, &String> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(CONNECTION_PREFIX)?, value)))
        .collect();
    let mut connections = Vec::new();
    for (name, fields) in written {
        let variable = variable_name(&name);
        let at = places.get(name.as_str()).map(|(at, _)| *at);
        let url = from_environment
            .remove(variable.as_str())
            .map(|value| url_from_variable(&variable, value))
            .or_else(|| Some(fields.url.as_ref()?.0.clone()));
        match url {
            Some(url) => {
                connections.push(Connection::from_fields(name, at, url, fields, variables));
            }
            None => {
                let node = places.get(name.as_str()).map(|(_, node)| *node);
                // What is no text is a problem already.
                if node.is_none_or(|node| node.get("url").is_none()) {
                    let at = node.map_or(project.at, |node| node.at);
                    problems.push(no_url_problem(&name, &variable, at));
                }
            }
        }
    }
    // What is written wrong is said already, and is not missing.
    for (name, (at, _)) in &places {
        if !connections
            .iter()
            .any(|connection| connection.name == *name)
        {
            connections.push(Connection {
                name: (*name).to_string(),
                at: Some(*at),
                raw_url: format!("{BROKEN_SCHEME}:").into(),
                ..Connection::with_defaults()
            });
        }
    }
    connections.extend(
        from_environment
            .into_iter()
            .map(|(variable, url)| Connection::from_variable(variable, url, variables)),
    );
    connections
}

fn no_url_problem(name: &str, variable: &str, at: Span) -> Problem {
    let problem = Problem::new(
        at,
        format!("connection {name} has no url"),
        "expected the key url here",
    );
    problem.with_hint(format!(
        "url: \"${{SHOP_URL}}\", or export {CONNECTION_PREFIX}{variable}"
    ))
}

/// The URL that a variable of the environment has, as a config would have it. One that is none is
/// known by its name.
fn url_from_variable(variable: &str, value: &str) -> String {
    if value.is_empty() || value == NOT_UTF8 {
        format!("${{{CONNECTION_PREFIX}{variable}}}")
    } else {
        value.replace('$', "$$")
    }
}

/// Takes connections out whose `type` says that they are for a database which hygge does not know:
/// that is all that there is to say of them. Nothing where there are none.
pub(super) fn without_unsupported(project: &Node, problems: &mut Problems) -> Option<Node> {
    let (place, connections) = project
        .entries()
        .iter()
        .enumerate()
        .find(|(_, (key, _))| key.name == "connections")?;
    let kind = |node: &Node| match &node.get("type")?.value {
        NodeValue::Secret(Secret(text)) | NodeValue::Text(text) => Some(text.to_lowercase()),
        _ => None,
    };
    let is_foreign = |node: &Node| node.get("url").is_none() && kind(node).is_some();
    let foreign: Vec<_> = connections
        .1
        .entries()
        .iter()
        .filter(|(_, node)| is_foreign(node))
        .collect();
    for (key, node) in &foreign {
        let word = kind(node).unwrap_or_default();
        let is_own = SCHEMES.contains(&word.as_str());
        let message = match is_own {
            true => format!(
                "connection {} has no url: a connection is one URL, and no keys besides",
                key.name
            ),
            false => format!(
                "connection {} is for {}",
                key.name,
                unsupported_database(&word).unwrap_or("something that hygge does not know")
            ),
        };
        let expected = if is_own {
            "expected the key url"
        } else {
            "expected a database that hygge knows"
        };
        problems.push(
            Problem::new(node.span_of("type"), message, expected)
                .with_hint(SUPPORTED_DATABASES_HINT),
        );
    }
    if foreign.is_empty() {
        return None;
    }
    let names: Vec<&str> = foreign.iter().map(|(key, _)| key.name.as_str()).collect();
    let mut project = project.clone();
    if let NodeValue::Map(entries) = &mut project.value
        && let Some((_, connections)) = entries.get_mut(place)
    {
        *connections = without_keys(connections.clone(), &names);
    }
    Some(project)
}

/// What hygge speaks to.
pub const SUPPORTED_DATABASES_HINT: &str = "hygge reads and fills SQLite, PostgreSQL, MySQL and MariaDB: url: \"postgres://USER:PASSWORD@HOST/DATABASE\", sqlite:FILE or mysql://…";

/// Databases and the like that hygge does not speak to, by what others call them.
pub fn unsupported_database(word: &str) -> Option<&'static str> {
    Some(match word {
        "mssql" | "sqlserver" | "sql_server" | "azuresql" | "synapse" | "fabric" => {
            "SQL Server, which hygge does not speak to"
        }
        "oracle" => "Oracle, which hygge does not speak to",
        "snowflake" => "Snowflake, which hygge does not speak to",
        "bigquery" => "BigQuery, which hygge does not speak to",
        "redshift" => "Redshift, which hygge does not speak to",
        "databricks" | "spark" => "Databricks, which hygge does not speak to",
        "duckdb" => "DuckDB, which hygge does not speak to",
        "mongodb" | "mongo" => "MongoDB, which hygge does not speak to",
        "clickhouse" => "ClickHouse, which hygge does not speak to",
        "odbc" | "jdbc" | "adbc" => "a driver, which hygge has none of",
        _ => return None,
    })
}

/// Warnings about what connections say and nobody reads.
pub(super) fn parameter_warnings(connections: &[Connection], project: Span) -> Vec<Problem> {
    connections
        .iter()
        .flat_map(|connection| connection.unknown_parameter_warnings(project))
        .collect()
}

/// A variable without which a path is another one.
fn check_path_variables(path: &str, variables: &Variables) -> Result<(), UrlError> {
    match variables::find_empty_variable(path, variables) {
        Some(name) => Err(VariableErrors(vec![VariableError::Empty(name)]).into()),
        None => Ok(()),
    }
}

/// `my-shop` is `MY_SHOP` in the environment.
fn variable_name(name: &str) -> String {
    name.chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}
