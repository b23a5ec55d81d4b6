//! Copies that another machine with the same lease removed: they are not missing.

use crate::catalog::{BackupRecord, Catalog, CopyState, State};
use crate::job::{Destination, Job};
use crate::remote::{Archives, RemoteError};
use crate::retain::kept_once_there;
use hubvault_model::{BackupId, counted};
use hubvault_store::Key;
use jiff::Timestamp;
use std::collections::HashSet;

/// Records what is not at the destination of the lease any more: as removed where retention of another machine may have done
/// that, with the sidecar; else as missing. `listed` are the keys of the archives there.
pub(super) fn record(
    job: &Job,
    catalog: &Catalog,
    destination: &Destination,
    archives: &Archives,
    listed: &HashSet<String>,
) -> Result<(), RemoteError> {
    let name = &destination.name;
    let records = catalog.runs(&job.name)?;
    let copy_of = |record: &BackupRecord| {
        let copy = record.copy_at(name)?;
        (copy.is_present() && copy.is_at(destination)).then(|| copy.key.clone())
    };
    let present = records.iter().filter_map(|it| Some((it, copy_of(it)?)));
    let (there, others): (Vec<_>, Vec<_>) = present.partition(|(_, key)| listed.contains(key));
    let newest = |is_wanted: &dyn Fn(&BackupRecord) -> bool| {
        let wanted = there.iter().filter(|(record, _)| is_wanted(record));
        wanted.map(|(record, _)| record.started_at).max()
    };
    let (newest, newest_proven) = (
        newest(&|_| true),
        newest(&|record| record.state == State::Proven),
    );
    let absent: HashSet<BackupId> = others.iter().map(|(record, _)| record.id).collect();
    let zone = &job.schedule.zone;
    let kept = kept_once_there(job, destination, &records, &absent, Timestamp::now(), zone);
    let (mut removed, mut against_rules) = (0, 0);
    for (record, key) in others {
        let Ok(key) = Key::parse(&key) else { continue };
        // It may have been stored since the look.
        if archives.head(&key)?.is_some() {
            continue;
        }
        // Retention keeps the newest one, the newest proven one and what is pinned.
        let is_before = |at: Option<Timestamp>| at.is_some_and(|at| record.started_at < at);
        let may_go = !record.pinned
            && is_before(newest)
            && (record.state != State::Proven || is_before(newest_proven));
        let is_removed = may_go && !archives.has_sidecar(&key)?;
        let now = Timestamp::now();
        catalog.change(record.id, |record| {
            let Some(copy) = record.copy_at_mut(name).filter(|copy| copy.is_present()) else {
                return;
            };
            copy.since = Some(now);
            if is_removed {
                copy.state = CopyState::Removed;
                copy.removed_at = Some(now);
            } else {
                copy.state = CopyState::Missing;
                copy.error = Some("it is not there any more".to_owned());
            }
        })?;
        removed += u64::from(is_removed);
        against_rules += u64::from(is_removed && kept.contains(&record.id));
    }
    if against_rules > 0 {
        let copies = counted(against_rules, "copy");
        tracing::warn!(
            "{copies} at {name} were removed although the retention of this machine keeps them: another machine of the lease \
             has other rules or removed them by hand, or somebody deleted them there"
        );
        removed -= against_rules;
    }
    if removed > 0 {
        let copies = counted(removed, "copy");
        tracing::info!("another machine removed {copies} from {name}");
    }
    Ok(())
}
