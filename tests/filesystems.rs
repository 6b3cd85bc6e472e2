//! Filesystems, users and limits of others: no second names of files, no threads, no room.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::common::assert_success;
use crate::common::files;
use crate::common::sandbox::Sandbox;

/// What systems answer that give a file no second name: EPERM, EINVAL, EMLINK, ENOSYS and
/// EOPNOTSUPP.
const NO_LINKS: &[&str] = &["1", "22", "31", "38", "95"];

const COPIED: &str = "files that stay are copied: they can have no second names";

/// What happens to a store in its life; gives what it had after each step.
fn life(
    how: &str,
    variables: &[(&str, &str)],
) -> (Vec<std::collections::BTreeMap<String, String>>, usize) {
    let config = format!(
        "flows:\n  ids: {{home: home, store: {{path: store, compression: zstd{how}}}}}\n  \
         other: {{home: home, store: other}}\n"
    );
    let sandbox = Sandbox::new(&config);
    let (mut sets, mut said) = (Vec::new(), 0);
    let mut run = |sandbox: &Sandbox, arguments: &[&str]| {
        let ran = sandbox.run_with(variables, arguments);
        assert_eq!(
            ran.code, 0,
            "{variables:?}{how} {arguments:?}: {}",
            ran.text
        );
        assert!(
            ran.text.matches(COPIED).count() <= 1,
            "it is said once: {}",
            ran.text
        );
        said += ran.text.matches(COPIED).count();
        sets.push(sandbox.digests("store"));
    };
    for rows in [10, 20, 30] {
        files::ints(&sandbox, "home/a.parquet", 0..rows);
        files::ints(&sandbox, &format!("home/{rows}.parquet"), 0..rows);
        run(&sandbox, &["build"]);
        sandbox.write("store/.mine", "mine");
    }
    sandbox.write("store/00000000000000000001.parquet", "altered");
    run(&sandbox, &["build"]);
    let aside = sandbox.find(
        if how.is_empty() {
            ".hygge/displaced"
        } else {
            "store/.hygge/displaced"
        },
        "00000000000000000001.parquet",
    );
    assert_eq!(
        fs::read(aside.expect("what was put aside")).expect("a file"),
        b"altered"
    );
    run(&sandbox, &["restore", "ids", "--build", "1"]);
    run(&sandbox, &["restore", "ids", "--latest"]);
    run(&sandbox, &["build", "--force"]);
    let fresh = sandbox.run_with(variables, &["build"]);
    assert_eq!(fresh.text, "hygge: nothing to do, 2 flows are fresh\n");
    assert_eq!(
        fs::read(sandbox.path("store/.mine")).expect("a hidden file"),
        b"mine"
    );
    (sets, said)
}

