//! Histories, and what they say.

use super::*;
use crate::catalog::{BackupCopy, BackupRecord, CopyState, DrillRecord, State};
use crate::progress::{Stage, StageTime};
use hubvault_model::{BackupId, Warning};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const HOUR: i64 = 3600;
/// 2026-11-23 12:00 UTC.
const NOON: i64 = 1_795_435_200;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A run that began so many hours before noon and took a minute.
fn run(hours_ago: i64, state: State) -> BackupRecord {
    let began = at(NOON - hours_ago * HOUR);
    let mut record = BackupRecord::begun(BackupId::random(), "hub", began);
    record.state = state;
    record.finished_at = (state != State::Running).then(|| began + SignedDuration::from_mins(1));
    if matches!(state, State::Proven | State::Unproven) {
        record.copies = vec![BackupCopy::local(format!("/nowhere/{hours_ago}"), Some(10))];
        record.bytes = Some(10);
    }
    record
}

fn drilled(mut record: BackupRecord, seconds: f64) -> BackupRecord {
    record.proof.drill = Some(DrillRecord {
        drilled_at: record.started_at + SignedDuration::from_secs(50),
        seconds,
        server_version: "15".into(),
        tables: 1,
        rows: 1,
        ..DrillRecord::default()
    });
    record
}

fn newest(history: &[BackupRecord]) -> Option<usize> {
    let newest = Overview::of(history, by_record).newest_proven?;
    history.iter().position(|record| record.id == newest.id)
}

fn risks(history: &[BackupRecord]) -> Vec<String> {
    let risks = Overview::of(history, by_record).risks(25, at(NOON));
    risks.iter().map(ToString::to_string).collect()
}

#[test]
fn the_newest_proven_backup_is_the_newest_one_that_is_proven_and_there() {
    use State::{Failed, Proven, Running, Unproven};
    assert_eq!(newest(&[]), None);
    assert_eq!(newest(&[run(1, Failed), run(2, Failed)]), None);
    assert_eq!(newest(&[run(0, Running), run(1, Unproven)]), None);
    assert_eq!(newest(&[run(1, Failed), run(2, Proven)]), Some(1));
    assert_eq!(newest(&[run(1, Unproven), run(2, Proven)]), Some(1));
    let mut history = [run(1, Proven), run(2, Proven)];
    history[1].pinned = true;
    assert_eq!(newest(&history), Some(0));
    history[0] = history[0].removed(CopyState::Removed, at(NOON));
    assert_eq!(newest(&history), Some(1));
    // On the disk there is neither.
    assert!(Overview::of(&history, presence).newest_proven.is_none());
}

#[test]
fn presence_is_the_record_and_then_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut record = run(1, State::Proven);
    assert_eq!(presence(&run(1, State::Failed)), Presence::NeverMade);
    assert_eq!(presence(&record), Presence::Missing);
    let file = directory.path().join("archive");
    std::fs::create_dir(&file).unwrap();
    record.copies = vec![BackupCopy::local(&file, Some(1))];
    assert_eq!(presence(&record), Presence::Missing, "a directory");
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, "x").unwrap();
    assert_eq!(presence(&record), Presence::Present);
    assert_eq!(archive(&record), Some(file.as_path()));
    record = record.removed(CopyState::Removed, at(NOON));
    assert_eq!(presence(&record), Presence::Removed);
    assert_eq!(archive(&record), None);
}

#[test]
fn archives_are_counted_where_they_are_there() {
    let mut history = [
        run(1, State::Running),
        run(2, State::Proven),
        run(3, State::Unproven),
        run(4, State::Failed),
    ];
    history[1].pinned = true;
    let there = Overview::of(&history, by_record);
    assert_eq!((there.archives, there.archives_bytes), (2, 20));
    assert_eq!((there.archives_pinned, there.missing.len()), (1, 0));
    let gone = Overview::of(&history, presence);
    assert_eq!((gone.archives, gone.archives_bytes), (0, 0));
    assert_eq!((gone.archives_pinned, gone.missing.len()), (0, 2));
    for state in [
        State::Running,
        State::Proven,
        State::Unproven,
        State::Failed,
    ] {
        assert_eq!(there.runs(state), 1);
    }
    assert_eq!(there.last_run.unwrap().id, history[0].id);
    assert_eq!(there.last_ended.unwrap().id, history[1].id);
    assert_eq!(there.last_published.unwrap().id, history[1].id);
}

