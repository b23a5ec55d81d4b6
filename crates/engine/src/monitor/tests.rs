//! Checks that go by the clock, looked at from other moments.

use super::*;
use crate::catalog::{BackupCopy, BackupRecord, Catalog, CopyState, DrillRecord, State};
use crate::job::{
    ArchiveOptions, Delivery, Destinations, Gentleness, Job, LeaseOptions, MissingPolicy,
    MonitorOptions, ProofOptions, ProofWhen, RetentionRules, Scope, SizeLimits, SourceDigest,
};
use crate::schedule::Schedule;
use crate::state::{RunLock, StateDir};
use hubvault_archive::Codec;
use hubvault_model::{BackupId, ByteSize, Cancel};
use hubvault_postgres::{ConnectSettings, SslMode};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::time::Duration;

mod copies;
mod messages;
mod one_pass;

const DAY: SignedDuration = SignedDuration::from_hours(24);

pub(crate) fn job(directory: &Path) -> Job {
    Job {
        schedule: Schedule::new("0 2 * * *", TimeZone::UTC).unwrap(),
        name: "hub".into(),
        database: ConnectSettings {
            host: "localhost".into(),
            port: 1,
            user: "backup".into(),
            dbname: "hub".into(),
            password: None,
            passfile: None,
            sslmode: SslMode::Disable,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            hostaddr: None,
            connect_timeout: Duration::from_secs(1),
            attempts: 1,
            application_name: "hubvault".into(),
            old_programs: false,
            is_own: false,
        },
        scope: Scope {
            tables: Vec::new(),
            exclude: Vec::new(),
            missing: MissingPolicy::Warn,
            windows: Vec::new(),
            by_default: false,
        },
        sources: Vec::new(),
        hooks: Vec::new(),
        files: Vec::new(),
        archive: ArchiveOptions {
            codec: Codec::Gzip,
            level: 1,
            mask_passwords: false,
        },
        seal: Vec::new(),
        destinations: Destinations::local(directory),
        lease: None,
        limits: SizeLimits::default(),
        proof: ProofOptions {
            when: ProofWhen::Always,
            directory: directory.to_owned(),
            memory: None,
            empty_clusters: None,
            server: None,
            script: ProofWhen::Off,
            source_digest: SourceDigest::Auto,
            time_limit: Duration::from_secs(1),
            environment: Vec::new(),
        },
        delivery: Delivery::default(),
        retention: RetentionRules::default(),
        monitor: MonitorOptions::default(),
        workers: 1,
        gentleness: Gentleness::default(),
        time_limit: Duration::from_secs(1),
        lock_timeout: Duration::from_secs(1),
    }
}

/// A proven run at `at` with an archive of `bytes`.
fn proven(directory: &Path, at: Timestamp, bytes: usize) -> BackupRecord {
    let file = directory.join(format!("critical_backup_{}.tar.gz", at.as_second()));
    std::fs::write(&file, vec![0; bytes]).unwrap();
    let mut record = BackupRecord::begun(BackupId::random(), "hub", at);
    record.state = State::Proven;
    record.copies = vec![BackupCopy::local(file, Some(bytes as u64))];
    record.bytes = Some(bytes as u64);
    record.proof.drill = Some(DrillRecord {
        drilled_at: at,
        seconds: 1.0,
        server_version: "15".into(),
        tables: 1,
        rows: 1,
        ..DrillRecord::default()
    });
    record
}

struct House {
    directory: tempfile::TempDir,
    catalog: Catalog,
    job: Job,
    now: Timestamp,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            catalog: Catalog::open(&StateDir::open(directory.path()).unwrap()).unwrap(),
            job: job(directory.path()),
            now: Timestamp::now(),
            directory,
        }
    }

    fn ran(&self, at: Timestamp, bytes: usize) -> BackupRecord {
        let record = proven(self.directory.path(), at, bytes);
        self.catalog.finish(&record).unwrap();
        record
    }

    fn finds(&self, check: &str, now: Timestamp) -> Finding {
        self.finds_due(check, now, None)
    }

    fn finds_due(&self, check: &str, now: Timestamp, last_due: Option<Timestamp>) -> Finding {
        let zone = TimeZone::UTC;
        let mut look = Look::new(&self.job, &self.catalog, now, &zone).unwrap();
        look.last_due = last_due;
        let found = examine(&look, &Cancel::new(), &|name| name == check);
        assert_eq!(found.len(), 1);
        found.into_iter().next().unwrap()
    }

    #[track_caller]
    fn fails(&self, check: &str, now: Timestamp, word: &str) {
        let found = self.finds(check, now);
        assert_eq!(found.state, CheckState::Failing, "{found:?}");
        assert!(found.what.contains(word), "{found:?}");
        assert!(!found.next.is_empty(), "{found:?}");
    }

    #[track_caller]
    fn passes(&self, check: &str, now: Timestamp) {
        let found = self.finds(check, now);
        assert_eq!(found.state, CheckState::Ok, "{found:?}");
    }
}