#[test]
fn where_files_can_have_no_second_names_they_are_copied_and_it_is_said_once() {
    for how in ["", ", publish: in_place"] {
        let (expected, said) = life(how, &[]);
        assert_eq!(said, 0);
        for error in NO_LINKS {
            let (sets, said) = life(how, &[("HYGGE_LINK_ERROR", error)]);
            assert_eq!(sets, expected, "error {error}{how}");
            assert!(
                said > 1 || !how.is_empty(),
                "it is said in each run that copies, and was {said} times"
            );
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("a process").uid() == 0
}

/// A shell that runs `script` as a user who is not root, in a project of his own, with a binary
/// that he may run: `$0`.
fn as_user(sandbox: &Sandbox, script: &str) -> (Option<i32>, String) {
    let binary = sandbox.path("hygge");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_hygge"), &binary).expect("a copy");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let is_root = is_root();
    let mut command = Command::new("timeout");
    command.args(["-k", "2", "60"]);
    if is_root {
        let given = Command::new("chown")
            .args(["-R", "54321:54321"])
            .arg(sandbox.path("."))
            .status()
            .expect("chown runs");
        assert!(given.success());
        command.args([
            "setpriv",
            "--reuid=54321",
            "--regid=54321",
            "--clear-groups",
        ]);
    }
    let output = command
        .args(["bash", "-c", script])
        .arg(&binary)
        .current_dir(sandbox.path("."))
        .env_clear()
        .output()
        .expect("bash runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn where_no_thread_can_be_started_it_is_an_error() {
    let config = "connections: {shop: {url: \"sqlite:shop.db\"}}\nflows:\n  ids: {home: home, store: {path: store, rows_per_file: 7}}\n  shop: {home: home, store: {connection: shop, table: ids}}\n  back: {home: {flow: shop}, store: back}\n";
    let sandbox = Sandbox::new(config);
    files::ints(&sandbox, "home/a.parquet", 0..40);
    sandbox.write("threads", "");
    let (mut refused, mut built) = (0, 0);
    // Each user may have so many processes, threads among them.
    for limit in (1..=14).chain([64]) {
        for command in ["build", "check", "why ids", "log", "cache verify", "clean"]
            .iter()
            .take(if limit < 8 { 6 } else { 2 })
        {
            let script = format!("ulimit -u {limit} && exec \"$0\" {command}");
            let (code, text) = as_user(&sandbox, &script);
            assert!(
                !text.contains("panicked"),
                "{limit} threads, {command}: {text}"
            );
            assert!(
                matches!(code, Some(0..=3)),
                "{limit} threads, {command}: exit {code:?}: {text}"
            );
            // `log` and `why` speak of the runs before, too.
            let is_of_before = *command == "log" || text.contains("its last run");
            if text.contains("no thread can be started") && !is_of_before {
                assert!(
                    code != Some(0) && text.contains("hint: ") || text.contains("not cleaned"),
                    "{limit} threads, {command}: {text}"
                );
                refused += 1;
            }
            built += usize::from(*command == "build" && code == Some(0));
        }
        fs::remove_dir_all(sandbox.path("store")).ok();
    }
    assert!(
        refused > 5 && built > 0,
        "{refused} commands had no threads, {built} builds had enough"
    );
}

#[test]
fn a_store_whose_files_have_no_room_for_their_names_is_found_by_check() {
    for (length, fits) in [(235, true), (250, false), (256, false)] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  f: {{home: home, store: out/{}}}\n",
            "s".repeat(length)
        ));
        files::ints(&sandbox, "home/a.parquet", 0..10);
        let (check, build) = (sandbox.run(&["check"]), sandbox.run(&["build"]));
        assert_eq!(
            (check.code == 0, build.code == 0),
            (fits, fits),
            "{length}: {}{}",
            check.text,
            build.text
        );
        assert!(fits || check.text.contains("hint: "), "{}", check.text);
    }
}

#[test]
fn a_full_disk_is_called_that() {
    let sandbox =
        Sandbox::new("flows: {n: {home: home, store: {path: out, rows_per_file: 1000}}}\n");
    files::ints(&sandbox, "home/a.parquet", 0..20_000);
    let script = "mkdir disk && mount -t tmpfs -o size=4m tmpfs disk && cp -r home hygge.yml disk && cd disk || exit 77
        dd if=/dev/zero of=filler bs=1k count=5000 2>/dev/null
        \"$0\" build; echo \"build: $?\"
        \"$0\" build --check; echo \"check: $?\"
        rm filler
        \"$0\" build; echo \"again: $?\"";
    let (code, text) = sandbox.with_mounts(script);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("build: 3") && text.contains("check: 3") && text.contains("again: 0"),
        "{text}"
    );
    assert!(
        text.contains("hint: the disk is full") && !text.contains("delete the index"),
        "{text}"
    );
}

