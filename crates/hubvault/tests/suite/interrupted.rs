//! A run that is stopped, killed or started twice leaves a consistent state.

use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use hubvault_testkit::{database_with, wait_for};
use std::path::PathBuf;
use std::process::Child;

/// Large enough that a signal comes before the end, at the [`slow`] rate.
pub(crate) const MIDDLE: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, repeat(md5(n::text), 12) FROM generate_series(1, 40000) n;
    ANALYZE;";

/// Its runs take eight seconds.
pub(crate) fn slow(hub: &mut Hub) {
    hub.set("BACKUP_MAX_MB_PER_SECOND", "2");
}

/// Starts a backup and waits until it writes rows.
pub(crate) fn start_until_it_writes(hub: &mut Hub) -> Child {
    slow(hub);
    let child = hub.start_backup();
    let writes = || {
        archives_and_partials(&hub.backups())
            .iter()
            .any(|path| path.metadata().is_ok_and(|meta| meta.len() > 0))
    };
    wait_for(writes, || "the backup to write".to_owned());
    child
}

pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_signal_stops_the_run_and_leaves_nothing() {
    let database = database_with(MIDDLE);
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut hub = Hub::whole(&database);
        let child = start_until_it_writes(&mut hub);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        hub.nothing_published();
        let listed = stdout(&hub.run(&["list"]));
        assert!(listed.contains("  stopped  "), "{listed}");
    }
}

#[test]
fn a_run_that_waits_for_readers_of_the_catalog_stops_by_itself() {
    let database = database_with("CREATE TABLE t (id int)");
    let hub = Hub::whole(&database);
    hub.backup();
    let lock = hub.backups().join(".hubvault/run.lock");
    let reader = std::fs::File::open(&lock).unwrap();
    reader.lock_shared().unwrap();
    let child = hub.start_backup();
    let open_files = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let has_lock = || {
        let files = std::fs::read_dir(&open_files).into_iter().flatten();
        let mut links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links.any(|link| link == lock)
    };
    wait_for(has_lock, || "the run to wait for the lock".to_owned());
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(143), "{said}");
    // A run that has to be ended says more.
    assert!(said.contains("error: stopped on request\n"), "{said}");
    let listed = stdout(&hub.run(&["list"]));
    assert!(listed.contains("  stopped  "), "{listed}");
}

#[test]
fn a_second_run_is_refused_and_names_the_first() {
    let database = database_with(MIDDLE);
    let mut hub = Hub::whole(&database);
    let first = start_until_it_writes(&mut hub);
    let second = hub.run_expecting(1, &["backup"]);
    let pid = first.id().to_string();
    assert!(stderr(&second).contains(&pid), "{}", stderr(&second));
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn a_killed_run_is_cleaned_up_and_listed_as_failed_by_the_next() {
    let database = database_with(MIDDLE);
    let mut hub = Hub::whole(&database);
    let mut child = start_until_it_writes(&mut hub);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(archives_and_partials(&hub.backups()).len(), 1);
    hub.set("BACKUP_MAX_MB_PER_SECOND", "0");
    let (_, archive) = hub.backup();
    assert_eq!(archives_and_partials(&hub.backups()), [archive]);
    let listed = stdout(&hub.run(&["list"]));
    assert!(
        listed.contains("failed") && listed.contains("crashed"),
        "{listed}"
    );
}
