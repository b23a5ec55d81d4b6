//! What runs have to do with the notices of checks: a run at work may change what a check finds, and the message about one
//! that ended may have told it already.

use super::alert::OfRuns;
use super::{CheckState, Finding, Look, NAMES};
use crate::catalog::{BackupRecord, State};
use crate::state::RunLock;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The built-in checks that look at what no run changes.
const UNCHANGED: [&str; 2] = ["seal", "clock"];

/// By when another attempt has begun once its pause is over.
const BEGINS: SignedDuration = SignedDuration::from_mins(1);

/// What the runs of the job say about a finding.
pub(super) fn of_runs(look: &Look<'_>, finding: &Finding) -> OfRuns {
    let check = finding.check.as_str();
    OfRuns {
        pending: NAMES.contains(&check) && !UNCHANGED.contains(&check) && is_pending(look),
        told_at: told_at(look, finding),
    }
}

/// The pause between two reminders of a finding. What the configuration decides is said once, and in every digest.
pub(super) fn reminder(look: &Look<'_>, finding: &Finding) -> Duration {
    if finding.check == "seal" && look.job.seal.is_empty() {
        return Duration::ZERO;
    }
    look.job.monitor.reminder
}

/// Whether a run is at work or will be tried again. While it sends its own messages, it holds the lock of notifications.
fn is_pending(look: &Look<'_>) -> bool {
    let Some(newest) = look.records.first() else {
        return RunLock::is_held(look.catalog.state());
    };
    let again = newest.finished_at.filter(|_| newest.is_tried_again());
    let is_tried_again =
        again.is_some_and(|ended| look.since(ended) < longest_pause(look) + BEGINS);
    // One that ended since then has changed what was found.
    let was_at_work = newest.state == State::Running;
    let is_at_work = was_at_work || RunLock::is_held(look.catalog.state());
    is_tried_again || is_at_work && !is_overdue(look, newest)
}

/// Whether it would have been ended by its time limit: a process that hangs in a dead file system holds its lock for ever,
/// and must not keep everybody from being notified for ever.
fn is_overdue(look: &Look<'_>, run: &BackupRecord) -> bool {
    let limit = SignedDuration::try_from(look.job.time_limit).unwrap_or(SignedDuration::MAX);
    look.since(run.started_at) > limit.saturating_add(BEGINS)
}

fn longest_pause(look: &Look<'_>) -> SignedDuration {
    let schedule = &look.job.schedule;
    let last = schedule.tries.saturating_sub(1);
    let pause = schedule.pause_after(last).unwrap_or_default();
    SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX)
}

/// When the newest run ended, where its message told of what the check finds.
fn told_at(look: &Look<'_>, finding: &Finding) -> Option<Timestamp> {
    let newest = look.overview.last_ended.as_ref()?;
    let told = match finding.state {
        CheckState::Ok => newest.was_published(),
        CheckState::Failing => tells_of(newest, look, &finding.check),
        CheckState::Skipped => false,
    };
    newest.reported_at().filter(|_| told)
}

/// Only the message about a failure: rows that are gone, or an archive that is not proven, are an alert besides the message
/// about a success, for whoever is paged only then.
fn tells_of(run: &BackupRecord, look: &Look<'_>, check: &str) -> bool {
    run.state == State::Failed
        && match check {
            "schedule" => true,
            // The message says that there is no proven backup.
            "time" => look.overview.newest_proven.is_none(),
            check => run.failed_check.as_deref() == Some(check),
        }
}
