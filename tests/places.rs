//! Places: mounts, layers, full disks, disks that may only be read, and folders that others have
//! filled.

use std::fs;

use crate::common::files;
use crate::common::sandbox::Sandbox;

fn three(config: &str) -> Sandbox {
    let sandbox = Sandbox::new(config);
    for (name, rows) in [("a", 10), ("b", 20), ("c", 30)] {
        files::ints_and_texts(&sandbox, &format!("home/{name}.parquet"), 0..rows);
    }
    sandbox
}

/// What a build from nothing gives, on one filesystem.
fn expected(config: &str) -> std::collections::BTreeMap<String, String> {
    let sandbox = three(config);
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.digests("store")
}

const PLAIN: &str = "flows:\n  ids: {home: home, store: {path: store, compression: zstd}}\n";

/// Runs a script with mounts of its own; it must print these words and end so.
fn with_mounts(sandbox: &Sandbox, script: &str, code: i32, words: &[&str]) {
    let (ended, text) = sandbox.with_mounts(script);
    assert_eq!(ended, Some(code), "{script}: {text}");
    for word in words {
        assert!(text.contains(word), "{script}: no {word:?} in {text}");
    }
}

#[test]
fn a_cache_and_a_store_may_be_on_different_filesystems() {
    let sandbox = three(PLAIN);
    let script = "mount -t tmpfs none .hygge-cache && set -e
        \"$0\" build && rm home/b.parquet && \"$0\" build && cp home/a.parquet home/d.parquet && \"$0\" build
        \"$0\" restore ids --build 1 && \"$0\" build && cp -r store saved && ls .hygge-cache/staging/tmp | wc -l";
    fs::create_dir(sandbox.path(".hygge-cache")).expect("a cache");
    with_mounts(
        &sandbox,
        script,
        0,
        &[
            "2 parts (0 made, 2 kept)",
            "3 parts (0 made, 3 kept)",
            "stays at the set of run 1",
        ],
    );
    assert_eq!(sandbox.digests("saved"), expected(PLAIN));
}

/// The steps that a script has had written down, as `step path`.
fn steps(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path(folder).join("steps.jsonl")).expect("steps");
    let steps = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a step"));
    let below = sandbox.path("").display().to_string();
    let path = |step: &serde_json::Value| {
        step["path"]
            .as_str()
            .unwrap_or_default()
            .replace(&below, "")
    };
    steps
        .map(|step| {
            format!(
                "{} {}",
                step["step"].as_str().unwrap_or_default(),
                path(&step)
            )
        })
        .collect()
}

#[test]
fn what_is_copied_to_another_filesystem_is_durable_before_its_source_goes() {
    let sandbox = three(PLAIN);
    let script = "mount -t tmpfs none .hygge-cache && set -e; mkdir one two
        HYGGE_STEPS=$PWD/one \"$0\" build && rm home/b.parquet && \"$0\" build && cp home/a.parquet home/d.parquet
        HYGGE_STEPS=$PWD/two \"$0\" build";
    fs::create_dir(sandbox.path(".hygge-cache")).expect("a cache");
    with_mounts(&sandbox, script, 0, &[]);
    // What else is in the old folder has a second name in the store.
    let old = "remove .hygge/store.old/00000000000000000002.parquet";
    let cases = [
        ("one", "remove .hygge-cache/staging/", "sync_all .hygge"),
        ("two", old, "sync_all .hygge-cache/staging"),
    ];
    for (folder, leaves, synced) in cases {
        let steps = steps(&sandbox, folder);
        let first = steps
            .iter()
            .position(|step| step.starts_with(leaves) && !step.contains("/tmp"));
        let first = first.unwrap_or_else(|| panic!("{folder}: nothing leaves: {steps:#?}"));
        assert!(
            steps[..first].iter().any(|step| step == synced),
            "{folder}: {steps:#?}"
        );
    }
}

