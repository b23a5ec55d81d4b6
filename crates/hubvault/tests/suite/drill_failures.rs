//! Drills that fail, hang or are killed, and the state of their archives then.

use crate::drill::{drilling, is_empty};
use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use hubvault_testkit::{
    RestartingServer, Shutdown, USERS, database_with, noise, server, value, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A table whose rows do `what` where a drill loads them: a CHECK would be added after the rows.
fn rows_that(what: &str) -> String {
    format!(
        "CREATE FUNCTION odd(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() LIKE '%drill%' THEN {what} END IF; RETURN true; END $$;
         CREATE TABLE users (id int, odd bool GENERATED ALWAYS AS (public.odd(id)) STORED); INSERT INTO users VALUES (1)"
    )
}

fn assert_unproven(hub: &Hub, reason: &str) -> String {
    let output = hub.run(&["backup"]);
    let (said, text) = (stderr(&output), stdout(&output));
    assert_eq!(output.status.code(), Some(3), "{said}{text}");
    assert!(text.contains("unproven: "), "{text}");
    assert!(text.contains(reason), "{reason:?} is not in {text}");
    said
}

/// A drill's server whose rows are being loaded: its main process, the one that loads, and where its socket is.
struct Loading {
    server: Pid,
    process: Pid,
    socket: PathBuf,
}

/// Waits until a drill in this directory loads rows.
fn wait_for_loading(drills: &Path) -> Loading {
    let mut found = None;
    let is_loading = || {
        found = find_loading(drills);
        found.is_some()
    };
    wait_for(is_loading, || "a drill to load rows".to_owned());
    found.unwrap()
}

fn find_loading(drills: &Path) -> Option<Loading> {
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.find_map(|process| {
        let read = |name: &str| {
            let text = fs::read(process.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        };
        let title = read("cmdline");
        let data = fs::read_link(process.path().join("cwd")).ok()?;
        let loads = title.starts_with("postgres: ") && title.contains(" drill [local] COPY");
        if !loads || !data.starts_with(drills) {
            return None;
        }
        let status = read("status");
        let id = |text: &str| Pid::from_raw(text.trim().parse().ok()?);
        Some(Loading {
            process: id(process.file_name().to_str()?)?,
            server: id(status.lines().find_map(|line| line.strip_prefix("PPid:"))?)?,
            socket: data.parent()?.join("s"),
        })
    })
}

#[test]
fn a_crash_of_the_drill_server_leaves_the_backup_unproven() {
    let server = server();
    let database = server.database();
    database.execute(&rows_that("PERFORM pg_sleep(600);"));
    let (hub, drills) = drilling(&database);
    let child = hub.start_backup();
    kill_process(wait_for_loading(drills.path()).server, Signal::KILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("unproven: the drill was interrupted"),
        "{text}"
    );
    assert!(
        text.contains("the connection to the server was lost"),
        "{text}"
    );
    assert!(is_empty(drills.path()));
}

#[test]
fn a_hanging_drill_ends_at_its_time_limit() {
    let database = database_with(&rows_that("PERFORM pg_sleep(600);"));
    let (mut hub, drills) = drilling(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[proof]\ntime_limit = \"6 s\"\n");
    assert_unproven(&hub, "the drill took longer than its limit of 6 s");
    assert_eq!(fs::read_dir(drills.path()).unwrap().count(), 0);
}

#[test]
fn an_error_of_a_crashed_server_rejects_no_archive() {
    let database = database_with(&rows_that("PERFORM pg_sleep(600);"));
    let (hub, drills) = drilling(&database);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| assert_unproven(&hub, "the drill was interrupted"));
        let loading = wait_for_loading(drills.path());
        // Without the socket nobody gets in again.
        fs::remove_dir_all(loading.socket).unwrap();
        kill_process(loading.process, Signal::INT).unwrap();
        run.join().unwrap()
    });
    assert_eq!(fs::read_dir(drills.path()).unwrap().count(), 0);
}

#[test]
fn a_scratch_database_that_cannot_be_dropped_is_named_and_dropped_by_the_next_drill() {
    let server = server();
    let database = server.database();
    let elsewhere = RestartingServer::like(&server);
    database.execute(&rows_that("PERFORM pg_sleep(600);"));
    let (mut hub, _drills) = drilling(&database);
    let host = elsewhere.settings().host;
    hub.set(
        "PROOF_SERVER",
        format!("host={host} user=postgres dbname=postgres"),
    );
    let said = std::thread::scope(|scope| {
        let run = scope.spawn(|| assert_unproven(&hub, "the drill was interrupted"));
        wait_for(
            || {
                let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
                value(&elsewhere.settings(), asleep) == "1"
            },
            || "the drill to load rows".to_owned(),
        );
        elsewhere.stop(Shutdown::Immediate);
        run.join().unwrap()
    });
    assert!(
        said.contains("the scratch database hubvault_drill_"),
        "{said}"
    );
    elsewhere.start();
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'hubvault_drill_%'";
    assert_eq!(value(&elsewhere.settings(), left), "1");
    database.execute("ALTER TABLE users DROP COLUMN odd");
    let (summary, _) = hub.backup();
    assert_eq!(summary["state"], "proven", "{summary}");
    assert_eq!(value(&elsewhere.settings(), left), "0");
}

#[test]
fn an_archive_damaged_after_its_integrity_check_is_rejected() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let (mut hub, drills) = drilling(&database);
    // Nearly all of the archive is this file.
    fs::write(hub.config().join("noise"), noise(1 << 18)).unwrap();
    let damage = format!(
        "printf damaged | dd of=\"$(ls -d {}/.*.partial)\" bs=1 seek={} conv=notrunc status=none\n",
        hub.backups().display(),
        1 << 17
    );
    let script = hub.config().join("damage.sh");
    fs::write(&script, damage).unwrap();
    hub.write(&format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"noise\"\n\
         [[hook]]\nstage = \"integrity\"\nwhen = \"after\"\non_failure = \"fail\"\ncommand = [\"sh\", \"{}\"]\n",
        script.display()
    ));
    let output = hub.run(&["backup"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}{}", stdout(&output));
    assert!(said.contains("failed the drill"), "{said}");
    assert!(
        said.contains("noise") && said.contains(".rejected"),
        "{said}"
    );
    let left = archives_and_partials(&hub.backups());
    assert!(
        left.len() == 1 && left[0].to_str().unwrap().ends_with(".rejected"),
        "{left:?}"
    );
    assert!(stdout(&hub.run(&["list"])).contains("failed"));
    hub.run_expecting(1, &["verify", "latest"]);
    assert!(!hub.backups().join(".last_backup_success").exists());
    assert!(is_empty(drills.path()));
}

#[test]
fn leftovers_of_a_killed_drill_are_removed_by_the_next() {
    let database = database_with(USERS);
    let (hub, drills) = drilling(&database);
    for wait in [10, 60, 200, 400, 700, 1_000, 1_300] {
        let mut child = hub
            .command(&["backup", "--no-progress"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven");
    assert!(
        is_empty(drills.path()),
        "{:?}",
        fs::read_dir(drills.path()).unwrap().next()
    );
    assert!(archives_and_partials(&hub.backups()).contains(&archive));
    assert!(
        !archives_and_partials(&hub.backups())
            .iter()
            .any(|path| { path.file_name().unwrap().to_str().unwrap().starts_with('.') })
    );
    let servers = std::process::Command::new("pgrep")
        .args(["-f", drills.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(stdout(&servers), "", "a server of a killed drill lives on");
}
