//! Texts of added columns, in which something of the file or of the run may stand.

use std::collections::BTreeMap;
use std::path::Path;

/// What a text may have in braces, and what that is.
pub const PLACEHOLDERS: [(&str, &str); 5] = [
    ("file.name", "the name of the file"),
    ("file.stem", "its name without its ending"),
    ("file.path", "its path below the home"),
    ("file.folder", "the path of its folder below the home"),
    ("run.time", "when the part was made"),
];

/// The placeholder of the moment of the run.
pub(super) const RUN_TIME: &str = "run.time";

/// The placeholders of a text; an error names one that there is not.
///
/// # Errors
/// It has another in braces, or braces that do not close.
pub fn placeholders(text: &str) -> Result<Vec<&'static str>, String> {
    let mut found = Vec::new();
    render(text, &mut |name| {
        let known = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
        let (known, _) = known.ok_or_else(|| format!("{{{name}}}"))?;
        found.push(*known);
        Ok(String::new())
    })?;
    Ok(found)
}

/// The text with values in place of its placeholders; `{{` and `}}` are braces.
///
/// # Errors
/// Braces that do not close, or what `value` fails with.
pub(super) fn render(
    text: &str,
    value: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let (mut made, mut rest) = (String::new(), text);
    while let Some(place) = rest.find(['{', '}']) {
        made.push_str(&rest[..place]);
        let behind = &rest[place..];
        if let Some(more) = behind.strip_prefix("{{") {
            made.push('{');
            rest = more;
        } else if let Some(more) = behind.strip_prefix("}}") {
            made.push('}');
            rest = more;
        } else {
            let inner = behind
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'));
            let (name, more) = inner.ok_or_else(|| behind.to_string())?;
            made.push_str(&value(name.trim())?);
            rest = more;
        }
    }
    made.push_str(rest);
    Ok(made)
}

/// What a file has for these placeholders, by its path below the home.
pub(super) fn file_values(path: &str, names: &[&'static str]) -> BTreeMap<String, String> {
    let file = Path::new(path);
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let value = |name: &&&'static str| match **name {
        "file.name" => Some(text(file.file_name())),
        "file.stem" => Some(text(file.file_stem())),
        "file.path" => Some(path.to_string()),
        "file.folder" => {
            let folder = file
                .parent()
                .map(|folder| folder.to_string_lossy().into_owned());
            Some(folder.unwrap_or_default())
        }
        _ => None,
    };
    let pairs = names
        .iter()
        .filter_map(|name| Some(((*name).to_string(), value(&name)?)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_placeholders() {
        assert_eq!(
            placeholders("a{file.name}b{ run.time }"),
            Ok(vec!["file.name", "run.time"])
        );
        assert_eq!(placeholders("{{file.name}}"), Ok(vec![]));
        assert_eq!(placeholders("{file.size}"), Err("{file.size}".into()));
        assert_eq!(placeholders("a{b"), Err("{b".into()));
        assert_eq!(placeholders("a}b"), Err("}b".into()));
        let mut values = |name: &str| Ok(format!("<{name}>"));
        assert_eq!(render("{{{x}}}", &mut values), Ok("{<x>}".into()));
    }

    #[test]
    fn files_have_values() {
        let names = ["file.name", "file.stem", "file.path", "file.folder"];
        let found = file_values("2026/01/a.b.parquet", &names);
        let values: Vec<&str> = found.values().map(String::as_str).collect();
        assert_eq!(
            values,
            ["2026/01", "a.b.parquet", "2026/01/a.b.parquet", "a.b"]
        );
    }
}
