//! Who holds a lock: in its own words, or as the kernel says it of locks that many share.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

/// How many processes are named.
const MAX_NAMED: usize = 3;

/// What Linux counts a process's age in, whatever its own clock is: a hundred to the second.
const TICKS_PER_SECOND: i64 = 100;

/// What this process writes into a lock that it holds alone: who it is, since when, and what it
/// does.
pub fn lock_holder_text(doing: &str) -> String {
    format!(
        "hygge, process {} since {}, {doing}",
        std::process::id(),
        format_utc(Timestamp::now())
    )
}

/// The processes that hold a lock on a file; nothing where that cannot be told, as of other
/// machines.
pub(super) fn find_holders(path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let file = format!(
        "{:02x}:{:02x}:{}",
        rustix::fs::major(found.dev()),
        rustix::fs::minor(found.dev()),
        found.ino()
    );
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mut processes: Vec<u32> = locks
        .lines()
        .filter_map(|line| parse_holder(line, &file))
        .collect();
    processes.sort_unstable();
    processes.dedup();
    let named: Vec<String> = processes
        .iter()
        .take(MAX_NAMED)
        .map(|process| describe_process(*process))
        .collect();
    let more = processes.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    (!named.is_empty()).then(|| named.join(", ") + &more)
}

/// The process of a line of `/proc/locks`, such as `1: FLOCK  ADVISORY  READ 26059 fe:00:10133507 0
/// EOF`, if it is of that file. Who waits for one has an arrow in front.
fn parse_holder(line: &str, file: &str) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    let is_held = words.next() == Some("FLOCK");
    let process = words.nth(2)?.parse().ok()?;
    (is_held && words.next() == Some(file) && process > 0 && process != std::process::id())
        .then_some(process)
}

fn describe_process(process: u32) -> String {
    let called = fs::read_to_string(format!("/proc/{process}/comm"))
        .map(|name| format!(" ({})", name.trim_end()))
        .unwrap_or_default();
    let since = process_start(process)
        .map(|began| format!(" since {}", format_utc(began)))
        .unwrap_or_default();
    format!("process {process}{called}{since}")
}

/// When a process began. See proc(5): the 22nd field of its `stat`, counted from when the machine
/// began.
fn process_start(process: u32) -> Option<Timestamp> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Its name may have anything in it, blanks and brackets too.
    let ticks: i64 = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let began: i64 = machine
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Timestamp::from_second(began)
        .ok()?
        .checked_add(SignedDuration::from_secs(ticks / TICKS_PER_SECOND))
        .ok()
}

fn format_utc(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_names_the_process_of_its_file() {
        let line = "5: FLOCK  ADVISORY  READ 4000026 fe:00:10133507 0 EOF";
        assert_eq!(parse_holder(line, "fe:00:10133507"), Some(4_000_026));
        assert_eq!(parse_holder(line, "fe:00:1013350"), None);
        assert_eq!(
            parse_holder(
                "5: -> FLOCK  ADVISORY  READ 4000026 fe:00:10133507 0 EOF",
                "fe:00:10133507"
            ),
            None,
            "it waits itself"
        );
        assert_eq!(
            parse_holder(
                "2: POSIX  ADVISORY  WRITE 4000026 fe:00:10133507 0 EOF",
                "fe:00:10133507"
            ),
            None,
            "another kind of lock"
        );
    }

    #[test]
    fn a_process_says_when_it_began() {
        let age =
            Timestamp::now().duration_since(process_start(std::process::id()).expect("a time"));
        assert!((-2..86_400).contains(&age.as_secs()), "{age}");
    }
}
