//! What is in a file, as far as it is needed to check, slice and compare it: nothing but its footer
//! is read.

use std::collections::BTreeSet;

use super::footer::Footer;
use super::{codec, key_value_metadata, logical_schema, stored_schema};
use crate::format::{FormatError, Group, Layout, OpenFile};

/// Checks that a file is whole and says what is in it.
///
/// Sound means: the magic at both ends, a footer that parses, every column chunk of every row group
/// between magic and footer, and as many rows in the groups as in the file. Old writers say 0 rows
/// of a file that has groups: then the groups are believed, as other readers do.
pub(super) fn inspect(source: &OpenFile) -> Result<Layout, FormatError> {
    let footer = Footer::read(source)?;
    let types = footer.schema_metadata(source)?;
    let root = super::root(&types);
    let mut compressions = BTreeSet::new();
    let mut groups = Vec::new();
    for group in &footer.groups {
        compressions.extend(
            group
                .chunks
                .iter()
                .filter(|chunk| chunk.codec >= 0)
                .map(|chunk| codec::codec_name(chunk.codec).to_string()),
        );
        groups.push(Group {
            rows: group.rows,
            bytes: group.chunks.iter().map(|chunk| chunk.length).sum(),
        });
    }
    Ok(Layout {
        rows: Some(groups.iter().map(|group| group.rows).sum()),
        groups,
        stored_digest: stored_schema::digest(root),
        compressions,
        container: String::new(),
        encrypted: footer.is_encrypted,
        logical_digest: logical_schema::digest(root),
        column_set_digest: logical_schema::set_digest(root),
        packing_digest: key_value_metadata::packing_digest(&types)
            .map(|packing| footer.packing_with_unknown_types(packing)),
    })
}
