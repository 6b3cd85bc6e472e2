//! Partitions of tables are read in other processes, in the moment of a session that the build
//! holds, and become parts of the same bytes.

mod postgres {
    use std::collections::BTreeMap;
    use std::fs;
    use std::sync::Arc;

    use crate::common::databases::{Database, Kind};
    use crate::common::executor::{ProcessExecutor, build};
    use crate::common::sandbox::Sandbox;

    const CONFIG: &str = "connections: {shop: {url: '${SHOP_URL}'}}\nflows:\n  orders:\n    \
        home: {connection: shop, table: orders, slice: {column: day, by: month}}\n    \
        store: {path: out, rows_per_file: 30}\n";

    const ROWS: &str = "CREATE TABLE orders \
        (id integer PRIMARY KEY, day date, name text, price numeric(10,2), paid boolean[]); \
        INSERT INTO orders SELECT n, CASE WHEN n % 97 > 0 THEN date '2026-01-01' + n % 120 END, \
        'name ' || n, n / 7.0, ARRAY[n % 2 = 0, NULL] FROM generate_series(1, 500) n";

    /// A database, and the variable by which projects find it: no server asks for the password.
    fn shop() -> (Database, BTreeMap<String, String>) {
        let database = Database::new(Kind::Postgres);
        database.run(ROWS);
        let url = database.url_of("postgres:open-sesame", database.port());
        (database, BTreeMap::from([("SHOP_URL".to_string(), url)]))
    }

