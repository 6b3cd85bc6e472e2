//! Databases of one's own: a SQLite file, or a database on one of the servers that `tests/run`
//! starts.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::assert_success;

use super::peers;
use super::sandbox::Sandbox;

/// A kind of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MySql,
}

/// A database that nobody else uses.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    name: String,
    port: String,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Database {
    /// An empty one.
    pub(crate) fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("shop.db");
        let port = match kind {
            Kind::Sqlite => String::new(),
            Kind::Postgres => port("HYGGE_TEST_POSTGRES"),
            Kind::MySql => port("HYGGE_TEST_MYSQL"),
        };
        Self::on(kind, port, file, folder)
    }

    fn on(kind: Kind, port: String, file: PathBuf, folder: tempfile::TempDir) -> Self {
        let name = format!(
            "test_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let database = Self {
            kind,
            name,
            port,
            file,
            _folder: folder,
        };
        match kind {
            Kind::Sqlite => database.run("PRAGMA journal_mode = wal"),
            Kind::Postgres => {
                database.run_in("postgres", &format!("CREATE DATABASE {}", database.name))
            }
            Kind::MySql => database.run_in(
                "mysql",
                &format!("CREATE DATABASE {} CHARACTER SET utf8mb4", database.name),
            ),
        }
        database
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        match self.kind {
            Kind::Sqlite => format!("sqlite:{}", self.file.display()),
            Kind::Postgres => self.url_of("postgres", &self.port),
            Kind::MySql => self.url_of("root", &self.port),
        }
    }

    /// Its URL for another user, or by another port.
    pub(crate) fn url_of(&self, user: &str, port: &str) -> String {
        let scheme = if self.kind == Kind::Postgres {
            "postgres"
        } else {
            "mysql"
        };
        format!("{scheme}://{user}@127.0.0.1:{port}/{}", self.name)
    }

    /// The file of a SQLite database.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The port of its server.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    /// A project with this flow, or these flows, and the connection `shop`.
    pub(crate) fn project(&self, flows: &str) -> Sandbox {
        Sandbox::new(&self.config(flows))
    }

    /// Its config.
    pub(crate) fn config(&self, flows: &str) -> String {
        format!(
            "connections:\n  shop: {{url: \"{}\"}}\nflows:\n{flows}",
            self.url()
        )
    }

    /// The same database by another port of this machine.
    pub(crate) fn by(&self, port: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            kind: self.kind,
            name: self.name.clone(),
            port: port.to_string(),
            file: self.file.clone(),
            _folder: folder,
        }
    }

    /// Runs statements.
    pub(crate) fn run(&self, sql: &str) {
        self.run_in(&self.name, sql);
    }

    /// Runs statements; false where one fails.
    pub(crate) fn try_run(&self, sql: &str) -> bool {
        self.client(&self.name, sql).status.success()
    }

    fn run_in(&self, database: &str, sql: &str) {
        let ran = self.client(database, sql);
        assert!(
            ran.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }

    /// The answer to a query: rows with a line each, values with a `|` between them.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let ran = self.client(&self.name, sql);
        assert!(
            ran.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        String::from_utf8_lossy(&ran.stdout).trim_end().to_string()
    }

    /// A session of a client that stays open.
    pub(crate) fn session(&self) -> Session {
        let mut command = self.command(&self.name);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a client");
        Session { child }
    }

    /// A session in which these statements were run, and which stays open.
    pub(crate) fn hold(&self, sql: &str) -> Session {
        let (mut command, end) = match self.kind {
            Kind::Sqlite => {
                let script = "import sqlite3, sys\n\
                              db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                              db.execute(sys.argv[2])\n\
                              print('held', flush=True)\n\
                              sys.stdin.read()\n";
                let mut command = peers::command(script);
                command.arg(&self.file).arg(sql);
                (command, "")
            }
            Kind::Postgres => (self.command(&self.name), "SELECT 'held';\n"),
            Kind::MySql => {
                let mut command = self.command(&self.name);
                command.arg("--unbuffered");
                (command, "SELECT 'held';\n")
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a client");
        if !end.is_empty() {
            let pipe = child.stdin.as_mut().expect("a pipe");
            write!(pipe, "{sql};\n{end}")
                .and_then(|()| pipe.flush())
                .expect("what is written");
        }
        let said = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(
            said.map_while(Result::ok).any(|line| line.contains("held")),
            "{sql} was not run"
        );
        Session { child }
    }

    /// The client of another maker.
    fn client(&self, database: &str, sql: &str) -> Output {
        if self.kind == Kind::Sqlite {
            // SQLite itself reads a number with a point from its digits only nearly.
            let script = "import sqlite3, struct, sys\n\
                          db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                          db.create_function('float_of_bits', 1, lambda bits: struct.unpack('>d', \
                          bytes.fromhex(bits))[0])\n\
                          statements, open_ = [], ''\n\
                          for piece in sys.argv[2].split(';'):\n\
                          \x20   open_ += piece + ';'\n\
                          \x20   if sqlite3.complete_statement(open_):\n\
                          \x20       statements.append(open_); open_ = ''\n\
                          for statement in statements:\n\
                          \x20   for row in db.execute(statement):\n\
                          \x20       print('|'.join('' if v is None else str(v) for v in row))\n";
            return peers::run(script, &[self.file.as_os_str(), sql.as_ref()]);
        }
        let mut command = self.command(database);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a client");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(sql.as_bytes())
            .expect("what is written");
        let mut output = child.wait_with_output().expect("an end");
        if self.kind == Kind::MySql {
            output.stdout = String::from_utf8_lossy(&output.stdout)
                .replace('\t', "|")
                .into_bytes();
        }
        output
    }

    /// A client of a server that takes statements.
    fn command(&self, database: &str) -> Command {
        match self.kind {
            Kind::Sqlite => panic!("SQLite has no server"),
            Kind::Postgres => {
                let mut command = Command::new("psql");
                command.args([
                    "-X",
                    "-q",
                    "-A",
                    "-t",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "postgres",
                    "-f",
                    "-",
                ]);
                command.args(["-p", &self.port, "-d", database]);
                command
            }
            Kind::MySql => {
                let mut command = Command::new("mariadb");
                command.args([
                    "--no-defaults",
                    "-h127.0.0.1",
                    "-uroot",
                    "-N",
                    "-B",
                    "--default-character-set=utf8mb4",
                ]);
                command.args([&format!("-P{}", self.port), database]);
                command
            }
        }
    }

    /// A name as the database quotes it.
    pub(crate) fn quoted(&self, name: &str) -> String {
        match self.kind {
            Kind::MySql => format!("`{}`", name.replace('`', "``")),
            _ => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }
}

/// A session that is told one statement after the other.
pub(crate) struct Session {
    child: Child,
}

impl Session {
    /// Says a statement, and does not wait for what comes of it.
    pub(crate) fn say(&mut self, sql: &str) {
        let pipe = self.child.stdin.as_mut().expect("a pipe");
        writeln!(pipe, "{sql};")
            .and_then(|()| pipe.flush())
            .expect("what is written");
    }

    /// Waits until all that was said is done.
    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(
            self.child.wait().expect("an end").success(),
            "a statement failed"
        );
    }
}

/// A server of one's own, which may be stopped.
pub(crate) struct Server {
    kind: Kind,
    folder: tempfile::TempDir,
    port: String,
}

impl Server {
    /// Starts one.
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // PostgreSQL does not run as root.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("permissions");
        let port = start(kind, folder.path());
        Self { kind, folder, port }
    }

    /// Starts one of PostgreSQL that has a disk of this size beside its data, in mounts of its own,
    /// which go with it.
    pub(crate) fn with_disk(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("permissions");
        std::fs::create_dir(folder.path().join("disk")).expect("a folder");
        // PostgreSQL wants a folder of its own.
        let script = "mount -t tmpfs -o size=$1,mode=777,uid=$(id -u postgres) none \"$2/disk\" && \
                      exec \"$0\" start \"$3\" \"$2/server\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(program())
            .arg(size)
            .arg(folder.path())
            .arg(name(Kind::Postgres));
        Self {
            kind: Kind::Postgres,
            port: started(&command.output().expect("unshare runs")),
            folder,
        }
    }

    /// Starts one with these options.
    pub(crate) fn with_options(kind: Kind, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().join("server");
        let arguments: Vec<&OsStr> = ["start".as_ref(), name(kind).as_ref(), place.as_os_str()]
            .into_iter()
            .chain(options.iter().map(OsStr::new))
            .collect();
        Self {
            kind,
            port: started(&servers(&arguments)),
            folder,
        }
    }

    /// Where that disk is for the server.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Stops it and starts it again with these options.
    pub(crate) fn restart_with(&self, options: &[&str]) {
        self.stop();
        let place = self.folder.path().join("server");
        let arguments = [
            "start".as_ref(),
            name(self.kind).as_ref(),
            place.as_os_str(),
        ]
        .into_iter()
        .chain(options.iter().map(OsStr::new));
        assert_eq!(started(&servers(&arguments.collect::<Vec<_>>())), self.port);
    }

    /// Gives that disk another size.
    pub(crate) fn resize_disk(&self, size: &str) {
        let file = std::fs::read_to_string(self.folder.path().join("server/data/postmaster.pid"))
            .expect("the number of its process");
        let process = file.lines().next().expect("a number");
        let mut command = Command::new("nsenter");
        command
            .args([
                "-t",
                process,
                "--mount",
                "mount",
                "-o",
                &format!("remount,size={size}"),
            ])
            .arg(self.disk());
        assert!(command.status().expect("nsenter runs").success());
    }

    /// Starts it again, on the same port and with the same data.
    pub(crate) fn start_again(&self) {
        assert_eq!(start(self.kind, self.folder.path()), self.port);
    }

    /// Stops it at once.
    pub(crate) fn stop(&self) {
        let stopped = servers(&[
            "stop".as_ref(),
            self.folder.path().join("server").as_os_str(),
        ]);
        assert_success(&stopped);
    }

    /// A database on it.
    pub(crate) fn database(&self) -> Database {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("none");
        Database::on(self.kind, self.port.clone(), file, folder)
    }
}

/// A pooler before the PostgreSQL of the tests, which gives each transaction whichever session is
/// free.
pub(crate) struct Pooler {
    folder: tempfile::TempDir,
    /// Its port.
    pub(crate) port: String,
}

impl Pooler {
    /// Starts one with these lines of its config.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("permissions");
        let (place, server) = (folder.path().join("pooler"), port("HYGGE_TEST_POSTGRES"));
        let arguments = [
            "start".as_ref(),
            "pgbouncer".as_ref(),
            place.as_os_str(),
            server.as_ref(),
        ];
        let port = started(&servers(
            &arguments
                .into_iter()
                .chain(settings.iter().map(OsStr::new))
                .collect::<Vec<_>>(),
        ));
        Self { folder, port }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(servers(&[
            "stop".as_ref(),
            self.folder.path().join("pooler").as_os_str(),
        ]));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(servers(&[
            "stop".as_ref(),
            self.folder.path().join("server").as_os_str(),
        ]));
    }
}

