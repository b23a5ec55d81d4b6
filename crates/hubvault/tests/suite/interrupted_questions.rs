//! Ctrl-C at a question: the terminal is as it was before.

use crate::hub::{Hub, stderr, stdout};
use crate::init::Place;
use crate::questions::answer;
use hubvault_testkit::{USERS, database_with};
use std::ffi::OsStr;
use std::process::Command;

/// Runs a command in a shell on a terminal and answers, the last time with Ctrl-C; what the screen showed, with the state
/// of the terminal afterwards.
fn stopped_at(command: &Command, answers: &[(&str, &str)]) -> String {
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "trap : INT; \"$@\"; echo \"ended with $?\"; stty -a",
            "sh",
        ])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or(OsStr::new("")));
    }
    shell.current_dir(command.get_current_dir().unwrap_or("/".as_ref()));
    let output = answer(&shell, answers);
    let said = stdout(&output) + &stderr(&output);
    assert!(said.contains("ended with 130"), "{said}");
    let settings = said.rsplit("ended with").next().unwrap();
    for flag in ["echo", "icanon", "isig", "icrnl"] {
        let is_set = settings.split([' ', '\r', '\n', ';']).any(|it| it == flag);
        assert!(is_set, "{flag}: {said}");
    }
    if let Some(hidden) = said.rfind("\x1b[?25l") {
        assert!(said[hidden..].contains("\x1b[?25h"), "{said:?}");
    }
    said
}

#[test]
fn the_terminal_echoes_again_after_ctrl_c_at_a_password() {
    let place = Place::new();
    let answers = [
        ("Host of the database", "nowhere\n"),
        ("Port", "1\n"),
        ("Database", "d\n"),
        ("Role", "r\n"),
        ("Password", "\u{3}"),
    ];
    stopped_at(&place.command(&["init"]), &answers);
    assert!(!place.path("hubvault.toml").exists());
}

#[test]
fn the_cursor_is_shown_again_after_ctrl_c_at_a_choice() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    hub.backup();
    let said = stopped_at(&hub.command(&["restore"]), &[("Backup", "\u{3}")]);
    assert!(said.contains("\x1b[?25l"), "{said:?}");
    let answers = [("Backup", "\r"), ("The configuration files", "\u{3}")];
    stopped_at(&hub.command(&["restore"]), &answers);
}
