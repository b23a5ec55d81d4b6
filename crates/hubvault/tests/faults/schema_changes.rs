//! Schema changes during a run: a published archive shows one moment, or nothing is published.

use crate::fixture::Fixture;
use crate::form::{is_long, points};
use crate::tally::Tally;
use hubvault_testkit::{Database, restore_with_plain_tools, server};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// Two tables whose sums agree after every transaction, and a third that is rewritten in other ways.
const BANK: &str = "
    CREATE TABLE left_bank (id int PRIMARY KEY, balance int NOT NULL, filler text);
    CREATE TABLE right_bank (id int PRIMARY KEY, balance int NOT NULL, filler text);
    CREATE TABLE events (at date NOT NULL, n int) PARTITION BY RANGE (at);
    CREATE TABLE events_0 PARTITION OF events FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
    CREATE TABLE spare (id int PRIMARY KEY, v text);
    CREATE SCHEMA other;
    CREATE TABLE other.thing (id int PRIMARY KEY);
    INSERT INTO left_bank SELECT n, 1000, repeat(md5(n::text), 8) FROM generate_series(1, 5000) n;
    INSERT INTO right_bank SELECT n, 1000, repeat(md5(n::text), 8) FROM generate_series(1, 5000) n;
    INSERT INTO events SELECT '2000-06-01', n FROM generate_series(1, 5000) n;
    INSERT INTO spare SELECT n, md5(n::text) FROM generate_series(1, 5000) n;
    CREATE MATERIALIZED VIEW total AS SELECT sum(balance) FROM left_bank;
    ANALYZE;";

/// What both banks hold together, and what each row's pair does.
const TOGETHER: i64 = 10_000_000;

/// One kind of change: statements that are run in a loop, each in a transaction of its own where it is one
/// string, `{n}` being the turn.
struct Change {
    name: &'static str,
    statements: &'static [&'static str],
}

const CHANGES: &[Change] = &[
    Change {
        name: "DROP TABLE, CREATE TABLE",
        statements: &[
            "DROP TABLE IF EXISTS spare",
            "CREATE TABLE spare AS SELECT n AS id, md5(n::text) AS v FROM generate_series(1, 5000) n",
        ],
    },
    Change {
        name: "ALTER TABLE: a column added and dropped",
        statements: &[
            "ALTER TABLE left_bank ADD COLUMN IF NOT EXISTS more int DEFAULT 7",
            "ALTER TABLE left_bank DROP COLUMN IF EXISTS more",
        ],
    },
    Change {
        name: "ALTER TABLE: a type changed",
        statements: &[
            "ALTER TABLE right_bank ALTER COLUMN balance TYPE bigint",
            "ALTER TABLE right_bank ALTER COLUMN balance TYPE int",
        ],
    },
    Change {
        name: "VACUUM FULL",
        statements: &["VACUUM FULL left_bank", "VACUUM FULL right_bank"],
    },
    Change {
        name: "TRUNCATE and both filled again in one transaction",
        statements: &[
            "BEGIN; TRUNCATE left_bank, right_bank;
             INSERT INTO left_bank SELECT n, 1000, md5(n::text) FROM generate_series(1, 5000) n;
             INSERT INTO right_bank SELECT n, 1000, md5(n::text) FROM generate_series(1, 5000) n;
             COMMIT",
        ],
    },
    Change {
        name: "tables swapped by RENAME, in one transaction",
        statements: &[
            "BEGIN; CREATE TABLE new_bank AS TABLE left_bank; ALTER TABLE left_bank RENAME TO old_bank;
             ALTER TABLE new_bank RENAME TO left_bank; DROP TABLE old_bank; COMMIT",
        ],
    },
    Change {
        name: "RENAME there and back",
        statements: &[
            "ALTER TABLE IF EXISTS spare RENAME TO spared",
            "ALTER TABLE IF EXISTS spared RENAME TO spare",
        ],
    },
    Change {
        name: "partitions made, filled, detached, dropped",
        statements: &[
            "CREATE TABLE events_{n} PARTITION OF events FOR VALUES FROM ('{n}-01-01') TO ('{n}-12-31')",
            "INSERT INTO events SELECT '{n}-06-01', n FROM generate_series(1, 500) n",
            "ALTER TABLE events DETACH PARTITION events_{n}",
            "DROP TABLE events_{n}",
        ],
    },
    Change {
        name: "DROP INDEX, CREATE INDEX",
        statements: &[
            "CREATE INDEX extra ON left_bank (balance)",
            "DROP INDEX extra",
        ],
    },
    Change {
        name: "REFRESH MATERIALIZED VIEW",
        statements: &["REFRESH MATERIALIZED VIEW total"],
    },
    Change {
        name: "CREATE TABLE, filled and emptied by TRUNCATE",
        statements: &[
            "CREATE TABLE fresh_{n} (id int); INSERT INTO fresh_{n} SELECT generate_series(1, 100)",
            "TRUNCATE fresh_{n}",
            "DROP TABLE fresh_{n}",
        ],
    },
    Change {
        name: "DROP SCHEMA, CREATE SCHEMA",
        statements: &[
            "DROP SCHEMA IF EXISTS other CASCADE",
            "CREATE SCHEMA other; CREATE TABLE other.thing AS SELECT generate_series(1, 1000) AS id",
        ],
    },
];

