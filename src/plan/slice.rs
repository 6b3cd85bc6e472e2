//! Slices: which rows of which files become one part. Pure arithmetic over layouts.
//!
//! Without `rows_per_file` every file is one slice. With it, row groups are taken whole as long as
//! they are no larger than one and a half times the asked size, consecutive ones packed together
//! until a part is full; only a larger group is cut inside, together with what was waiting. Groups
//! of two files share a part only where nothing is lost by it: else the part ends between them. A
//! file whose rows are not known is one slice, whatever is asked.

use super::chain_place::ChainPlace;
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::{Layout, Piece, TransferMode, must_split};

/// More parts than any flow has: a file may say that it has more rows than it could.
const MOST_PARTS: u64 = 1_000_000;

/// Too many parts would be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file} has {rows} rows, which would become {parts} parts of {wanted} rows; more than {MOST_PARTS} are not made"
)]
pub struct TooManyParts {
    file: String,
    rows: u64,
    parts: u64,
    wanted: u64,
}

impl From<TooManyParts> for Error {
    fn from(error: TooManyParts) -> Self {
        Self::new(ErrorKind::Flow, error).with_hint(
            "make rows_per_file larger; a file that says more rows than it has is damaged",
        )
    }
}

/// Refuses files that would become too many parts, before any is planned.
///
/// # Errors
/// The one with the most rows.
pub fn check_part_count<'l>(
    layouts: impl Iterator<Item = (&'l str, &'l Layout)>,
    rows_per_file: Option<u64>,
) -> Result<(), TooManyParts> {
    let Some(wanted) = rows_per_file else {
        return Ok(());
    };
    let mut parts = 0_u64;
    let mut most = ("", 0);
    for (file, layout) in layouts {
        let of_file = layout.rows.map_or(1, |rows| rows.div_ceil(wanted.max(1)));
        parts = parts.saturating_add(of_file);
        let rows = layout.rows.unwrap_or_default();
        most = if rows > most.1 { (file, rows) } else { most };
    }
    if parts <= MOST_PARTS {
        return Ok(());
    }
    Err(TooManyParts {
        file: most.0.to_string(),
        rows: most.1,
        parts,
        wanted,
    })
}

/// One part's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The pieces in order; their files count in the flow's list of files.
    pub pieces: Vec<Piece>,
    /// Rows that are read; `None` where only reading them tells.
    pub rows: Option<u64>,
    /// True where some of them may be left out.
    pub is_filtered: bool,
    /// Bytes that are read for it.
    pub bytes: u64,
}

impl Slice {
    /// How many rows the part has, where that is known before it is made.
    pub fn expected_rows(&self) -> Option<u64> {
        self.rows.filter(|_| !self.is_filtered)
    }
}

/// Cuts files into slices. `sizes` are the bytes of the whole files; `can_share` says of two of
/// them whether rows of both can come into one part.
pub fn slices(
    layouts: &[&Layout],
    sizes: &[u64],
    rows_per_file: Option<u64>,
    can_share: &dyn Fn(usize, usize) -> bool,
) -> Vec<Slice> {
    let whole = |file: usize| Slice {
        pieces: vec![Piece {
            file,
            group: None,
            rows: None,
        }],
        rows: layouts[file].rows,
        is_filtered: false,
        bytes: sizes[file],
    };
    let Some(wanted) = rows_per_file else {
        return (0..layouts.len()).map(whole).collect();
    };
    let mut cutter = Cutter {
        files: layouts.len(),
        wanted,
        done: Vec::new(),
        pending: Vec::new(),
        rows: 0,
    };
    let mut before: Option<usize> = None;
    for (file, layout) in layouts
        .iter()
        .enumerate()
        .filter(|(_, layout)| layout.rows != Some(0))
    {
        if before
            .replace(file)
            .is_some_and(|before| !can_share(before, file))
        {
            cutter.flush();
        }
        if layout.rows.is_none() {
            cutter.flush();
            cutter.done.push(whole(file));
            continue;
        }
        for (group, size) in layout.groups.iter().enumerate() {
            cutter.add_group(PendingGroup {
                file,
                group,
                rows: size.rows,
                bytes: size.bytes,
            });
        }
    }
    cutter.finish()
}

/// A row group on its way into a slice.
#[derive(Clone, Copy)]
struct PendingGroup {
    file: usize,
    group: usize,
    rows: u64,
    bytes: u64,
}

struct Cutter {
    files: usize,
    wanted: u64,
    done: Vec<Slice>,
    pending: Vec<PendingGroup>,
    rows: u64,
}

