//! Summaries and the records that they are of.

use super::*;
use crate::catalog::{State, TableRecord};
use crate::progress::{Stage, StageTime};
use crate::state::StateDir;
use hubvault_model::BackupId;
use jiff::Timestamp;

fn record(second: i64, tables: &[&str]) -> BackupRecord {
    let at = Timestamp::from_second(second).unwrap();
    let table = |name: &&str| TableRecord {
        name: (*name).to_owned(),
        rows: 3,
        bytes: 9,
        digest: String::new(),
        coverage: hubvault_archive::Coverage::Whole,
    };
    BackupRecord {
        state: State::Proven,
        tables: tables.iter().map(table).collect(),
        ..BackupRecord::begun(BackupId::random(), "hub", at)
            .found(format!("/nowhere/{second}").as_ref(), 7)
    }
}

fn summaries(catalog: &Catalog) -> Vec<String> {
    let mut all = Vec::new();
    let see = |summary: RunSummary| {
        all.push(serde_json::to_string(&summary).unwrap());
        Ok(ControlFlow::Continue(()))
    };
    catalog.each_summary(None, see).unwrap();
    all
}

fn of_records(catalog: &Catalog) -> Vec<String> {
    let records = catalog.list().unwrap();
    let json = |record| serde_json::to_string(&RunSummary::of(record)).unwrap();
    records.iter().map(json).collect()
}

fn missing(catalog: &Catalog) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM backups) - (SELECT count(summary) FROM summaries)";
    catalog.db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn kept(catalog: &Catalog) -> HashSet<String> {
    let kept = |it: BackupRecord| it.is_kept().then(|| it.copies[0].key.clone());
    catalog
        .list()
        .unwrap()
        .into_iter()
        .filter_map(kept)
        .collect()
}

/// What an earlier version, or somebody by hand, does to the table of records.
#[test]
fn a_summary_is_never_older_than_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
    for second in [10, 20, 20, 30] {
        catalog.finish(&record(second, &["a", "<script>"])).unwrap();
    }
    assert_eq!(missing(&catalog), 0);
    for sql in [
        "UPDATE backups SET record = json_set(record, '$.pinned', json('true'))",
        "INSERT INTO backups SELECT '11111111-0000-4000-8000-000000000000', job, state, file, started_at, NULL, 7,
            json_set(record, '$.id', '11111111-0000-4000-8000-000000000000') FROM backups LIMIT 1",
        "UPDATE backups SET started_at = '2030-01-01T00:00:00Z', job = 'other' WHERE id LIKE '11111111-%'",
        "DELETE FROM backups WHERE id LIKE '11111111-%'",
        "UPDATE backups SET record = json_set(record, '$.copies[0].removed_at', '2026-01-01T00:00:00Z') WHERE rowid < 3",
        "UPDATE summaries SET summary = '{}'",
        "UPDATE summaries SET summary = 'damaged'",
    ] {
        catalog.db.execute_batch(sql).unwrap();
        assert_eq!(summaries(&catalog), of_records(&catalog), "{sql}");
        assert_eq!(missing(&catalog), 0, "{sql}");
        assert_eq!(catalog.kept_names().unwrap(), kept(&catalog), "{sql}");
    }
    let mut first = 0;
    let see = |summary: RunSummary| {
        first = summary.rows;
        Ok(ControlFlow::Break(()))
    };
    catalog.each_summary(Some("hub"), see).unwrap();
    assert_eq!(first, 6);
    assert!(catalog.newest(Some("other"), |_| true).unwrap().is_none());
}

#[test]
fn a_catalog_of_an_earlier_version_gets_them_and_one_that_can_only_be_read_does_without() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let catalog = Catalog::open(&state).unwrap();
    for second in [30, 10, 20] {
        catalog.finish(&record(second, &["a"])).unwrap();
    }
    let before = "DROP TRIGGER backups_inserted; DROP TRIGGER backups_updated; DROP TRIGGER backups_deleted; \
                  DROP TABLE summaries;";
    catalog.db.execute_batch(before).unwrap();
    let of_records = of_records(&catalog);
    let read_only = Catalog {
        has_summaries: false,
        ..catalog
    };
    assert_eq!(summaries(&read_only), of_records);
    let catalog = Catalog::open(&state).unwrap();
    assert_eq!(missing(&catalog), 3);
    assert_eq!(catalog.kept_names().unwrap().len(), 3);
    assert_eq!(summaries(&catalog), of_records);
    assert_eq!(missing(&catalog), 0);
    assert_eq!(summaries(&Catalog::open(&state).unwrap()), of_records);
}

#[test]
fn of_the_stages_those_of_a_restore_are_kept() {
    let time = |stage| StageTime {
        stage,
        seconds: 1.0,
    };
    let record = BackupRecord {
        stages: [Stage::Export, Stage::Rows, Stage::Publish, Stage::Compare]
            .map(time)
            .into(),
        ..record(10, &["a"])
    };
    let stages = RunSummary::of(&record).run.stages;
    assert_eq!(stages, [time(Stage::Rows), time(Stage::Compare)]);
}
