//! What only the host of a drill or of a restore lacks is left out or replaced, and said.

use crate::hub::{Hub, stderr, stdout};
use hubvault_model::Cancel;
use hubvault_postgres::{Session, ThrowawayOptions, ThrowawayServer, inspect};
use hubvault_testkit::{execute, extract, open_directory, restore_at, server, value};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const SCOPE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

/// A server in another's place: with tablespaces, a library that it preloads, and foreign tables of a server that does
/// not answer.
const ELSEWHERE: &str = "CREATE EXTENSION pg_stat_statements;
    CREATE MATERIALIZED VIEW calls AS SELECT count(*) FROM pg_stat_statements;
    CREATE TABLE own (id int PRIMARY KEY USING INDEX TABLESPACE \"Odd 'space'\") TABLESPACE fast;
    INSERT INTO own VALUES (1);
    CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/nonexistent');
    CREATE USER MAPPING FOR postgres SERVER s; CREATE FOREIGN TABLE far (id int) SERVER s;
    CREATE VIEW over_far AS SELECT * FROM far; CREATE TABLE parted (id int) PARTITION BY RANGE (id);
    CREATE TABLE near PARTITION OF parted FOR VALUES FROM (0) TO (10); INSERT INTO near VALUES (3);
    CREATE MATERIALIZED VIEW seen AS SELECT id FROM over_far WITH NO DATA;
    CREATE MATERIALIZED VIEW again AS SELECT id FROM seen WITH NO DATA;
    CREATE MATERIALIZED VIEW parts AS SELECT id FROM parted;
    CREATE FOREIGN TABLE away PARTITION OF parted FOR VALUES FROM (10) TO (20) SERVER s;
    CREATE FUNCTION ask() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'nowhere' USING ERRCODE = '08001'; END $$;
    CREATE MATERIALIZED VIEW asked AS SELECT ask() AS id WITH NO DATA;
    CREATE MATERIALIZED VIEW then_seen AS SELECT id FROM asked WITH NO DATA;
    SET allow_system_table_mods = on;
    UPDATE pg_class SET relispopulated = true WHERE relname IN ('seen', 'again', 'asked', 'then_seen');";

#[test]
fn what_another_server_has_costs_no_proof_and_no_restore() {
    let options = ThrowawayOptions {
        settings: vec![(
            "shared_preload_libraries".into(),
            "pg_stat_statements,auto_explain".into(),
        )],
        ..ThrowawayOptions::plain("/tmp")
    };
    let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
    let spaces = open_directory();
    let place = |name: &str| spaces.path().join(name).display().to_string();
    for (at, name) in [
        ("a", "fast"),
        ("b", "\"Odd 'space'\""),
        ("c", "\"The \"\"home\""),
    ] {
        // By the server, as its owner must be the server's user. A program that ends unread is an error of COPY.
        let make = format!(
            "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null && mkdir -m 700 {}'",
            place(at)
        );
        execute(&server.settings("postgres"), &make);
        let make = format!("CREATE TABLESPACE {name} LOCATION '{}'", place(at));
        execute(&server.settings("postgres"), &make);
    }
    server.create_database("source").unwrap();
    let home = "ALTER DATABASE source SET TABLESPACE \"The \"\"home\"";
    execute(&server.settings("postgres"), home);
    execute(&server.settings("source"), ELSEWHERE);
    let mut hub = Hub::at(&server.settings("source"), SCOPE);
    let _drills = hub.prove();
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "proven", "{record}");
    let notes = record["proof"]["drill"]["notes"].to_string();
    for said in [
        "tablespaces Odd 'space', fast are not on the target",
        "view seen was not filled, as a drill reaches no other server: it rests on foreign table public.far",
        "view again was not filled",
        "view parts was not filled",
        "view asked was not filled",
        "view then_seen was not filled",
    ] {
        assert!(notes.contains(said), "{said:?} is not in {notes}");
    }
    assert!(!notes.contains("calls"), "{notes}");

    let placed = "SELECT count(*)::int FROM pg_class WHERE reltablespace <> 0 AND relname ~ '^own'";
    let restore = |name: &str| {
        stderr(&hub.run_expecting(3, &["restore", "latest", "--create", "--database", name]))
    };
    let said = restore("there");
    assert!(
        said.contains("not rebuilt: the rows of materialized view seen"),
        "{said}"
    );
    assert_eq!(value(&server.settings("there"), placed), "2");
    let home = "SELECT t.spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
        WHERE datname = current_database()";
    assert_eq!(value(&server.settings("there"), home), "The \"home");
    // restore.sh does the same.
    let directory = tempfile::tempdir().unwrap();
    let file = record["file"].as_str().unwrap();
    extract(file.as_ref(), directory.path());
    let by_script = |name: &str| {
        let to = server.settings(name);
        let output = restore_at(directory.path(), &to, None, &["--create"]);
        let space = value(&to, home);
        (stdout(&output), space)
    };
    assert_eq!(by_script("by_script").1, "The \"home");
    for name in ["source", "there", "by_script"] {
        execute(
            &server.settings("postgres"),
            &format!("DROP DATABASE {name}"),
        );
    }
    let drop = ["DROP TABLESPACE fast", "DROP TABLESPACE \"The \"\"home\""];
    for sql in drop {
        execute(&server.settings("postgres"), sql);
    }
    let said = restore("elsewhere");
    assert!(
        said.contains("tablespace fast is not on the target"),
        "{said}"
    );
    assert!(
        said.contains("in the default tablespace and not in The \"home: tablespace"),
        "{said}"
    );
    assert_eq!(value(&server.settings("elsewhere"), placed), "0");
    let (said, space) = by_script("elsewhere 2");
    assert!(
        said.contains("  the database is in the default tablespace: ERROR:  tablespace"),
        "{said}"
    );
    assert_eq!(space, "pg_default");
}

