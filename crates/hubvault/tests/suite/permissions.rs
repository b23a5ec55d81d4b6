//! Files of hubvault are private under any umask; files that others can read are closed or reported.

use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use hubvault_testkit::{database_with, wait_for};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command under this umask.
fn under(umask: &str, hub: &Hub, arguments: &[&str]) -> Command {
    let mut shell = hub.command_of("sh");
    shell
        .args([
            "-c",
            &format!("umask {umask}; exec \"$0\" \"$@\""),
            HUBVAULT,
        ])
        .args(arguments);
    shell
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn files_are_private_under_any_umask() {
    // The second takes everything, also from the owner.
    for umask in ["0", "0777"] {
        files_are_private_under(umask);
    }
}

fn files_are_private_under(umask: &str) {
    let database =
        database_with("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)");
    let mut hub = Hub::whole(&database);
    let _drills = (umask != "0").then(|| hub.prove());
    let home = hub.config().join("made/by/hubvault");
    let log = hub.config().join("hub.log");
    hub.set("BACKUP_DIR", home.display().to_string());
    hub.set("LOG_FILE", log.display().to_string());
    hub.set("HTTP_ADDR", "127.0.0.1:0");
    let run = |arguments: &[&str]| {
        let output = under(umask, &hub, arguments).output().unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 3)),
            "{}",
            stderr(&output)
        );
        stdout(&output)
    };
    let record: Value = serde_json::from_str(&run(&["backup", "--json"])).unwrap();
    assert_eq!(record["proof"]["proven"], umask != "0", "{record}");
    run(&["pin", "latest"]);
    run(&["check", "--alert"]);
    let token = run(&["token", "create", "ops", "--role", "admin"]);
    let mut service = under(umask, &hub, &["serve"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let (_, after) = text.rsplit_once("listening on http://")?;
        let end = after.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)))?;
        Some(after[..end].to_owned())
    };
    wait_for(|| address().is_some(), || "the service".to_owned());
    let link = format!(
        "http://{}/backup/{}/link",
        address().unwrap(),
        record["id"].as_str().unwrap()
    );
    let bearer = format!("Bearer {}", token.lines().next().unwrap());
    let linked = ureq::post(&link)
        .header("authorization", &bearer)
        .send_empty();
    let ended = Command::new("kill")
        .arg(service.id().to_string())
        .status()
        .unwrap();
    service.wait().unwrap();
    assert!(ended.success() && linked.is_ok(), "{linked:?}");

    let mut seen = files_below(&home);
    seen.push(log);
    for name in [
        "tar.gz",
        "manifest.json",
        "catalog.sqlite",
        "catalog.sqlite-journal",
        "run.lock",
        "service.lock",
        "tokens.json",
        "link.key",
        "hub.log",
    ] {
        assert!(
            seen.iter()
                .any(|path| path.to_string_lossy().ends_with(name)),
            "{name}: {seen:?}"
        );
    }
    for path in seen {
        let is_mark = path.to_string_lossy().contains("/.last_backup_");
        let wanted = match (path.is_dir(), is_mark) {
            (true, _) => 0o700,
            // Other tools read them.
            (false, true) => 0o644,
            (false, false) => 0o600,
        };
        let mode = mode(&path);
        assert_eq!(mode, wanted, "{} has mode {mode:04o}", path.display());
    }
    assert_eq!(mode(home.parent().unwrap()), 0o700, "made on the way");
}

#[test]
fn readable_files_are_closed_or_reported_with_the_command_to_fix_them() {
    let database =
        database_with("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)");
    let mut hub = Hub::whole(&database);
    hub.set("PROOF", "always");
    let (record, archive) = hub.backup();
    assert_eq!(record["warnings"], serde_json::json!([]));
    let state = hub.backups().join(".hubvault");
    let catalog = state.join("catalog.sqlite");
    for (path, mode) in [
        (&state, 0o755),
        (&catalog, 0o644),
        (&archive, 0o644),
        (&hub.backups(), 0o777),
    ] {
        set_mode(path, mode);
    }
    // The directory closes with the first command, its content with the first run.
    let listed = hub.run(&["list"]);
    let said = stderr(&listed);
    assert!(
        listed.status.success() && said.contains("(mode 0755); it is closed now (0700)"),
        "{said}"
    );
    hub.run_expecting(3, &["backup", "--dry-run"]);
    let output = hub.run(&["backup", "--json"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("catalog.sqlite was open to others (mode 0644)"),
        "{said}"
    );
    assert_eq!((mode(&state), mode(&catalog)), (0o700, 0o600));
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "proven");
    let warnings = record["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for warning in warnings {
        assert_eq!(warning["code"], "modes");
        let (_, command) = warning["message"]
            .as_str()
            .unwrap()
            .split_once("; run ")
            .unwrap();
        let cured = Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(cured.success(), "{command}");
    }
    assert_eq!((mode(&archive), mode(&hub.backups())), (0o600, 0o775));
    let (record, _) = hub.backup();
    assert_eq!(record["warnings"], serde_json::json!([]));
}
