//! What a file is that is not of the format it should be, by its first bytes.

use crate::config::listing;

/// What a file seems to be, and what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignFile {
    /// What it is, as it reads after "it is".
    pub description: &'static str,
    /// What to do.
    pub hint: &'static str,
}

impl ForeignFile {
    /// True for a format that is read, where it is asked for.
    pub fn is_supported(&self) -> bool {
        [PARQUET, ARROW, CSV].contains(&self.hint)
    }
}

/// How many bytes from the beginning say what a file is.
pub const SNIFF_LEN: usize = 4096;

const NOT_READ: &str = "hygge reads parquet, Arrow IPC and CSV files, and databases by connections: make it a parquet file, or choose other files by glob";
const UNPACK: &str =
    "hygge reads files as they are, without another packing around them: unpack it";
const PARQUET: &str = "home: {type: parquet} reads it";
const ARROW: &str = "home: {type: ipc} reads it";
const CSV: &str = "type: csv of the home reads it";
const AGAIN: &str = "write or fetch the file again, or move it out of the home; a name that begins with _ is not read";
const DATABASE: &str = "a SQLite file is read as a database: connections: {shop: {url: \"sqlite:shop.db\"}}, and home: {connection: shop, table: orders}";
const KEYS: &str =
    "hygge has no keys: give the home files that are not encrypted, or move it out of the home";

/// Signs at the beginning of files.
const SIGNATURES: &[(&[u8], &str, &str)] = &[
    (b"PARE", "a parquet file with an encrypted footer", KEYS),
    (b"SQLite format 3\0", "a SQLite database", DATABASE),
    (b"PAR1", "a parquet file", PARQUET),
    (b"ARROW1", "an Arrow IPC file (Feather)", ARROW),
    (
        b"FEA1",
        "a file of Feather V1",
        "Feather V1 is not read: write it as Feather V2, which is Arrow IPC",
    ),
    (
        b"\xff\xff\xff\xff",
        "a stream of Arrow IPC, as it seems",
        ARROW,
    ),
    (b"ORC", "an ORC file", NOT_READ),
    (b"Obj\x01", "an Avro file", NOT_READ),
    (b"\x1f\x8b", "a gzip file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ\0", "an xz file", UNPACK),
    (b"\x04\x22\x4d\x18", "an lz4 file", UNPACK),
    (b"\xff\x06\0\0sNaPpY", "a snappy file", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (
        b"PK\x03\x04",
        "a ZIP archive (a sheet of Excel is one too)",
        NOT_READ,
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "a document of an old Office (an Excel sheet?)",
        NOT_READ,
    ),
    (b"%PDF", "a PDF document", NOT_READ),
    (b"\x89HDF", "an HDF5 file", NOT_READ),
    (b"SEQ\x06", "a Hadoop sequence file", NOT_READ),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, and not the file itself",
        "git lfs pull fetches the file",
    ),
];

/// What a file seems to be that begins so; `None` where nothing is known of it.
pub fn sniff_content(head: &[u8]) -> Option<ForeignFile> {
    let found = |what, hint| {
        Some(ForeignFile {
            description: what,
            hint,
        })
    };
    if head.is_empty() {
        return found("an empty file", AGAIN);
    }
    if let Some((_, what, hint)) = SIGNATURES.iter().find(|(sign, ..)| head.starts_with(sign)) {
        return found(what, hint);
    }
    if head.get(8..12) == Some(b"DUCK") {
        return found(
            "a DuckDB database",
            "hygge does not read DuckDB: write its tables as parquet by COPY … TO 'x.parquet'",
        );
    }
    if head.iter().all(|byte| *byte == 0) {
        return found("nothing but zeros, as of a copy that broke off", AGAIN);
    }
    sniff_text(head)
}

/// What a file seems to be that should be a text of any kind. The first letters of many files are
/// words as well: PARE is one, and the beginning of PARENT.
pub fn sniff_beside_text(head: &[u8]) -> Option<ForeignFile> {
    const NO_TABLES: [&str; 4] = [
        "<!doctype html",
        "<html",
        "<?xml",
        "version https://git-lfs",
    ];
    let is_binary = |byte: &u8| *byte < 32 && !b"\t\r\n\x0c".contains(byte);
    let beginning = String::from_utf8_lossy(&head[..head.len().min(64)]);
    let beginning = beginning.trim_start().to_ascii_lowercase();
    let is_other = head.is_empty()
        || head.iter().any(is_binary)
        || NO_TABLES.iter().any(|start| beginning.starts_with(start));
    sniff_content(head).filter(|_| is_other)
}

