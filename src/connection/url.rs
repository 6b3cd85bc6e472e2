//! What a driver makes of a URL, and why it does not.

use std::path::Path;
use std::sync::LazyLock;

use sqlx::postgres::PgConnectOptions;

use super::Dialect;
use super::failure::ConnectionError;
use crate::config::absolute;
use crate::config::connection::{Connection, UrlError};
use crate::config::url::Url;
use crate::config::variables::VariableError;
use crate::fs;

/// The files of certificates that a connection names are there.
///
/// # Errors
/// One is not.
pub(super) fn check_files(
    connection: &Connection,
    url: &str,
    root: &Path,
) -> Result<(), ConnectionError> {
    let missing = |what: String, hint| Err(ConnectionError::InvalidUrl { reason: what, hint });
    let is_missing = |path: &Path| matches!(fs::stat(path), Ok(None));
    if let Some(path) = connection.sslrootcert()?
        && is_missing(&absolute(root, &path))
    {
        let reason = format!(
            "its sslrootcert {} does not exist",
            connection.raw_sslrootcert()
        );
        return missing(reason, "it is relative to the folder of the config");
    }
    for (name, path) in Url::parse(url).iter().flat_map(Url::files) {
        if is_missing(Path::new(&path)) {
            return missing(
                format!("the file does not exist that {name} in its URL names"),
                "it is relative to the working directory",
            );
        }
    }
    Ok(())
}

/// What the driver calls who logs in where nobody says it.
const DRIVER_DEFAULT_USERS: [&str; 2] = ["anonymous", "unknown"];

/// PostgreSQL's options. As libpq has it, who logs in is who runs the program, where neither the
/// URL nor `PGUSER` says it.
pub(super) fn postgres(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    if !DRIVER_DEFAULT_USERS.contains(&options.get_username())
        || Url::parse(url).is_some_and(|url| url.has_user())
    {
        return Ok(options);
    }
    // Who has no name here is told so by the server.
    let Some(user) = OWN_NAME.as_ref() else {
        return Ok(options);
    };
    // The driver looks for a password in ~/.pgpass by the name that is in the URL.
    let user = percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC);
    format!(
        "{url}{}user={user}",
        if url.contains('?') { '&' } else { '?' }
    )
    .parse()
}

/// The name of who runs the program.
static OWN_NAME: LazyLock<Option<String>> =
    LazyLock::new(|| fs::current_user_name().ok().flatten());

const ENCODE: &str = "in a user or a password, write %40 for @, %3A for :, %2F for /, %3F for ?, \
     %23 for # and %25 for %";

/// What libraries say of a URL, and what is said instead: their words may have a piece of it.
const URL_ERROR_MESSAGES: &[(&str, &str, &str)] = &[
    ("port", "its port is no number", ENCODE),
    ("invalid digit", "its port is no number", ENCODE),
    ("number too large", "its port is no number", ENCODE),
    (
        "empty host",
        "it has no host",
        "postgres://USER:PASSWORD@HOST/DATABASE; a socket is postgres:///DATABASE?host=/FOLDER",
    ),
    ("IPv", "its host is no address", ENCODE),
    ("domain", "its host is no name of a machine", ENCODE),
    ("utf-8", "what is percent-encoded in it is no UTF-8", ENCODE),
    (
        "IP address",
        "its hostaddr is no address",
        "host takes names, hostaddr addresses only",
    ),
    (
        "query parameter",
        "it has a parameter that SQLite does not have",
        "parameters of SQLite: mode, cache, immutable, vfs",
    ),
    (
        "for `mode`",
        "its mode is none of ro, rw, rwc and memory",
        "take it out: hygge opens for reading or writing as it needs to",
    ),
    (
        "for `cache`",
        "its cache is none of private and shared",
        "take it out",
    ),
    (
        "for `immutable`",
        "its immutable is none of 0 and 1",
        "?immutable=1 reads a file that nobody changes",
    ),
];

/// Why a driver cannot use a URL, in words without a piece of it.
pub(super) fn invalid_url(error: &sqlx::Error, url: &str) -> ConnectionError {
    let said = error.to_string();
    if said.contains("ssl_mode") {
        let modes = match Dialect::from_url(url) {
            Dialect::MySql => "disabled, preferred, required, verify_ca, verify_identity",
            _ => "disable, allow, prefer, require, verify-ca, verify-full",
        };
        let reason = format!("its URL cannot be read: its sslmode is none of {modes}");
        return ConnectionError::InvalidUrl {
            reason,
            hint: "sslmode of the connection goes before that of its URL",
        };
    }
    let known = URL_ERROR_MESSAGES
        .iter()
        .find(|(word, ..)| said.to_lowercase().contains(&word.to_lowercase()));
    let (reason, hint) = known.map_or(("it has no such form", ENCODE), |(_, reason, hint)| {
        (*reason, *hint)
    });
    ConnectionError::InvalidUrl {
        reason: format!("its URL cannot be read: {reason}"),
        hint,
    }
}

impl From<UrlError> for ConnectionError {
    fn from(error: UrlError) -> Self {
        let hint = match &error {
            UrlError::Variable(errors)
                if errors
                    .0
                    .iter()
                    .any(|error| matches!(error, VariableError::NotUtf8(_))) =>
            {
                "give it a value in UTF-8"
            }
            UrlError::Variable(errors)
                if errors
                    .0
                    .iter()
                    .any(|error| matches!(error, VariableError::Empty(_))) =>
            {
                "give it a value"
            }
            UrlError::Variable(_) => "export it, or name a file of variables by options.env_file",
            UrlError::Empty | UrlError::Scheme => {
                "write sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE or mysql://…"
            }
            UrlError::Unreadable(_) => ENCODE,
        };
        Self::InvalidUrl {
            reason: error.to_string(),
            hint,
        }
    }
}
