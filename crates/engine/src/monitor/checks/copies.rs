//! Whether the copies of backups are where they should be.

use super::super::{Finding, Look};
use crate::catalog::{BackupCopy, BackupRecord, CopyState};
use crate::overview::{count_places, lacking};
use hubvault_model::{Cancel, counted};
use jiff::SignedDuration;

pub(super) const NAME: &str = "copies";
/// A copy may take so long to be stored before it is worth an alert.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_hours(2);
const SYNC: &str = "hubvault copies sync";
/// So many are named.
const NAMED: usize = 3;

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let destinations = &look.job.destinations;
    if destinations.others().is_empty() {
        return Finding::skipped(
            NAME,
            "archives are kept in one place only (BACKUP_DESTINATIONS)",
        );
    }
    let is_wanted = |copy: &BackupCopy| {
        let destination = destinations.named(&copy.destination);
        destination.is_some_and(|it| it.rules.required) && copy.is_expected()
    };
    let mut wrong = Vec::new();
    let (mut pending, mut removed) = (0, 0);
    for record in look.runs.iter().map(|summary| &summary.run) {
        for copy in record.copies.iter().filter(|copy| is_wanted(copy)) {
            if copy.is_unconfigured() {
                continue;
            }
            match copy.state {
                CopyState::Present => {}
                CopyState::Removed => removed += 1,
                CopyState::Pending => {
                    pending += 1;
                    if copy.since.is_none_or(|at| look.since(at) > ON_ITS_WAY) {
                        wrong.push(sentence(record, copy, "is not copied to"));
                    }
                }
                CopyState::Missing => wrong.push(sentence(record, copy, "is missing at")),
                CopyState::Damaged => wrong.push(sentence(record, copy, "is damaged at")),
            }
        }
    }
    if let Some(newest) = &look.overview.newest_proven {
        let without = lacking(newest, destinations).filter(|it| it.rules.required);
        wrong.extend(without.map(|it| {
            format!(
                "{} has no copy of the newest proven backup: hubvault copies sync makes it",
                it.name
            )
        }));
    }
    if wrong.is_empty() {
        let what = match pending {
            0 => "every backup is at its destinations".to_owned(),
            more => format!("{} on the way", counted(more, "copy")),
        };
        let what = match removed {
            0 => what,
            many => format!(
                "{what}, except for {} that somebody removed",
                counted(many, "copy")
            ),
        };
        return Finding::ok(NAME, what + &newest(look));
    }
    let more = wrong.len().saturating_sub(NAMED);
    wrong.truncate(NAMED);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    Finding::failing(NAME, wrong.join("; "), SYNC)
}

/// How many copies of the newest proven backup are there, and that one fire takes them all.
fn newest(look: &Look<'_>) -> String {
    let Some(newest) = &look.overview.newest_proven else {
        return String::new();
    };
    let (there, expected) = newest.count_copies();
    let of = expected + lacking(newest, &look.job.destinations).count();
    let copies = counted(of as u64, "copy");
    let copies = if there < of {
        format!("{there} of {copies}")
    } else {
        copies
    };
    let place = match count_places(&look.job.destinations, look.overview.newest_at()) {
        1 if there > 1 => ", all in one place".to_owned(),
        places => format!(" in {}", counted(places as u64, "place")),
    };
    format!("; of the newest proven one {copies}{place}")
}

fn sentence(record: &BackupRecord, copy: &BackupCopy, how: &str) -> String {
    let why = copy.error.as_ref();
    let why = why.map_or_else(String::new, |error| format!(": {error}"));
    format!(
        "backup {} {how} {}{why}",
        record.id.short(),
        copy.destination
    )
}