#[test]
fn a_mount_point_is_filled_file_by_file() {
    let config = PLAIN.replace("zstd}", "zstd, publish: in_place}");
    let sandbox = three(&config);
    fs::create_dir(sandbox.path("store")).expect("a store");
    let script = "mount -t tmpfs none store && set -e
        \"$0\" build && echo mine > store/_mine && rm store/00000000000000000001.parquet && \"$0\" build
        echo altered > store/00000000000000000002.parquet && \"$0\" build && \"$0\" build
        cat store/.hygge/displaced/*/00000000000000000002.parquet && cp -r store saved";
    with_mounts(
        &sandbox,
        script,
        0,
        &["altered\n", "nothing to do", "kept in"],
    );
    let mut saved = sandbox.digests("saved");
    assert!(saved.remove("_mine").is_some(), "what is hidden stays");
    assert_eq!(saved, expected(PLAIN));
}

#[test]
fn what_is_laid_out_on_a_mount_is_durable_before_a_file_is_replaced() {
    let sandbox = three(&PLAIN.replace("zstd}", "zstd, publish: in_place}"));
    fs::create_dir(sandbox.path("store")).expect("a store");
    let script =
        "mount -t tmpfs none store && set -e; mkdir one; HYGGE_STEPS=$PWD/one \"$0\" build";
    with_mounts(&sandbox, script, 0, &[]);
    let steps = steps(&sandbox, "one");
    let replaced = steps
        .iter()
        .position(|step| step.starts_with("rename store/.hygge/next/"))
        .expect("a file is replaced");
    for synced in ["sync_all store", "sync_all .hygge"] {
        assert!(
            steps[..replaced].iter().any(|step| step == synced),
            "{synced}: {steps:#?}"
        );
    }
    let done = steps
        .iter()
        .rposition(|step| step == "rename .hygge/store.json.tmp")
        .expect("a receipt");
    assert!(
        steps[replaced..done]
            .iter()
            .any(|step| step == "sync_all store"),
        "{steps:#?}"
    );
}

#[test]
fn two_stores_never_share_a_file() {
    use std::os::unix::fs::MetadataExt;
    for keys in ["", ", publish: in_place"] {
        let sandbox = Sandbox::new("");
        files::ints(&sandbox, "one/x.parquet", 0..5);
        let mut config = format!("flows:\n  a: {{home: home, store: {{path: out/a{keys}}}}}\n");
        for round in 0..5 {
            // One more file with equal bytes, or all of them anew; and one more store that takes
            // what the cache has.
            files::ints(&sandbox, &format!("home/{round}.parquet"), 0..5);
            config.push_str(&format!(
                "  c{round}: {{home: one, needs: a, store: {{path: out/c{round}{keys}}}}}\n"
            ));
            sandbox.write("hygge.yml", &config);
            let forced = if round % 3 == 2 {
                &["build", "--force", "a", "c0"][..]
            } else {
                &["build"]
            };
            assert_eq!(
                (sandbox.run(forced).code, sandbox.run(&["build"]).code),
                (0, 0),
                "{keys}"
            );
            let mut owners = std::collections::BTreeMap::new();
            let stores = (0..=round)
                .map(|round| format!("out/c{round}"))
                .chain(["out/a".to_string()]);
            for store in stores {
                for name in sandbox.digests(&store).into_keys() {
                    let part = format!("{store}/{name}");
                    let inode = fs::metadata(sandbox.path(&part)).expect("a part").ino();
                    assert_eq!(
                        owners.insert(inode, part.clone()),
                        None,
                        "{keys}, round {round}: {part} is another one too"
                    );
                }
            }
            assert_eq!(owners.len(), 2 * (round + 1), "{keys}, round {round}");
        }
    }
}

#[test]
fn a_file_that_someone_puts_into_a_half_published_store_is_never_overwritten() {
    let config = PLAIN.replace("zstd}", "zstd, publish: in_place}");
    let sandbox = three(&config);
    assert_eq!(sandbox.build(&[]).code, 0);
    files::ints_and_texts(&sandbox, "home/a.parquet", 100..150);
    fs::remove_file(sandbox.path("home/c.parquet")).expect("an input");
    let saved = sandbox.save();
    for name in [
        "00000000000000000001.parquet",
        "00000000000000000003.parquet",
    ] {
        let mut step = 0;
        loop {
            step += 1;
            sandbox.reset(&saved);
            if sandbox
                .run_with(&[("HYGGE_FAIL", &format!("abort:{step}"))], &["build"])
                .code
                == 0
            {
                break;
            }
            sandbox.write(&format!("store/{name}"), "mine");
            let ran = sandbox.build(&[]);
            let has_mine =
                |path: std::path::PathBuf| fs::read(path).is_ok_and(|bytes| bytes == b"mine");
            let kept = sandbox
                .find("store/.hygge/displaced", name)
                .is_some_and(has_mine);
            assert!(
                kept || has_mine(sandbox.path(&format!("store/{name}"))),
                "step {step}, {name}: {}",
                ran.text
            );
        }
        assert!(step > 20, "only {step} steps");
    }
}

#[test]
fn what_is_published_in_place_is_never_joined_by_what_someone_altered() {
    for pattern in ["", ", file_pattern: \"{stem}.parquet\""] {
        let sandbox =
            three(&PLAIN.replace("zstd}", &format!("zstd, publish: in_place{pattern}}}")));
        assert_eq!(sandbox.build(&[]).code, 0);
        let name = sandbox.digests("store").into_keys().next().expect("a part");
        sandbox.write(
            &format!("store/{name}"),
            "longer or shorter than the part was",
        );
        fs::remove_file(sandbox.path("home/a.parquet")).expect("an input");
        assert_eq!(sandbox.build(&[]).code, 0);
        assert_eq!(sandbox.digests("store").len(), 2, "{pattern}");
        assert!(sandbox.find("store/.hygge/displaced", &name).is_some());
        assert_eq!(
            sandbox.run(&["build"]).text,
            "hygge: nothing to do, 1 flow is fresh\n"
        );
    }
}

#[test]
fn a_folder_of_a_lower_layer_is_refused_before_any_work_or_filled_file_by_file() {
    let sandbox = three("");
    let layers = "mkdir -p low/store up work all && mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work all || exit 77
        cp -r home all/home; cp hygge.yml all; cd all; \"$0\" build --format json; code=$?; ls -A store; exit $code";
    sandbox.write("hygge.yml", PLAIN);
    let (code, text) = sandbox.with_mounts(layers);
    assert_ne!(code, Some(77), "this machine cannot mount layers: {text}");
    assert!(
        code == Some(1) && text.contains("lower layer") && !text.contains("part_made"),
        "{text}"
    );
    let sandbox = three("");
    sandbox.write(
        "hygge.yml",
        PLAIN.replace("zstd}", "zstd, publish: in_place}"),
    );
    with_mounts(
        &sandbox,
        layers,
        0,
        &["\"outcome\":\"built\"", "00000000000000000003.parquet"],
    );
}

#[test]
fn a_full_disk_is_named_and_the_next_build_goes_on() {
    // Room for the index, and not for all parts; room for one part in the store.
    for (mount, options, named) in [
        (".hygge-cache", "size=120k", ".hygge-cache"),
        ("out", "size=8k", "out/"),
        ("out", "nr_inodes=5", "out/"),
    ] {
        let sandbox = Sandbox::new(
            "flows:\n  ids: {home: home, store: {path: out/store, compression: uncompressed}}\n",
        );
        for name in ["a", "b", "c", "d"] {
            files::ints(&sandbox, &format!("home/{name}.parquet"), 0..4000);
        }
        fs::create_dir(sandbox.path(mount)).expect("a folder");
        let script = format!(
            "mount -t tmpfs -o {options} none {mount} && \"$0\" build; code=$?; ls -A out/store; echo \"first $code\"
            mount -o remount,size=100m,nr_inodes=1000 none {mount} && \"$0\" build && cp -r out/store saved; echo \"then $?\""
        );
        let (_, text) = sandbox.with_mounts(&script);
        let (before, after) = text.split_once("then ").unwrap_or((&text, ""));
        let is_refused = before.contains("first 1") || before.contains("first 3");
        let is_named = text
            .lines()
            .any(|line| line.contains("No space left on device") && line.contains(named));
        assert!(is_refused && is_named, "{mount} {options}: {text}");
        assert!(
            !before.contains("0001.parquet\nfirst"),
            "{mount} {options}: nothing is half published: {text}"
        );
        assert!(after.starts_with('0'), "{mount} {options}: {text}");
        assert_eq!(
            sandbox.digests("saved").len(),
            4,
            "{mount} {options}: {text}"
        );
    }
}

#[test]
fn a_disk_that_is_full_from_any_step_on_loses_nothing() {
    let template = three(PLAIN);
    assert_eq!(template.build(&[]).code, 0);
    files::ints_and_texts(&template, "home/b.parquet", 100..150);
    let (saved, before) = (template.save(), template.digests("store"));
    assert_eq!(template.build(&[]).code, 0);
    let after = template.digests("store");
    let mut refused = 0;
    for step in 1.. {
        template.reset(&saved);
        let full = format!("full:{step}");
        let ran = template.run_with(&[("HYGGE_FAIL", &full)], &["build"]);
        let now = template.digests("store");
        assert!(now == before || now == after, "step {step}: {}", ran.text);
        assert_eq!(template.build(&[]).code, 0, "step {step}: {}", ran.text);
        assert_eq!(template.digests("store"), after, "step {step}");
        if ran.code == 0 {
            break;
        }
        assert!(
            matches!(ran.code, 1 | 3) && ran.text.contains("failed to "),
            "step {step}: {}",
            ran.text
        );
        refused += 1;
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn a_cache_that_may_only_be_read_can_be_looked_into() {
    let sandbox = three(PLAIN);
    assert_eq!(sandbox.build(&[]).code, 0);
    let script = "mount --bind .hygge-cache .hygge-cache && mount -o remount,bind,ro .hygge-cache || exit 77
        \"$0\" build --check && \"$0\" why ids && \"$0\" log && \"$0\" cache stats && \"$0\" build --dry-run || exit 78
        \"$0\" clean; echo \"clean $?\"; \"$0\" cache gc; echo \"gc $?\"; cp home/a.parquet home/d.parquet; \"$0\" build; echo \"build $?\"";
    with_mounts(
        &sandbox,
        script,
        0,
        &[
            "fresh    ids",
            "run 1 of",
            "clean 3",
            "gc 3",
            "build 3",
            ".hygge-cache",
            "hint: ",
        ],
    );
    assert_eq!(sandbox.digests("store").len(), 3);
}

#[test]
fn a_store_that_may_only_be_read_fails_its_flow_by_name() {
    let sandbox = Sandbox::new("flows:\n  ids: {home: home, store: out/store}\n");
    files::ints(&sandbox, "home/a.parquet", 0..5);
    assert_eq!(sandbox.build(&[]).code, 0);
    files::ints(&sandbox, "home/b.parquet", 0..5);
    let script = "mount --bind out out && mount -o remount,bind,ro out && \"$0\" build";
    with_mounts(&sandbox, script, 1, &["out/", "Read-only file system"]);
    assert_eq!(
        (sandbox.digests("out/store").len(), sandbox.build(&[]).code),
        (1, 0)
    );
}

#[test]
fn a_folder_that_others_filled_is_taken_over_once() {
    let sandbox = three(PLAIN);
    sandbox.write("store/mine.txt", "mine");
    sandbox.write("store/deep/er.txt", "mine too");
    sandbox.write("store/_hidden", "stays");
    assert_eq!(sandbox.build(&[]).code, 1);
    sandbox.write("hygge.yml", PLAIN.replace("zstd}", "zstd, adopt: true}"));
    assert!(
        sandbox
            .run(&["build", "--dry-run"])
            .text
            .contains("takes over a folder that has deep, mine.txt")
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let receipt: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path(".hygge/store.json")).expect("a receipt"))
            .expect("JSON");
    assert_eq!(
        receipt["adopted"]["names"],
        serde_json::json!(["deep", "mine.txt"])
    );
    for (name, bytes) in [("mine.txt", "mine"), ("deep/er.txt", "mine too")] {
        assert_eq!(
            fs::read_to_string(sandbox.find(".hygge/displaced", name).expect("it is kept"))
                .expect("a file"),
            bytes
        );
    }
    assert_eq!(
        fs::read_to_string(sandbox.path("store/_hidden")).expect("a file"),
        "stays"
    );
    sandbox.write("store/more.txt", "added later");
    let ran = sandbox.build(&["--force"]);
    assert!(
        ran.code == 1 && ran.text.contains("more.txt"),
        "once: {}",
        ran.text
    );
    let config = PLAIN
        .replace("zstd}", "zstd, adopt: true}")
        .replace("store: {", "mode: append, store: {");
    sandbox.write("hygge.yml", config);
    assert_eq!(sandbox.run(&["check", "--offline"]).code, 2);
}

#[test]
fn a_folder_that_others_use_is_no_cache() {
    let sandbox = three(&format!("options: {{cache: {{dir: shared}}}}\n{PLAIN}"));
    sandbox.write("shared/index.html", "mine");
    sandbox.write("shared/staging/mine.txt", "mine");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 3 && ran.text.contains("index.html") && ran.text.contains("options.cache.dir"),
        "{}",
        ran.text
    );
    fs::remove_dir_all(sandbox.path("shared")).expect("a folder");
    assert_eq!(sandbox.build(&[]).code, 0);
    // Whoever puts something there later finds it again.
    sandbox.write("shared/mine/file.txt", "mine");
    sandbox.write("shared/mine.txt", "mine");
    assert_eq!(sandbox.run(&["clean"]).code, 0);
    let mut left: Vec<_> = fs::read_dir(sandbox.path("shared"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            ".gitignore",
            "CACHEDIR.TAG",
            "index.lock",
            "lock",
            "mine",
            "mine.txt"
        ]
    );
    assert_eq!(sandbox.run(&["build"]).code, 0, "it is a cache again");
}

#[test]
fn a_stray_file_among_unfinished_parts_is_no_obstacle() {
    let sandbox = three(PLAIN);
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.write(".hygge-cache/staging/tmp/stray", "");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert!(!sandbox.path(".hygge-cache/staging/tmp/stray").exists());
}

#[test]
fn a_store_is_only_cleaned_by_the_flow_that_published_there_last() {
    let sandbox = three(
        "name: one\nflows:\n  ids: {home: home, store: out/store}\n  \
         other: {home: home, store: out/other}\n",
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.write(
        "two.yml",
        "name: two\noptions: {cache: {dir: two}}\nflows:\n  \
         mine: {home: home, store: {path: out/store, compression: zstd}}\n",
    );
    assert_eq!(sandbox.build(&["-f", "two.yml"]).code, 0);
    let theirs = sandbox.digests("out/store");
    let ran = sandbox.run(&["clean", "--stores", "ids", "--yes"]);
    assert!(
        ran.code == 1 && ran.text.contains("flow mine of two published there last"),
        "{}",
        ran.text
    );
    sandbox.write(
        "hygge.yml",
        "name: one\nflows:\n  other: {home: home, store: out/other}\n",
    );
    let ran = sandbox.run(&["clean", "--orphans", "--yes=1"]);
    assert!(ran.text.contains("nothing to remove"), "{}", ran.text);
    assert_eq!(sandbox.digests("out/store"), theirs);
}

#[test]
fn a_copy_of_a_project_leaves_the_stores_of_the_other_alone() {
    let sandbox = Sandbox::new("");
    for folder in ["one/shop", "two/shop"] {
        let flows = "flows:\n  ids: {home: home, store: out/ids}\n  \
                     old: {home: home, store: ../../all/old}\n";
        sandbox.write(
            &format!("{folder}/hygge.yml"),
            format!("options: {{cache: {{dir: ../../cache}}}}\n{flows}"),
        );
        files::ints(&sandbox, &format!("{folder}/home/a.parquet"), 0..5);
        assert_eq!(
            sandbox.build(&["-f", &format!("{folder}/hygge.yml")]).code,
            0
        );
    }
    // Of these the other still has both.
    sandbox.write(
        "one/shop/hygge.yml",
        "options: {cache: {dir: ../../cache}}\nflows:\n  new: {home: home, store: out/new}\n",
    );
    assert_eq!(sandbox.build(&["-f", "one/shop/hygge.yml"]).code, 0);
    let ran = sandbox.run(&["clean", "-f", "one/shop/hygge.yml", "--orphans", "--yes=1"]);
    assert!(
        ran.code == 0 && ran.text.matches("removed store").count() == 1,
        "{}",
        ran.text
    );
    let there = ["one/shop/out/ids", "two/shop/out/ids", "all/old"]
        .map(|store| sandbox.digests(store).len());
    assert_eq!(there, [0, 1, 1]);
    // Without its folder a store is still known by its receipt.
    sandbox.write(
        "two/shop/hygge.yml",
        "options: {cache: {dir: ../../cache}}\nflows:\n  new: {home: home, store: out/new}\n",
    );
    fs::remove_dir_all(sandbox.path("two/shop/out/ids")).expect("a store");
    assert_eq!(sandbox.build(&["-f", "two/shop/hygge.yml"]).code, 0);
    assert_eq!(
        sandbox
            .run(&["clean", "-f", "two/shop/hygge.yml", "--orphans", "--yes=1"])
            .code,
        0
    );
    assert!(!sandbox.path("two/shop/out/.hygge/ids.json").exists());
}

#[test]
fn clean_removes_what_hygge_made_and_nothing_else() {
    let sandbox = Sandbox::new(
        "name: p\nflows:\n  a: {home: home, store: out/a}\n  b: {home: home, store: out/b}\n  \
         c: {home: out/b, store: out/c}\n",
    );
    files::ints(&sandbox, "home/a.parquet", 0..5);
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(sandbox.run(&["clean"]).code, 0);
    assert!(
        !sandbox.path(".hygge-cache/index.db").exists()
            && sandbox.path("out/a/00000000000000000001.parquet").exists()
    );
    let listed = sandbox.run(&["clean", "--stores", "a", "b"]);
    assert!(
        listed.code == 2
            && listed.text.contains("would remove store")
            && listed.text.contains("--yes"),
        "{}",
        listed.text
    );
    assert_eq!(sandbox.digests("out/a").len(), 1, "nothing was removed yet");
    sandbox.write("out/a/_mine", "mine");
    sandbox.write("out/b/mine.txt", "mine");
    let ran = sandbox.run(&["clean", "--stores", "a", "b", "--yes"]);
    assert!(
        ran.code == 1 && ran.text.contains("mine.txt"),
        "{}",
        ran.text
    );
    assert_eq!(
        sandbox.digests("out/a").into_keys().collect::<Vec<_>>(),
        ["_mine"]
    );
    assert_eq!(
        sandbox.digests("out/b").len(),
        2,
        "it is left alone as a whole"
    );
    fs::remove_file(sandbox.path("out/b/mine.txt")).expect("my file");
    sandbox.write("out/b/00000000000000000001.parquet", "altered");
    assert_eq!(sandbox.run(&["clean", "--stores", "b", "--yes"]).code, 1);
    assert_eq!(
        fs::read_to_string(sandbox.path("out/b/00000000000000000001.parquet")).expect("a file"),
        "altered"
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  c: {home: out/b, store: out/c}\n",
    );
    let ran = sandbox.run(&["clean", "--orphans", "--yes=1"]);
    assert!(
        ran.code == 0 && ran.text.contains("flow c reads it") && ran.text.contains("removed store"),
        "{}",
        ran.text
    );
    assert!(sandbox.path("out/b").exists() && sandbox.digests("out/a").len() == 1);
    assert_eq!(
        sandbox
            .run(&["clean", "--stores", "c", "--no-wait", "--yes"])
            .code,
        0
    );
    assert!(!sandbox.path("out/c").exists() && !sandbox.path("out/.hygge/c.json").exists());
}

#[test]
fn a_cache_whose_path_is_not_utf_8_is_refused_with_a_way_out() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new("");
    let folder = sandbox
        .path("")
        .join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("hygge.yml"), PLAIN).expect("a config");
    let build = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hygge"));
        let output = command
            .arg("build")
            .current_dir(&folder)
            .env_clear()
            .output()
            .expect("the binary runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, text) = build();
    assert!(
        code == Some(3) && text.contains("is not UTF-8") && text.contains("options.cache.dir"),
        "{text}"
    );
    assert!(!folder.join(".hygge-cache").exists());
    let elsewhere = format!(
        "options: {{cache: {{dir: \"{}\"}}}}\n{PLAIN}",
        sandbox.path("cache").display()
    );
    fs::write(folder.join("hygge.yml"), elsewhere).expect("a config");
    let (_, text) = build();
    assert!(!text.contains("UTF-8"), "{text}");
}

#[test]
fn a_store_whose_name_is_too_long_fails_its_flow_and_no_other() {
    let long = "x".repeat(250);
    let sandbox = Sandbox::new(&format!(
        "flows:\n  long: {{home: home, store: out/{long}}}\n  a: {{home: home, store: out/a}}\n"
    ));
    files::ints(&sandbox, "home/a.parquet", 0..10);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert_eq!(ran.outcome("a"), "built", "{}", ran.text);
    let failed = ran.finished("long").expect("an end");
    let said = failed["error"].as_str().unwrap_or_default();
    assert!(said.contains("has 250 bytes"), "{}", ran.text);
    let ran = sandbox.run(&["clean", "--stores", "long", "a", "--yes"]);
    assert!(
        ran.text.contains("left alone: ") && ran.text.contains("removed store"),
        "{}",
        ran.text
    );
    assert!(!sandbox.path("out/a").exists());
}

#[test]
fn a_store_below_a_folder_of_hygges_own_is_refused() {
    let sandbox = Sandbox::new("flows:\n  a: {home: home, store: .hygge/tables/a}\n");
    files::ints(&sandbox, "home/a.parquet", 0..10);
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 2 && ran.text.contains("lies in a folder called .hygge"),
        "{}",
        ran.text
    );
}
