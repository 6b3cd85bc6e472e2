//! Texts as a terminal may have them: URLs are covered, whatever they are of. What else is a
//! secret, only `secrets` knows.

use crate::error::escape;

/// The text as a terminal may have it: no secrets, and no signs that would do something there.
/// Places count its bytes.
pub(super) fn redact_and_escape(text: &str) -> String {
    escape::same_length(&redact_urls(text)).into_owned()
}

/// Signs that stand behind a URL and are none of it.
const CLOSING: [char; 7] = ['"', '\'', '}', ']', ')', ',', ';'];

/// True for a place that has no secret in it: of no database, without a login, without parameters.
fn has_no_secret(before: &str, url: &str) -> bool {
    let scheme = before
        .trim_end_matches("://")
        .rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '+')
        .next()
        .unwrap_or_default();
    let is_known = [
        "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "file", "http", "https",
    ]
    .contains(&scheme);
    is_known && !url.contains(['@', '?', '*', '$'])
}

/// The text with everything behind `://` covered, where it may have a secret in it, up to the end
/// of the word and letter by letter, so that places stay where they are: a URL may have a password
/// in it.
pub(super) fn redact_urls(text: &str) -> String {
    let mut covered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, url) = rest.split_at(start + 3);
        covered.push_str(before);
        let line = url.lines().next().unwrap_or_default();
        // A password may have a space in it.
        let from = line.rfind('@').unwrap_or(0);
        let end = line[from..]
            .find(char::is_whitespace)
            .map_or(line.len(), |end| from + end);
        // What closes it is seen.
        let end = from + line[from..end].trim_end_matches(CLOSING).len();
        if has_no_secret(before, &line[..end]) {
            covered.push_str(&line[..end]);
        } else {
            covered.push_str(&"*".repeat(end));
        }
        rest = &url[end..];
    }
    covered + rest
}
