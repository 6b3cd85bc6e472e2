//! Variables and connections: what is put in, what is asked for when, and what is never shown.

use std::fs;

use crate::common::sandbox::Sandbox;

#[test]
fn variables_come_from_the_environment_and_from_the_file_that_is_named() {
    let sandbox = Sandbox::new("flows: {a: {home: '${PLACE}', store: s}}");
    sandbox.write(".env", "PLACE=of_file\nOTHER='a b'\n");
    let home = |sandbox: &Sandbox, variables: &[(&str, &str)]| {
        let ran = sandbox.run_with(variables, &["check", "--offline", "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        ran.event("config")["config"]["flows"]["a"]["home"]["path"].as_str().expect("a path").rsplit('/').next().map(str::to_string)
    };
    let unset = sandbox.run(&["check", "--offline"]);
    assert_eq!(unset.code, 2);
    assert!(unset.text.contains("hygge.yml:1:19: the variable PLACE is not set"), "a file that is not named is not read: {}", unset.text);
    assert_eq!(home(&sandbox, &[("PLACE", "outside")]), Some("outside".into()));
    sandbox.write("hygge.yml", "options: {env_file: .env}\nflows: {a: {home: '${PLACE}', store: s}}");
    assert_eq!(home(&sandbox, &[]), Some("of_file".into()));
    assert_eq!(home(&sandbox, &[("PLACE", "outside")]), Some("outside".into()), "the environment goes before it");
    sandbox.write(".env", "A=1\nPLACE=hunter2 and more\n");
    let broken = sandbox.run(&["check", "--offline"]);
    assert_eq!(broken.code, 2);
    assert!(broken.text.contains("env_file .env, line 2 cannot be read") && !broken.text.contains("hunter2"), "{}", broken.text);
}

/// A config with a connection, run in every way that shows something.
fn shows(config: &str, variables: &[(&str, &str)]) -> String {
    let sandbox = Sandbox::new(config);
    sandbox.sample("north", "home/north.parquet");
    let commands: [&[&str]; 8] = [
        &["check"],
        &["check", "--format", "json"],
        &["check", "--offline"],
        &["build", "--dry-run"],
        &["build", "--format", "json"],
        &["why", "a"],
        &["graph", "--format", "json"],
        &["graph", "--format", "make"],
    ];
    let mut shown: String = commands.iter().map(|command| sandbox.run_with(variables, command).text).collect();
    for file in [".hygge-cache/index.db", ".hygge-cache/index.db-wal", ".hygge/store.json"] {
        shown.push_str(&String::from_utf8_lossy(&fs::read(sandbox.path(file)).unwrap_or_default()));
    }
    shown
}

#[test]
fn what_is_in_a_connections_url_is_never_shown() {
    let url = "postgres://bobby:hunter2@db.secret.example:5999/vault?sslkey=topsecret";
    let secrets = ["bobby", "hunter2", "db.secret.example", "5999", "vault", "topsecret"];
    let flows = "flows: {a: {home: home, store: store}}\n";
    let configs = [
        (format!("connections: {{shop: {{url: '{url}'}}}}\n{flows}"), vec![]),
        (format!("connections: {{shop: {{url: '${{SHOP}}'}}}}\n{flows}"), vec![("SHOP", url)]),
        (format!("connections: {{shop: {{url: '${{SHOP:-{url}}}'}}}}\n{flows}"), vec![]),
        (flows.to_string(), vec![("HYGGE_CONNECTION_SHOP", url)]),
        (format!("connections: {{shop: {{url: '${{SHOP:-{url}${{HOST}}'}}}}\n{flows}"), vec![]),
        (format!("connections: {{shop: {{url: 'postgres://bobby:hun${{ter2@db.secret.example:5999/vault'}}}}\n{flows}"), vec![]),
        ("connections: {shop: {url: 'host=db.secret.example user=bobby password=hunter2'}}\nflows: {a: {home: home, store: store}, b: {hom: x, store: y}}\n".to_string(), vec![]),
        ("connections: {shop: {url: '${U}'}}\nflows: {a: {home: home, store: store, needs: '${U}', tags: '${U}'}}\n".to_string(), vec![("U", url)]),
        (format!("connections: {{shop: {{url: &u '{url}'}}}}\nflows: {{a: {{home: home, store: store, tags: [*u]}}}}\n"), vec![]),
        ("x-u: &u {url: 'host=db.secret.example password=hunter2', bogus: 1}\nconnections: {shop: *u}\nflows: {a: {home: home, store: store, bogus: 1}}\n".to_string(), vec![]),
        ("x-u: &u 'host=db.secret.example password=hunter2'\nconnections: {shop: {url: *u}}\nname: *u\nflows: {a: {home: home, store: store}}\n".to_string(), vec![]),
        ("connections: {shop: {url: '${U}'}}\nname: '${U}'\nflows: {a: {home: home, store: store}}\n".to_string(), vec![("U", "host=db.secret.example password=hunter2")]),
        ("conections: {shop: {url: 'host=db.secret.example password=hunter2'}}\nflows: {a: {home: home, store: store}}\n".to_string(), vec![]),
        ("name: '${HYGGE_CONNECTION_SHOP}'\nflows: {a: {home: home, store: store}}\n".to_string(), vec![("HYGGE_CONNECTION_SHOP", url)]),
        ("connections: {shop: {url: 'bobby:hunter2@tcp(db.secret.example)/x'}}\nflows_dir: '${U}'\noptions: {env_file: '${U}'}\nflows: {a: {home: home, store: store}}\n".to_string(), vec![("U", "bobby:hunter2@tcp(db.secret.example)/x")]),
        ("conections:\n  shop:\n    url: bobby:hunter2@tcp(db.secret.example)/x\n    bad: \"[\nflows: {a: {home: home, store: store}}\n".to_string(), vec![]),
        ("connections:\n  shop:\n    url: \"bobby:hun\nter2@tcp(db.secret.example)/x\nflows: {a: {home: home, store: store}}\n".to_string(), vec![]),
        ("x-url: &u bobby:hunter2@tcp(db.secret.example)/x\n\tconnections: {shop: {url: *u}}\n".to_string(), vec![]),
        ("connections: {shop: {url: 'postgres://bobby:hunter2 hunter2@db.secret.example/x'}}\nflows: {a: {home: home, store: 'postgres://bobby:x hunter2@db.secret.example/x'}}\n".to_string(), vec![]),
        (format!("flows: {{a: {{home: home, dsn: 'postgres://bobby:hunter2@db.secret.example', zork: 1, store: store, tags: [{}]}}}}\n", "t, ".repeat(300)), vec![]),
        ("connections: {shop: {'bobby:hunter2@db.secret.example': 1}}\nflows: {a: {home: home, store: store}}\n".to_string(), vec![]),
        // Beside a problem, and as one.
        (format!("connections:\n  shop: {{url: '{url}', pool_size: many, urll: '{url}'}}\n{flows}"), vec![]),
        (format!("connections:\n  shop: '{url}'\n{flows}"), vec![]),
        (format!("connections:\n  shop: {{url: {url}\n{flows}"), vec![]),
        (format!("connections:\n  shop:\n    url: {url}\n    url: {url}2\n{flows}"), vec![]),
        (format!("connections: {{shop: {{url: ['{url}']}}}}\n{flows}"), vec![]),
        (format!("flows: {{a: {{home: home, store: store, needs: '{url}'}}}}\n"), vec![]),
    ];
    for (config, variables) in configs {
        let shown = shows(&config, &variables);
        assert!(shown.len() > 200, "{shown}");
        for secret in secrets {
            assert!(!says(&shown, secret), "{secret} is in\n{shown}\nof\n{config}");
        }
    }
}

/// True where a secret is shown; a number only where it is no piece of a digest or of a time.
fn says(shown: &str, secret: &str) -> bool {
    let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    shown.match_indices(secret).any(|(at, _)| {
        let beside = [shown[..at].chars().next_back(), shown[at + secret.len()..].chars().next()];
        !(is_number && beside.into_iter().flatten().any(|letter| letter.is_ascii_alphanumeric()))
    })
}

#[test]
fn secrets_in_further_files_are_covered_too() {
    for flow in [
        "home: 'me:hunter2@tcp(db)/x'\nstore: s\n",
        "home: 'me:hunter2@tcp(db)/x'\nstore: [s\n",
        "connections: {x: {url: 'me:hunter2@db'}}\nhome: h\nstor: s\n",
    ] {
        let sandbox = Sandbox::new("connections: {shop: {url: 'me:hunter2@tcp(db)/x'}}\n");
        sandbox.write("flows/x/flow.yml", flow);
        let ran = sandbox.run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{}", ran.text);
        assert!(!ran.text.contains("hunter2"), "{}", ran.text);
    }
}

#[test]
fn words_of_connections_may_stand_elsewhere() {
    let sandbox = Sandbox::new(
        "connections: {warehouse: {url: 'sqlite:${STAGE}.db'}}\nflows: {numbers: {home: data/numbers, store: 'out/${STAGE}'}}\n",
    );
    assert_eq!(sandbox.run_with(&[("STAGE", "production")], &["check", "--offline"]).code, 0);
}

#[test]
fn a_connection_is_asked_for_when_it_is_opened_and_not_before() {
    let sandbox =
        Sandbox::new("connections: {shop: {url: '${SHOP}'}, here: {url: 'sqlite:here.db'}}\nflows: {a: {home: home, store: store}}\n");
    sandbox.sample("north", "home/north.parquet");
    assert_eq!(sandbox.run(&["check", "--offline"]).code, 0);
    assert_eq!(sandbox.run(&["build", "--dry-run"]).code, 0);
    assert_eq!(sandbox.build(&[]).code, 0);
    let opened = sandbox.run(&["check"]);
    assert_eq!(opened.code, 1);
    assert!(opened.text.contains("connection shop: it cannot be opened: the variable SHOP is not set"), "{}", opened.text);
    assert!(opened.text.contains("connection here: there is no SQLite database at its path (connection here)"), "{}", opened.text);
    assert!(!sandbox.path("here.db").exists(), "nothing is made by looking");
    // An empty file is an empty database.
    sandbox.write("here.db", "");
    let opened = sandbox.run_with(&[("HYGGE_CONNECTION_SHOP", "sqlite::memory:")], &["check"]);
    assert_eq!(opened.code, 0, "{}", opened.text);
    assert!(opened.text.contains("connection here: answers (") && opened.text.contains("connection shop: answers ("), "{}", opened.text);
}
