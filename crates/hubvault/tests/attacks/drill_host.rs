//! A local user against the directory and the server of a drill.

use crate::attacker::{attack, attacker};
use crate::hub::Hub;
use hubvault_testkit::{Database, database_with, open_directory, server};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROWS: &str = "CREATE TABLE users (id serial PRIMARY KEY, name text);
    INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 50) n; ANALYZE;";

/// What somebody does for as long as this lives.
struct Busy(Child);

impl Busy {
    /// Begins, and returns once the script said a first line.
    fn with(mut command: Command, script: &str) -> Self {
        let mut child = command
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the attack did not begin");
        Self(child)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A hub whose drills happen in this directory.
fn hub(database: &Database, drills: &Path) -> Hub {
    let mut hub = Hub::whole(database);
    hub.set("PROOF", "always");
    hub.set("TMPDIR", drills.to_str().unwrap());
    hub
}

/// A backup that must not wait for anybody.
fn backup(hub: &Hub) -> Value {
    const LONGEST: Duration = Duration::from_mins(1);
    let begun = Instant::now();
    let mut child = hub
        .command(&["backup", "--json", "--no-progress"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LONGEST {
            child.kill().unwrap();
            panic!("the backup waits: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output: Output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn another_users_locks_links_and_pipes_in_the_proof_directory_stop_no_drill() {
    let database = database_with(ROWS);
    let drills = open_directory();
    let place = drills.path().display();
    let kept = tempfile::tempdir().unwrap();
    std::fs::write(kept.path().join("owner"), "1 0").unwrap();
    std::fs::write(kept.path().join("kept"), "kept").unwrap();
    let kept_at = kept.path().display();
    // Every name that a sweep or a drill might look at, now or in an older version.
    let done = attack(&format!(
        "set -e; cd {place}
         for n in 1 2 3; do mkdir hubvault-throwaway-$n-1; done
         ln -s /dev/zero hubvault-throwaway-1-1/owner
         mkfifo hubvault-throwaway-2-1/owner
         echo '1 0' > hubvault-throwaway-3-1/owner; echo mine > hubvault-throwaway-3-1/mine
         mkfifo hubvault-throwaway-4-1; ln -s /dev/zero hubvault-throwaway-5-1
         ln -s {kept_at} hubvault-throwaway-6-1; ln -s {kept_at} hubvault-throwaway-u0-aaaaaaaa
         mkdir -m 700 hubvault-throwaway-u0-bbbbbbbb; mkfifo hubvault-throwaway-u0-cccccccc
         ln -s / hubvault-throwaway-u0-dddddddd; ln -s nowhere hubvault-throwaway-u0-eeeeeeee
         i=0; while [ $i -lt 1000 ]; do : > hubvault-throwaway-$i-2; i=$((i+1)); done"
    ));
    assert!(done.status.success(), "{done:?}");
    let before = names(drills.path());
    let _holds = Busy::with(
        attacker("sh"),
        &format!(
            "exec 8< {place}; flock 8; exec 9< {place}/hubvault-throwaway-u0-bbbbbbbb; flock 9; echo held; exec sleep 600"
        ),
    );
    let hub = hub(&database, drills.path());
    let record = backup(&hub);
    assert_eq!(record["state"], "proven", "{record}");
    assert_eq!(names(drills.path()), before);
    assert_eq!(names(kept.path()), ["kept", "owner"]);
    assert!(drills.path().join("hubvault-throwaway-3-1/mine").exists());
}

#[test]
fn the_servers_user_cannot_make_root_follow_a_link() {
    let database = database_with(ROWS);
    let drills = open_directory();
    let place = drills.path().display();
    let victim = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(victim.path(), "kept").unwrap();
    let target = victim.path().display();
    // The user of PostgreSQL's package, who runs other servers here, too.
    let mut postgres = Command::new("setpriv");
    postgres.args([
        "--reuid",
        "postgres",
        "--regid",
        "postgres",
        "--init-groups",
        "sh",
    ]);
    let _links = Busy::with(
        postgres,
        &format!(
            "echo begun; while :; do for d in {place}/hubvault-throwaway-*/ {place}/hubvault-throwaway-*/*/; do
               for f in log owner data s; do mv $d$f $d$f.old; ln -s {target} $d$f; done
             done; done 2>/dev/null"
        ),
    );
    let hub = hub(&database, drills.path());
    let record = backup(&hub);
    assert_eq!(record["state"], "proven", "{record}");
    assert_eq!(std::fs::read_to_string(victim.path()).unwrap(), "kept");
    assert_eq!(names(drills.path()), [""; 0]);
}

#[test]
fn an_empty_cluster_that_another_user_keeps_is_never_used() {
    let database = database_with(ROWS);
    let (drills, place) = (open_directory(), open_directory());
    let kept = place.path().join("kept");
    let mut hub = hub(&database, drills.path());
    hub.set("PROOF_SCRIPT", "off");
    hub.set("PROOF_EMPTY_CLUSTERS", kept.to_str().unwrap());
    // A good one of ours to which a link leads, a directory of the attacker's own, a pipe.
    let good = tempfile::tempdir().unwrap();
    for trap in [
        format!("ln -s {} kept", good.path().display()),
        "mkdir -m 700 kept; ln -s /etc kept/data".to_owned(),
        "mkfifo kept".to_owned(),
    ] {
        let planted = attack(&format!("cd {} && {trap}", place.path().display()));
        assert!(planted.status.success(), "{planted:?}");
        let before = std::fs::symlink_metadata(&kept).unwrap().file_type();
        let output = hub.run(&["backup"]);
        let said = crate::hub::stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{trap}: {said}");
        assert_eq!(names(good.path()), [""; 0], "{trap}");
        let after = std::fs::symlink_metadata(&kept).unwrap().file_type();
        assert_eq!(after, before, "{trap}");
        // What is to be removed is named.
        let is_named = said.contains(&format!("no empty cluster is kept in {}: ", kept.display()));
        assert!(is_named || before.is_dir(), "{trap}: {said}");
        let gone = Command::new("rm").arg("-rf").arg(&kept).status();
        assert!(gone.unwrap().success());
    }
}

#[test]
fn code_in_the_database_writes_nothing_outside_the_drill_server() {
    let server = server();
    let database = server.database();
    let drills = open_directory();
    let outside = open_directory();
    let marker = outside.path().join("marker");
    let at = marker.display();
    // Each way by itself, and none of them ends the drill.
    database.execute(&format!(
        "CREATE FUNCTION act(v int) RETURNS boolean LANGUAGE plpgsql AS $$
         DECLARE what text; BEGIN
           IF current_database() <> 'drill' THEN RETURN true; END IF;
           FOREACH what IN ARRAY ARRAY['COPY (SELECT 1) TO ''{at}''', 'COPY (SELECT 1) TO PROGRAM ''echo 1 > {at}''',
               'SELECT pg_catalog.lo_export(pg_catalog.lo_import(''PG_VERSION''), ''{at}'')',
               'SELECT pg_catalog.pg_read_file(''/etc/shadow'')'] LOOP
             BEGIN EXECUTE what; RAISE WARNING 'done: %', what;
             EXCEPTION WHEN OTHERS THEN NULL; END;
           END LOOP; RETURN true; END $$;
         CREATE TABLE users (id int CHECK (public.act(id))); INSERT INTO users VALUES (1)"
    ));
    let hub = hub(&database, drills.path());
    let record = backup(&hub);
    assert_eq!(record["state"], "proven", "{record}");
    assert!(!marker.exists(), "the drill's server wrote {at}");
    let confinement = &record["proof"]["drill"]["confinement"];
    assert_eq!(confinement["processes_left"], 0, "{record}");
}

#[test]
fn leftovers_of_a_crashed_drill_are_removed_without_following_links() {
    let database = database_with(ROWS);
    let drills = open_directory();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("kept"), "kept").unwrap();
    // As if code of a database had worked in the server's directory: of this version, and of an older one.
    let made = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "set -e; cd {}; umask 077
             mkdir -p hubvault-throwaway-u0-zzzzzzzz/abcd/data hubvault-throwaway-1-1
             for d in hubvault-throwaway-u0-zzzzzzzz/abcd/data hubvault-throwaway-1-1; do
               (cd $d; ln -s {} way; ln -s /dev/zero log; mkfifo pipe; touch -- '-rf'
                i=0; while [ $i -lt 400 ]; do mkdir d; cd d; ln -s / root; i=$((i+1)); done)
             done
             chown -R postgres hubvault-throwaway-1-1
             echo '1 0' > hubvault-throwaway-1-1/owner",
            drills.path().display(),
            outside.path().display()
        ))
        .status()
        .unwrap();
    assert!(made.success());
    let hub = hub(&database, drills.path());
    let record = backup(&hub);
    assert_eq!(record["state"], "proven", "{record}");
    assert_eq!(names(drills.path()), [""; 0]);
    assert_eq!(names(outside.path()), ["kept"]);
}
