//! What runs have to do with the notices of checks: a run at work may change what a check finds, and the message about one
//! that ended may have told it already.

use super::alert::OfRuns;
use super::{CheckState, Finding, Look, NAMES};
use crate::catalog::{BackupRecord, State};
use crate::state::RunLock;
use jiff::{SignedDuration, Timestamp};
use std::ops::ControlFlow;
use std::time::Duration;

/// The built-in checks that look at what no run changes.
const UNCHANGED: [&str; 3] = ["restore", "seal", "clock"];

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
    let newest = look.overview.last_run.as_ref();
    let again = newest.and_then(|run| run.finished_at.filter(|_| run.is_tried_again()));
    let pause = longest_pause(look).saturating_add(BEGINS);
    if again.is_some_and(|ended| apart(look, ended) < pause) {
        return true;
    }
    let state = look.catalog.state();
    if RunLock::is_held(state) {
        // Right after it was taken the newest run in the catalog still is the one before.
        return RunLock::since(state).is_none_or(|since| !is_overdue(look, since));
    }
    // A run that ended since then has changed what was found. One that crashed is called running until the next run.
    has_changed(look, newest)
}

/// Whether the newest run is another one by now, or has got further.
fn has_changed(look: &Look<'_>, newest: Option<&BackupRecord>) -> bool {
    let mut now = None;
    let read = look.catalog.each_summary(Some(&look.job.name), |summary| {
        now = Some((summary.run.id, summary.run.state));
        Ok(ControlFlow::Break(()))
    });
    read.is_ok() && now != newest.map(|run| (run.id, run.state))
}

/// Whether it would have been ended by its time limit: a process that hangs in a dead file system holds its lock for ever,
/// and must not keep everybody from being notified for ever.
fn is_overdue(look: &Look<'_>, since: Timestamp) -> bool {
    let limit = SignedDuration::try_from(look.job.time_limit).unwrap_or(SignedDuration::MAX);
    apart(look, since) > limit.saturating_add(BEGINS)
}

/// How far away that is, also where the clock went back since: that must not take until the clock is there again.
fn apart(look: &Look<'_>, at: Timestamp) -> SignedDuration {
    look.now.duration_since(at).abs()
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