#[test]
fn a_store_that_another_user_built_first_says_whose_it_is() {
    let sandbox = Sandbox::new("flows: {n: {home: home, store: out/n}}\n");
    files::ints(&sandbox, "home/a.parquet", 0..20);
    if !is_root() {
        // Only root can be another user.
        return;
    }
    let (code, text) = as_user(&sandbox, "\"$0\" build");
    assert_eq!(code, Some(0), "{text}");
    // The next build is root's, and then the user's again.
    files::ints(&sandbox, "home/b.parquet", 0..30);
    let ran = sandbox.run(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    files::ints(&sandbox, "home/c.parquet", 0..40);
    let binary = sandbox.path("hygge");
    let user = ["--reuid=54321", "--regid=54321", "--clear-groups"];
    let output = Command::new("setpriv")
        .args(user)
        .arg(binary)
        .arg("build")
        .current_dir(sandbox.path("."))
        .env_clear()
        .output();
    let output = output.expect("setpriv runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || text.contains("chown"), "{text}");
    // What the hint says helps.
    let (code, text) = as_user(&sandbox, "\"$0\" build");
    assert_eq!(
        (code, sandbox.digests("out/n").len()),
        (Some(0), 3),
        "{text}"
    );
}

#[test]
fn a_copy_is_never_run_as_whoever_has_the_original() {
    let no_links = [("HYGGE_LINK_ERROR", "1")];
    for how in ["", ", publish: in_place"] {
        let sandbox = Sandbox::new(&format!(
            "flows: {{n: {{home: home, store: {{path: out{how}}}}}}}\n"
        ));
        for name in ["a", "b"] {
            files::ints(&sandbox, &format!("home/{name}.parquet"), 0..10);
        }
        assert_eq!(sandbox.run_with(&no_links, &["build"]).code, 0);
        for name in ["00000000000000000001.parquet", ".hidden"] {
            let path = sandbox.path(&format!("out/{name}"));
            sandbox.write(&format!("out/{name}"), fs::read(&path).unwrap_or_default());
            fs::set_permissions(path, fs::Permissions::from_mode(0o7755)).expect("permissions");
        }
        sandbox.write("out/00000000000000000002.parquet", "altered");
        fs::set_permissions(
            sandbox.path("out/00000000000000000002.parquet"),
            fs::Permissions::from_mode(0o6755),
        )
        .expect("permissions");
        let inodes = |name: &str| fs::metadata(sandbox.path(name)).expect("a file").ino();
        let (part, hidden) = (
            inodes("out/00000000000000000001.parquet"),
            inodes("out/.hidden"),
        );
        files::ints(&sandbox, "home/c.parquet", 0..20);
        let ran = sandbox.run_with(&no_links, &["build"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        let mut found = Vec::new();
        let mut ahead = vec![sandbox.path("")];
        while let Some(folder) = ahead.pop() {
            for entry in fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry"))
            {
                let metadata = entry.metadata().expect("metadata");
                if metadata.is_dir() {
                    ahead.push(entry.path());
                } else if metadata.mode() & 0o7000 != 0 && ![part, hidden].contains(&metadata.ino())
                {
                    found.push(entry.path());
                }
            }
        }
        // What was altered has moved aside itself, where it could.
        found.retain(|path| fs::read(path).expect("a file") != b"altered" || how.is_empty());
        assert_eq!(found, [""; 0].map(std::path::PathBuf::from), "{how}");
    }
}

#[test]
fn hidden_files_that_can_have_no_second_name_stay_what_they_are() {
    let sandbox = Sandbox::new("flows: {n: {home: home, store: out}}\n");
    let no_links = [("HYGGE_LINK_ERROR", "95")];
    let mut inodes = std::collections::BTreeSet::new();
    for rows in [10, 20, 30] {
        files::ints(&sandbox, "home/a.parquet", 0..rows);
        let ran = sandbox.run_with(&no_links, &["build"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        if rows == 10 {
            sandbox.write("out/.mine", "mine");
        }
        inodes.insert(
            fs::metadata(sandbox.path("out/.mine"))
                .expect("a hidden file")
                .ino(),
        );
    }
    assert_eq!(inodes.len(), 1, "it is the file that it was");
    assert!(
        !sandbox.path(".hygge/displaced").exists(),
        "nothing was altered"
    );
    assert_eq!(
        fs::read(sandbox.path("out/.mine")).expect("a hidden file"),
        b"mine"
    );
}

/// Where `fs.protected_hardlinks` keeps users from linking a file that is another's, and it cannot
/// be read either.
#[test]
fn a_hidden_file_of_another_user_stops_no_publication() {
    let sandbox = Sandbox::new("flows: {n: {home: home, store: out/n}}\n");
    if !is_root() {
        return;
    }
    files::ints(&sandbox, "home/a.parquet", 0..20);
    let (code, text) = as_user(&sandbox, "\"$0\" build");
    assert_eq!(code, Some(0), "{text}");
    files::ints(&sandbox, "home/a.parquet", 0..30);
    sandbox.write("out/n/.theirs", "theirs");
    fs::set_permissions(
        sandbox.path("out/n/.theirs"),
        fs::Permissions::from_mode(0o600),
    )
    .expect("permissions");
    let script = "setpriv --reuid=54321 --regid=54321 --clear-groups ./hygge build";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(sandbox.path(""))
        .env_clear()
        .output()
        .expect("sh runs");
    assert_success(&output);
    assert_eq!(
        fs::read(sandbox.path("out/n/.theirs")).expect("a hidden file"),
        b"theirs"
    );
    assert_eq!(
        fs::metadata(sandbox.path("out/n/.theirs"))
            .expect("a hidden file")
            .uid(),
        0
    );
    assert!(!sandbox.path("out/.hygge/displaced").exists());
}
