//! What is read from summaries is what the records say.

use super::*;
use crate::catalog::{
    BackupCopy, BackupRecord, Catalog, CopyState, DrillRecord, State, TableRecord,
};
use crate::progress::{Stage, StageTime};
use crate::state::StateDir;
use hubvault_archive::Coverage;
use hubvault_model::{BackupId, Warning};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;

const STATES: [State; 4] = [
    State::Running,
    State::Proven,
    State::Unproven,
    State::Failed,
];
const COPY_STATES: [CopyState; 5] = [
    CopyState::Pending,
    CopyState::Present,
    CopyState::Missing,
    CopyState::Damaged,
    CopyState::Removed,
];

#[derive(Clone, Debug)]
struct Made {
    state: usize,
    second: i64,
    job: bool,
    copies: Vec<(usize, bool, bool)>,
    tables: u64,
    flags: u8,
    shape: u8,
}

fn made() -> impl Strategy<Value = Made> {
    let copies = prop::collection::vec((0..5_usize, any::<bool>(), any::<bool>()), 0..3);
    (
        0..4_usize,
        0..50_i64,
        any::<bool>(),
        copies,
        0..4_u64,
        any::<u8>(),
        0..4_u8,
    )
        .prop_map(|(state, second, job, copies, tables, flags, shape)| Made {
            state,
            second,
            job,
            copies,
            tables,
            flags,
            shape,
        })
}

fn record(made: &Made, directory: &Path) -> BackupRecord {
    let at = Timestamp::from_second(1_000 + made.second).unwrap();
    let is = |bit: u8| made.flags >> bit & 1 == 1;
    let copy = |(number, (state, is_removed, is_here)): (usize, &(usize, bool, bool))| {
        let name = format!("critical_backup_{}.tar.gz", made.second);
        let mut copy = match number {
            0 => BackupCopy::local(directory.join(name), None),
            _ => BackupCopy::pending("far \"<script>", &name, Some(3), at),
        };
        if *is_here && number == 0 {
            std::fs::write(copy.path().unwrap(), "archive").unwrap();
        }
        copy.state = COPY_STATES[*state];
        copy.removed_at = is_removed.then_some(at);
        copy
    };
    let table = |number: u64| TableRecord {
        name: format!("table \u{1} {number}"),
        rows: number << 40,
        bytes: number,
        digest: String::new(),
        coverage: Coverage::Whole,
    };
    let mut record = BackupRecord {
        state: STATES[made.state],
        copies: made.copies.iter().enumerate().map(copy).collect(),
        tables: (0..made.tables).map(table).collect(),
        finished_at: is(0).then_some(at),
        bytes: is(1).then_some(u64::from(u32::MAX) * 9),
        error: is(2).then(|| "stopped on request\nby \u{7f}".to_owned()),
        stopped: is(3),
        pinned: is(4),
        sealed_to: is(5).then(|| "age1".to_owned()).into_iter().collect(),
        warnings: is(6)
            .then(|| Warning::new("rows", "a", "fell"))
            .into_iter()
            .collect(),
        stages: is(7)
            .then_some(StageTime {
                stage: Stage::Rows,
                seconds: 0.1 + made.second as f64,
            })
            .into_iter()
            .collect(),
        ..BackupRecord::begun(
            BackupId::random(),
            if made.job { "hub" } else { "other" },
            at,
        )
    };
    record.proof.drill = is(1).then(|| DrillRecord {
        drilled_at: at,
        seconds: 1.0 / 3.0,
        not_rebuilt: vec!["function f()".to_owned()],
        ..DrillRecord::default()
    });
    record
}

/// As versions recorded it before records had several copies, before fields that came later, and one of a newer version.
fn stored(made: &Made, record: &BackupRecord) -> Value {
    let mut json = serde_json::to_value(record).unwrap();
    let fields = json.as_object_mut().unwrap();
    match made.shape {
        0 => {
            for field in ["copies", "stages", "sealed_to", "delivery", "pinned"] {
                fields.remove(field);
            }
            fields["proof"].as_object_mut().unwrap().remove("drill");
        }
        1 => {
            fields.remove("copies");
            fields.remove("removed_at");
            fields.remove("gone");
        }
        2 => {
            fields.insert("receipt".to_owned(), json!({ "by": "newer" }));
        }
        _ => {}
    }
    json
}

/// Without the moment of the look.
fn text(overview: &Overview) -> String {
    format!("{overview:#?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_overview_says_the_same_from_summaries_and_from_records(all in prop::collection::vec(made(), 0..30)) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let catalog = Catalog::open(&state).unwrap();
        let file = rusqlite::Connection::open(state.path().join("catalog.sqlite")).unwrap();
        for made in &all {
            let record = record(made, dir.path());
            catalog.finish(&record).unwrap();
            if made.shape < 3 {
                let sql = "UPDATE backups SET record = ?2 WHERE id = ?1";
                let json = stored(made, &record).to_string();
                file.execute(sql, [record.id.to_string(), json]).unwrap();
            }
        }
        let records = catalog.list().unwrap();
        let of = |job: &str| {
            let of_job = records.iter().filter(|record| record.job == job);
            Overview::of(of_job, looked_for)
        };
        // The first time some summaries are missing.
        for _ in 0..2 {
            for (job, overview) in Overview::read_all(&catalog).unwrap() {
                let from_records = text(&of(&job));
                prop_assert_eq!(text(&overview), &*from_records);
                prop_assert_eq!(text(&Overview::read(&catalog, &job).unwrap()), from_records);
            }
        }
        let proven = newest_proven(&catalog, "hub").unwrap().map(|record| record.id);
        let from_records = of("hub").newest_proven;
        prop_assert_eq!(proven, from_records.map(|record| record.id));
    }
}
