//! Which backups go to which destination.

use super::source::{ONLY_SEALED, Source, Task};
use crate::catalog::{BackupCopy, BackupRecord, CopyState, Pin, State};
use crate::job::{CopyWhen, Destination, Destinations, SealRule};
use crate::remote::was_stored;
use hubvault_store::{Key, Location};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// How far back copies are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// What is to be tried again, and what came since the destination is in use.
    SinceInUse,
    /// The same, of those only that may be tried again by now.
    DueBy(Timestamp),
    /// Every backup that is there.
    All,
}

/// The backups of a job that are to be copied to a destination, newest first. `records` are the job's, newest first.
pub(super) fn to_copy<'a>(
    destination: &Destination,
    records: &'a [BackupRecord],
    reach: Reach,
    zone: &TimeZone,
) -> Vec<&'a BackupRecord> {
    let in_use_since = records
        .iter()
        .filter(|record| record.copy_at(&destination.name).is_some())
        .map(|record| record.started_at)
        .min();
    let is_refused = |record: &BackupRecord| is_refused(destination, record);
    let is_reached = |record: &BackupRecord| match (record.copy_at(&destination.name), reach) {
        (Some(copy), Reach::DueBy(now)) => {
            copy.state == CopyState::Pending
                && copy.next_try_at.is_none_or(|at| at <= now)
                && !(is_refused(record) && is_known_unsealed(copy))
        }
        (Some(copy), Reach::SinceInUse) if is_refused(record) && is_known_unsealed(copy) => false,
        // A copy that is there with an error may lack its sidecar.
        (Some(copy), _) => copy.is_expected() && (!copy.is_present() || copy.error.is_some()),
        (None, _) if is_refused(record) => false,
        (None, Reach::All) => true,
        (None, _) => in_use_since.is_some_and(|since| record.started_at >= since),
    };
    let mut found: Vec<&BackupRecord> = Vec::new();
    // The first of a day is known once those before it are.
    let is_copied = |record: &&BackupRecord| is_copied(record, reach);
    for record in records.iter().rev().filter(is_copied) {
        if is_reached(record) && is_due(destination, record, records, &found, zone) {
            found.push(record);
        }
    }
    found.reverse();
    found
}

/// Whether a destination takes no backup that is like this one: it is not sealed.
pub(super) fn is_refused(destination: &Destination, record: &BackupRecord) -> bool {
    destination.rules.sealed == SealRule::Required && record.sealed_to.is_empty()
}

/// Whether it was said before that a copy is refused for want of a seal.
pub(super) fn is_known_unsealed(copy: &BackupCopy) -> bool {
    let error = copy.error.as_deref();
    error.is_some_and(|error| error.contains(ONLY_SEALED))
}

/// Whether it was published and is somewhere, or may be: asked for everything, one looks for what is recorded otherwise.
fn is_copied(record: &BackupRecord, reach: Reach) -> bool {
    let is_somewhere =
        |copy: &BackupCopy| copy.is_present() || (reach == Reach::All && copy.is_expected());
    matches!(record.state, State::Proven | State::Unproven)
        && record.copies.iter().any(is_somewhere)
}

/// Whether a backup goes to a destination. One that is proven takes the place of one that is not.
pub(super) fn is_due(
    destination: &Destination,
    record: &BackupRecord,
    records: &[BackupRecord],
    chosen: &[&BackupRecord],
    zone: &TimeZone,
) -> bool {
    let has_copy = |record: &BackupRecord| record.copy_at(&destination.name).is_some();
    if destination.rules.when == CopyWhen::Always || has_copy(record) {
        return true;
    }
    let span = |record: &BackupRecord| span_of(destination.rules.when, record.started_at, zone);
    let is_before = |other: &BackupRecord| {
        other.id != record.id
            && span(other) == span(record)
            && (other.state == State::Proven || record.state != State::Proven)
    };
    !records
        .iter()
        .any(|other| has_copy(other) && is_before(other))
        && !chosen.iter().any(|other| is_before(other))
}

