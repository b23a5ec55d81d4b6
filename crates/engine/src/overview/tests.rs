//! Histories, and what they say.

use super::*;
use crate::catalog::{BackupCopy, BackupRecord, CopyState, DrillRecord, State};
use crate::job::{Destination, Destinations};
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
    let newest = Overview::of(history, recorded).newest_proven?;
    history.iter().position(|record| record.id == newest.id)
}

fn risks(history: &[BackupRecord]) -> Vec<String> {
    let risks = Overview::of(history, recorded).risks(25, at(NOON));
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
    assert!(Overview::of(&history, looked_for).newest_proven.is_none());
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
    let there = Overview::of(&history, recorded);
    assert_eq!((there.archives, there.archives_bytes), (2, 20));
    assert_eq!((there.archives_pinned, there.missing.len()), (1, 0));
    assert_eq!(there.archives_here, (2, 20));
    let mut elsewhere = history.clone();
    let mut copy = BackupCopy::pending("s3", "archive", Some(10), at(NOON));
    copy.state = CopyState::Present;
    elsewhere[2].copies = vec![copy];
    let some = Overview::of(&elsewhere, recorded);
    assert_eq!((some.archives, some.archives_here), (2, (1, 10)));
    let gone = Overview::of(&history, looked_for);
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
    let newest = Overview::of(&history, recorded).newest_proven;
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
    let missing = Overview::of(&history[3..], looked_for).risks(25, at(NOON));
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        missing,
        ["there is no proven backup", "/nowhere/3 is missing"]
    );
}

#[test]
fn durations_are_the_median_of_what_was_measured() {
    let none = Overview::of(&[run(1, State::Failed)], recorded).durations;
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
    let durations = Overview::of(&history, recorded).durations;
    assert_eq!(durations.backup(), Some(60.0));
    assert_eq!(durations.drill(), Some(200.0));
    assert_eq!(durations.restore(), Some(160.0));
}