#[test]
fn an_old_backup_and_an_old_drill_are_told_and_a_new_one_ends_it() {
    let house = House::new();
    house.fails("time", house.now, "no proven backup");
    let first = house.ran(house.now, 100);
    house.passes("time", house.now + DAY);
    house.passes("proof", house.now + DAY * 7);
    house.fails(
        "time",
        house.now + DAY + DAY,
        "is 2 days old, more than the 25 hours",
    );
    house.fails(
        "proof",
        house.now + DAY * 8,
        "the last drill was 8 days ago",
    );
    house.ran(house.now + DAY * 8, 100);
    house.passes("time", house.now + DAY * 8);
    house.passes("proof", house.now + DAY * 8);
    // One that was removed by hand does not count.
    std::fs::remove_file(first.file().unwrap()).unwrap();
    let second = house.catalog.list().unwrap().remove(0);
    std::fs::remove_file(second.file().unwrap()).unwrap();
    house.fails("time", house.now + DAY * 8, "no proven backup");
}

#[test]
fn between_two_weekly_drills_the_newest_backup_may_be_unproven_and_not_old() {
    let mut house = House::new();
    house.job.proof.when = ProofWhen::Weekly;
    house.job.monitor.max_age_hours = ProofWhen::Weekly.max_age_of_proven(25);
    house.ran(house.now, 100);
    house.passes("time", house.now + DAY);
    house.fails(
        "time",
        house.now + DAY + DAY,
        "the newest backup is 2 days old",
    );
    for day in 1..=8 {
        let record = house.ran(house.now + DAY * day, 100);
        let state = State::Unproven;
        house
            .catalog
            .finish(&BackupRecord { state, ..record })
            .unwrap();
    }
    house.passes("time", house.now + DAY * 8);
    house.fails(
        "time",
        house.now + DAY * 9,
        "the newest proven backup is 9 days old",
    );
}

#[test]
fn a_size_out_of_line_is_told() {
    let mut house = House::new();
    let last = house.now + DAY * 10;
    for day in 0..3 {
        house.ran(house.now + DAY * day, 1_000);
    }
    house.passes("size", last);
    let small = house.ran(house.now + DAY * 3, 400);
    house.fails("size", last, "less than half");
    house
        .catalog
        .finish(&BackupRecord {
            bytes: Some(2_500),
            ..small.clone()
        })
        .unwrap();
    house.fails("size", last, "more than double");
    house
        .catalog
        .finish(&BackupRecord {
            bytes: Some(900),
            ..small
        })
        .unwrap();
    house.passes("size", last);
    house.job.limits.max = Some(ByteSize(500));
    house.fails("size", last, "more than BACKUP_MAX_SIZE_MB");
    house.job.limits = SizeLimits {
        min: Some(ByteSize(5_000)),
        max: None,
    };
    house.fails("size", last, "less than BACKUP_MIN_SIZE_MB");
}

#[test]
fn a_run_that_failed_or_did_not_begin_is_told() {
    let house = House::new();
    let due = |at| house.finds_due("schedule", house.now + DAY, Some(at));
    assert_eq!(
        house.finds("schedule", house.now).state,
        CheckState::Skipped
    );
    house.ran(house.now, 100);
    house.passes("schedule", house.now);
    assert_eq!(due(house.now).state, CheckState::Ok);
    let missed = due(house.now + DAY - SignedDuration::from_mins(11));
    assert_eq!(missed.state, CheckState::Failing);
    assert!(missed.what.contains("did not begin"), "{missed:?}");
    // It may be about to.
    let soon = due(house.now + DAY - SignedDuration::from_mins(9));
    assert_eq!(soon.state, CheckState::Ok);
    let id = BackupId::random();
    let error = std::io::Error::other("no route to host");
    let failed = BackupRecord::failed(id, "hub", house.now + DAY, &error);
    house.catalog.finish(&failed).unwrap();
    house.fails("schedule", house.now + DAY, "no route to host");
}

#[test]
fn a_clock_that_goes_back_and_a_file_from_the_future_are_told() {
    let house = House::new();
    let record = house.ran(house.now, 100);
    house.passes("clock", house.now);
    house.fails("clock", house.now - DAY, "the newest run began at");
    let file = std::fs::File::options()
        .append(true)
        .open(record.file().unwrap())
        .unwrap();
    let future = std::time::SystemTime::now() + Duration::from_hours(24);
    file.set_modified(future).unwrap();
    house.fails("clock", house.now, "yet to come");
    file.set_modified(std::time::SystemTime::now()).unwrap();
    house.passes("clock", house.now);
}