fn sniff_text(head: &[u8]) -> Option<ForeignFile> {
    let found = |what, hint| {
        Some(ForeignFile {
            description: what,
            hint,
        })
    };
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return found("a text in UTF-16 (CSV?)", NOT_READ);
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let whole = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last letter may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        // Texts of old are in Latin-1 and the like.
        Err(_)
            if !head
                .iter()
                .any(|byte| *byte < 32 && !b"\t\r\n".contains(byte)) =>
        {
            return found("a text, as it seems (CSV?)", NOT_READ);
        }
        Err(_) => return None,
    };
    if whole
        .chars()
        .any(|letter| letter.is_control() && !matches!(letter, '\t' | '\r' | '\n'))
    {
        return None;
    }
    let start = whole.trim_start().to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return found("an HTML page, as servers send with an error", AGAIN);
    }
    if start.starts_with('<') {
        return found("an XML document, as servers send with an error", AGAIN);
    }
    if start.starts_with(['{', '[']) {
        return found("a JSON file, as it seems", NOT_READ);
    }
    let mut lines = whole.lines().filter(|line| !line.trim().is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let is_table = [',', ';', '\t', '|'].into_iter().any(|sign| {
        let count = |line: &str| line.matches(sign).count();
        // The second line may be cut, or have a sign within quotes.
        count(first) > 0 && second.is_none_or(|second| count(second) > 0)
    });
    if is_table {
        found("a CSV file, as it seems", CSV)
    } else {
        found("a text, as it seems", NOT_READ)
    }
}

/// What files of an ending are that hygge does not read.
pub fn sniff_extension(name: &str) -> Option<ForeignFile> {
    let found = |what, hint| {
        Some(ForeignFile {
            description: what,
            hint,
        })
    };
    let lower = name.to_ascii_lowercase();
    if listing::has_ending(lower.as_bytes(), listing::CSV_EXTENSIONS) {
        return found("CSV", CSV);
    }
    let (_, ending) = lower.rsplit_once('.')?;
    match ending {
        "json" | "jsonl" | "ndjson" => found("JSON", NOT_READ),
        "db" | "sqlite" | "sqlite3" | "db3" => found("SQLite", DATABASE),
        "duckdb" => found("DuckDB", NOT_READ),
        ending if listing::ARROW_EXTENSIONS.contains(&ending) => found("Arrow IPC", ARROW),
        "parquet" => found("parquet", PARQUET),
        "orc" => found("ORC", NOT_READ),
        "avro" => found("Avro", NOT_READ),
        "xls" | "xlsx" | "ods" => found("a sheet", NOT_READ),
        "gz" | "zst" | "bz2" | "xz" | "zip" => found("a packed file", UNPACK),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_by_their_name() {
        for (head, word) in [
            (&b""[..], "empty"),
            (b"PARE1234", "encrypted"),
            (b"SQLite format 3\0....", "SQLite"),
            (b"id,total\n1,2\n", "CSV"),
            (b"\xef\xbb\xbfid;total\r\n1;2\r\n", "CSV"),
            (b"name\tage\nx\t1", "CSV"),
            (b"a|b", "CSV"),
            ("größe,maß\n1,2\n".as_bytes(), "CSV"),
            (b"\n [{\"a\": 1}]", "JSON"),
            (b"{\"a\": 1}\n", "JSON"),
            (b"<!DOCTYPE html><html>", "HTML"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"ARROW1\0\0", "Arrow"),
            (b"ORC\x01", "ORC"),
            (b"Obj\x01\x04", "Avro"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"hello world", "a text"),
            (&[0; 64], "zeros"),
        ] {
            let found = sniff_content(head).unwrap_or_else(|| panic!("{word} is not known"));
            assert!(
                found.description.contains(word),
                "{word}: {}",
                found.description
            );
        }
        assert_eq!(sniff_content(b"\x15\x00\x15\x1a\x01"), None);
    }
}
