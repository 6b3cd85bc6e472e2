//! Where a password goes: off this machine never in clear, unless somebody said that it may.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::common::sandbox::{CommandOutput, Sandbox};

/// A password that nothing else has in it.
const PASSWORD: &str = "hunter2-and-more";

/// A server without TLS, which keeps what clients say to it.
struct Listener {
    port: u16,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Listener {
    fn start(serve: fn(&mut TcpStream, &Mutex<Vec<u8>>) -> std::io::Result<()>) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let said = Arc::new(Mutex::default());
        let kept = said.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // A client that goes in the middle of it has said what it wanted to say.
                drop(serve(&mut client.expect("a client"), &kept));
            }
        });
        Self { port, said }
    }

    /// What clients said since it was last asked.
    fn said(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(
            &mut *self.said.lock().expect("what was said"),
        ))
        .into_owned()
    }

    fn sandbox(&self, scheme: &str, host: &str, query: &str, fields: &str) -> Sandbox {
        let url = format!(
            "{scheme}://someone:{PASSWORD}@{host}:{}/d{query}",
            self.port
        );
        Sandbox::new(&format!(
            "connections: {{shop: {{url: '{url}', connect_timeout: 5s{fields}}}}}\n\
             flows:\n  a: {{home: {{connection: shop, table: t}}, store: out, retries: 0}}\n"
        ))
    }
}

/// What a client says, until it waits for an answer.
fn heard(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let length = client.read(&mut bytes)?;
    bytes.truncate(length);
    said.lock().expect("what was said").extend(&bytes);
    if length == 0 {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(bytes)
    }
}

/// Says that it has no TLS, and asks for the password in clear.
fn postgres(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    loop {
        let bytes = heard(client, said)?;
        match bytes.get(4..8) {
            Some([0x04, 0xd2, 0x16, 0x2f]) => client.write_all(b"N")?,
            Some([0, 3, 0, _]) => client.write_all(b"R\0\0\0\x08\0\0\0\x03")?,
            _ => return Ok(()),
        }
    }
}

/// Greets as a server of version 10 of the protocol that knows nothing of TLS.
fn mysql(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut greeting = b"\x0a11.4.0-MariaDB\0\x01\0\0\0abcdefgh\0".to_vec();
    // PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH; utf8mb4.
    greeting.extend([0x00, 0x82, 45, 2, 0, 0x08, 0, 21]);
    greeting.extend([0; 10]);
    greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
    let length = u8::try_from(greeting.len()).expect("a short greeting");
    client.write_all(&[length, 0, 0, 0])?;
    client.write_all(&greeting)?;
    heard(client, said).map(drop)
}

fn refused(ran: &CommandOutput) {
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(ran.text.contains("the server has no TLS"), "{}", ran.text);
    assert!(ran.text.contains("sslmode: prefer"), "{}", ran.text);
    assert!(!ran.text.contains(PASSWORD), "{}", ran.text);
}

/// 0.0.0.0 is this machine to its kernel, and no address of it as it is written.
#[test]
fn a_password_goes_in_clear_only_where_that_is_said() {
    let listener = Listener::start(postgres);
    let sandbox = listener.sandbox("postgres", "0.0.0.0", "", "");
    for command in [["build"], ["check"]] {
        refused(&sandbox.run(&command));
        let said = listener.said();
        assert!(
            !said.contains(PASSWORD) && !said.contains("someone"),
            "{said:?}"
        );
    }
    let said = [
        ("0.0.0.0", "?sslmode=prefer", "", None),
        ("0.0.0.0", "?a=b&ssl-mode=disable", "", None),
        ("0.0.0.0", "", ", sslmode: prefer", None),
        ("0.0.0.0", "", "", Some(("PGSSLMODE", "prefer"))),
        ("127.0.0.1", "", "", None),
        ("localhost", "", "", None),
    ];
    for (host, query, fields, variable) in said {
        let sandbox = listener.sandbox("postgres", host, query, fields);
        let ran = sandbox.run_with(variable.as_slice(), &["build"]);
        assert_eq!(ran.code, 1, "{}", ran.text);
        let said = listener.said();
        assert!(
            said.contains(PASSWORD),
            "{host} {query}{fields} {variable:?}: {}",
            ran.text
        );
    }
    let ran = listener
        .sandbox("postgres", "127.0.0.1", "", "")
        .run_with(&[("PGSSLMODE", "verify-full")], &["build"]);
    refused(&ran);
    assert!(
        ran.text
            .contains("for which PGSSLMODE of the environment asks")
            && !ran.text.contains("off this machine"),
        "{}",
        ran.text
    );
    // What the config says goes before the environment.
    let sandbox = listener.sandbox("postgres", "127.0.0.1", "", ", sslmode: require");
    refused(&sandbox.run_with(&[("PGSSLMODE", "disable")], &["build"]));
    assert!(!listener.said().contains(PASSWORD));
}

