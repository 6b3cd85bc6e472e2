//! The URL of a server as it is written: its parts, which of them are secrets, and what would be
//! read otherwise than it is meant.
//!
//! It opens nothing, and knows no files: what is behind `sqlite:` is a path.

use percent_encoding::percent_decode_str;

/// How many letters a text has at least that is sought everywhere: what is shorter stands in other
/// words by chance.
pub const MIN_SECRET_LENGTH: usize = 6;

/// The parts of a URL, as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Url<'u> {
    scheme: &'u str,
    user: Option<&'u str>,
    password: Option<&'u str>,
    /// Host and port.
    host_port: &'u str,
    path: &'u str,
    query: &'u str,
}

impl<'u> Url<'u> {
    /// Takes a URL apart; nothing for what has no `//` behind its scheme, and for files.
    pub fn parse(text: &'u str) -> Option<Self> {
        let (scheme, rest) = text
            .split_once("://")
            .filter(|(scheme, _)| *scheme != "sqlite" && !scheme.is_empty())?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // Of several, the last is the sign, as the driver reads it.
        let (login, place) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(login, place)| (Some(login), place));
        let (user, password) = login
            .map(|login| {
                login
                    .split_once(':')
                    .map_or((login, None), |(user, password)| (user, Some(password)))
            })
            .unzip();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Some(Self {
            scheme,
            user: user.filter(|user| !user.is_empty()),
            password: password.flatten(),
            host_port: place,
            path,
            query,
        })
    }

    /// What logs in, as it is written and as a server says it.
    pub fn passwords(&self) -> Vec<String> {
        let of_query = self
            .parameters()
            .filter(|(name, _)| matches!(*name, "password" | "sslpassword"))
            .map(|(_, value)| value);
        raw_and_decoded(self.password.into_iter().chain(of_query))
    }

    /// Everything but the name of the database, which a server may say, and words that any URL has.
    pub fn secrets(&self) -> Vec<String> {
        let (host, port) = self
            .host_port
            .rsplit_once(':')
            .unwrap_or((self.host_port, ""));
        let of_query = self
            .parameters()
            .filter(|(name, _)| !PUBLIC_PARAMETERS.contains(name))
            .map(|(_, value)| value);
        let parts = self.user.into_iter().chain([host, port]).chain(of_query);
        let database = self.database();
        let mut secrets = raw_and_decoded(parts.filter(|part| !is_loopback(part)));
        secrets.retain(|part| *part != database);
        secrets.extend(self.passwords());
        let query = if self.query.is_empty() {
            String::new()
        } else {
            format!("{}?{}", self.path, self.query)
        };
        secrets.extend(
            [self.host_port.to_string(), query]
                .into_iter()
                .filter(|text| text.len() > MIN_SECRET_LENGTH),
        );
        secrets
    }

    /// Words that are no secret where they stand in it twice: who calls his password as his
    /// database has none.
    pub fn plain_words(&self) -> Vec<String> {
        let (host, _) = self
            .host_port
            .rsplit_once(':')
            .unwrap_or((self.host_port, ""));
        let mut words = raw_and_decoded(self.user.into_iter().chain([host, self.scheme]));
        words.push(self.database());
        words
    }

    /// What the first parameter says that has one of these names.
    pub fn parameter(&self, names: &[&str]) -> Option<String> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        self.parameters()
            .find(|(name, _)| names.contains(&decoded(name).as_str()))
            .map(|(_, value)| decoded(value))
    }

    /// The names of its parameters.
    pub fn parameter_names(&self) -> Vec<&'u str> {
        self.parameters().map(|(name, _)| name).collect()
    }

    /// The files that it names, with the parameters that do.
    pub fn files(&self) -> Vec<(&'u str, String)> {
        let files = self.parameters().filter(|(name, value)| {
            FILE_PARAMETERS.contains(name) && !value.starts_with("-----BEGIN")
        });
        files
            .map(|(name, value)| {
                (
                    name,
                    percent_decode_str(value).decode_utf8_lossy().into_owned(),
                )
            })
            .collect()
    }

    /// True where somebody is named who logs in.
    pub fn has_user(&self) -> bool {
        self.user.is_some() || self.parameters().any(|(name, _)| name == "user")
    }

    fn parameters(self) -> impl Iterator<Item = (&'u str, &'u str)> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
    }

    fn database(&self) -> String {
        percent_decode_str(self.path.trim_start_matches('/'))
            .decode_utf8_lossy()
            .into_owned()
    }

    /// True where a password has signs in it that end it: `/`, `?` or `#`. Then the rest of it
    /// would be taken for a path or a host.
    fn is_ambiguous(&self) -> bool {
        let is_in_query =
            self.user.is_none() && self.host_port.contains(':') && self.query.contains('@');
        self.path.contains(['@', '#']) || self.query.contains('#') || is_in_query
    }

    /// The same as the driver reads it: one without a host, as libpq has it for sockets, names its
    /// user otherwise.
    fn with_explicit_host(&self, text: &str) -> String {
        let (host, port) = self
            .host_port
            .rsplit_once(':')
            .unwrap_or((self.host_port, ""));
        if self.user.is_none() && self.password.is_none() && port.is_empty() || !host.is_empty() {
            return text.to_string();
        }
        let (scheme, path) = (self.scheme, self.path);
        // MySQL has no such parameters, and its driver asks localhost where nothing is said.
        if !scheme.starts_with("postgres") {
            let password = self
                .password
                .map_or_else(String::new, |password| format!(":{password}"));
            let query = if self.query.is_empty() {
                String::new()
            } else {
                format!("?{}", self.query)
            };
            return format!(
                "{scheme}://{}{password}@localhost{}{path}{query}",
                self.user.unwrap_or_default(),
                self.host_port
            );
        }
        // In a parameter, these signs would be others.
        let encoded = |text: &str| {
            text.replace('&', "%26")
                .replace('=', "%3D")
                .replace('+', "%2B")
        };
        let named = [
            ("user", self.user),
            ("password", self.password),
            ("port", Some(port).filter(|port| !port.is_empty())),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))));
        let query: Vec<String> = named
            .chain(Some(self.query.to_string()).filter(|query| !query.is_empty()))
            .collect();
        format!("{scheme}://{path}?{}", query.join("&"))
    }
}

