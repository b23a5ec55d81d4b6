//! The configuration: mistakes, origins of settings, help.

use crate::hub::{Hub, stderr, stdout};
use hubvault_postgres::ConnectSettings;

fn hub(toml: &str) -> Hub {
    let settings = ConnectSettings {
        host: "/nonexistent".into(),
        ..ConnectSettings::default()
    };
    Hub::at(&settings, toml)
}

#[test]
fn a_mistake_is_reported_with_key_line_and_nearest_key_and_exit_code_2() {
    let hub = hub("[databse]\nhost = \"x\"\n[archive]\nlevel = \"high\"\n");
    for command in [
        &["backup"][..],
        &["list"],
        &["config", "check"],
        &["config", "show"],
    ] {
        let output = hub.run(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let said = stderr(&output);
        assert!(
            said.contains("line 2: databse: no such key; did you mean database?"),
            "{said}"
        );
        assert!(
            said.contains("line 5: archive.level: expected a whole number"),
            "{said}"
        );
    }
    hub.run_expecting(2, &["backup", "--frobnicate"]);
    let missing = hub.run_expecting(2, &["--config", "/nowhere.toml", "config", "check"]);
    assert!(
        stderr(&missing).contains("/nowhere.toml"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn config_show_names_the_origin_of_each_setting() {
    let mut hub = hub("[archive]\ncodec = \"zstd\"\n");
    hub.set("POSTGRES_PASSWORD", "hunter2");
    hub.set("BACKUP_DRI", "/b");
    let shown = stdout(&hub.run(&["config", "show"]));
    for (key, parts) in [
        ("database.host", ["/nonexistent", "variable POSTGRES_HOST"]),
        (
            "database.password",
            ["********", "variable POSTGRES_PASSWORD"],
        ),
        ("archive.codec", ["zstd", "hubvault.toml line 3"]),
        ("archive.directory", ["/backups", "variable BACKUP_DIR"]),
        ("database.sslmode", ["prefer", "default"]),
    ] {
        let line = shown.lines().find(|line| line.contains(key)).unwrap();
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    assert!(!shown.contains("hunter2"));
    let json: serde_json::Value =
        serde_json::from_slice(&hub.run(&["config", "show", "--json"]).stdout).unwrap();
    assert!(!json.to_string().contains("hunter2"));
    assert!(json["notices"][0].as_str().unwrap().contains("BACKUP_DRI"));
    // Set without effect: said, and not a success.
    let check = hub.run_expecting(3, &["config", "check"]);
    assert!(stdout(&check).contains("did you mean BACKUP_DIR?"));
}

#[test]
fn init_writes_a_file_that_check_accepts_and_never_overwrites() {
    let hub = hub("");
    let path = hub.config().join("new.toml");
    let path = path.to_str().unwrap();
    hub.run_expecting(0, &["config", "init", path]);
    let check = hub.run(&["--config", path, "config", "check"]);
    // What it leads to depends on the host.
    assert!(
        matches!(check.status.code(), Some(0 | 3)),
        "{}",
        stderr(&check)
    );
    let again = hub.run_expecting(1, &["config", "init", path]);
    assert!(
        stderr(&again).contains("must not exist"),
        "{}",
        stderr(&again)
    );
}

#[test]
fn help_teaches_what_a_command_does_and_how_it_ends() {
    let hub = hub("");
    for command in ["backup", "list", "show", "verify", "demo"] {
        let help = stdout(&hub.run(&[command, "--help"]));
        assert!(
            help.contains("Example") && help.contains("Exit codes"),
            "{command}: {help}"
        );
    }
    insta::assert_snapshot!(stdout(&hub.run(&["--help"])));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            stdout(&hub.run(&["completions", shell])).contains("hubvault"),
            "{shell}"
        );
    }
}

#[test]
fn a_check_names_directories_that_cannot_be_made_and_makes_none() {
    let mut hub = hub("");
    let [file, other] = ["file", "other"].map(|name| hub.config().join(name));
    for path in [&file, &other] {
        std::fs::write(path, "").unwrap();
    }
    hub.set("BACKUP_DIR", format!("{}/backups", file.display()));
    hub.write(&format!(
        "[[destination]]\nname = \"far\"\nurl = \"{}\"\n",
        other.display()
    ));
    let checked = stdout(&hub.run_expecting(3, &["config", "check"]));
    let checked = checked.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "no archive can be made in",
        "cannot be created, as",
        "file is not a directory",
        "the destination far cannot be used",
    ] {
        assert!(checked.contains(words), "{words}: {checked}");
    }
    assert!(file.is_file() && other.is_file());
}