#[test]
fn a_backup_is_too_old_a_second_after_its_limit() {
    let history = [run(25, State::Proven)];
    let newest = Overview::of(&history, by_record).newest_proven;
    assert_eq!(age_risk(newest.as_ref(), 25, at(NOON)), None);
    let risk = age_risk(newest.as_ref(), 25, at(NOON + 1)).unwrap();
    assert_eq!(
        risk.to_string(),
        "the newest proven backup is 25 hours old, more than the 25 hours that BACKUP_MAX_AGE_HOURS and PROOF allow"
    );
    // A clock that was set back makes nothing old.
    assert_eq!(age_risk(newest.as_ref(), 0, at(NOON - 30 * HOUR)), None);
    assert_eq!(age_risk(None, 25, at(NOON)), Some(Risk::NeverProven));
}

#[test]
fn risks_are_those_of_the_last_outcome_and_of_the_newest_backup() {
    assert_eq!(risks(&[run(1, State::Proven)]), [""; 0]);
    assert_eq!(risks(&[]), ["there is no proven backup"]);
    let mut history = [
        run(0, State::Running),
        run(1, State::Failed),
        run(2, State::Unproven),
        run(3, State::Proven),
    ];
    history[1].error = Some("the disk is full".to_owned());
    history[2].warnings = vec![Warning::new("x", "y", "something was left out")];
    assert_eq!(
        risks(&history),
        [
            "the last run failed: the disk is full",
            "the last backup is unproven: not drilled",
            "the last backup has a warning: something was left out",
        ]
    );
    let missing = Overview::of(&history[3..], presence).risks(25, at(NOON));
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        missing,
        ["there is no proven backup", "/nowhere/3 is missing"]
    );
}

#[test]
fn durations_are_the_median_of_what_was_measured() {
    let none = Overview::of(&[run(1, State::Failed)], by_record).durations;
    assert_eq!(
        (none.backup(), none.drill(), none.restore()),
        (None, None, None)
    );
    let mut history: Vec<BackupRecord> = [300.0, 100.0, 200.0]
        .into_iter()
        .map(|seconds| drilled(run(1, State::Proven), seconds))
        .collect();
    history[2].stages = [
        (Stage::Export, 5.0),
        (Stage::Rows, 100.0),
        (Stage::Compare, 60.0),
    ]
    .map(|(stage, seconds)| StageTime { stage, seconds })
    .into();
    let durations = Overview::of(&history, by_record).durations;
    assert_eq!(durations.backup(), Some(60.0));
    assert_eq!(durations.drill(), Some(200.0));
    assert_eq!(durations.restore(), Some(160.0));
}

#[test]
fn the_sentence_is_true_or_is_not_said() {
    let say = |history: &[BackupRecord], now| {
        let assurance = Overview::of(history, by_record).assurance();
        assurance.map(|assurance| assurance.text(now, &TimeZone::UTC))
    };
    assert_eq!(say(&[run(1, State::Unproven)], at(NOON)), None);
    let history = [
        run(1, State::Failed),
        drilled(run(10, State::Proven), 355.0),
    ];
    assert_eq!(
        say(&history, at(NOON)).unwrap(),
        "The backup of 02:00:00 can be restored. Proven at 02:00. A restore takes about 6 minutes. 1 copy in 1 place."
    );
    assert_eq!(
        say(&history, at(NOON + 24 * HOUR)).unwrap(),
        "The backup of 2026-11-23 02:00:00 can be restored. Proven at 2026-11-23 02:00. \
         A restore takes about 6 minutes. 1 copy in 1 place."
    );
}
