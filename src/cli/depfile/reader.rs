//! Who reads the depfile where nobody says: make or ninja, whichever runs hygge.

use std::fs;

use super::Syntax;

/// How far up is looked: shells and scripts stand between hygge and what runs it.
const LEVELS: usize = 32;

/// The nearest of make and ninja among the processes that run this one; make where there is none, or where the system
/// does not tell.
pub(super) fn guess() -> Syntax {
    let mut process = "self".to_string();
    for _ in 0..LEVELS {
        // Linux only: `PID (NAME) STATE PARENT …`, and a name may have anything in it.
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/stat")) else { break };
        let Some((name, rest)) = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else { break };
        match name {
            "make" | "gmake" => return Syntax::Make,
            "ninja" | "samu" | "n2" => return Syntax::Ninja,
            _ => {}
        }
        match rest.split_ascii_whitespace().nth(1) {
            Some(parent) if parent != "0" => process = parent.to_string(),
            _ => break,
        }
    }
    Syntax::Make
}