impl Cutter {
    fn add_group(&mut self, run: PendingGroup) {
        if run.rows == 0 {
            return;
        }
        if must_split(run.rows, self.wanted) {
            self.pending.push(run);
            self.cut_pending();
            return;
        }
        if self.rows > 0
            && self.rows + run.rows > self.wanted
            && self.rows >= self.wanted.div_ceil(2)
        {
            self.flush();
        }
        self.pending.push(run);
        self.rows += run.rows;
        if self.rows >= self.wanted {
            self.flush();
        }
    }

    /// What is waiting becomes one slice of whole groups.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pieces = self
            .pending
            .iter()
            .map(|run| Piece {
                file: run.file,
                group: Some(run.group),
                rows: None,
            })
            .collect();
        let bytes = self.pending.iter().map(|run| run.bytes).sum();
        self.done.push(Slice {
            pieces,
            rows: Some(self.rows),
            is_filtered: false,
            bytes,
        });
        self.pending.clear();
        self.rows = 0;
    }

    /// What is waiting is cut by rows into slices of the wanted size; the last one takes what is
    /// left, which is between half and one and a half times as much.
    fn cut_pending(&mut self) {
        let mut left: u64 = self.pending.iter().map(|run| run.rows).sum();
        let (mut slice, mut filled) = (Slice::default(), 0);
        for run in std::mem::take(&mut self.pending) {
            let mut first = 0;
            while first < run.rows {
                let size = if must_split(left, self.wanted) {
                    self.wanted
                } else {
                    left
                };
                let rows = (size - filled).min(run.rows - first);
                let is_whole = rows == run.rows;
                slice.pieces.push(Piece {
                    file: run.file,
                    group: Some(run.group),
                    rows: (!is_whole).then_some((first, rows)),
                });
                filled += rows;
                slice.bytes += run.bytes;
                first += rows;
                if filled == size {
                    left -= size;
                    self.done.push(Slice {
                        rows: Some(std::mem::take(&mut filled)),
                        ..std::mem::take(&mut slice)
                    });
                }
            }
        }
        self.rows = 0;
    }

    fn finish(mut self) -> Vec<Slice> {
        self.flush();
        if self.done.is_empty() && self.files > 0 {
            // No rows at all: one part has the schema, made from the first file.
            self.done.push(Slice {
                pieces: vec![Piece {
                    file: 0,
                    group: None,
                    rows: None,
                }],
                rows: Some(0),
                is_filtered: false,
                bytes: 0,
            });
        }
        self.done
    }
}

/// What of a file decides the bytes of its parts.
pub struct SlicedFile {
    /// The digest of its bytes.
    pub digest: Fingerprint,
    /// That of its projection, where it has one.
    pub projection: Option<Fingerprint>,
}

/// The key of a slice's part: no path is in it, so that a part is found again wherever it lies.
/// `version` is that of what the format makes, which does not matter where a file passes whole.
pub fn part_key(
    recipe: &Fingerprint,
    transfer: TransferMode,
    slice: &Slice,
    files: &[SlicedFile],
    version: u32,
) -> Fingerprint {
    let mut key = KeyWriter::new(KeyKind::Part);
    key.digest(recipe);
    match transfer {
        TransferMode::Undecoded => key.text("undecoded"),
        TransferMode::Recompressed { compression } => {
            key.text("recompressed").text(compression.name)
        }
        TransferMode::Decoded { compression } => key.text("decoded").text(compression.name),
    };
    key.count(slice.pieces.len());
    for piece in &slice.pieces {
        let file = &files[piece.file];
        key.digest(&file.digest);
        key.number(piece.group.map_or(u64::MAX, |group| group as u64));
        let (first, rows) = piece.rows.unwrap_or((0, u64::MAX));
        key.number(first).number(rows);
        if let Some(projection) = &file.projection {
            key.text("projected").digest(projection);
        }
    }
    let passes_whole = transfer == TransferMode::Undecoded
        && matches!(
            slice.pieces.as_slice(),
            [Piece {
                group: None,
                rows: None,
                ..
            }]
        );
    if !passes_whole {
        key.text("version").number(version.into());
    }
    key.finish()
}

