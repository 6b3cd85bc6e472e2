//! Names of files as make and ninja write them, and which they have no way to write.
//!
//! Found by trying each letter with GNU make 4.3 and ninja 1.11; what either of them takes for
//! something else than a part of a name is left out, so that no name runs anything.

use std::path::Path;

/// What stands for `=`, which would make a line an assignment.
pub(super) const EQUALS: &str = "$(eq)";

/// A name as make reads it in a target; `None` for one that make has no way to write.
///
/// A `;` begins a recipe, `|` and `&` part a rule, backslashes mean something else by what follows
/// them, a blank at the end is lost, and a `)` there ends the members of an archive, which any `(`
/// before it may begin.
pub(in crate::cli) fn escape_for_make(name: &str) -> Option<String> {
    let is_other = name.starts_with('~') || name.ends_with([' ', ')']);
    if is_other || name.contains(is_unescapable) || name.contains([';', '|', '&', '\\']) {
        return None;
    }
    let mut written = String::new();
    for letter in name.chars() {
        match letter {
            '$' => written.push_str("$$"),
            '=' => written.push_str(EQUALS),
            ' ' | '#' | '%' | ':' | '*' | '?' | '[' => {
                written.push('\\');
                written.push(letter);
            }
            _ => written.push(letter),
        }
    }
    Some(written)
}

/// What stands for `,`, which would part what a function is given.
pub(super) const COMMA: &str = "$(comma)";

/// A name that make looks for when it reads it, and that is nothing where it is not there; `None`
/// for one that it has no way to write there.
///
/// A parenthesis would end the function or begin another one, and `#` keeps its backslash in it.
pub(super) fn wildcard_for_make(path: &Path) -> Option<String> {
    let name = path
        .to_str()
        .filter(|name| !name.contains(['(', ')', '#']))?;
    let written = escape_for_make(name)?.replace("\\%", "%");
    // A colon means nothing in what is looked for.
    let wanted = written.replace("\\:", ":").replace(',', COMMA);
    Some(format!(
        "$(if $(wildcard {wanted}),{})",
        written.replace(',', COMMA)
    ))
}

/// A name as ninja reads it; `None` for one that ninja has no way to write.
///
/// It takes all other letters for the end of a name, silently.
pub(super) fn escape_for_ninja(name: &str) -> Option<String> {
    let is_name = |letter: char| {
        letter.is_ascii_alphanumeric()
            || !letter.is_ascii()
            || "+,/_:.~()}{%=@[]!-#$ ".contains(letter)
    };
    // A colon ends what is built where nothing follows it.
    let ends = name.ends_with(':') || name.contains(": ");
    if ends || name.contains(is_unescapable) || !name.chars().all(is_name) {
        return None;
    }
    let mut written = String::new();
    for letter in name.chars() {
        match letter {
            '$' => written.push_str("$$"),
            ' ' | '#' => {
                written.push('\\');
                written.push(letter);
            }
            _ => written.push(letter),
        }
    }
    Some(written)
}

/// Line ends and tabs part names, and others may be taken for them.
fn is_unescapable(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}