/// Parameters whose values are no secrets.
const PUBLIC_PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "application_name",
    "dbname",
    "charset",
    "collation",
    "timezone",
    "time-zone",
    "connect_timeout",
];

/// Parameters of MySQL's drivers that decide what values look like on their way: hygge's sessions
/// have UTC and utf8mb4, by which values arrive as they are.
pub const IGNORED_PARAMETERS: &[&str] = &["charset", "collation", "timezone", "time-zone"];

/// A URL without these parameters.
pub fn without_parameters(text: &str, names: &[&str]) -> String {
    let Some((place, query)) = text.split_once('?') else {
        return text.to_string();
    };
    let stays = |pair: &&str| {
        let name = percent_decode_str(pair.split('=').next().unwrap_or_default())
            .decode_utf8_lossy()
            .into_owned();
        !names.contains(&name.as_str())
    };
    let kept: Vec<&str> = query.split('&').filter(stays).collect();
    if kept.is_empty() {
        place.to_string()
    } else {
        format!("{place}?{}", kept.join("&"))
    }
}

/// Parameters that name files.
const FILE_PARAMETERS: &[&str] = &[
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
];

/// Parameters that are understood, of PostgreSQL and of MySQL; what is not is passed over.
const POSTGRES_PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
const MYSQL_PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslca",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "socket",
];