/// The key of one of the parts that a slice becomes whose rows go to folders.
pub fn output_key(slice: &Fingerprint, place: ChainPlace<'_>) -> Fingerprint {
    let mut key = KeyWriter::new(KeyKind::Part);
    key.digest(slice).text("output");
    place.write_to(&mut key);
    key.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::format::Group;

    fn layout(groups: &[u64], packing: u8) -> Layout {
        let digest = Fingerprint::hash_bytes(&[packing]);
        Layout {
            rows: Some(groups.iter().sum()),
            groups: groups
                .iter()
                .map(|rows| Group {
                    rows: *rows,
                    bytes: *rows,
                })
                .collect(),
            stored_digest: digest,
            compressions: BTreeSet::new(),
            container: String::new(),
            encrypted: false,
            logical_digest: digest,
            column_set_digest: digest,
            packing_digest: Some(digest),
        }
    }

    fn cut(layouts: &[Layout], wanted: u64) -> Vec<Slice> {
        slices(
            &layouts.iter().collect::<Vec<_>>(),
            &vec![1; layouts.len()],
            Some(wanted),
            &|one, other| layouts[one].can_pack_with(&layouts[other]),
        )
    }

    #[test]
    fn no_rows_at_all_are_one_part_with_the_schema() {
        assert!(cut(&[], 10).is_empty());
        let parts = cut(&[layout(&[], 0), layout(&[0], 0)], 10);
        assert_eq!(
            parts,
            [Slice {
                pieces: vec![Piece {
                    file: 0,
                    group: None,
                    rows: None
                }],
                rows: Some(0),
                is_filtered: false,
                bytes: 0
            }]
        );
    }

    #[test]
    fn a_file_whose_rows_are_not_known_is_one_part() {
        let uncounted = Layout {
            rows: None,
            ..layout(&[], 0)
        };
        assert!(uncounted.is_consistent());
        let layouts = [layout(&[4], 0), uncounted, layout(&[4, 9, 1], 0)];
        let parts: Vec<_> = cut(&layouts, 10)
            .into_iter()
            .map(|part| (part.pieces.len(), part.pieces[0].file, part.rows))
            .collect();
        let expected = [
            (1, 0, Some(4)),
            (1, 1, None),
            (2, 2, Some(13)),
            (1, 2, Some(1)),
        ];
        assert_eq!(parts, expected);
        check_part_count(layouts.iter().map(|layout| ("a", layout)), Some(10)).expect("few parts");
    }

    #[test]
    fn so_many_parts_are_refused_before_they_are_cut() {
        let many = layout(&[u64::MAX], 0);
        let error =
            check_part_count([("a.parquet", &many)].into_iter(), Some(10)).expect_err("too many");
        assert!(
            error
                .to_string()
                .starts_with("a.parquet has 18446744073709551615 rows"),
            "{error}"
        );
        assert!(check_part_count([("a.parquet", &many)].into_iter(), None).is_ok());
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_part_and_parts_have_their_size(
            files in prop::collection::vec((prop::collection::vec(0_u64..400, 0..8), 0_u8..2), 1..8), wanted in 1_u64..200
        ) {
            let layouts: Vec<Layout> = files.iter().map(|(groups, packing)| layout(groups, *packing)).collect();
            let parts = cut(&layouts, wanted);
            let mut taken: Vec<(usize, usize, u64, u64)> = Vec::new();
            for part in &parts {
                let mut rows = 0;
                for piece in &part.pieces {
                    let Some(group) = piece.group else { continue };
                    let (first, count) = piece.rows.unwrap_or((0, layouts[piece.file].groups[group].rows));
                    taken.push((piece.file, group, first, count));
                    rows += count;
                }
                prop_assert_eq!(Some(rows), part.rows);
                let packings: BTreeSet<_> = part.pieces.iter().map(|piece| layouts[piece.file].packing_digest).collect();
                prop_assert!(packings.len() <= 1, "a part of files that share none");
            }
            // In order and without a gap: what was taken is all there is.
            let mut due = Vec::new();
            for (file, layout) in layouts.iter().enumerate() {
                for (group, size) in layout.groups.iter().enumerate().filter(|(_, size)| size.rows > 0) {
                    let mut next = 0;
                    while next < size.rows {
                        let count = taken.get(due.len()).map_or(0, |(.., count)| *count);
                        due.push((file, group, next, count));
                        prop_assert!(count > 0);
                        next += count;
                    }
                    prop_assert_eq!(next, size.rows);
                }
            }
            prop_assert_eq!(taken, due);
            for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
                let file = |part: &Slice| part.pieces.last().map(|piece| piece.file).unwrap_or_default();
                let is_before_another_kind = layouts[file(part)].packing_digest != layouts[next.pieces[0].file].packing_digest;
                let rows = part.rows.unwrap_or_default();
                prop_assert!(rows < 2 * wanted && (is_before_another_kind || 2 * rows >= wanted), "{rows} of {wanted}");
            }
        }
    }
}
