//! Broken configs and what is printed for each: could a stranger mend it without the docs?

use crate::common::sandbox::Sandbox;

/// A project of several files: the first is `hygge.yml`.
fn printed(files: &[(&str, &str)]) -> String {
    let sandbox = Sandbox::new("");
    for (name, text) in files {
        sandbox.write(name, text);
    }
    let ran = sandbox.run(&["check", "--offline"]);
    assert_eq!(ran.code, 2, "{}", ran.text);
    assert_eq!(
        sandbox.run(&["build"]).text,
        ran.text,
        "every command says the same"
    );
    ran.text.replace(
        &sandbox
            .path("")
            .canonicalize()
            .expect("a folder")
            .display()
            .to_string(),
        "PROJECT",
    )
}

macro_rules! broken {
    ($($name:ident: $files:expr;)*) => {$(
        #[test]
        fn $name() {
            let mut settings = insta::Settings::clone_current();
            settings.set_omit_expression(true);
            settings.bind(|| insta::assert_snapshot!(stringify!($name), printed(&$files)));
        }
    )*};
}

broken! {
    typing_errors_name_what_was_meant: [("hygge.yml", "\
nam: shop
option: {concurrency: 2}
flows:
  orders:
    hom: data/home/orders
    store:
      path: data/store/orders
      compresion: zstd
  users:
    home: {path: data/home/users, type: parkuet}
    store: {path: data/store/users, compression: zst}
    tag: nightly
")];

    wrong_values_say_what_was_found: [("hygge.yml", "\
options: {concurrency: 0, continue_on_error: yes, cache: {keep: sometimes}}
flows:
  orders:
    home: 5
    store: {path: [data, store], rows_per_file: many, compression_level: 40}
    tags: [1, nightly]
    timeout: soon
    max_shrink: 150%
    queue_size: 5000
  users: [data/home/users, data/store/users]
")];

    what_is_missing_is_asked_for: [("hygge.yml", "\
flows:
  orders:
    home: data/home/orders
  users:
    home:
    store: {compression: zstd}
  numbers:
")];

    yaml_that_cannot_be_read: [("hygge.yml", "\
flows:
  orders:
    home: {path: data/home, glob: *.parquet}
    store: data/store/orders
")];

    keys_in_the_wrong_place: [("hygge.yml", "\
flows:
  orders:
    path: data/home/orders
    compression: zstd
    home:
      path: data/home/orders
      store: data/store/orders
  home: data/home/users
  store: data/store/users
continue_on_error: false
")];

    twice_is_shown_with_both_places: [("hygge.yml", "\
flows:
  orders: {home: data/home/a, store: data/store/a}
  users:
    home: data/home/b
    store: {path: data/store/b, rows_per_file: 100, batch_size: 200}
    queue_size: 5
    options: {queue_size: 6}
  orders: {home: data/home/c, store: data/store/c}
")];

    flows_that_do_not_fit_together: [("hygge.yml", "\
flows:
  a: {home: {flow: c}, store: out/a}
  b: {home: {flow: a}, store: out/b, needs: [landin]}
  c: {home: out/b, store: out/c}
  landing: {home: data/home, store: out/landing, entities: [users, orders]}
  d: {home: {flow: landing}, store: out/d}
  e: {home: data/home, store: out/landing/users}
  f: {home: out/f/in, store: out/f}
")];

    entities_that_are_none: [("hygge.yml", "\
flows:
  a:
    home: data/home
    store: data/a
    entities: users
  b:
    home: data/home
    store: data/b
    entities: {form: \"data/home/*\"}
  c:
    home: data/home
    store: data/c
    entities: [users, {nam: orders}, {name: \"my table\"}, users, {name: x, stor: y}]
  d:
    store: data/d
    entities: {from: data/home}
")];

    patterns_and_levels_that_cannot_be: [("hygge.yml", "\
flows:
  a:
    home: {path: data/home, glob: ../*.parquet}
    store: {path: data/a, file_pattern: \"{sequenc:05d}.parquet\"}
  b:
    home: {path: data/home, glob: \"[\"}
    store: {path: \"data/{entiti}\", compression: snappy, compression_level: 3}
  c:
    home: ~/data
    store: {path: data/c, compression: gzip, compression_level: 12, file_pattern: \"part/{stem}.parquet\"}
")];

    variables_that_have_no_value: [("hygge.yml", "\
options: {env_file: prod.env}
flows:
  a:
    home: \"${LAKE}/orders\"
    store: {path: \"out/${REGION}/${DAY:-today}\", rows_per_file: \"${ROWS:-few}\"}
  b:
    home: \"data/${\"
    store: \"out/${A B}\"
")];

    problems_of_several_files_come_at_once: [
        ("hygge.yml", "name: shop\nconnections:\n  shop: {url: \"postgres://me:hunter2@db/shop\", \
                       pool: 3}\ndefaults: {store: {compresion: zstd}}\nflows:\n  \
                       users: {home: data/users, store: out/users}\n"),
        ("flows/users/flow.yml", "home: data/other\nstore: out/users\n"),
        ("flows/orders/flow.yml", "name: order\nhome: data/orders\nstore: out/orders/{entity}\n"),
        ("flows/orders/entities/north.yml", "store: {rows_per_file: -1}\n"),
        ("flows/orders/entities/south.yml", "\thome: x\n"),
    ];
}

/// Slips of YAML, each with words that must be in what is printed.
const SLIPS: &[(&str, &[&str])] = &[
    (
        "flows:\n\ta: {home: h, store: s}\n",
        &["hygge.yml:2:", "indent with spaces"],
    ),
    (
        "flows:\n  a: {home: {entity}.parquet, store: s}\n",
        &["hygge.yml:2:", "quotes"],
    ),
    (
        "flows:\n  a: {home: @data, store: s}\n",
        &["hygge.yml:2:", "quotes"],
    ),
    (
        "flows:\n  a: {home: \"C:\\data\", store: s}\n",
        &["hygge.yml:2:", "single quotes"],
    ),
    (
        "flows:\n  a:\n    home: h\n   store: s\n",
        &["hygge.yml:4:", "one column"],
    ),
    (
        "flows:\n  a:\n    home: \"h\n    store: s\n",
        &["hygge.yml:", "quote"],
    ),
    (
        "flows:\n  a:\n    home: out: x\n    store: s\n",
        &["hygge.yml:3:", "quotes"],
    ),
    ("flows:\n  a: [home: h\n", &["hygge.yml:", "bracket"]),
    ("a: 1\n---\nb: 2\n", &["take out the ---"]),
    (
        "flows:\n  {{name}}: {home: h, store: s}\n",
        &["hygge.yml:2:", "quotes"],
    ),
    (
        "flows:\n  a: &a {home: h, store: s, needs: *a}\n",
        &["an alias stands in what it repeats"],
    ),
    (
        "flows:\n  a: {home: *nothing, store: s}\n",
        &["hygge.yml:2:", "alias"],
    ),
];

#[test]
fn slips_of_yaml_are_explained() {
    for (config, words) in SLIPS {
        let ran = Sandbox::new(config).run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{config}\n{}", ran.text);
        for word in *words {
            assert!(ran.text.contains(word), "{word:?} is not in\n{}", ran.text);
        }
        assert!(ran.text.contains("help:"), "{}", ran.text);
    }
}

fn many_flows(number: usize, more: &str) -> String {
    (0..number)
        .map(|number| format!("  f{number}: {{home: h{number}, store: s{number}{more}}}\n"))
        .collect()
}

/// Documents that cost much to read, if they are read to the end.
#[test]
fn what_would_cost_too_much_is_refused() {
    let bomb = |levels: usize| {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..levels {
            let refers = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{refers}]\n"));
        }
        text
    };
    let many = format!("x-many:\n{}", "  - 1\n".repeat(1_100_000));
    let cases = [
        (bomb(12), "repeat more values"),
        ("[".repeat(100_000), "nested more than 64"),
        ("{a: ".repeat(100_000), "nested more than 64"),
        (
            format!("flows:\n  {}", "- ".repeat(10_000)),
            "nested more than 64",
        ),
        (many, "more values than a config may have"),
        (" ".repeat((16 << 20) + 1), "16777216"),
        (
            format!(
                "flows:\n  a: {{home: h, store: s, tags: [{}]}}\n",
                "1, ".repeat(100_000)
            ),
            "100000 problems",
        ),
        (
            format!(
                "defaults: {{tags: [{}]}}\nflows:\n{}",
                "w, ".repeat(20_000),
                many_flows(3_000, "")
            ),
            "more than a config may have",
        ),
        (
            format!(
                "flows:\n  a: {{home: h, store: s, entities: [{0}]}}\n  \
                 b: {{home: i, store: t, needs: a, entities: [{0}]}}\n",
                (0..3_000)
                    .map(|number| format!("e{number}, "))
                    .collect::<String>()
            ),
            "too many edges",
        ),
        (
            format!("flows:\n{}", many_flows(3_000, ", needs: [missing]")),
            "3000 problems",
        ),
    ];
    for (config, words) in cases {
        let sandbox = Sandbox::new(&config);
        // A quarter of a gigabyte of memory, ten seconds of work.
        let (code, text) = sandbox.run_bounded(1_000_000, 10, &["check", "--offline"]);
        assert_eq!(code, Some(2), "{words}: {}", &text[..text.len().min(500)]);
        assert!(
            text.contains(words),
            "{words:?} is not in {}",
            &text[..text.len().min(500)]
        );
        assert!(text.len() < 100_000, "{} bytes are printed", text.len());
    }
}

#[test]
fn problems_far_out_on_a_line_are_shown() {
    let flows: String = (0..5_000)
        .map(|number| format!("f{number}: {{home: h{number}, store: s{number}}}, "))
        .collect();
    let ran = Sandbox::new(&format!(
        "flows: {{{flows} é: {{home: h, store: ö, unknwon: 1}}, y: {{home: h, store: s0}}}}\n"
    ))
    .run(&["check", "--offline"]);
    assert_eq!(ran.code, 2, "{}", &ran.text[..ran.text.len().min(500)]);
    assert!(
        ran.text.contains("─────\n")
            && ran.text.contains("store: ö, unknwon: 1}")
            && ran.text.contains("╰── not a key of this block"),
        "{}",
        ran.text
    );
    assert!(
        ran.text.contains("and this one's") && ran.text.len() < 3_000,
        "{}",
        ran.text
    );
}

#[test]
fn what_is_no_file_is_no_config() {
    let sandbox = Sandbox::new("");
    for device in ["/dev/zero", "/dev/null"] {
        let (code, text) =
            sandbox.run_bounded(1_000_000, 10, &["-f", device, "check", "--offline"]);
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains(&format!("{device} is no file, but a device")) && text.contains("hint: "),
            "{text}"
        );
    }
}

#[test]
fn thousands_of_problems_cost_no_more_than_their_number() {
    let flows: String = (0..3000)
        .map(|number| format!("  f{number}: {{home: h, store: same, unknown: {number}}}\n"))
        .collect();
    let sandbox = Sandbox::new(&format!("flows:\n{flows}"));
    let (code, text) = sandbox.run_bounded(1_000_000, 20, &["check", "--offline"]);
    assert_eq!(code, Some(2), "{}", &text[..500]);
    assert!(
        text.contains("5999 problems in hygge.yml") && text.contains("and 5899 more"),
        "{}",
        &text[text.len() - 500..]
    );
}
