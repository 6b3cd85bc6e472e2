//! Behind a pooler that gives each transaction another session: values are exact, and nothing is
//! left behind for others.

mod postgres {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::common::databases::{Database, Kind, Pooler};
    use crate::common::peers;
    use crate::common::sandbox::{Sandbox, built};

    /// How often the project is built; `HYGGE_POOLER_BUILDS=1000` for the full number.
    const BUILDS: usize = 6;

    /// What hygge sets for its own transactions, as the database has it for everybody.
    const OWN: [(&str, &str); 8] = [
        ("intervalstyle", "postgres_verbose"),
        ("datestyle", "SQL, DMY"),
        ("bytea_output", "escape"),
        ("timezone", "Asia/Tokyo"),
        ("extra_float_digits", "-2"),
        ("xmloption", "document"),
        ("synchronize_seqscans", "on"),
        ("statement_timeout", "5min"),
    ];

    /// Gives a database a setting for everybody who comes.
    fn set(database: &Database, name: &str, value: &str) {
        let statement = format!("ALTER DATABASE %I SET {name} = {value}").replace('\'', "''");
        database.run(&format!(
            "DO $$ BEGIN EXECUTE format('{statement}', current_database()); END $$"
        ));
    }

    /// A database whose settings decide how values are written.
    fn database() -> Database {
        let database = Database::new(Kind::Postgres);
        OWN.iter()
            .for_each(|(name, value)| set(&database, name, &format!("'{value}'")));
        database.run(
            "CREATE TABLE t (id integer PRIMARY KEY, i interval, r tstzrange, b bytea[], x xml); \
             INSERT INTO t SELECT n, make_interval(1, 2, 0, 3, 4), tstzrange('2026-01-02 \
             03:04:05+00', NULL), ARRAY['\\x00ff'::bytea], \
             xmlparse(CONTENT 'a<b/>') FROM generate_series(1, 400) AS n",
        );
        database
    }

    /// The settings as somebody else finds them, with the number of statements that were left
    /// prepared.
    fn asked() -> String {
        let names = OWN
            .map(|(name, _)| format!("current_setting('{name}')"))
            .join(" || '|' || ");
        format!(
            "SELECT {names} || '|' || (SELECT count(*) \
             FROM pg_prepared_statements), pg_sleep(0.002);"
        )
    }

    /// A table in slices, a query, and a table that is merged into, from texts that the server
    /// casts.
    fn project(database: &Database, fields: &str) -> Sandbox {
        let flows = "  a: {home: {connection: shop, table: t, slice: {column: id, by: 100}, probe: \
                       {columns: [id, i]}}, store: a}\n  \
                       b: {home: {connection: shop, query: 'select id, i, r from t order by id'}, \
                       store: b}\n  \
                       c: {home: {flow: a}, mode: merge, store: {connection: shop, table: copy, \
                       key: id, columns: {i: interval}}}\n";
        Sandbox::new(
            &database
                .config(flows)
                .replace("url:", &format!("{fields}url:")),
        )
    }

    fn lines(sandbox: &Sandbox, store: &str) -> Vec<String> {
        let mut lines = peers::rows(&sandbox.path(store)).lines();
        lines.sort();
        lines
    }

    fn copied(database: &Database) -> String {
        database.ask("SELECT count(*), md5(string_agg(c::text, E'\\n' ORDER BY id)) FROM copy c")
    }

    #[test]
    fn builds_are_equal_and_nothing_is_left_behind() {
        let direct = database();
        let plain = project(&direct, "");
        built(&plain);
        let wanted = ([lines(&plain, "a"), lines(&plain, "b")], copied(&direct));
        assert!(wanted.0[1][0].contains("P1Y2M3DT4H"), "{}", wanted.0[1][0]);
        direct.run("DROP TABLE copy, hygge_receipts");

        let pooler = Pooler::start(&["default_pool_size = 12"]);
        let sandbox = project(&direct.by(&pooler.port), "");
        let is_over = Arc::new(AtomicBool::new(false));
        let other = |_| {
            let (database, is_over) = (direct.by(&pooler.port), is_over.clone());
            std::thread::spawn(move || {
                let mut found = Vec::new();
                while found.is_empty() || !is_over.load(Ordering::Relaxed) {
                    found.extend(database.ask(&asked().repeat(40)).lines().map(String::from));
                    found.dedup();
                }
                found
            })
        };
        let others: Vec<_> = (0..4).map(other).collect();
        let mut first = None;
        let builds = std::env::var("HYGGE_POOLER_BUILDS")
            .map_or(BUILDS, |number| number.parse().expect("a number"));
        for number in 0..builds {
            let ran = sandbox.build(&["--force"]);
            assert_eq!(ran.code, 0, "build {number}: {}", ran.text);
            assert!(
                !ran.text.contains("flow_retrying"),
                "build {number}: {}",
                ran.text
            );
            let digests = [sandbox.digests("a"), sandbox.digests("b")];
            if number == 0 {
                assert_eq!([lines(&sandbox, "a"), lines(&sandbox, "b")], wanted.0);
            }
            let equal = first.get_or_insert_with(|| digests.clone());
            assert_eq!(
                (&digests, &copied(&direct)),
                (&*equal, &wanted.1),
                "build {number}"
            );
        }
        is_over.store(true, Ordering::Relaxed);
        let kept = OWN.map(|(_, value)| value).join("|") + "|0|";
        for found in others
            .into_iter()
            .flat_map(|other| other.join().expect("another client"))
        {
            assert_eq!(found, kept, "as another client finds it");
        }
    }