/// The day, or the Monday of the week.
fn span_of(when: CopyWhen, at: Timestamp, zone: &TimeZone) -> Date {
    let day = at.to_zoned(zone.clone()).date();
    match when {
        CopyWhen::Always | CopyWhen::Daily => day,
        CopyWhen::Weekly => {
            let since_monday = i64::from(day.weekday().to_monday_zero_offset());
            day.checked_sub(since_monday.days()).unwrap_or(day)
        }
    }
}

/// What is to be done for a backup at a destination, of which this is the whole record; `None` where it is nowhere. Where `may_be_there`, what was stored at a
/// destination of this name or place, and is recorded otherwise, is looked for there itself.
pub(super) fn task(
    record: &BackupRecord,
    destinations: &Destinations,
    to: &Destination,
    may_be_there: bool,
) -> Option<Task> {
    // What was found damaged is never a source.
    let is_whole = record.local_copy().is_some_and(BackupCopy::is_present);
    let of_file = (record.archive().filter(|_| is_whole)).map(|path| Source::File(path.to_owned()));
    let of_copy = || {
        let others = destinations.others().iter();
        let mut there = others.filter(|other| {
            let copy = record.copy_at(&other.name);
            other.name != to.name && copy.is_some_and(BackupCopy::is_present)
        });
        let other = there.next()?;
        Some(Source::Copy(Box::new(other.clone())))
    };
    let is_trace = |copy: &BackupCopy| {
        let url = copy.location.as_deref();
        let at = url.and_then(|url| Location::parse(url).ok());
        copy.destination == to.name || at.is_some_and(|at| to.is_at(&at))
    };
    let of_itself = || {
        let mut copies = record.copies.iter().filter(|copy| copy.is_expected());
        (may_be_there && copies.any(is_trace)).then(|| Source::Copy(Box::new(to.clone())))
    };
    let name = record.archive_name()?;
    Some(Task {
        backup: record.id,
        key: Key::parse(name).ok()?,
        bytes: record.bytes?,
        sha256: record.copies.iter().find_map(|copy| copy.sha256.clone()),
        is_sealed: !record.sealed_to.is_empty(),
        was_stored: (record.copy_at(&to.name)).is_some_and(|copy| was_stored(copy, to)),
        proof: record.proof.clone(),
        pin: record
            .pinned
            .then(|| record.pin.clone().unwrap_or_else(|| Pin::now("pinned"))),
        source: of_file.or_else(of_copy).or_else(of_itself)?,
        lease: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::BackupId;

    fn record(at: &str, state: State) -> BackupRecord {
        let mut record = BackupRecord::begun(BackupId::random(), "hub", at.parse().unwrap());
        record.state = state;
        record.bytes = Some(7);
        record.copies = vec![BackupCopy::local("/b/a", Some(7))];
        record
    }

    fn with_copy(mut record: BackupRecord, state: CopyState) -> BackupRecord {
        let mut copy = BackupCopy::pending("s3", "a", Some(7), record.started_at);
        copy.state = state;
        record.copies.push(copy);
        record
    }

    fn chosen(when: CopyWhen, reach: Reach, newest_first: &[BackupRecord]) -> Vec<usize> {
        let mut destination = Destination::new("s3", Location::parse("s3://b").unwrap());
        destination.rules.when = when;
        let found = to_copy(&destination, newest_first, reach, &TimeZone::UTC);
        let at = |record: &&BackupRecord| newest_first.iter().position(|it| it.id == record.id);
        found.iter().filter_map(at).collect()
    }

    #[test]
    fn the_first_of_a_day_or_week_goes_unless_a_later_one_is_proven() {
        use State::{Proven, Unproven};
        let records = [
            record("2026-01-12T02:00:00Z", Proven), // Monday
            record("2026-01-11T09:00:00Z", Proven), // Sunday
            record("2026-01-10T08:00:00Z", Proven),
            record("2026-01-10T07:00:00Z", Unproven),
            record("2026-01-10T06:00:00Z", State::Failed),
        ];
        assert_eq!(chosen(CopyWhen::Always, Reach::All, &records), [0, 1, 2, 3]);
        assert_eq!(chosen(CopyWhen::Daily, Reach::All, &records), [0, 1, 2, 3]);
        assert_eq!(chosen(CopyWhen::Weekly, Reach::All, &records), [0, 2, 3]);
        let mut there = records.clone();
        there[2] = with_copy(there[2].clone(), CopyState::Present);
        assert_eq!(chosen(CopyWhen::Daily, Reach::All, &there), [0, 1]);
        assert_eq!(chosen(CopyWhen::Weekly, Reach::All, &there), [0]);
    }

    #[test]
    fn what_is_not_sealed_is_not_queued_where_that_is_required() {
        let mut destination = Destination::new("s3", Location::parse("s3://b").unwrap());
        destination.rules.sealed = SealRule::Required;
        let day = |day: u32| record(&format!("2026-01-0{day}T02:00:00Z"), State::Proven);
        let mut sealed = with_copy(day(1), CopyState::Present);
        sealed.sealed_to = vec!["age1".to_owned()];
        let queued = with_copy(day(2), CopyState::Pending);
        let mut refused = queued.clone();
        refused.copies[1].error = Some(format!("the archive is not sealed, and {ONLY_SEALED}"));
        let now = Reach::DueBy("2026-01-05T00:00:00Z".parse().unwrap());
        for (second, reach, expected) in [
            (&queued, Reach::SinceInUse, vec![1]),
            (&queued, now, vec![1]),
            (&queued, Reach::All, vec![1]),
            (&refused, Reach::SinceInUse, vec![]),
            (&refused, now, vec![]),
            (&refused, Reach::All, vec![1]),
        ] {
            let records = [day(3), second.clone(), sealed.clone()];
            let found = to_copy(&destination, &records, reach, &TimeZone::UTC);
            let at = |record: &&BackupRecord| records.iter().position(|it| it.id == record.id);
            let found: Vec<usize> = found.iter().filter_map(at).collect();
            assert_eq!(found, expected, "{reach:?}");
        }
    }

    #[test]
    fn what_was_there_before_the_destination_waits_for_a_sync() {
        let day = |day: u32| record(&format!("2026-01-0{day}T02:00:00Z"), State::Proven);
        let mut records = [day(4), day(3), day(2), day(1)];
        assert_eq!(
            chosen(CopyWhen::Always, Reach::SinceInUse, &records),
            [0; 0]
        );
        records[2] = with_copy(day(2), CopyState::Pending);
        assert_eq!(
            chosen(CopyWhen::Always, Reach::SinceInUse, &records),
            [0, 1, 2]
        );
        assert_eq!(chosen(CopyWhen::Always, Reach::All, &records), [0, 1, 2, 3]);
        records[2].copies[1].next_try_at = Some("2026-01-05T00:00:00Z".parse().unwrap());
        let due = |at: &str| Reach::DueBy(at.parse().unwrap());
        let early = due("2026-01-04T23:00:00Z");
        assert_eq!(chosen(CopyWhen::Always, early, &records), [0, 1]);
        let late = due("2026-01-05T00:00:00Z");
        assert_eq!(chosen(CopyWhen::Always, late, &records), [0, 1, 2]);
        for state in [CopyState::Present, CopyState::Removed] {
            records[2] = with_copy(day(2), state);
            assert_eq!(chosen(CopyWhen::Always, Reach::All, &records), [0, 1, 3]);
        }
        for state in [CopyState::Missing, CopyState::Damaged] {
            records[2] = with_copy(day(2), state);
            assert_eq!(chosen(CopyWhen::Always, Reach::All, &records), [0, 1, 2, 3]);
        }
    }
}