#[test]
fn schema_changes_during_a_run_never_give_a_wrong_archive() {
    let server = server();
    let mut tally = Tally::new("moving-schema");
    let rounds = points(1, 9);
    for change in CHANGES {
        let source = server.database();
        source.execute(BANK);
        let mut fixture = Fixture::at(&source.settings());
        let stop = AtomicBool::new(false);
        let (turns, moved) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let changes = scope.spawn(|| change_on(&source, change, &stop, &turns));
            let payments = scope.spawn(|| move_money(&source, &stop, &moved));
            for _ in 0..rounds {
                // Something happened since the last run, and something will under this one.
                wait_for_changes(&turns, &changes);
                wait_for_changes(&moved, &payments);
                match one_run(&fixture, &source) {
                    Ok(what) => tally.passed(change.name, &what),
                    Err(why) => tally.failed(change.name, &why),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        if (is_long() || change.name == CHANGES[0].name)
            && let Err(why) = fixture.check_recovery()
        {
            tally.failed(change.name, &why);
        }
    }
    tally.finish();
}

fn wait_for_changes(turns: &AtomicU64, thread: &ScopedJoinHandle<'_, ()>) {
    let (begun, before) = (Instant::now(), turns.load(Ordering::Relaxed));
    while turns.load(Ordering::Relaxed) < before + 2 {
        assert!(!thread.is_finished(), "the changes ended");
        assert!(begun.elapsed() < Duration::from_mins(1), "nothing changes");
        std::thread::yield_now();
    }
}

fn change_on(source: &Database, change: &Change, stop: &AtomicBool, turns: &AtomicU64) {
    let mut client = source.client();
    // A lock that the run holds is waited for; the run itself is what must not be held up.
    client.batch_execute("SET lock_timeout = '2 s'").unwrap();
    let mut year = 2001;
    while !stop.load(Ordering::Relaxed) {
        year = if year == 9000 { 2001 } else { year + 1 };
        for statement in change.statements {
            let sql = statement.replace("{n}", &year.to_string());
            if client.batch_execute(&sql).is_err() {
                // A deadlock or a lock that did not come; the next round starts again.
                let _ = client.batch_execute("ROLLBACK");
            }
            turns.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Moves money from one bank to the other, so that only their sums together stay.
fn move_money(source: &Database, stop: &AtomicBool, moved: &AtomicU64) {
    let mut client = source.client();
    client.batch_execute("SET lock_timeout = '2 s'").unwrap();
    let mut n: u32 = 1;
    while !stop.load(Ordering::Relaxed) {
        n = (n * 31 + 7) % 5_000;
        let sql = format!(
            "BEGIN; UPDATE left_bank SET balance = balance - 3 WHERE id = {n} + 1;
             UPDATE right_bank SET balance = balance + 3 WHERE id = {n} + 1; COMMIT"
        );
        if client.batch_execute(&sql).is_err() {
            let _ = client.batch_execute("ROLLBACK");
        }
        moved.fetch_add(1, Ordering::Relaxed);
        // Leaves a processor to those that are tested.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A run under the changes; what is published is restored with plain tools, and the banks agree in it.
fn one_run(fixture: &Fixture, source: &Database) -> Result<String, String> {
    let outcome = fixture.backup()?;
    if !outcome.what.starts_with("proven") && !outcome.what.starts_with("unproven") {
        let reason = outcome
            .said
            .lines()
            .find(|line| line.starts_with("error: "));
        let reason = reason.unwrap_or_default();
        return Ok(format!("{}: {}", outcome.what, class(reason)));
    }
    let listed = fixture.listed()?;
    let file = listed[0]["file"].as_str().unwrap_or_default();
    let server = server();
    let target = server.database();
    restore_with_plain_tools(Path::new(file), &target);
    let sums =
        "SELECT (SELECT sum(balance) FROM left_bank) + (SELECT sum(balance) FROM right_bank)";
    let together = target.value(sums);
    if together != TOGETHER.to_string() {
        return Err(format!(
            "MIXED: together {together}; {file}; {}",
            source.name()
        ));
    }
    let pairs = target.value(
        "SELECT count(*) FROM left_bank l JOIN right_bank r USING (id) WHERE l.balance + r.balance = 2000",
    );
    if pairs != "5000" {
        return Err(format!("MIXED: {pairs} pairs agree"));
    }
    let fresh = listed[0]["tables"]
        .as_array()
        .unwrap()
        .iter()
        .find(|table| {
            let name = table["name"].as_str().unwrap_or_default();
            let rows = table["rows"].as_u64();
            (name.starts_with("spare") && !matches!(rows, Some(5000)))
                || (name == "other.thing" && !matches!(rows, Some(0 | 1000)))
        });
    fresh.map_or(Ok(outcome.what), |table: &Value| {
        Err(format!("MIXED: {table}"))
    })
}

/// Without names and numbers, so that it repeats.
fn class(reason: &str) -> String {
    let from = reason.find("(SQLSTATE ").map_or("", |at| &reason[at..]);
    match from.get(10..15) {
        Some(code) => format!("SQLSTATE {code}"),
        None => reason
            .chars()
            .filter(|c| !c.is_ascii_digit())
            .take(90)
            .collect(),
    }
}
