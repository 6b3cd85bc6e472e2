//! make's own rules, by which it would make one file of another that lies beside it.
//!
//! A rule is taken away by one of the same form without a recipe, and rules of other forms, such as
//! a Makefile has, stay: <https://www.gnu.org/software/make/manual/html_node/Canceling-Rules.html>.
//! Read off GNU make 4.3 by `make -p`.

use std::collections::BTreeSet;

/// Those for files of any name: `x` of `x.sh`.
const ANY_NAME_RULES: &[&str] = &[
    "%.o", "%.c", "%.cc", "%.C", "%.cpp", "%.p", "%.f", "%.F", "%.m", "%.r", "%.s", "%.S", "%.mod",
    "%.sh", "%,v", "RCS/%,v", "RCS/%", "s.%", "SCCS/s.%",
];

/// Those for names that end in some way.
const EXTENSION_RULES: &[(&str, &[&str])] = &[
    ("out", &["%"]),
    (
        "o",
        &[
            "%.c", "%.cc", "%.C", "%.cpp", "%.p", "%.f", "%.F", "%.m", "%.r", "%.s", "%.S", "%.mod",
        ],
    ),
    ("ln", &["%.c", "%.y", "%.l"]),
    ("c", &["%.y", "%.l", "%.w", "%.w %.ch"]),
    ("p", &["%.web"]),
    ("f", &["%.F", "%.r"]),
    ("m", &["%.ym"]),
    ("r", &["%.l"]),
    ("s", &["%.S"]),
    ("sym", &["%.def"]),
    ("info", &["%.texinfo", "%.texi", "%.txinfo"]),
    ("dvi", &["%.tex", "%.texinfo", "%.texi", "%.txinfo"]),
    ("tex", &["%.w", "%.web", "%.w %.ch"]),
];

/// The lines that keep make's own rules from making files of these names.
pub(super) fn cancel_rules<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let endings: BTreeSet<&str> = names
        .filter_map(|name| name.rsplit_once('.'))
        .map(|(_, ending)| ending)
        .collect();
    let mut lines: String = ANY_NAME_RULES
        .iter()
        .map(|from| format!("%: {from}\n"))
        .collect();
    for (ending, all) in EXTENSION_RULES
        .iter()
        .filter(|(ending, _)| endings.contains(ending))
    {
        lines.extend(all.iter().map(|from| format!("%.{ending}: {from}\n")));
    }
    lines
}
