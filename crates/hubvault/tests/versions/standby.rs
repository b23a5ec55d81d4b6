//! A hot standby as the source, also when its replay cancels the backup.

use crate::hub::{Hub, stderr};
use crate::servers::{Client, MAJORS, Running, long_form};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{Standby, digests, execute, value, wait_for};
use std::process::Stdio;
use tempfile::TempDir;

const PRIMARY: &[(&str, &str)] = &[("wal_level", "replica"), ("max_wal_senders", "4")];

fn of(primary: &Running, settings: &[(&str, &str)]) -> (Standby, ConnectSettings) {
    let standby = Standby::with(&primary.server, settings);
    let role = ConnectSettings {
        user: "backup".into(),
        ..standby.settings("hub")
    };
    (standby, role)
}

fn hub_at(primary: &Running, role: &ConnectSettings) -> (Hub, TempDir) {
    primary.hub_at(role, Client::Newest)
}

#[test]
fn a_standby_of_any_version_is_backed_up_like_its_primary() {
    let majors = if long_form() { &MAJORS[..] } else { &[13, 18] };
    for major in majors {
        let primary = Running::start(*major, PRIMARY);
        primary.nasty_database("hub");
        // A standby keeps no rows of these.
        execute(&primary.admin("hub"), "DROP TABLE unlogged");
        primary.reader("hub");
        let (standby, role) = of(&primary, &[]);
        let (hub, _drills) = hub_at(&primary, &role);
        let (record, _) = hub.backup();
        assert_eq!(record["state"], "proven", "PostgreSQL {major}: {record}");
        assert_eq!(record["snapshot"]["standby"], true, "{record}");
        assert_eq!(
            digests(&standby.settings("hub")),
            digests(&primary.admin("hub"))
        );
    }
}

#[test]
fn a_backup_cancelled_by_a_standbys_replay_names_the_cause() {
    let primary = Running::start(MAJORS[5], PRIMARY);
    primary.server.create_database("hub").unwrap();
    execute(
        &primary.admin("hub"),
        "CREATE TABLE users (id int PRIMARY KEY, filler text);
         INSERT INTO users SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 60000) n",
    );
    primary.reader("hub");
    let (standby, role) = of(&primary, &[("max_standby_streaming_delay", "0")]);
    let (mut hub, _drills) = hub_at(&primary, &role);
    // Slow enough for the primary to be quicker.
    hub.set("BACKUP_MAX_MB_PER_SECOND", "1");
    let mut child = hub
        .command(&["backup", "--no-progress"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let reading =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'";
    let reads = || {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the backup ended early"
        );
        value(&standby.settings("hub"), reading) != "0"
    };
    wait_for(reads, || "the backup to read".to_owned());
    execute(&primary.admin("hub"), "DELETE FROM users");
    execute(&primary.admin("hub"), "VACUUM users");
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["standby", "conflict with recovery", "hot_standby_feedback"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    hub.nothing_published();
}