#[test]
fn statistics_are_of_each_table_once_and_of_none_that_reaches_another_server() {
    let database = server().database();
    let statement = || {
        let mut session = Session::connect(&database.settings(), &Cancel::new()).unwrap();
        inspect::analyze_statement(&mut session).unwrap()
    };
    assert_eq!(statement(), None);
    database.execute(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/nonexistent');
         CREATE USER MAPPING FOR postgres SERVER s; CREATE TABLE far (id int) PARTITION BY RANGE (id);
         CREATE FOREIGN TABLE away PARTITION OF far FOR VALUES FROM (0) TO (9) SERVER s",
    );
    assert_eq!(statement(), None);
    database.execute(
        "CREATE TABLE near PARTITION OF far FOR VALUES FROM (9) TO (99) PARTITION BY RANGE (id);
         CREATE TABLE near_leaf PARTITION OF near DEFAULT; INSERT INTO far VALUES (10);
         CREATE TABLE \"O'dd \"\"t\" (id int); CREATE TABLE parted (id int) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id);
         CREATE TABLE leaf PARTITION OF part DEFAULT; CREATE MATERIALIZED VIEW made AS SELECT 1",
    );
    let analyze = statement().unwrap();
    let names = "public.\"O'dd \"\"t\", public.made, public.near, public.parted";
    assert_eq!(analyze, format!("ANALYZE {names}"));
    database.execute(&analyze);
    let analyzed = "SELECT reltuples::int FROM pg_class WHERE relname = 'near_leaf'";
    assert_eq!(value(&database.settings(), analyzed), "1");
}

#[test]
fn a_locale_that_is_missing_is_named_and_all_rows_are_shown() {
    let source = server().database();
    source.execute(
        "CREATE SCHEMA \"odd s\"; CREATE COLLATION \"odd s\".\"a \"\"one\" (locale = 'C');
         COMMENT ON COLLATION \"odd s\".\"a \"\"one\" IS 'stays';
         CREATE DOMAIN word AS text COLLATE \"odd s\".\"a \"\"one\";
         CREATE TABLE person (name word PRIMARY KEY) PARTITION BY RANGE (name);
         CREATE TABLE first PARTITION OF person FOR VALUES FROM ('a') TO ('n');
         CREATE TABLE last PARTITION OF person DEFAULT; INSERT INTO person VALUES ('ada'), ('zoe');
         SET allow_system_table_mods = on;
         UPDATE pg_collation SET collcollate = 'xx_YY.utf8', collctype = 'xx_YY.utf8' WHERE collname = 'a \"one'",
    );
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "unproven", "{record}");
    assert_eq!(record["proof"]["drill"]["rows"], 2);
    let reason = record["proof"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(
            "rows equal; not rebuilt: collation \"odd s\".\"a \"\"one\" (the locale xx_YY.utf8 is"
        ),
        "{reason}"
    );
    assert!(!reason.contains("and 1"), "{reason}");
    assert!(!reason.contains("differ"), "{reason}");
}

