//! What happens to a drill while it is at work, and what is said of its archive then.

use crate::drill::{drilling, loading};
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{RestartingServer, Shutdown, noise, server};

/// A table whose rows do `what` where a drill loads them.
fn rows_that(what: &str) -> String {
    format!(
        "CREATE FUNCTION odd(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() LIKE '%drill%' THEN {what} END IF; RETURN true; END $$;
         CREATE TABLE users (id int CHECK (public.odd(id))); INSERT INTO users VALUES (1)"
    )
}

fn unproven(hub: &Hub, reason: &str) -> String {
    let output = hub.run(&["backup"]);
    let (said, text) = (stderr(&output), stdout(&output));
    assert_eq!(output.status.code(), Some(3), "{said}{text}");
    assert!(text.contains("unproven: "), "{text}");
    assert!(text.contains(reason), "{reason:?} is not in {text}");
    said
}

#[test]
fn a_hanging_drill_ends_at_its_time_limit() {
    let server = server();
    let database = server.database();
    database.execute(&rows_that("PERFORM pg_sleep(600);"));
    let (mut hub, drills) = drilling(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[proof]\ntime_limit = \"6 s\"\n");
    unproven(&hub, "the drill took longer than its limit of 6 s");
    assert_eq!(std::fs::read_dir(drills.path()).unwrap().count(), 0);
}

#[test]
fn an_error_of_a_crashed_server_rejects_no_archive() {
    let server = server();
    let database = server.database();
    database.execute(&rows_that("PERFORM pg_sleep(600);"));
    let (hub, drills) = drilling(&database);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| unproven(&hub, "the drill's server was lost"));
        let loading = loading(drills.path());
        // Without the socket nobody gets in again.
        std::fs::remove_dir_all(loading.socket).unwrap();
        rustix::process::kill_process(loading.process, rustix::process::Signal::INT).unwrap();
        run.join().unwrap()
    });
    assert_eq!(std::fs::read_dir(drills.path()).unwrap().count(), 0);
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
        let run = scope.spawn(|| unproven(&hub, "the drill broke off"));
        hubvault_testkit::wait_for(
            || {
                let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
                hubvault_testkit::value(&elsewhere.settings(), asleep) == "1"
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
    assert_eq!(hubvault_testkit::value(&elsewhere.settings(), left), "1");
    database.execute("ALTER TABLE users DROP CONSTRAINT users_id_check");
    let (summary, _) = hub.backup();
    assert_eq!(summary["state"], "proven", "{summary}");
    assert_eq!(hubvault_testkit::value(&elsewhere.settings(), left), "0");
}

#[test]
fn an_archive_damaged_after_its_integrity_check_is_rejected() {
    let server = server();
    let database = server.database();
    database.execute("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let (mut hub, _drills) = drilling(&database);
    // Nearly all of the archive is this file.
    std::fs::write(hub.config().join("noise"), noise(1 << 18)).unwrap();
    let damage = format!(
        "printf damaged | dd of=\"$(ls -d {}/.*.partial)\" bs=1 seek={} conv=notrunc status=none\n",
        hub.backups().display(),
        1 << 17
    );
    let script = hub.config().join("damage.sh");
    std::fs::write(&script, damage).unwrap();
    hub.write(&format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"noise\"\n\
         [[hook]]\nstage = \"integrity\"\nwhen = \"after\"\non_failure = \"fail\"\ncommand = [\"sh\", \"{}\"]\n",
        script.display()
    ));
    let output = hub.run(&["backup"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}{}", stdout(&output));
    assert!(said.contains("does not withstand the drill"), "{said}");
    assert!(said.contains("noise"), "{said}");
}
