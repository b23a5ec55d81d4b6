//! What messages say of earlier runs, of which the catalog gives summaries first.

use super::*;
use crate::catalog::TableRecord;
use crate::delivery::Notifier;
use hubvault_archive::Coverage;
use hubvault_model::Warning;

#[test]
fn messages_compare_rows_with_those_of_earlier_runs_and_name_their_warnings() {
    let house = House::new();
    let ran = |ago: i64, rows: u64| {
        let table = TableRecord {
            name: "users".to_owned(),
            rows,
            bytes: 9,
            digest: String::new(),
            coverage: Coverage::Whole,
        };
        let mut record = proven(house.directory.path(), house.now - DAY * ago as i32, 9);
        record.finished_at = Some(record.started_at);
        record.tables = vec![table];
        record.warnings = vec![Warning::new("x", "y", "something was left out")];
        house.catalog.finish(&record).unwrap();
        record
    };
    ran(3, 1_000);
    ran(2, 1_030);
    let newest = ran(1, 1_075);
    let (zone, cancel) = (TimeZone::UTC, Cancel::new());
    let notifier = Notifier::new(&house.job, Some(&house.catalog), &zone, &cancel);
    for (template, said) in [
        ("success", ["+45", "1,030 rows"]),
        ("digest", ["+75", "something was left out"]),
    ] {
        let text = notifier.preview(template, &newest).text;
        for word in said {
            assert!(text.contains(word), "{template}: {word} in {text}");
        }
    }
}
