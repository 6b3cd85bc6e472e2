//! What a person reads: the graph in every form, reasons, and errors of the config.

use std::fs;

use crate::common::sandbox::Sandbox;

fn chain() -> Sandbox {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  a: {home: home, store: out/a, tags: [x]}\n  b-b: {home: {flow: a}, store: out/b}\n  \
         c: {home: out/b, store: out/c, needs: [a]}\n  d: {home: out/b, store: out/d}\n",
    );
    sandbox
}

#[test]
fn the_graph_can_be_shown_in_every_form() {
    let sandbox = chain();
    let shown = |format| sandbox.run(&["graph", "--format", format]).text.replace(&sandbox.path("").display().to_string(), "/project/");
    insta::assert_snapshot!("graph_dot", shown("dot"));
    insta::assert_snapshot!("graph_mermaid", shown("mermaid"));
    insta::assert_snapshot!("graph_json", shown("json").replace("}},{", "}},\n{"));
    insta::assert_snapshot!("graph_make", shown("make"));
}

#[test]
fn why_says_what_differs() {
    let sandbox = chain();
    sandbox.write("hygge.yml", "name: p\nflows:\n  a: {home: home, store: out/a}\n");
    let mut shown = String::new();
    let mut why = |what: &str| shown.push_str(&format!("# {what}\n{}", sandbox.run(&["why", "a"]).text));
    why("never built");
    sandbox.build(&[]);
    why("fresh");
    sandbox.sample("north", "home/more.parquet");
    sandbox.sample("west", "home/north.parquet");
    fs::remove_file(sandbox.path("home/south.parquet")).expect("an input");
    fs::remove_file(sandbox.path("out/a/00000000000000000001.parquet")).expect("an output");
    sandbox.write("out/a/00000000000000000002.parquet", "mine");
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  a: {home: home, store: {path: out/a, rows_per_file: 500, file_pattern: \"{stem}_{sequence}.parquet\"}}\n",
    );
    why("everything is different");
    insta::assert_snapshot!("why", without_times(&shown));
}

/// Times differ from run to run.
fn without_times(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once("published 2") {
        Some((before, rest)) => {
            format!("{before}published TIME{}", rest.split_once(',').map_or(String::new(), |(_, rest)| format!(",{rest}")))
        }
        None => line.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_help_names_every_option() {
    let sandbox = Sandbox::new("");
    insta::assert_snapshot!("help_build", sandbox.run(&["build", "--help"]).text);
}
