//! Where a window begins.

use crate::hub::{Hub, stdout};
use hubvault_testkit::{database_with, extract};
use serde_json::Value;

#[test]
fn a_window_begins_at_midnight_of_the_jobs_zone_where_the_configuration_says_so() {
    let database = database_with(
        "CREATE TABLE orders (id int, at timestamptz);
         CREATE TABLE events (id int, at timestamptz);
         INSERT INTO orders SELECT n, now() - n * interval '1 hour' FROM generate_series(0, 72) n;
         INSERT INTO events SELECT * FROM orders",
    );
    let window = "column = \"at\"\nlength = \"1 day\"\n";
    let mut hub = Hub::with(
        &database,
        &format!(
            "[scope]\ntables = []\n\
             [[scope.window]]\ntables = [\"orders\"]\ncut = \"midnight\"\n{window}\
             [[scope.window]]\ntables = [\"events\"]\n{window}"
        ),
    );
    // Half an hour beside the others, and without summer time.
    hub.set("TZ", "Asia/Kolkata");
    let plan = stdout(&hub.run_expecting(0, &["backup", "--dry-run"]));
    assert!(
        plan.contains("at >= '") && plan.contains(" 18:30:00+00'"),
        "{plan}"
    );
    let (_, archive) = hub.backup();
    let out = tempfile::tempdir().unwrap();
    extract(&archive, out.path());
    let manifest = std::fs::read_to_string(out.path().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let from = |name: &str| {
        let mut tables = manifest["tables"].as_array().unwrap().iter();
        let table = tables.find(|table| table["name"] == name).unwrap();
        let rows = table["rows"].as_u64().unwrap();
        (
            table["window"]["recent"]["from"]
                .as_str()
                .unwrap()
                .to_owned(),
            rows,
        )
    };
    let (midnight, whole_days) = from("orders");
    let (moment, rows) = from("events");
    assert!(midnight.ends_with(" 18:30:00+00"), "{midnight}");
    assert!(!moment.ends_with(":00+00"), "{moment}");
    // Yesterday whole, and the hours of today.
    assert!(
        (24..26).contains(&rows) && (24..=49).contains(&whole_days),
        "{rows} {whole_days}"
    );
}