#[test]
fn rejected_archives_are_counted() {
    let source = server().database();
    source.execute("CREATE TABLE t (id int)");
    let hub = Hub::whole(&source);
    for day in 1..=4 {
        let name = format!("critical_backup_2026010{day}_000000.tar.gz.rejected");
        std::fs::write(hub.backups().join(name), "").unwrap();
    }
    let said = stdout(&hub.run(&["status"]));
    assert!(said.contains("4 rejected archives, newest "), "{said}");
    hub.backup();
    let said = stdout(&hub.run(&["status"]));
    assert!(said.contains("3 rejected archives, newest "), "{said}");
}

#[test]
fn the_first_drill_keeps_an_empty_cluster_for_the_next_ones() {
    let database = server().database();
    execute(
        &database.settings(),
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1)",
    );
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    hub.set("PROOF_EMPTY_CLUSTERS", "off");
    let kept = hub.backups().join(".hubvault/empty-clusters");
    let proven = |hub: &Hub| {
        let output = hub.run_expecting(0, &["backup", "--json"]);
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(record["state"], "proven", "{record}");
    };
    proven(&hub);
    assert!(!kept.exists());

    hub.set("PROOF_EMPTY_CLUSTERS", "");
    let made = || {
        let mut all = std::fs::read_dir(&kept).unwrap();
        let one = all.next().unwrap().unwrap().path();
        assert!(all.next().is_none());
        (std::fs::metadata(&one).unwrap().ino(), one)
    };
    proven(&hub);
    let first = made();
    proven(&hub);
    assert_eq!(made(), first);

    // What somebody changed is not used.
    let control = first.1.join("data/global/pg_control");
    std::fs::write(&control, "nothing").unwrap();
    proven(&hub);
    assert_ne!(std::fs::read(&control).unwrap(), b"nothing");

    // A directory that others reach costs no drill either, and nothing is put there.
    let elsewhere = open_directory();
    hub.set("PROOF_EMPTY_CLUSTERS", elsewhere.path().to_str().unwrap());
    proven(&hub);
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    hub.set("PROOF_EMPTY_CLUSTERS", "/proc/no/place");
    proven(&hub);
}

/// Where a backup drills, in this order, where small drills may run in `memory`.
fn drilled_in(hub: &mut Hub, memory: &Path) -> String {
    hub.set("PROOF_MEMORY", memory.to_str().unwrap());
    hub.set("LOG_LEVEL", "debug");
    let output = hub.run_expecting(0, &["backup", "--no-progress"]);
    let said = stderr(&output);
    let after = said.split("drilling in ").skip(1);
    let places = after.filter_map(|rest| rest.split_whitespace().next());
    places.collect::<Vec<_>>().join(" then ")
}

#[test]
fn a_small_drill_runs_in_memory_and_one_that_does_not_fit_on_the_disk() {
    let database = server().database();
    execute(
        &database.settings(),
        "CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1)",
    );
    let mut hub = Hub::whole(&database);
    let drills = hub.prove();
    let disk = drills.path().display().to_string();
    let room = rustix::fs::statvfs("/dev/shm").map_or(0, |of| of.f_bavail * of.f_frsize);
    if room < 2 << 30 {
        // Such as that of a container.
        assert_eq!(drilled_in(&mut hub, Path::new("/dev/shm")), disk);
        return;
    }
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(memory.path(), Permissions::from_mode(0o1777)).unwrap();
    let in_memory = memory.path().display().to_string();
    assert_eq!(drilled_in(&mut hub, memory.path()), in_memory);
    assert_eq!(std::fs::read_dir(memory.path()).unwrap().count(), 0);

    // Rows of a few bytes, and 500 MB that PostgreSQL computes of them: no estimate knows that.
    execute(
        &database.settings(),
        "CREATE TABLE large (id int, computed text GENERATED ALWAYS AS (repeat(md5(id::text), 160000)) STORED);
         ALTER TABLE large ALTER computed SET STORAGE EXTERNAL;
         INSERT INTO large SELECT n FROM generate_series(1, 100) n",
    );
    let both = format!("{in_memory} then {disk}");
    assert_eq!(drilled_in(&mut hub, memory.path()), both);
    assert_eq!(std::fs::read_dir(memory.path()).unwrap().count(), 0);

    // Somebody's file system on a disk, or none at all.
    for place in [hub.backups(), hub.backups().join("nowhere")] {
        assert_eq!(drilled_in(&mut hub, &place), disk);
    }
    assert_eq!(drilled_in(&mut hub, Path::new("off")), disk);
}
