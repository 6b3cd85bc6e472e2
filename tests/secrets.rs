//! Variables and connections: what is put in, what is asked for when, and what is never shown.

use std::fs;
use std::path::Path;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers;
use crate::common::sandbox::Sandbox;

#[test]
fn variables_come_from_the_environment_and_from_the_file_that_is_named() {
    let sandbox = Sandbox::new("flows: {a: {home: '${PLACE}', store: s}}");
    sandbox.write(".env", "PLACE=of_file\nOTHER='a b'\n");
    let home = |sandbox: &Sandbox, variables: &[(&str, &str)]| {
        let ran = sandbox.run_with(variables, &["check", "--offline", "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        ran.event("config")["config"]["flows"]["a"]["home"]["path"]
            .as_str()
            .expect("a path")
            .rsplit('/')
            .next()
            .map(str::to_string)
    };
    let unset = sandbox.run(&["check", "--offline"]);
    assert_eq!(unset.code, 2);
    assert!(
        unset
            .text
            .contains("hygge.yml:1:19: the variable PLACE is not set"),
        "a file that is not named is not read: {}",
        unset.text
    );
    assert_eq!(
        home(&sandbox, &[("PLACE", "outside")]),
        Some("outside".into())
    );
    sandbox.write(
        "hygge.yml",
        "options: {env_file: .env}\nflows: {a: {home: '${PLACE}', store: s}}",
    );
    assert_eq!(home(&sandbox, &[]), Some("of_file".into()));
    assert_eq!(
        home(&sandbox, &[("PLACE", "outside")]),
        Some("outside".into()),
        "the environment goes before it"
    );
    sandbox.write(".env", "A=1\nPLACE=hunter2 and more\n");
    let broken = sandbox.run(&["check", "--offline"]);
    assert_eq!(broken.code, 2);
    assert!(
        broken.text.contains("env_file .env, line 2 cannot be read")
            && !broken.text.contains("hunter2"),
        "{}",
        broken.text
    );
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
    let mut shown: String = commands
        .iter()
        .map(|command| sandbox.run_with(variables, command).text)
        .collect();
    for file in [
        ".hygge-cache/index.db",
        ".hygge-cache/index.db-wal",
        ".hygge/store.json",
    ] {
        shown.push_str(&String::from_utf8_lossy(
            &fs::read(sandbox.path(file)).unwrap_or_default(),
        ));
    }
    shown
}

#[test]
fn what_is_in_a_connections_url_is_never_shown() {
    let url = "postgres://bobby:hunter2@db.secret.example:5999/vault?sslkey=topsecret";
    let secrets = [
        "bobby",
        "hunter2",
        "db.secret.example",
        "5999",
        "vault",
        "topsecret",
    ];
    let flows = "flows: {a: {home: home, store: store}}\n";
    let configs = [
        (format!("connections: {{shop: {{url: '{url}'}}}}\n{flows}"), vec![]),
        (format!("connections: {{shop: {{url: '${{SHOP}}'}}}}\n{flows}"), vec![("SHOP", url)]),
        (format!("connections: {{shop: {{url: '${{SHOP:-{url}}}'}}}}\n{flows}"), vec![]),
        (flows.to_string(), vec![("HYGGE_CONNECTION_SHOP", url)]),
        (format!("connections: {{shop: {{url: '${{SHOP:-{url}${{HOST}}'}}}}\n{flows}"), vec![]),
        (format!("connections: {{shop: {{url: 'postgres://bobby:hun${{ter2@db.secret.example:5999/vault'}}}}\n{flows}"), vec![]),
        ("connections: {shop: {url: 'host=db.secret.example user=bobby password=hunter2'}}\nflows: {a: {home: home, store: store}, b: {hom: x, store: y}}\n".to_string(), vec![]),
        ("connections: {shop: {url: '${U}'}}\nflows: {a: {home: home, store: store, needs: '${U}', \
          tags: '${U}'}}\n".to_string(), vec![("U", url)]),
        (format!("connections: {{shop: {{url: &u '{url}'}}}}\n\
                  flows: {{a: {{home: home, store: store, tags: [*u]}}}}\n"), vec![]),
        ("x-u: &u {url: 'host=db.secret.example password=hunter2', bogus: 1}\n\
          connections: {shop: *u}\nflows: {a: {home: home, store: store, bogus: 1}}\n".to_string(), vec![]),
        ("x-u: &u 'host=db.secret.example password=hunter2'\nconnections: {shop: {url: *u}}\n\
          name: *u\nflows: {a: {home: home, store: store}}\n".to_string(), vec![]),
        ("connections: {shop: {url: '${U}'}}\nname: '${U}'\n\
          flows: {a: {home: home, store: store}}\n".to_string(), vec![("U", "host=db.secret.example password=hunter2")]),
        ("conections: {shop: {url: 'host=db.secret.example password=hunter2'}}\n\
          flows: {a: {home: home, store: store}}\n".to_string(), vec![]),
        ("name: '${HYGGE_CONNECTION_SHOP}'\nflows: {a: {home: home, store: store}}\n".to_string(), vec![("HYGGE_CONNECTION_SHOP", url)]),
        ("connections: {shop: {url: 'bobby:hunter2@tcp(db.secret.example)/x'}}\nflows_dir: '${U}'\noptions: {env_file: '${U}'}\nflows: {a: {home: home, store: store}}\n".to_string(), vec![("U", "bobby:hunter2@tcp(db.secret.example)/x")]),
        ("conections:\n  shop:\n    url: bobby:hunter2@tcp(db.secret.example)/x\n    bad: \"[\n\
          flows: {a: {home: home, store: store}}\n".to_string(), vec![]),
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
            assert!(
                !says(&shown, secret),
                "{secret} is in\n{shown}\nof\n{config}"
            );
        }
    }
}

/// True where a secret is shown; a number only where it is no piece of a digest or of a time.
fn says(shown: &str, secret: &str) -> bool {
    let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    shown.match_indices(secret).any(|(at, _)| {
        let beside = [
            shown[..at].chars().next_back(),
            shown[at + secret.len()..].chars().next(),
        ];
        !(is_number
            && beside
                .into_iter()
                .flatten()
                .any(|letter| letter.is_ascii_alphanumeric()))
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
        "connections: {warehouse: {url: 'sqlite:${STAGE}.db'}}\n\
         flows: {numbers: {home: data/numbers, store: 'out/${STAGE}'}}\n",
    );
    assert_eq!(
        sandbox
            .run_with(&[("STAGE", "production")], &["check", "--offline"])
            .code,
        0
    );
}

#[test]
fn a_connection_is_asked_for_when_it_is_opened_and_not_before() {
    let sandbox = Sandbox::new(
        "connections: {shop: {url: '${SHOP}'}, here: {url: 'sqlite:here.db'}}\n\
         flows: {a: {home: home, store: store}, b: {home: {connection: shop, table: t}, store: \
         b}}\n",
    );
    sandbox.sample("north", "home/north.parquet");
    assert_eq!(sandbox.run(&["check", "--offline"]).code, 0);
    assert_eq!(sandbox.run(&["build", "a", "--dry-run"]).code, 0);
    assert_eq!(sandbox.build(&["a"]).code, 0);
    let opened = sandbox.run(&["check"]);
    assert_eq!(opened.code, 1);
    assert!(
        opened
            .text
            .contains("connection shop: it cannot be opened: the variable SHOP is not set"),
        "{}",
        opened.text
    );
    assert!(
        opened
            .text
            .contains("connection here: no flow uses it, and its file is not there"),
        "{}",
        opened.text
    );
    assert!(
        !sandbox.path("here.db").exists(),
        "nothing is made by looking"
    );
    // An empty file is an empty database.
    sandbox.write("here.db", "");
    sandbox.write(
        "hygge.yml",
        "connections: {shop: {url: '${SHOP}'}, here: {url: 'sqlite:here.db'}}\n\
         flows: {a: {home: home, store: store}}\n",
    );
    let unused = sandbox.run(&["check"]);
    assert!(
        unused.code == 0
            && unused
                .text
                .contains("no flow uses it, and the variable SHOP is not set"),
        "{}",
        unused.text
    );
    let opened = sandbox.run_with(&[("HYGGE_CONNECTION_SHOP", "sqlite::memory:")], &["check"]);
    assert_eq!(opened.code, 0, "{}", opened.text);
    assert!(
        opened.text.contains("connection here: answers (")
            && opened.text.contains("connection shop: answers ("),
        "{}",
        opened.text
    );
}

/// Every command that shows something of a config.
const COMMANDS: &[&[&str]] = &[
    &["check"],
    &["check", "--offline"],
    &["check", "--format", "json"],
    &["build", "--dry-run"],
    &["build", "--check", "--format", "json"],
    &["build"],
    &["build", "--format", "json"],
    &["why", "a"],
    &["why", "a", "--format", "json"],
    &["log"],
    &["log", "a", "--format", "json"],
    &["restore", "a"],
    &["graph", "--format", "json"],
    &["graph", "--format", "dot"],
    &["graph", "--format", "make"],
    &["cache", "stats"],
    &["clean", "--stores", "a"],
];

/// The files below a folder that have a text in them.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let script = "import os, sys\n\
                  for folder, _, names in os.walk(sys.argv[1]):\n\
                  \x20   for name in names + [folder]:\n\
                  \x20       path = os.path.join(folder, name)\n\
                  \x20       if os.path.isfile(path) and sys.argv[2].encode() in open(path, \
                  'rb').read() or sys.argv[2] in name: print(path)\n";
    let ran = peers::run(script, &[folder.as_os_str(), text.as_ref()]);
    assert_success(&ran);
    String::from_utf8_lossy(&ran.stdout)
        .lines()
        .map(str::to_string)
        .collect()
}

/// A database that can be read, and so leaves receipts.
fn lite(sandbox: &Sandbox) {
    let made = peers::run(
        "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n\
         db.execute('create table t (x int)')\ndb.execute('insert into t values (1)')\ndb.commit()",
        &[sandbox.path("a.db").as_os_str()],
    );
    assert!(made.status.success());
}

#[test]
fn what_a_connection_is_made_of_is_a_secret_wherever_else_it_stands() {
    const VALUE: &str = "hunter2secretPW";
    let url = format!("postgres://bob:{VALUE}@127.0.0.1:1/db");
    let url = url.as_str();
    let whole = [("PW", VALUE), ("SHOP", url)];
    // What the connection says, and the variables.
    let connections: [(&str, &[(&str, &str)]); 10] = [
        (
            "{url: 'postgres://bob:${PW}@127.0.0.1:1/db'}",
            &[("PW", VALUE)],
        ),
        (
            "{url: 'postgres://${PW}:x@127.0.0.1:1/db'}",
            &[("PW", VALUE)],
        ),
        ("{url: 'mysql://bob:x@${PW}:1/db'}", &[("PW", VALUE)]),
        ("{url: 'mysql://bob:x@127.0.0.1:1/${PW}'}", &[("PW", VALUE)]),
        (
            "{url: 'postgres://127.0.0.1:1/db?user=bob&password=${PW}'}",
            &[("PW", VALUE)],
        ),
        (
            "{url: 'postgres://bob:x${PW}${NONE:-}@127.0.0.1:1/db'}",
            &[("PW", VALUE)],
        ),
        (
            "{url: 'postgres://bob:x@127.0.0.1:1/db', sslrootcert: '${PW}/ca.pem'}",
            &[("PW", VALUE)],
        ),
        ("{url: '${SHOP}'}", &whole),
        ("{}", &[("HYGGE_CONNECTION_SHOP", url), ("PW", VALUE)]),
        // Of a file.
        ("{url: 'postgres://bob:${PW}@127.0.0.1:1/db'}", &[]),
    ];
    let places = [
        "a: {home: {connection: lite, query: \"select x from t where 'password=${PW}' <> ''\"}, \
         store: out}",
        "a: {home: {connection: lite, table: t, where: \"'${PW}' <> ''\"}, store: out}",
        "a: {home: {connection: lite, table: t, probe: {query: \"select '${PW}'\"}}, store: out}",
        "a: {home: {connection: lite, table: t}, store: {path: 'out/x-${PW}'}}",
        "a: {home: {connection: lite, table: t}, store: {path: out, file_pattern: \
         '${PW}-{sequence}'}}",
        "a: {home: {connection: lite, table: t}, store: out, tags: [x, '${PW}']}",
        "a: {home: {connection: lite, table: t}, store: {connection: lite, table: u, delete_where: \
         \"'${PW}' = ''\"}}",
    ];
    for (number, (connection, variables)) in connections.into_iter().enumerate() {
        let place = places[number % places.len()];
        for flow in [
            places[0],
            place,
            "a: {home: {connection: lite, table: t}, store: out}\nname: '${PW}'",
        ] {
            let sandbox = Sandbox::new("");
            lite(&sandbox);
            let env_file = if variables.is_empty() {
                "options: {env_file: my.env}\n"
            } else {
                ""
            };
            let flow = match flow.split_once('\n') {
                Some((flow, rest)) => format!("{rest}\nflows:\n  {flow}\n"),
                None => format!("flows:\n  {flow}\n"),
            };
            sandbox.write(
                "hygge.yml",
                format!(
                    "{env_file}connections:\n  shop: {connection}\n  lite: {{url: 'sqlite:a.db'}}\n\
                     {flow}"
                ),
            );
            if variables.is_empty() {
                sandbox.write("my.env", format!("PW={VALUE}\n"));
            }
            for command in COMMANDS {
                let ran = sandbox.run_with(variables, command);
                assert!(
                    !ran.text.contains("hunter2"),
                    "{command:?} shows it: {}\nof {connection} and {flow}",
                    ran.text
                );
                assert_eq!(
                    ran.code, 2,
                    "{command:?} of {connection} and {flow}: {}",
                    ran.text
                );
                assert!(
                    ran.text.contains("PW"),
                    "the variable is named: {}",
                    ran.text
                );
            }
            let stored = files_with(&sandbox.path(""), VALUE);
            assert!(
                stored.iter().all(|file| file.ends_with("my.env")),
                "{stored:?}"
            );
        }
    }
}

#[test]
fn a_password_that_is_written_out_elsewhere_is_refused_and_covered() {
    let query = "a: {home: {connection: lite, query: \"select x from t where \
                 'password=hunter2secretPW' <> ''\"}, store: out}";
    for (connection, variables) in [
        (
            "{url: 'postgres://bob:hunter2secretPW@127.0.0.1:1/db'}",
            vec![],
        ),
        (
            "{url: '${SHOP}'}",
            vec![("SHOP", "postgres://bob:hunter2secretPW@127.0.0.1:1/db")],
        ),
        (
            "{url: 'mysql://bob:${PW:-hunter2secretPW}@127.0.0.1:1/db'}",
            vec![],
        ),
        (
            "{url: 'mysql://bob:hunter2secret%50W@127.0.0.1:1/db'}",
            vec![],
        ),
    ] {
        let config = format!(
            "connections:\n  shop: {connection}\n  lite: {{url: 'sqlite:a.db'}}\nflows:\n  \
             {query}\n"
        );
        let sandbox = Sandbox::new(&config);
        lite(&sandbox);
        let inputs = files_with(&sandbox.path(""), "hunter2");
        for command in COMMANDS {
            let ran = sandbox.run_with(&variables, command);
            assert!(
                ran.code == 2 && !ran.text.contains("hunter2"),
                "{command:?} of {config}: {}",
                ran.text
            );
            assert!(
                ran.text
                    .contains("the password of a connection stands outside connections"),
                "{}",
                ran.text
            );
        }
        assert_eq!(files_with(&sandbox.path(""), "hunter2"), inputs);
    }
    // A word that is no secret where it stands is none elsewhere, and neither is a short one.
    for url in [
        "postgres://postgres:postgres@127.0.0.1:1/postgres",
        "postgres://bob:data@127.0.0.1:1/x",
        "mysql://root:${STAGE}@127.0.0.1:1/x",
    ] {
        let sandbox = Sandbox::new(&format!(
            "connections: {{shop: {{url: '{url}'}}}}\n\
             flows: {{a: {{home: data/postgres, store: 'out/${{STAGE}}'}}}}\n"
        ));
        let ran = sandbox.run_with(&[("STAGE", "prod")], &["check", "--offline"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
    }
}

#[test]
fn only_whole_secrets_are_covered_in_what_servers_say() {
    let said = |url: &str, variables: &[(&str, &str)]| {
        let sandbox = Sandbox::new(&format!(
            "connections: {{shop: {{url: '{url}'}}}}\n\
             flows: {{a: {{home: {{connection: shop, table: t}}, store: out, retries: 0}}}}\n"
        ));
        let ran = sandbox.run_with(variables, &["check"]);
        assert_eq!(ran.code, 1, "{}", ran.text);
        ran.text
    };
    for kind in [Kind::Postgres, Kind::MySql] {
        let database = Database::new(kind);
        let user = if kind == Kind::Postgres {
            "postgres"
        } else {
            "root"
        };
        let scheme = if kind == Kind::Postgres {
            "postgres"
        } else {
            "mysql"
        };
        let place = format!("127.0.0.1:{}", database.port());
        let text = said(&format!("{scheme}://{user}@{place}/nowhere"), &[]);
        assert!(
            text.contains("nowhere") && text.contains("check the name of the database in its URL"),
            "{text}"
        );
        let text = said(
            &format!("{scheme}://{user}@{place}/${{DB}}"),
            &[("DB", "nowhere")],
        );
        assert!(
            !text.contains("nowhere") && text.contains("check the name of the database in its URL"),
            "{text}"
        );
        let text = said(&format!("{scheme}://nobody_here@{place}/x"), &[]);
        assert!(
            !text.contains("nobody_here") && text.contains("[redacted]"),
            "{text}"
        );
        // A password that ends early: no piece of it is shown, and what to do is said.
        for password in ["p@ss/w#rd", "p/ass@h", "p?ssw@rd", "pa#ss"] {
            let text = said(&format!("{scheme}://bob:{password}@db.invalid/x"), &[]);
            assert!(
                text.contains("ends its user or its password early")
                    && text.contains("write %40 for @"),
                "{text}"
            );
            assert!(
                !text.contains(&password[2..]) && !text.contains("addre[redacted]"),
                "{text}"
            );
        }
    }
    let text = said("postgres://bob:ss@db.invalid/many", &[]);
    assert!(
        text.contains("failed to lookup address information"),
        "{text}"
    );
}

#[test]
fn a_variable_that_is_not_set_is_said_by_its_name() {
    let sandbox = Sandbox::new(
        "connections: {s: {url: '${SHOP_URL}'}, t: {url: 'sqlite:${SHOP_FILE}'}}\nflows:\n  \
         f: {home: {connection: s, table: t}, store: out/f}\n  \
         g: {home: out/f, store: {connection: t, table: u}}\n",
    );
    lite(&sandbox);
    let set = [("SHOP_URL", "sqlite:a.db"), ("SHOP_FILE", "b.db")];
    assert_eq!(sandbox.run_with(&set, &["build"]).code, 0);
    let made = sandbox.digests("out/f");
    for (name, flow) in [("SHOP_URL", "f"), ("SHOP_FILE", "g")] {
        let others: Vec<_> = set
            .iter()
            .copied()
            .filter(|(other, _)| *other != name)
            .collect();
        let said = format!("the variable {name} is not set");
        for (arguments, code) in [
            (&["build", "--dry-run"][..], 1),
            (&["build", "--dry-run", "--format", "json"], 1),
            (&["build", flow, "--only", "--check"], 1),
            (&["build"], 1),
            (&["why", flow], 1),
            (&["why", flow, "--format", "json"], 1),
            (&["check"], 1),
            (&["check", "--offline"], 0),
        ] {
            let ran = sandbox.run_with(&others, arguments);
            assert!(
                ran.code == code && ran.text.contains(&said),
                "{arguments:?} gives {}: {}",
                ran.code,
                ran.text
            );
            assert!(
                !ran.text.contains("home.database was"),
                "{arguments:?}: {}",
                ran.text
            );
        }
    }
    assert_eq!(sandbox.digests("out/f"), made, "nothing was changed");
}

#[test]
fn an_empty_variable_makes_no_other_path() {
    let flow =
        |home: &str, store: &str| format!("flows: {{n: {{home: '{home}', store: '{store}'}}}}\n");
    let cases = [
        (flow("home", "${OUT}/x"), "OUT"),
        (flow("${IN}/home", "out"), "IN"),
        (flow("home", "${A}${B}/x"), "B"),
        (flow("home", "${OUT:-}/x"), "OUT"),
        (flow("home", "out/${A}"), "A"),
        (flow("home", "out/${A}/x"), "A"),
        (flow("home", "${OUT}"), "OUT"),
        (
            "homes: {h: '${IN}/home'}\nflows: {n: {home: h, store: out}}\n".into(),
            "IN",
        ),
        (
            "stores: {h: {path: '${OUT}/home'}}\nflows: {n: {home: home, store: {use: h}}}\n"
                .into(),
            "OUT",
        ),
        (
            format!(
                "options: {{cache: {{dir: '${{OUT}}/cache'}}}}\n{}",
                flow("home", "out")
            ),
            "OUT",
        ),
        (
            format!(
                "options: {{env_file: '${{OUT}}/my.env'}}\n{}",
                flow("home", "out")
            ),
            "OUT",
        ),
        (
            format!("flows_dir: '${{OUT}}/flows'\n{}", flow("home", "out")),
            "OUT",
        ),
        (
            "flows: {n: {store: out, entities: {from: '${IN}/home/*'}}}\n".into(),
            "IN",
        ),
    ];
    for (config, name) in cases {
        let sandbox = Sandbox::new(&config);
        sandbox.sample("north", "home/north.parquet");
        for command in [&["check", "--offline"][..], &["build"]] {
            let ran = sandbox.run_with(&[("OUT", ""), ("IN", ""), ("A", ""), ("B", "")], command);
            assert!(
                ran.code == 2 && ran.text.contains(&format!("the variable {name} is empty")),
                "{config}: {}",
                ran.text
            );
        }
    }
    for url in [
        "sqlite:${OUT}/a.db",
        "sqlite://${OUT}/a.db?mode=ro",
        "sqlite:${A}${B}",
    ] {
        let sandbox = Sandbox::new(&format!(
            "connections: {{s: {{url: '{url}'}}}}\nflows: {{n: {{home: {{connection: s, table: \
             t}}, store: out}}}}\n"
        ));
        let ran = sandbox.run_with(&[("OUT", ""), ("A", ""), ("B", "")], &["build"]);
        assert!(
            ran.code == 1
                && ran
                    .text
                    .contains("connection s cannot be opened: the variable"),
            "{url}: {}",
            ran.text
        );
        assert!(ran.text.contains("is empty"), "{url}: {}", ran.text);
    }
    // One that may be empty, and one that is a piece of a name.
    let sandbox = Sandbox::new(&flow("home${A}", "out/${A:-}/x${B}"));
    sandbox.sample("north", "home/north.parquet");
    assert_eq!(
        sandbox.run_with(&[("A", ""), ("B", "")], &["build"]).code,
        0
    );
    assert!(sandbox.path("out/x").exists());
}

/// Of a file of variables too, everything is known to be a secret before anything is shown.
#[test]
fn no_text_is_shown_before_the_secrets_of_the_file_of_variables_are_known() {
    let uses = [
        "flows_dir: '${PW}'\n",
        "flows_dir: 'x${PW}'\n",
        "flows_dir: '${URL}'\n",
        "flows_dir: '${HYGGE_CONNECTION_LITE}'\n",
    ];
    for (number, line) in uses.iter().enumerate() {
        let sandbox = Sandbox::new(&format!(
            "options: {{env_file: my.env}}\n{line}connections:\n  \
             shop: {{url: 'postgres://bob:${{PW}}@127.0.0.1:1/db'}}\n  \
             other: {{url: '${{URL}}'}}\n\
             flows:\n  a: {{home: home, store: out}}\n"
        ));
        sandbox.sample("north", "home/a.parquet");
        sandbox.write(
            "my.env",
            "PW=hunter2secretPW\nURL=postgres://bob:hunter2secretPW@127.0.0.1:1/db\nHYGGE_CONNECTION_LITE=postgres://bob:hunter2secretPW@127.0.0.1:1/x\n",
        );
        for command in [
            &["check", "--offline"][..],
            &["build", "--dry-run"],
            &["graph", "--format", "make"],
        ] {
            let ran = sandbox.run(command);
            assert!(
                !ran.text.contains("hunter2"),
                "{number}, {command:?} shows it: {}",
                ran.text
            );
            assert_eq!(ran.code, 2, "{number}, {command:?}: {}", ran.text);
        }
    }
}

#[test]
fn a_file_of_variables_takes_neither_all_memory_nor_all_day() {
    let sandbox =
        Sandbox::new("options: {env_file: my.env}\nflows: {a: {home: home, store: out}}\n");
    sandbox.sample("north", "home/a.parquet");
    let double: String = (1..64)
        .map(|number| format!("V{number}=${{V{}}}${{V{}}}\n", number - 1, number - 1))
        .collect();
    let one_line = format!("V0={}\nV1={}\n", "x".repeat(100_000), "$V0".repeat(100_000));
    for (text, said) in [
        (
            format!("V0=xxxxxxxxxxxxxxxx\n{double}"),
            "its values have more than 16 MiB",
        ),
        (one_line, "line 2: its values have more than 16 MiB"),
        (
            "bad line\n".repeat(400_000),
            "env_file my.env, line 1 cannot be read",
        ),
        (
            "A='1\n2'\nbad\nB=2\n".to_string(),
            "env_file my.env, line 3 cannot be read",
        ),
        (
            "A=1\n\n# x\nB='1\n2\n".to_string(),
            "env_file my.env, line 4 cannot be read",
        ),
    ] {
        sandbox.write("my.env", text);
        let (code, shown) = sandbox.run_bounded(2_000_000, 20, &["check", "--offline"]);
        assert!(
            code == Some(2) && shown.contains(said),
            "{code:?}: {}",
            shown.chars().take(2000).collect::<String>()
        );
        assert!(shown.matches("cannot be read").count() <= 10);
    }
    sandbox.write(
        "my.env",
        format!("A=1\nB='{}\n'\nC=$A$A\n", "x".repeat(1 << 20)),
    );
    let (code, shown) = sandbox.run_bounded(2_000_000, 20, &["check", "--offline"]);
    assert_eq!(code, Some(0), "{shown}");
}
