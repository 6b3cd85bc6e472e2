//! Who reads the depfile where nobody says: make or ninja, whichever runs hygge.

use super::Syntax;
use crate::fs;

/// The nearest of make and ninja among the processes that run this one, shells and scripts between
/// them; make where there is none, or where the system does not tell.
pub(super) fn detect_syntax() -> Syntax {
    let syntax = |name: String| match name.as_str() {
        "make" | "gmake" => Some(Syntax::Make),
        "ninja" | "samu" | "n2" => Some(Syntax::Ninja),
        _ => None,
    };
    fs::parent_process_names()
        .into_iter()
        .find_map(syntax)
        .unwrap_or(Syntax::Make)
}
