//! Other users of the host: files that they put where hubvault reads and writes, and files that they may read.

use crate::attacker::attack;
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, database_with, open_directory};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The attacker's user and group.
const NOBODY: u32 = 65_534;

/// A database with one row, and hubvault for it.
pub(crate) fn hub() -> (Database, Hub) {
    let database =
        database_with("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)");
    let hub = Hub::whole(&database);
    (database, hub)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Both outputs.
pub(crate) fn output_text(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

/// A command that must be refused, with a command that fixes what is wrong.
fn assert_refused(hub: &Hub, arguments: &[&str], fix: &str) {
    let output = hub.run(arguments);
    let said = stderr(&output);
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{arguments:?}: {}",
        output_text(&output)
    );
    assert!(said.contains(fix), "{arguments:?}: {said}");
}

#[test]
fn state_writable_by_another_user_is_refused_with_the_command_to_fix_it() {
    let (_database, hub) = hub();
    let state = hub.backups().join(".hubvault");
    // Made by somebody else before hubvault ever ran.
    fs::create_dir(&state).unwrap();
    chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
    for arguments in [
        &["backup"][..],
        &["list"],
        &["status"],
        &["check"],
        &["prune"],
        &["token", "create", "ops", "--role", "read"],
        &["token", "list"],
    ] {
        assert_refused(&hub, arguments, "chown -R 0 ");
    }
    hub.nothing_published();
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    chown(&state, Some(0), Some(0)).unwrap();
    hub.backup();
    // Left open, with something in it that is not ours.
    set_mode(&state, 0o777);
    assert_refused(&hub, &["list"], "run chmod go-w ");
    set_mode(&state, 0o770);
    chown(&state, None, Some(NOBODY)).unwrap();
    assert_refused(&hub, &["list"], "run chmod go-w ");
    chown(&state, None, Some(0)).unwrap();
    set_mode(&state, 0o700);
    for name in ["overlay.toml", "tokens.json", "run.lock"] {
        let path = state.join(name);
        let kept = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        fs::write(&path, "").unwrap();
        chown(&path, Some(NOBODY), None).unwrap();
        assert_refused(&hub, &["list"], "belongs to user nobody");
        chown(&path, Some(0), None).unwrap();
        set_mode(&path, 0o602);
        assert_refused(&hub, &["list"], "run chmod go-w ");
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert_refused(&hub, &["list"], "run rm ");
        fs::remove_file(&path).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        assert_refused(&hub, &["list"], "run rm ");
        fs::remove_file(&path).unwrap();
        if let Some(kept) = kept {
            fs::write(&path, kept).unwrap();
            set_mode(&path, 0o600);
        }
    }
    let elsewhere = hub.config().join("elsewhere");
    fs::rename(&state, &elsewhere).unwrap();
    symlink(&elsewhere, &state).unwrap();
    assert_refused(&hub, &["backup"], "is a symbolic link");
    fs::remove_file(&state).unwrap();
    fs::rename(&elsewhere, &state).unwrap();
    hub.backup();
}

#[test]
fn a_configuration_writable_by_another_user_runs_nothing() {
    let (_database, mut hub) = hub();
    let theirs = open_directory();
    let proof = theirs.path().join("was-here");
    let hook = format!(
        "file = []\n[scope]\ntables = [\"*\"]\n[[hook]]\nstage = \"run\"\nwhen = \"before\"\ncommand = \"id > {}\"\n",
        proof.display()
    );
    let script = format!(
        "mkdir {0}/home && cd {0}/home && cat > hubvault.toml <<'E'\n{hook}\nE\nchmod 644 hubvault.toml",
        theirs.path().display()
    );
    assert!(attack(&script).status.success());
    let home = theirs.path().join("home");
    let here = |hub: &Hub, directory: &Path| {
        let output = hub
            .command(&["backup"])
            .current_dir(directory)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", output_text(&output));
        assert!(!proof.exists(), "the hook ran");
        stderr(&output)
    };
    let said = here(&hub, &home);
    assert!(
        said.contains("user nobody") && said.contains("install -D -o 0 "),
        "{said}"
    );
    // The file is root's, the directory is not.
    chown(home.join("hubvault.toml"), Some(0), Some(0)).unwrap();
    assert!(here(&hub, &home).contains("may put another file in the place of"));
    // As /tmp is: the file counts.
    assert!(
        attack(&format!(
            "cp {0}/hubvault.toml {1}/",
            home.display(),
            theirs.path().display()
        ))
        .status
        .success()
    );
    here(&hub, theirs.path());
    fs::remove_file(theirs.path().join("hubvault.toml")).unwrap();
    // A link of theirs to a file of root with another purpose.
    assert!(
        attack(&format!(
            "ln -s home/hubvault.toml {}/",
            theirs.path().display()
        ))
        .status
        .success()
    );
    here(&hub, theirs.path());
    // A pipe holds nobody up.
    fs::remove_file(theirs.path().join("hubvault.toml")).unwrap();
    assert!(
        attack(&format!("mkfifo {}/hubvault.toml", theirs.path().display()))
            .status
            .success()
    );
    here(&hub, theirs.path());
    // Named, or where it always lies: writable is writable.
    let config = hub.config().join("hubvault.toml");
    hub.write(&hook);
    hub.command(&["list"]);
    for wrong in [0o646, 0o666] {
        set_mode(&config, wrong);
        let named = hub.run_expecting(2, &["backup", "--config", config.to_str().unwrap()]);
        assert!(
            stderr(&named).contains("run chmod go-w "),
            "{}",
            output_text(&named)
        );
        assert_refused(&hub, &["backup"], "run chmod go-w ");
    }
    assert!(!proof.exists());
}

#[test]
fn included_files_must_not_be_writable_by_another_user() {
    let (_database, mut hub) = hub();
    let secret = hub.config().join("secret");
    fs::write(&secret, "hunter2-hunter2\n").unwrap();
    hub.set("SMTP_PASS_FILE", secret.display().to_string());
    // As Docker and Kubernetes give them.
    set_mode(&secret, 0o444);
    assert!(hub.run(&["config", "check"]).status.code() != Some(2));
    let data = hub.config().join("..2026");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("secret"), "hunter2-hunter2\n").unwrap();
    fs::remove_file(&secret).unwrap();
    symlink("..2026", hub.config().join("..data")).unwrap();
    symlink("..data/secret", &secret).unwrap();
    assert!(hub.run(&["config", "check"]).status.code() != Some(2));
    set_mode(&data.join("secret"), 0o666);
    assert_refused(&hub, &["config", "check"], "run chmod go-w ");
    set_mode(&data.join("secret"), 0o644);
    chown(&data, Some(NOBODY), None).unwrap();
    assert_refused(&hub, &["config", "check"], "may put another file");
    chown(&data, Some(0), None).unwrap();
    for name in ["PGSSLROOTCERT", "PGPASSFILE", "SMTP_CA_FILE"] {
        let (_database, mut hub) = self::hub();
        let file = hub.config().join("file");
        fs::write(&file, "").unwrap();
        chown(&file, Some(NOBODY), None).unwrap();
        hub.set(name, file.display().to_string());
        assert_refused(&hub, &["config", "check"], "belongs to user nobody");
    }
    let recipients = hub.config().join("recipients");
    fs::write(&recipients, "age1x\n").unwrap();
    set_mode(&recipients, 0o666);
    hub.set("BACKUP_RECIPIENTS", recipients.display().to_string());
    assert_refused(&hub, &["config", "check"], "run chmod go-w ");
}

