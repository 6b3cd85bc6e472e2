//! Processes, as Linux tells of them; other systems tell nothing.

use std::fs;

/// How far up is looked.
const MAX_ANCESTORS: usize = 32;

/// The names of the processes that run this one, the nearest first.
pub fn parent_process_names() -> Vec<String> {
    let mut names = Vec::new();
    let mut process = "self".to_string();
    while names.len() <= MAX_ANCESTORS
        && let Ok(text) = fs::read_to_string(format!("/proc/{process}/stat"))
        && let Some((name, parent)) = name_and_parent(&text)
    {
        names.push(name.to_string());
        process = parent.to_string();
    }
    // The first is this one.
    names.drain(..names.len().min(1));
    names
}

/// Of a text such as `PID (NAME) STATE PARENT …`, whose name may have anything in it; see proc(5).
fn name_and_parent(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
    Some((name, rest.split_ascii_whitespace().nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_brackets_in_them() {
        assert_eq!(name_and_parent("12 (a) (b) S 7 12 1"), Some(("a) (b", "7")));
        assert_eq!(name_and_parent("12 (a"), None);
    }

    #[test]
    fn somebody_runs_this_test() {
        assert!(!parent_process_names().is_empty());
    }
}
