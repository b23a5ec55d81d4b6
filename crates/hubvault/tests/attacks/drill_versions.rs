//! The code of owners on the oldest and the newest server that are supported: each has other places where such code runs.

use crate::drill_code::{HOSTILE, names};
use crate::fetched::find_fetched;
use crate::hub::{Hub, stderr, stdout};
use crate::servers::{Client, MAJORS, Running};
use crate::wired_code::{EVENTS, LOGIN};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{execute, open_directory};

/// What newer servers know, each with the version that brought it.
const NEWER: [(u32, &str); 5] = [
    (
        14,
        "CREATE TABLE of_multirange (x multirange_of_span DEFAULT '{[1,2]}', y int GENERATED ALWAYS AS (1) STORED);
         INSERT INTO of_multirange VALUES ('{[3,4]}');",
    ),
    (
        15,
        "CREATE VIEW invoked WITH (security_invoker) AS SELECT public.w('invoker') AS x;
         CREATE MATERIALIZED VIEW of_invoked AS SELECT * FROM invoked;
         CREATE TABLE published (x int PRIMARY KEY); INSERT INTO published VALUES (1);
         CREATE PUBLICATION filtered FOR TABLE published WHERE (x > 0);",
    ),
    (
        16,
        "CREATE COLLATION own_rules (PROVIDER = icu, LOCALE = 'und', RULES = '&a < b');
         CREATE TABLE of_rules (x text COLLATE own_rules); CREATE INDEX ON of_rules (x); INSERT INTO of_rules VALUES ('a');",
    ),
    (
        17,
        "GRANT MAINTAIN ON indexed, filled TO PUBLIC;
         CREATE TABLE numbered (n int GENERATED ALWAYS AS IDENTITY, x int) PARTITION BY LIST (x);
         CREATE TABLE numbered_one PARTITION OF numbered DEFAULT; INSERT INTO numbered (x) VALUES (1);",
    ),
    (
        18,
        "CREATE TABLE virtual (x int, y int GENERATED ALWAYS AS (x + 1) VIRTUAL, CHECK (y > public.same('virtual', 0)));
         INSERT INTO virtual VALUES (1); CREATE TABLE kept (x int, CHECK (public.w('not-enforced')) NOT ENFORCED);
         INSERT INTO kept VALUES (1); ALTER TABLE kept ADD CONSTRAINT kept_x NOT NULL x NOT VALID;",
    ),
];

/// The SQL that a server of this version knows.
fn hostile(major: u32) -> String {
    let is_known = |line: &&str| {
        major >= 14
            || !["BEGIN ATOMIC", "CREATE STATISTICS"]
                .iter()
                .any(|new| line.contains(new))
    };
    let mut sql: String = HOSTILE
        .lines()
        .filter(is_known)
        .collect::<Vec<_>>()
        .join("\n");
    if major >= 14 {
        sql = sql.replace(
            "SUBTYPE_DIFF = apart)",
            "SUBTYPE_DIFF = apart, MULTIRANGE_TYPE_NAME = multirange_of_span)",
        );
    }
    let newer = NEWER.iter().filter(|(since, _)| *since <= major);
    newer.fold(sql, |sql, (_, more)| sql + more)
}

/// A server with a database of `mallory`, which `backup` may read, and where its code leaves marks.
fn attacked(major: u32) -> (Running, tempfile::TempDir) {
    let running = Running::start(major, &[]);
    running.server.create_database("owned").unwrap();
    let (admin, marks) = (running.admin("owned"), open_directory());
    let predefined = if major >= 14 {
        "GRANT CREATE ON DATABASE owned TO mallory"
    } else {
        ""
    };
    execute(
        &admin,
        &format!("CREATE ROLE mallory LOGIN; GRANT ALL ON SCHEMA public TO mallory; {predefined}"),
    );
    let mallory = ConnectSettings {
        user: "mallory".into(),
        ..admin.clone()
    };
    let sql = hostile(major).replace("MARKS", marks.path().to_str().unwrap());
    execute(&mallory, &sql);
    (running, marks)
}

fn assert_proven(hub: &Hub, major: u32) {
    let output = hub.run(&["backup"]);
    let (said, text) = (stderr(&output), stdout(&output));
    assert_eq!(output.status.code(), Some(0), "{major}: {said}{text}");
    assert!(text.contains("\nproven: "), "{major}: {text}");
}

#[test]
fn an_owners_code_gets_no_superuser_on_the_oldest_and_the_newest_server() {
    for major in [MAJORS[0], MAJORS[MAJORS.len() - 1]] {
        if find_fetched(&major.to_string()).is_none() {
            println!("skipped: there is no PostgreSQL {major}; `make test-versions` fetches it");
            continue;
        }
        let (running, marks) = attacked(major);
        let admin = running.admin("owned");
        // Elsewhere, with nobody's rights but the drill's: no operator classes, and nothing for predefined roles.
        let (events, wired) = EVENTS.split_at(EVENTS.find("CREATE FUNCTION reads_files").unwrap());
        execute(&admin, events);
        if major >= 17 {
            execute(&admin, LOGIN);
        }
        let (mut hub, drills) = running.hub("owned", Client::Newest);
        let url = format!(
            "postgres://{}@/postgres?host={}&port={}",
            admin.user, admin.host, admin.port
        );
        hub.set("PROOF_SERVER", url);
        assert_proven(&hub, major);
        assert_eq!(names(marks.path()), [""; 0], "{major}");
        drop((hub, drills));

        execute(&admin, wired);
        let (hub, _drills) = running.hub("owned", Client::Newest);
        assert_proven(&hub, major);
        assert_eq!(names(marks.path()), [""; 0], "{major}");
    }
}