    /// What a build makes by itself.
    fn own_build(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let own = Sandbox::new(CONFIG);
        let variable = [("SHOP_URL", variables["SHOP_URL"].as_str())];
        let ran = own.run_with(&variable, &["build"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        own.digests("out")
    }

    #[test]
    fn partitions_that_other_processes_read_are_of_the_moment_of_the_build() {
        let (database, variables) = shop();
        let own = own_build(&variables);
        let sandbox = Sandbox::new(CONFIG);
        let database = Arc::new(database);
        let changing = database.clone();
        let mut executor = ProcessExecutor::new(&sandbox, variables);
        // The build has seen the table by now.
        executor.before = Arc::new(move |number| {
            changing.run(&format!(
                "UPDATE orders SET name = 'changed', day = day + 40 WHERE id % 5 = {number} % 5; \
                 DELETE FROM orders WHERE id % 50 = {number}; \
                 INSERT INTO orders VALUES (1000 + {number}, '2026-02-02', 'new', 1, NULL)"
            ));
        });
        let (summary, failed) = build(&sandbox, &executor);
        assert_eq!((summary.built, failed), (1, Vec::new()));
        // Four months, and the rows without one; each month is several parts.
        assert_eq!(executor.count(), 5);
        assert!(own.len() > 15, "{own:?}");
        assert_eq!(sandbox.digests("out"), own);
        // What the next build sees is the table as it is now.
        assert_ne!(own_build(&executor.variables), own);
        for number in 0..executor.count() {
            let job = fs::read_to_string(executor.folder.join(format!("{number}.json")));
            let job = job.expect("a job");
            let has = |word| job.contains(word);
            assert!(has("\"connection\":\"shop\"") && has("orders"), "{job}");
            assert!(!has("open-sesame") && !has("postgres:"), "{job}");
        }
    }

    #[test]
    fn rows_that_another_process_hands_back_are_counted() {
        let (_database, variables) = shop();
        let sandbox = Sandbox::new(CONFIG);
        sandbox.write(
            "hygge.yml",
            CONFIG.replace("by: month}", "by: month}, probe: {columns: [id]}"),
        );
        let mut executor = ProcessExecutor::new(&sandbox, variables);
        // As many parts with as many rows, but for one.
        executor.after = |_, finished| finished[0].outputs[0].record.rows -= 1;
        let (_, failed) = build(&sandbox, &executor);
        assert!(failed[0].contains("rows"), "{failed:?}");
        executor.after = |_, finished| drop(finished.pop());
        let (_, failed) = build(&sandbox, &executor);
        assert!(failed[0].contains("has made something else"), "{failed:?}");
        assert!(!sandbox.path("out").exists());
        executor.after = |_, _| {};
        assert_eq!(build(&sandbox, &executor).1, Vec::<String>::new());
    }

    #[test]
    fn a_job_that_does_not_fit_is_refused() {
        let (database, variables) = shop();
        let sandbox = Sandbox::new(CONFIG);
        let executor = ProcessExecutor::new(&sandbox, variables);
        assert_eq!(build(&sandbox, &executor).1, Vec::<String>::new());
        let job = fs::read_to_string(executor.folder.join("1.json")).expect("a job");
        let url = executor.variables["SHOP_URL"].as_str();
        let refused = |job: &str, url: Option<&str>, said: &str| {
            sandbox.write("job.json", job);
            let variable = url.map(|url| ("SHOP_URL", url));
            let arguments = ["part", "--job", "job.json", "--into", "made"];
            let ran = sandbox.run_with(variable.as_slice(), &arguments);
            assert!(ran.code > 0, "{said}: {}", ran.text);
            assert!(ran.text.contains(said), "{said}: {}", ran.text);
            assert!(!ran.text.contains("open-sesame"), "{}", ran.text);
            assert_eq!(sandbox.digests("made/done").len(), 0, "{said}");
        };
        let replaced = |from: &str, to: &str| {
            assert!(job.contains(from), "{from}: {job}");
            job.replace(from, to)
        };
        // The build has ended, and the moment with it.
        refused(&job, Some(url), "join its snapshot");
        refused(&job, None, "SHOP_URL");
        refused(
            &job,
            Some(&url.replace(database.port(), "1")),
            "the connection shop leads to another database than it does where the job was written",
        );
        let config = sandbox.path("hygge.yml");
        let config = fs::canonicalize(config).expect("a config");
        let refused = |from: &str, to: &str, said: &str| {
            refused(&replaced(from, to), Some(url), said);
        };
        refused(
            "\"connection\":\"shop\"",
            "\"connection\":\"ship\"",
            &format!(
                "the job needs the connection ship, which {} does not have",
                config.display()
            ),
        );
        refused(
            "\"statement\":\"SELECT ",
            "\"statement\":\"SELECT 1) TO STDOUT; DROP TABLE orders; COPY (SELECT ",
            "more than one statement to read by",
        );
        assert_eq!(database.ask("SELECT count(*) FROM orders").trim(), "500");
        refused(
            "\"queue_size\":10",
            "\"queue_size\":0",
            "a queue of 0 batches",
        );
        refused(
            "\"snapshot\":\"",
            "\"snapshot\":\"'; ",
            "which is no name of one",
        );
        refused(
            "\"batch_rows\":16384",
            "\"batch_rows\":0",
            "batches of 0 rows",
        );
        refused(
            "\"becomes\":\"int32\"",
            "\"becomes\":\"int33\"",
            "the column id of the unknown type \"int33\"",
        );
        refused(
            "\"becomes\":\"int32\"",
            "\"becomes\":\"int64\"",
            "other columns than those that its parts are to have",
        );
        refused(
            "\"statement\":\"",
            "\"statement\":\"\\u0000",
            "no statement that could be read by",
        );
        refused("\"is_first\"", "\"was_first\"", "unknown field `was_first`");
        let path = config.display().to_string();
        refused(&path, "hygge.yml", "the relative path hygge.yml");
        refused(&path, "/nowhere/hygge.yml", "/nowhere/hygge.yml");
    }
}

mod sqlite {
    use std::collections::BTreeMap;

    use crate::common::databases::{Database, Kind};
    use crate::common::executor::{ProcessExecutor, build};

    /// No other process sees the moment of its session.
    #[test]
    fn partitions_are_read_by_the_build_itself() {
        let database = Database::new(Kind::Sqlite);
        database
            .run("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1), (2), (11)");
        let flow = "  t: {home: {connection: shop, table: t, slice: {column: id, by: 10}}, \
                    store: out}\n";
        let sandbox = database.project(flow);
        let executor = ProcessExecutor::new(&sandbox, BTreeMap::new());
        let (summary, failed) = build(&sandbox, &executor);
        assert_eq!((summary.built, failed), (1, Vec::new()));
        assert_eq!((executor.count(), sandbox.digests("out").len()), (0, 2));
    }
}