#[test]
fn latest_and_ids_never_select_a_file_in_the_working_directory() {
    let (_database, hub) = hub();
    let (record, archive) = hub.backup();
    let theirs = open_directory();
    let short = &record["id"].as_str().unwrap()[..8];
    let name = archive.file_name().unwrap().to_str().unwrap();
    for trap in ["latest", short, name] {
        assert!(
            attack(&format!("echo trap > {}/{trap}", theirs.path().display()))
                .status
                .success()
        );
        for command in ["show", "verify"] {
            let output = hub
                .command(&[command, trap])
                .current_dir(theirs.path())
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{command} {trap}: {}",
                output_text(&output)
            );
        }
    }
    let here = hub
        .command(&["show", "./latest"])
        .current_dir(theirs.path())
        .output()
        .unwrap();
    assert_eq!(here.status.code(), Some(1), "{}", output_text(&here));
}

#[test]
fn links_and_pipes_in_an_open_backup_directory_are_not_followed() {
    let (_database, mut hub) = hub();
    let shared = open_directory();
    let victim = hub.config().join("victim");
    fs::write(&victim, "precious").unwrap();
    set_mode(&victim, 0o644);
    hub.set("BACKUP_DIR", shared.path().display().to_string());
    let (at, victim_at) = (shared.path().display(), victim.display());
    let plant = format!(
        "cd {at} && for name in .last_backup_success .last_backup_size_mb; do ln -s {victim_at} $name.new; mkdir $name; \
         done; mkdir -p .critical_backup_20260101_000000.tar.gz.partial/full; \
         ln -s {victim_at} .critical_backup_20260101_000001.tar.gz.partial; \
         mkfifo critical_backup_20260101_000002.tar.gz critical_backup_20260101_000002.tar.gz.manifest.json \
         critical_backup_20260101_000003.tar.gz.manifest.new; \
         ln -s /dev/zero critical_backup_20260101_000004.tar.gz.manifest.json"
    );
    assert!(attack(&plant).status.success());
    let begun = Instant::now();
    let (_, archive) = hub.backup();
    for arguments in [
        &["list"][..],
        &["status"],
        &["check"],
        &["verify"],
        &["prune"],
    ] {
        let output = hub.run(arguments);
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 3)),
            "{arguments:?}: {}",
            output_text(&output)
        );
    }
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "something was waited for"
    );
    assert!(archive.is_file());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    let mark = fs::symlink_metadata(shared.path().join(".last_backup_success")).unwrap();
    assert!(mark.is_file() && mark.uid() == 0, "{mark:?}");
    // A log where others may write.
    let log = shared.path().join("hubvault.log");
    for trap in [
        format!("ln -s {victim_at} {0}", log.display()),
        format!("mkfifo {}", log.display()),
    ] {
        assert!(attack(&trap).status.success());
        hub.set("LOG_FILE", log.display().to_string());
        let output = hub.run(&["prune"]);
        assert!(
            stderr(&output).contains("is not written"),
            "{}",
            output_text(&output)
        );
        fs::remove_file(&log).unwrap();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