#[test]
fn another_machines_clock_that_is_ahead_is_named_and_its_run_is_not_the_one_that_is_due() {
    let mut house = House::new();
    house.job.lease = Some(LeaseOptions {
        destination: "s3".into(),
        lasts: Duration::from_mins(1),
    });
    let ahead = house.now + SignedDuration::from_mins(10);
    let mut record = BackupRecord::begun(BackupId::random(), "hub", ahead);
    record.state = State::Proven;
    record.copies = vec![BackupCopy::pending(
        "s3",
        "critical_backup_1.7.tar.gz",
        Some(7),
        ahead,
    )];
    record.copies[0].state = CopyState::Present;
    house.catalog.finish(&record).unwrap();
    house.fails(
        "clock",
        house.now,
        "the newest run began on another machine at",
    );
    let host = rustix::system::uname();
    let here = format!("here ({})", host.nodename().to_string_lossy());
    house.fails("clock", house.now, &here);
    let stored = "and stored critical_backup_1.7.tar.gz";
    house.fails("clock", house.now, stored);
    let made = |now| house.catalog.made_since("hub", house.now, now).unwrap();
    assert!(made(house.now).is_none());
    assert_eq!(made(ahead).unwrap().id, record.id);
}

#[test]
fn every_check_of_another_job_is_blind_to_this_one() {
    let mut house = House::new();
    house.ran(house.now, 100);
    house.job.name = "other".into();
    house.fails("time", house.now, "no proven backup");
    for check in ["size", "files", "rows", "proof", "schedule"] {
        let found = house.finds(check, house.now);
        assert_eq!(found.state, CheckState::Skipped, "{found:?}");
        assert!(!found.what.is_empty());
    }
}

/// Whether an alert waits for a run, so many hours after the beginning of the test.
fn waits(house: &House, hours: i64) -> bool {
    let now = house.now + SignedDuration::from_hours(hours);
    let zone = TimeZone::UTC;
    is_pending(&Look::new(&house.job, &house.catalog, now, &zone).unwrap())
}

fn is_pending(look: &Look<'_>) -> bool {
    let finding = Finding::failing("time", "no proven backup", "take one");
    of_runs::of_runs(look, &finding).pending
}

fn house_of_runs() -> House {
    let mut house = House::new();
    house.now = Timestamp::now();
    house.job.time_limit = Duration::from_hours(12);
    house
}

#[test]
fn a_run_at_work_holds_alerts_back_and_one_that_hangs_beyond_its_time_limit_does_not() {
    let house = house_of_runs();
    let begun = BackupRecord::begun(BackupId::random(), "hub", house.now);
    house.catalog.begin(&begun).unwrap();
    let _lock = RunLock::take(house.catalog.state(), begun.id, &Cancel::new()).unwrap();
    assert!(waits(&house, 1) && waits(&house, 11));
    assert!(!waits(&house, 13), "its process hangs");
    // The clock went back.
    assert!(waits(&house, -1));
    assert!(!waits(&house, -24 * 300));
}

#[test]
fn a_run_that_is_not_in_the_catalog_yet_holds_alerts_back() {
    let house = house_of_runs();
    let day_ago = house.now - SignedDuration::from_hours(24);
    let mut yesterday = BackupRecord::begun(BackupId::random(), "hub", day_ago);
    yesterday.state = State::Failed;
    yesterday.finished_at = Some(day_ago);
    house.catalog.finish(&yesterday).unwrap();
    assert!(!waits(&house, 0));
    let _lock = RunLock::take(house.catalog.state(), BackupId::random(), &Cancel::new()).unwrap();
    assert!(waits(&house, 0) && !waits(&house, 13));
}

#[test]
fn a_run_that_crashed_holds_no_alert_back_and_one_that_ended_during_the_look_does() {
    let house = house_of_runs();
    let mut run = BackupRecord::begun(BackupId::random(), "hub", house.now);
    house.catalog.begin(&run).unwrap();
    assert!(!waits(&house, 0), "nobody holds its lock");
    let zone = TimeZone::UTC;
    let look = Look::new(&house.job, &house.catalog, house.now, &zone).unwrap();
    run.state = State::Failed;
    run.finished_at = Some(house.now);
    house.catalog.finish(&run).unwrap();
    assert!(is_pending(&look), "what it found is of before");
    assert!(!waits(&house, 0));
}