fn start(kind: Kind, folder: &Path) -> String {
    started(&servers(&[
        "start".as_ref(),
        name(kind).as_ref(),
        folder.join("server").as_os_str(),
    ]))
}

fn name(kind: Kind) -> &'static str {
    if kind == Kind::Postgres {
        "postgres"
    } else {
        "mysql"
    }
}

/// The port of a server that was started.
fn started(output: &Output) -> String {
    assert_success(output);
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn servers(arguments: &[&OsStr]) -> Output {
    Command::new(program())
        .args(arguments)
        .output()
        .expect("tests/servers runs")
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers")
}

fn port(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: tests/run starts the servers that this test needs \
             (HYGGE_TEST_SERVERS=none leaves it out)"
        )
    })
}

/// Makes a module of tests for each kind of databases of functions that take one.
macro_rules! on_each_database {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test(crate::common::databases::Kind::Sqlite); })*
        }
        mod postgres {
            $(#[test] fn $test() { super::$test(crate::common::databases::Kind::Postgres); })*
        }
        mod mysql {
            $(#[test] fn $test() { super::$test(crate::common::databases::Kind::MySql); })*
        }
    };
}
pub(crate) use on_each_database;

/// The same without SQLite, which has no server.
macro_rules! on_servers {
    ($($test:ident),* $(,)?) => {
        mod postgres {
            $(#[test] fn $test() { super::$test(crate::common::databases::Kind::Postgres); })*
        }
        mod mysql {
            $(#[test] fn $test() { super::$test(crate::common::databases::Kind::MySql); })*
        }
    };
}
pub(crate) use on_servers;
