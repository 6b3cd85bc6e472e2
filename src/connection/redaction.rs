//! Covering in words of others what must not be shown of a connection.
//!
//! It knows no words by itself, and covers whole ones only: a piece that is covered within another
//! word could be read off it.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::config::connection::{Connection, REDACTED};
use crate::config::url::{MIN_SECRET_LENGTH, redact_word};

/// What must not be shown of a connection.
#[derive(Default)]
pub(super) struct Redaction(Vec<SecretString>);

/// The words are secrets.
impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction").finish_non_exhaustive()
    }
}

impl Redaction {
    /// For everything that a database or a library says of this connection.
    pub(super) fn new(connection: &Connection) -> Self {
        let mut secrets = connection.secrets();
        secrets.retain(|text| !text.is_empty());
        // A longer one may have a shorter one in it.
        secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(secrets.into_iter().map(SecretString::from).collect())
    }

    /// The words with every secret covered. A short one is covered where it stands in quotes, as
    /// servers quote names.
    pub(super) fn redact(&self, words: String) -> String {
        self.0.iter().fold(words, |words, secret| {
            let secret = secret.expose_secret();
            if secret.chars().count() >= MIN_SECRET_LENGTH {
                return redact_word(&words, secret, |_| REDACTED.to_string());
            }
            let quotes = ['"', '\'', '`'];
            quotes.iter().fold(words, |words, quote| {
                words.replace(
                    &format!("{quote}{secret}{quote}"),
                    &format!("{quote}{REDACTED}{quote}"),
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_covered_whole_and_short_ones_in_quotes() {
        let cover = |secret: &str, words: &str| {
            Redaction(vec![SecretString::from(secret)]).redact(words.to_string())
        };
        assert_eq!(
            cover("many", "too many connections"),
            "too many connections"
        );
        assert_eq!(
            cover("many", "role \"many\" does not exist"),
            "role \"[redacted]\" does not exist"
        );
        assert_eq!(cover("connect", "connection refused"), "connection refused");
        assert_eq!(
            cover("hunter2", "user 'hunter2'@'h': hunter2"),
            "user '[redacted]'@'h': [redacted]"
        );
    }
}
