//! The emergency steps of docs/operations.md restore a database on a machine without hubvault.

use crate::hub::Hub;
use hubvault_testkit::{USERS, database_with};
use std::process::Command;

const PAGE: &str = include_str!("../../../../docs/operations.md");

/// The commands of the steps in their order.
fn steps() -> String {
    let mut all = String::new();
    let mut lines = PAGE.lines().map(str::trim);
    while lines.by_ref().any(|line| line == "<!-- emergency -->") {
        assert_eq!(lines.next(), Some("```sh"));
        for line in lines.by_ref().take_while(|line| *line != "```") {
            all += &format!("{line}\n");
        }
    }
    all
}

#[test]
fn the_emergency_steps_restore_everything_without_hubvault() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    let (_, archive) = hub.backup();
    let elsewhere = tempfile::tempdir().unwrap();
    let settings = database.settings();
    // The server of the test is shared: another name for the database that the page makes.
    let target = format!("{}_emergency", database.name());
    let steps = steps().replace("hub_restored", &target);
    assert!(
        steps.contains("createdb") && steps.contains("restore.sh"),
        "{steps}"
    );
    let output = Command::new("sh")
        .args(["-eu", "-c", &steps])
        .current_dir(elsewhere.path())
        .env("ARCHIVE", &archive)
        .env("PGHOST", &settings.host)
        .env("PGPORT", settings.port.to_string())
        .env("PGUSER", &settings.user)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}");
    assert!(said.contains(" 1000\n"), "{said}");
    database.execute(&format!("DROP DATABASE {target}"));
}