/// Parameters of a URL that nobody reads, and those that are read.
pub fn unknown_parameters(text: &str) -> (Vec<String>, &'static [&'static str]) {
    let Some(url) = Url::parse(text) else {
        return (Vec::new(), &[]);
    };
    let known = if url.scheme.starts_with("postgres") {
        POSTGRES_PARAMETERS
    } else {
        MYSQL_PARAMETERS
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.'))
    };
    let is_unknown = |name: &&str| !known.contains(name) && !name.starts_with("options[");
    let unknown = url.parameter_names().into_iter().filter(is_unknown);
    // What is no name may be the rest of a password.
    (
        unknown
            .map(|name| {
                if is_name(name) {
                    name.to_string()
                } else {
                    "without a proper name".into()
                }
            })
            .collect(),
        known,
    )
}

/// A URL as a driver reads it.
///
/// # Errors
/// A part of it would be taken for another.
pub fn driver_url(text: &str) -> Result<String, &'static str> {
    let Some(url) = Url::parse(text) else {
        return Ok(text.to_string());
    };
    if url.is_ambiguous() {
        return Err("a sign such as / ? or # ends its user or its password early");
    }
    Ok(url.with_explicit_host(text))
}

/// Texts as they are written, and decoded.
fn raw_and_decoded<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<String> {
    let written = texts.filter(|text| !text.is_empty());
    let mut all: Vec<String> = written
        .flat_map(|text| {
            [
                text.to_string(),
                percent_decode_str(text).decode_utf8_lossy().into_owned(),
            ]
        })
        .collect();
    all.dedup();
    all
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "::1" || host.starts_with("127.")
}

/// The text with every word covered that is one of these: whole, and not a piece of another word.
pub fn redact_word(text: &str, word: &str, cover: impl Fn(&str) -> String) -> String {
    let is_letter = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let (first, last) = (word.chars().next(), word.chars().next_back());
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, behind) = (&rest[..at], &rest[at + word.len()..]);
        let is_piece =
            |beside: Option<char>, end: Option<char>| is_letter(beside) && is_letter(end);
        let is_inside = is_piece(
            before
                .chars()
                .next_back()
                .or_else(|| shown.chars().next_back()),
            first,
        ) || is_piece(behind.chars().next(), last);
        shown.push_str(before);
        if is_inside {
            let length = first.map_or(1, char::len_utf8);
            shown.push_str(&rest[at..at + length]);
            rest = &rest[at + length..];
        } else {
            shown.push_str(&cover(word));
            rest = behind;
        }
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_password_is_found() {
        for url in [
            "postgres://u:p@ss/w#rd@h/db",
            "postgres://u:p/w@h/db",
            "mysql://u:p?w@h/db",
            "postgres://u:p#w@h/db",
            "mysql://h/db#x",
        ] {
            assert!(driver_url(url).is_err(), "{url}");
        }
        for url in [
            "postgres://u:p@ss@h/db",
            "postgres://u:p%2Fw@h/db?sslmode=require",
            "mysql://u@h/db?x=a@b",
            "sqlite:a@b/#1.db",
            "postgres:///db",
        ] {
            assert_eq!(driver_url(url).as_deref(), Ok(url));
        }
    }

    #[test]
    fn a_socket_is_read_as_libpq_writes_it() {
        assert_eq!(
            driver_url("postgres://u@/db?host=/run").as_deref(),
            Ok("postgres:///db?user=u&host=/run")
        );
        assert_eq!(
            driver_url("postgresql://u:a+%40@:77/db").as_deref(),
            Ok("postgresql:///db?user=u&password=a%2B%40&port=77")
        );
        assert_eq!(
            driver_url("mysql://u@/db?socket=/run/s").as_deref(),
            Ok("mysql://u@localhost/db?socket=/run/s")
        );
    }

    #[test]
    fn only_whole_words_are_covered() {
        let covered = |text, word| redact_word(text, word, |_| "*".into());
        assert_eq!(
            covered("too many connections", "connect"),
            "too many connections"
        );
        assert_eq!(
            covered("user \"hunter2\", hunter22, xhunter2, hunter2", "hunter2"),
            "user \"*\", hunter22, xhunter2, *"
        );
        assert_eq!(covered("a/b-c:a/b-c", "/b-c"), "a*:a*");
        assert_eq!(covered("ääää", "ää"), "ääää");
    }
}