#[test]
fn a_server_of_mysql_without_tls_is_not_told_who_comes() {
    let listener = Listener::start(mysql);
    for scheme in ["mysql", "mariadb"] {
        refused(&listener.sandbox(scheme, "0.0.0.0", "", "").run(&["build"]));
        assert_eq!(listener.said(), "");
    }
    for (host, query, fields) in [
        ("0.0.0.0", "?ssl-mode=PREFERRED", ""),
        ("0.0.0.0", "", ", sslmode: disable"),
        ("127.0.0.1", "", ""),
    ] {
        let ran = listener
            .sandbox("mysql", host, query, fields)
            .run(&["build"]);
        assert_eq!(ran.code, 1, "{}", ran.text);
        assert!(
            listener.said().contains("someone"),
            "{host} {query}{fields}: {}",
            ran.text
        );
    }
}

/// Answers with what is no answer.
fn stranger(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    heard(client, said)?;
    client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
}

#[test]
fn somebody_else_who_answers_is_told_apart() {
    let listener = Listener::start(stranger);
    let ran = listener
        .sandbox("postgres", "0.0.0.0", "", "")
        .run(&["build"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.text.contains(
            "what answers there is no PostgreSQL server: to a request for TLS it says 0x48"
        ),
        "{}",
        ran.text
    );
    let ran = listener
        .sandbox("postgres", "127.0.0.1", "?sslmode=disable", "")
        .run(&["check"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.text
            .contains("in the middle of an answer, which may be none of PostgreSQL's"),
        "{}",
        ran.text
    );
}

/// Has no TLS, and says of who comes no more than the beginning of an answer.
fn cut(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    heard(client, said)?;
    client.write_all(b"N")?;
    heard(client, said)?;
    client.write_all(b"R\0\0\0\0")?;
    heard(client, said).map(drop)
}

/// What a driver panics at is the error of its connection; others go on.
#[test]
fn an_answer_that_a_driver_panics_at_is_an_error_of_its_connection() {
    let listener = Listener::start(cut);
    let sandbox = listener.sandbox("postgres", "127.0.0.1", "", "");
    sandbox.sample("north", "home/north.parquet");
    let config = std::fs::read_to_string(sandbox.path("hygge.yml")).expect("the config");
    let config = format!("options: {{continue_on_error: true}}\n{config}");
    sandbox.write(
        "hygge.yml",
        config
            + "  b: {home: home, store: b}\n  c: {home: home, store: {connection: shop, table: t}, \
               retries: 0}\n",
    );
    for command in [
        ["check"].as_slice(),
        &["build", "--dry-run"],
        &["build"],
        &["why", "a"],
        &["why", "c"],
    ] {
        let ran = sandbox.run(command);
        assert!(matches!(ran.code, 0 | 1), "{command:?}: {}", ran.text);
        assert!(
            !ran.text.contains("panicked") && !ran.text.contains("with the file"),
            "{command:?}: {}",
            ran.text
        );
        assert!(
            command[0] != "check" || ran.text.contains("what answers there speaks no PostgreSQL"),
            "{command:?}: {}",
            ran.text
        );
    }
    assert!(sandbox.path("b").exists());
}

#[test]
fn root_certificates_that_verify_nothing_are_warned_of() {
    let listener = Listener::start(postgres);
    let warning = "the root certificates of connection shop verify nothing";
    for (query, fields, is_warned) in [
        ("", ", sslrootcert: root.pem", true),
        ("?sslrootcert=root.pem", "", true),
        (
            "?sslmode=verify-full",
            ", sslrootcert: root.pem, sslmode: require",
            true,
        ),
        ("?sslmode=VERIFY_CA&sslrootcert=root.pem", "", false),
        ("", ", sslrootcert: root.pem, sslmode: verify-full", false),
        ("", "", false),
    ] {
        let sandbox = listener.sandbox("postgres", "127.0.0.1", query, fields);
        let ran = sandbox.run(&["check", "--offline"]);
        assert_eq!(
            (ran.code, ran.text.contains(warning)),
            (0, is_warned),
            "{query}{fields}: {}",
            ran.text
        );
    }
}

/// Says that it has TLS, and then nothing that is.
fn no_tls(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    heard(client, said)?;
    client.write_all(b"S")?;
    heard(client, said)?;
    client.write_all(b"no TLS at all\n")
}

#[test]
fn a_file_of_certificates_that_is_not_there_is_named() {
    let listener = Listener::start(no_tls);
    let ran = listener
        .sandbox(
            "postgres",
            "0.0.0.0",
            "",
            ", sslrootcert: nowhere/root.pem, sslmode: verify-full",
        )
        .run(&["build"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(ran.text.contains("nowhere/root.pem"), "{}", ran.text);
}
