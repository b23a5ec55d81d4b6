//! The memory of a run with many tables.

use crate::hub::{Hub, stderr};
use hubvault_testkit::database_with;
use std::fs;
use std::process::Stdio;

/// The most that a process had in memory while its command ran, in kB.
fn most_of(hub: &Hub, arguments: &[&str]) -> u64 {
    let mut child = (hub.command(arguments))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
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
    let output = child.wait_with_output().unwrap();
    // Unproven: there is no drill.
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{arguments:?}: {}",
        stderr(&output)
    );
    most
}

/// What backing up and reading back take with so many tables.
fn with_tables(count: usize) -> [u64; 2] {
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
    let hub = Hub::whole(&database);
    [
        most_of(&hub, &["backup"]),
        most_of(&hub, &["verify", "latest"]),
    ]
}

#[test]
fn memory_for_each_table_is_bounded() {
    const FEW: usize = 500;
    const MANY: usize = 3_000;
    let (few, many) = (with_tables(FEW), with_tables(MANY));
    // A third more than what was measured.
    let bounds = [("backup", 3_600), ("verify", 2_000)];
    for ((what, most), (few, many)) in bounds.into_iter().zip(few.into_iter().zip(many)) {
        println!("{what}: {few} kB with {FEW} tables, {many} kB with {MANY}");
        let each = many.saturating_sub(few) * 1024 / (MANY - FEW) as u64;
        assert!(each < most, "{what} takes {each} bytes for each table");
    }
}