#[test]
fn the_sentence_is_true_or_is_not_said() {
    let say = |history: &[BackupRecord], now| {
        let assurance = Overview::of(history, recorded).assurance(&Destinations::local("/nowhere"));
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

#[test]
fn a_backup_counts_where_a_copy_is_there_and_its_places_are_counted() {
    use hubvault_store::Location;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = |name: &str, place: &str| Destination::new(name, Location::parse(place).unwrap());
    let file = |directory: &tempfile::TempDir| format!("file://{}", directory.path().display());
    let destinations = Destinations::local(one.path()).with([
        to("disk", &file(&two)),
        to("s3", "s3://acme/a"),
        to("s3-too", "s3://acme/b"),
        to("far", "sftp://far/srv"),
    ]);
    let copy = |name: &str, state: CopyState| {
        let mut copy = BackupCopy::pending(name, "a", Some(10), at(NOON));
        copy.state = state;
        copy
    };
    let mut record = run(1, State::Proven);
    record.copies = vec![BackupCopy::local(one.path().join("a"), Some(10))];
    let said = |record: &BackupRecord| {
        let overview = Overview::of([record], looked_for);
        let known = overview.assurance(&destinations);
        let lost: Vec<String> = overview.missing.iter().map(ToString::to_string).collect();
        (known.map(|it| (it.copies, it.places)), lost.join("; "))
    };
    let here = one.path().join("a").display().to_string();
    assert_eq!(said(&record), (None, format!("{here} is missing")));
    record.copies.push(copy("disk", CopyState::Present));
    assert_eq!(said(&record), (Some((1, 1)), format!("{here} is missing")));
    assert_eq!(record.state_text(), "proven, 1 of 2 copies");
    // A copy elsewhere is made again.
    let mut elsewhere = run(1, State::Proven);
    elsewhere.copies = vec![copy("disk", CopyState::Missing)];
    let lost = said(&elsewhere).1;
    assert!(
        lost.contains(" is missing; hubvault copies sync makes it again"),
        "{lost}"
    );
    std::fs::write(&here, "0123456789").unwrap();
    assert_eq!(said(&record), (Some((2, 1)), String::new()));
    assert_eq!(record.state_text(), "proven");
    record.copies.push(copy("s3", CopyState::Present));
    record.copies.push(copy("s3-too", CopyState::Present));
    record.copies.push(copy("far", CopyState::Damaged));
    let damaged =
        "a at far is damaged; hubvault copies sync makes it again, if a whole copy is left";
    assert_eq!(said(&record), (Some((4, 2)), damaged.to_owned()));
    record.copies[4].state = CopyState::Present;
    assert_eq!(said(&record).0, Some((5, 3)));
    record.copies[4].state = CopyState::Pending;
    assert_eq!(record.state_text(), "proven, 4 of 5 copies");
    let pending = Overview::of([&record], looked_for).copies;
    assert_eq!(pending[&("far".to_owned(), "pending")], 1);
}

#[test]
fn a_copy_is_told_in_a_line() {
    let mut copy = BackupCopy::pending("s3", "a", Some(10), at(NOON));
    let text = |copy: &BackupCopy| {
        copy_text(
            copy,
            &run(1, State::Proven),
            at(NOON + HOUR),
            &TimeZone::UTC,
        )
    };
    assert_eq!(text(&copy), "pending, since 2026-11-23 12:00 UTC");
    copy.attempts = 2;
    copy.next_try_at = Some(at(NOON + 2 * HOUR));
    copy.error = Some("connection refused".to_owned());
    assert_eq!(
        text(&copy),
        "pending, since 2026-11-23 12:00 UTC, 2 attempts, next 2026-11-23 14:00 UTC: connection refused"
    );
    copy = BackupCopy::pending("s3", "a", Some(10), at(NOON));
    copy.state = CopyState::Present;
    copy.checked_at = Some(at(NOON));
    copy.locked_until = Some(at(NOON + 24 * HOUR));
    assert_eq!(
        text(&copy),
        "present, compared 60 minutes ago, locked until 2026-11-24 12:00 UTC"
    );
    copy.state = CopyState::Removed;
    copy.removed_at = Some(at(NOON));
    copy.locked_until = None;
    assert_eq!(text(&copy), "removed 60 minutes ago");
    copy.state = CopyState::Damaged;
    assert_eq!(text(&copy), "damaged, accepted");
}

#[test]
fn a_copy_counts_only_where_its_destination_is_configured() {
    use crate::catalog::Catalog;
    use crate::state::StateDir;
    use hubvault_store::Location;
    let home = tempfile::tempdir().unwrap();
    let state = StateDir::open(home.path()).unwrap();
    let to = |name: &str, place: &str| Destination::new(name, Location::parse(place).unwrap());
    let known = |others: Vec<Destination>| Destinations::local(home.path()).with(others);
    let catalog = |known: &Destinations| Catalog::open(&state).unwrap().of_job("hub", known);
    let copy = |name: &str, location: Option<&str>| {
        let mut copy = BackupCopy::pending(name, "a", Some(10), at(NOON));
        copy.state = CopyState::Present;
        copy.location = location.map(str::to_owned);
        copy
    };
    let mut record = run(1, State::Proven);
    record.copies = vec![copy("s3", Some("s3://old/hub")), copy("az", None)];
    Catalog::open(&state).unwrap().finish(&record).unwrap();
    let said = |others: Vec<Destination>| {
        let known = known(others);
        let record = catalog(&known).list().unwrap().remove(0);
        let overview = Overview::of([&record], looked_for);
        let lacking: Vec<String> = lacking(&record, &known).map(|it| it.name.clone()).collect();
        let copies = overview.assurance(&known).map(|it| it.copies);
        let stray = overview.stray.map(|it| it.to_string());
        (copies, record.count_copies(), lacking.join(" "), stray)
    };
    let (old, az) = (to("s3", "s3://old/hub"), to("az", "az://a"));
    let (new, far) = (to("s3", "s3://new/hub"), to("far", "gs://far"));
    let here = |copies, lacking: &str| (Some(copies), (copies, copies), lacking.to_owned(), None);
    assert_eq!(said(vec![old.clone(), az.clone()]), here(2, ""));
    assert_eq!(said(vec![old]), here(1, ""));
    assert_eq!(said(vec![to("s3", "S3://old/hub/")]), here(1, ""));
    assert_eq!(said(vec![new.clone(), az, far]), here(1, "s3 far"));
    let id = record.id.short();
    let stray = format!(
        "the proven backup {id} is only at s3 (s3://old/hub), which is not configured any more; make it a destination \
             (BACKUP_DESTINATIONS or [[destination]]), then run hubvault copies sync"
    );
    let nowhere = (None, (0, 0), "s3".to_owned(), Some(stray));
    assert_eq!(said(vec![new]), nowhere);
    let record = catalog(&known(Vec::new())).list().unwrap().remove(0);
    let text = |copy: &BackupCopy| copy_text(copy, &record, at(NOON), &TimeZone::UTC);
    let texts: Vec<String> = record.copies.iter().map(text).collect();
    assert_eq!(
        texts,
        [
            "not configured any more (s3://old/hub)",
            "not configured any more"
        ]
    );
}

#[test]
fn one_server_is_one_place_however_it_is_written() {
    use hubvault_store::Location;
    let to = |name: &str, url: &str, endpoint: Option<&str>| {
        let mut destination = Destination::new(name, Location::parse(url).unwrap());
        destination.options.object.endpoint = endpoint.map(str::to_owned);
        destination
    };
    let known = Destinations::local("/b").with([
        to("a", "s3://a", Some("http://127.0.0.1:9000")),
        to("b", "s3://b", Some("http://localhost:9001/")),
        to("c", "sftp://u@[::1]/c", None),
        to("d", "sftp://u@Far.example/c", None),
        to("e", "s3://e", Some("https://far.example")),
        to("f", "s3://f", None),
        to("g", "s3://g", None),
    ]);
    for (names, places) in [("abc", 1), ("de", 1), ("fg", 2), ("adf", 3)] {
        let names = names.chars().map(String::from).collect::<Vec<_>>();
        let count = super::count_places(&known, names.iter().map(String::as_str));
        assert_eq!(count, places, "{names:?}");
    }
}
