//! `hubvault restore` without a backup: on a terminal it asks, elsewhere it is wrong usage.

use crate::hub::{HUBVAULT, Hub, stderr};
use hubvault_testkit::database_with;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

const USERS: &str =
    "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 9)";

/// hubvault at a terminal, which `script` of util-linux makes.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Terminal {
    fn start(hub: &Hub, arguments: &str) -> Self {
        let mut command = hub.command_of("script");
        command.args(["-qec", &format!("{HUBVAULT} {arguments}"), "/dev/null"]);
        command
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let seen = String::new();
        Self {
            child,
            keys,
            screen,
            seen,
        }
    }

    /// Types `keys` once `text` is on the screen, after what was seen for the answer before.
    fn answer(&mut self, text: &str, keys: &str) {
        let mut piece = [0; 4096];
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                break;
            }
            let n = self.screen.read(&mut piece).unwrap();
            assert!(n > 0, "{text:?} was never asked: {}", self.seen);
            self.seen += &String::from_utf8_lossy(&piece[..n]);
        }
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// What else came, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        self.screen.read_to_string(&mut self.seen).unwrap();
        drop(self.keys);
        (self.seen, self.child.wait().unwrap().code())
    }
}

/// A key of [`dialoguer`]: the next line.
const DOWN: &str = "j";

#[test]
fn on_a_terminal_it_asks_and_shows_the_command_that_does_the_same() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    let (record, _) = hub.backup();
    let id = &record["id"].as_str().unwrap()[..8];
    database.execute("DELETE FROM users WHERE id < 4");
    let mut terminal = Terminal::start(&hub, "restore --no-progress");
    terminal.answer(id, "\r");
    terminal.answer("The configuration files", &format!("{DOWN}\r"));
    terminal.answer("nothing for all)", "users\r");
    terminal.answer("In a database elsewhere", "\r");
    terminal.answer(
        &format!("hubvault restore --no-progress {id} --missing-rows --table users"),
        "",
    );
    terminal.answer("Run it now?", "y");
    let (text, code) = terminal.end();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(database.value("SELECT count(*) FROM users"), "9");
    let same = [
        "restore",
        "--no-progress",
        id,
        "--missing-rows",
        "--table",
        "users",
    ];
    hub.run_expecting(0, &same);
}

#[test]
fn before_anything_is_dropped_or_overwritten_it_asks_once_more() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute("INSERT INTO users VALUES (10)");
    let before = database.digests();
    let mut terminal = Terminal::start(&hub, "restore");
    terminal.answer("Backup", "\r");
    terminal.answer("The configuration files", "\r");
    terminal.answer("Into an empty database elsewhere", &format!("{DOWN}\r"));
    terminal.answer("Run it now?", "y");
    terminal.answer("with all rows: users", "");
    terminal.answer("Continue? [y/N]", "\r");
    let (text, code) = terminal.end();
    assert!(text.contains("nothing was done"), "{text}");
    assert_eq!(code, Some(1), "{text}");
    // Said with arguments, it is asked for what is missing only; the default is no.
    let mut terminal = Terminal::start(&hub, "restore --upsert");
    terminal.answer("Backup", "\r");
    terminal.answer("Rows that differ are overwritten", "\r");
    let (text, code) = terminal.end();
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(database.digests(), before);
}

#[test]
fn without_a_terminal_a_backup_must_be_named() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    let said = stderr(&hub.run_expecting(2, &["restore", "--missing-rows"]));
    assert!(said.contains("<BACKUP>"), "{said}");
    hub.run_expecting(2, &["restore", "--json"]);
}
