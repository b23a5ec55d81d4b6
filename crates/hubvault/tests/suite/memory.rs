//! The memory of a run with many tables.

use crate::hub::Hub;
use hubvault_testkit::{Database, database_with, server};
use std::fs;
use std::io::{Read, Seek};
use std::process::Stdio;

/// The most that a process had in memory while its command ran, in kB.
pub(crate) fn most_of(hub: &Hub, arguments: &[&str]) -> u64 {
    // A pipe that nobody reads yet holds 64 kB.
    let mut said = tempfile::tempfile().unwrap();
    let mut child = (hub.command(arguments))
        .stdout(Stdio::null())
        .stderr(said.try_clone().unwrap())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    // The mark only rises, so that the last look before the end counts.
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        most = number.map_or(most, |number| number.parse().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let code = child.wait().unwrap().code();
    let mut text = String::new();
    said.rewind().unwrap();
    said.read_to_string(&mut text).unwrap();
    // Unproven: there is no drill.
    assert!(matches!(code, Some(0 | 3)), "{arguments:?}: {text}");
    most
}

/// A database with so many tables.
fn with_tables(count: usize) -> Database {
    let database = database_with("");
    // A transaction has so many locks and no more.
    for first in (0..count).step_by(250) {
        database.execute(&format!(
            "DO $$ BEGIN FOR n IN {first}..{} LOOP
                 EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY, name text, at timestamptz)', n);
             END LOOP; END $$",
            count.min(first + 250) - 1
        ));
    }
    database
}

/// Holds what each table more takes against its bound, in bytes.
fn bounded<const N: usize>(
    [few, many]: [usize; 2],
    bounds: [(&str, u64); N],
    measure: impl Fn(&Database) -> [u64; N],
) {
    let [with_few, with_many] = [few, many].map(|count| measure(&with_tables(count)));
    for ((what, most), (less, more)) in bounds.into_iter().zip(with_few.into_iter().zip(with_many))
    {
        println!("{what}: {less} kB with {few} tables, {more} kB with {many}");
        let each = more.saturating_sub(less) * 1024 / (many - few) as u64;
        assert!(each < most, "{what} takes {each} bytes for each table");
    }
}

#[test]
fn memory_for_each_table_is_bounded() {
    // A third more than what was measured.
    let bounds = [("backup", 3_600), ("verify", 2_000)];
    bounded([500, 3_000], bounds, |database| {
        let hub = Hub::whole(database);
        [
            most_of(&hub, &["backup"]),
            most_of(&hub, &["verify", "latest"]),
        ]
    });
}

#[test]
fn memory_for_each_table_is_bounded_in_drills_and_restores() {
    // Twice what was measured: with so few tables the allocator's own pages count.
    let bounds = [("drill", 6_000), ("restore", 5_000)];
    bounded([200, 1_200], bounds, |database| {
        let hub = Hub::whole(database);
        hub.run_expecting(3, &["backup"]);
        let restored = server().database();
        [
            most_of(&hub, &["drill", "latest"]),
            most_of(&hub, &["restore", "latest", "--database", restored.name()]),
        ]
    });
}