    /// A pooler with fewer sessions than would be asked for.
    #[test]
    fn a_pooler_without_room_is_read_by_one_session() {
        let database = database();
        let pooler = Pooler::start(&["default_pool_size = 2"]);
        let sandbox = project(&database.by(&pooler.port), "connect_timeout: 1s, ");
        built(&sandbox);
        assert_eq!(lines(&sandbox, "a").len(), 400);
        let ran = sandbox.build(&["--force"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
    }

    /// Out of a database into the same one, by a pooler that has one session: the home is let go
    /// before the table is filled.
    #[test]
    fn a_pooler_with_one_session_is_enough_for_both_ends() {
        let database = Database::new(Kind::Postgres);
        database.run(
            "CREATE TABLE t AS SELECT g AS id, 'n' || g AS name FROM generate_series(1, 300) g",
        );
        let pooler = Pooler::start(&["default_pool_size = 1"]);
        let flows = "  a: {home: {connection: shop, table: t}, store: {connection: shop, table: \
                     copy}, timeout: 2m, retries: 0}\n";
        let sandbox = Sandbox::new(
            &database
                .by(&pooler.port)
                .config(flows)
                .replace("url:", "connect_timeout: 5s, url:"),
        );
        built(&sandbox);
        assert_eq!(
            database.ask("SELECT count(*), sum(id), max(name) FROM copy"),
            database.ask("SELECT count(*), sum(id), max(name) FROM t")
        );
    }

    /// What nobody uses at the moment is no reason for a server to refuse who comes: flows take
    /// turns.
    #[test]
    fn two_flows_of_a_user_with_two_connections_are_built() {
        let database = Database::new(Kind::Postgres);
        let user = format!("two_{}", std::process::id());
        database.run(&format!(
            "CREATE ROLE {user} LOGIN CONNECTION LIMIT 2; GRANT ALL ON SCHEMA public TO {user}; \
             CREATE TABLE t AS SELECT g AS id, 'n' || g AS name FROM generate_series(1, 3000) g; \
             GRANT SELECT ON t TO {user}"
        ));
        let flow = |name: &str| {
            format!(
                "  {name}: {{home: {{connection: shop, table: t}}, store: {{connection: shop, \
                 table: {name}}}}}\n"
            )
        };
        let config = database
            .config(&(flow("a") + &flow("b")))
            .replace(&database.url(), &database.url_of(&user, database.port()));
        built(&Sandbox::new(
            &config.replace("url:", "connect_timeout: 5s, url:"),
        ));
        for table in ["a", "b"] {
            assert_eq!(
                database.ask(&format!("SELECT count(*), sum(id) FROM {table}")),
                database.ask("SELECT count(*), sum(id) FROM t")
            );
        }
    }

    /// What a user is limited to stays, unless the config says otherwise.
    #[test]
    fn the_settings_of_a_user_stay() {
        let database = Database::new(Kind::Postgres);
        let limits = [
            "statement_timeout = '90s'",
            "lock_timeout = '80s'",
            "idle_in_transaction_session_timeout = '70s'",
            "work_mem = '5MB'",
        ];
        for setting in limits
            .into_iter()
            .chain(["search_path = elsewhere, public"])
        {
            let (name, value) = setting.split_once(" = ").expect("a setting");
            set(&database, name, value);
        }
        database.run(
            "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t (id integer); \
             INSERT INTO elsewhere.t VALUES (7)",
        );
        let names = [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "work_mem",
            "search_path",
        ];
        let query = names
            .map(|name| format!("current_setting(''{name}'') as {name}"))
            .join(", ");
        let flows = format!(
            "  a: {{home: {{connection: shop, query: 'select {query}, id from t'}}, store: a}}\n  \
               b: {{home: {{flow: a}}, store: {{connection: shop, table: copy}}}}\n"
        );
        let sandbox = database.project(&flows);
        built(&sandbox);
        assert_eq!(
            lines(&sandbox, "a"),
            ["90s|80s|70s|5MB|elsewhere, public|7"]
        );
        assert_eq!(
            database.ask("SELECT schemaname FROM pg_tables WHERE tablename = 'copy'"),
            "elsewhere"
        );
        sandbox.write(
            "hygge.yml",
            database
                .config(&flows)
                .replace("url:", "statement_timeout: 3h, url:"),
        );
        let ran = sandbox.build(&["--force"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert_eq!(lines(&sandbox, "a"), ["3h|80s|70s|5MB|elsewhere, public|7"]);
    }
}
