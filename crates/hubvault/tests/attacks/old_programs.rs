//! Client programs without security fixes, and a full disk.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{database_with, extract, server};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const SCOPE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

/// A program that says that it is of another version, and else is the real one.
fn program_with_version(directory: &Path, program: &str, version: &str, bin_dir: &Path) {
    let real = bin_dir.join(program);
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '{program} (PostgreSQL) {version}'; exit 0; fi\n\
         exec '{}' \"$@\"\n",
        real.display()
    );
    let path = directory.join(program);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn path_with(directory: &Path) -> String {
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

#[test]
fn client_programs_without_security_fixes_are_refused_and_old_ones_are_a_warning() {
    let server = server();
    let source = server.database();
    source.execute("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let mut hub = Hub::whole(&source);
    let programs = tempfile::tempdir().unwrap();
    hub.set("PATH", path_with(programs.path()));
    for program in ["pg_dump", "pg_restore"] {
        program_with_version(
            programs.path(),
            program,
            "15.13 (Debian 15.13-1)",
            server.bin_dir(),
        );
        let words = [
            program,
            "15.13",
            "15.14",
            "CVE-2025-8714",
            "POSTGRES_OLD_PROGRAMS",
        ];
        hub.backup_fails(1, &words);
        let dry = hub.run(&["backup", "--dry-run"]);
        assert!(stderr(&dry).contains("15.14"), "{}", stderr(&dry));
        program_with_version(programs.path(), program, "15.14", server.bin_dir());
    }
    let (record, archive) = hub.backup();
    let warnings = record["warnings"].to_string();
    // 15.14 is safe; whether it is older than the server depends on the server.
    let newer =
        source.value("SELECT current_setting('server_version_num')::int % 10000 > 14") == "t";
    assert_eq!(
        warnings.contains("older than the server"),
        newer,
        "{warnings}"
    );
    program_with_version(programs.path(), "pg_dump", "15.2", server.bin_dir());
    hub.set("POSTGRES_OLD_PROGRAMS", "true");
    let (record, _) = hub.backup();
    let warnings = record["warnings"].to_string();
    assert!(
        warnings.contains("permitted by database.old_programs"),
        "{warnings}"
    );

    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    let target = server.database();
    let settings = target.settings();
    let restore = |options: &[&str]| -> Output {
        Command::new("sh")
            .arg("restore.sh")
            .args(options)
            .current_dir(directory.path())
            .env("PATH", path_with(programs.path()))
            .env("PGHOST", &settings.host)
            .env("PGUSER", &settings.user)
            .env("PGDATABASE", &settings.dbname)
            .output()
            .unwrap()
    };
    for version in [
        "12.22", "13.21", "14.18", "15.13", "16.9", "17.5", "17beta1", "18beta2", "odd",
    ] {
        program_with_version(programs.path(), "psql", version, server.bin_dir());
        let refused = restore(&["--create-roles"]);
        assert_eq!(refused.status.code(), Some(1), "{version}");
        assert!(
            stderr(&refused).contains("CVE-2025-8714"),
            "{version}: {}",
            stderr(&refused)
        );
    }
    let forced = restore(&["--create-roles", "--force"]);
    assert!(forced.status.success(), "{}", stderr(&forced));
    for version in [
        "13.22", "14.19", "15.14", "16.10", "17.6", "18rc1", "18.0", "19.1",
    ] {
        program_with_version(programs.path(), "psql", version, server.bin_dir());
        let again = restore(&[]);
        assert!(
            stderr(&again).contains("already holds tables"),
            "{version}: {}",
            stderr(&again)
        );
    }
}

#[test]
fn a_full_disk_can_be_pruned_and_the_newest_proven_backup_is_kept() {
    let source = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let toml = format!("{SCOPE}[retention]\ndays = 0\nkeep_last = 0\n");
    let mut hub = Hub::with(&source, &format!("{SCOPE}[retention]\ndays = 30\n"));
    hub.set("PROOF", "always");
    let (record, proven) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    hub.set("PROOF", "off");
    wait_for_the_next_second();
    let (_, second) = hub.backup();
    wait_for_the_next_second();
    let (_, third) = hub.backup();
    hub.write(&format!("file = []\n{toml}"));
    hub.set("BACKUP_MIN_SIZE_MB", "500");
    hub.run_expecting(1, &["backup"]);

    let refused = stdout(&hub.run(&["prune"]));
    assert!(
        refused.contains("--after-failed-run") && refused.contains("disk is full"),
        "{refused}"
    );
    assert!(second.exists());
    let dry = stdout(&hub.run(&["prune", "--after-failed-run", "--dry-run"]));
    assert!(dry.contains("remove") && second.exists(), "{dry}");
    let pruned = hub.run(&["prune", "--even-though-the-last-run-failed"]);
    assert!(pruned.status.success(), "{}", stderr(&pruned));
    assert!(!second.exists(), "{}", stdout(&pruned));
    assert!(proven.exists() && third.exists(), "{}", stdout(&pruned));
    hub.set("BACKUP_MIN_SIZE_MB", "0");
    hub.backup();
    assert!(proven.exists(), "the newest proven backup");
}

fn wait_for_the_next_second() {
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let begun = now();
    while now() == begun {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
