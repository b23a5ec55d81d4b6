//! Whether what retention keeps at a destination is there: the record may not know that somebody else removed it.

use super::plan::Pruned;
use crate::catalog::{BackupRecord, CopyState, State};
use crate::job::LOCAL;
use hubvault_store::{Key, Store};

/// Looks for the newest proven backup that stays at a destination. Why nothing may be removed there, if it is gone.
pub(super) fn look(store: &dyn Store, destination: &str, plan: &[Pruned]) -> Result<(), String> {
    let nothing = |why: String| {
        format!(
            "nothing was removed from {destination}: {why}; `hubvault copies verify` brings the record up to date"
        )
    };
    let Some(kept) = newest_kept(plan, destination) else {
        return Ok(());
    };
    let Some(copy) = kept.copy_at(destination) else {
        return Ok(());
    };
    let id = kept.id.short();
    let key = Key::parse(&copy.key).map_err(|error| nothing(error.to_string()))?;
    let found = store.head(&key).map_err(|error| {
        format!("nothing was removed from {destination}, tried again at the next run: could not look for backup {id}, which is kept there: {error}")
    })?;
    let bytes = copy.bytes.or(kept.bytes);
    match found {
        None => Err(nothing(format!(
            "backup {id}, which is kept there, is not there any more"
        ))),
        Some(object) if bytes.is_some_and(|bytes| bytes != object.bytes) => Err(nothing(format!(
            "{key}, which is kept there, has another size now"
        ))),
        Some(_) => Ok(()),
    }
}

/// Where none is proven, the newest one. What is on this machine was looked for by the plan.
fn newest_kept<'a>(plan: &'a [Pruned], destination: &str) -> Option<&'a BackupRecord> {
    let is_kept = |it: &&Pruned| {
        let copy = it.copy().filter(|copy| copy.is_expected());
        let is_present = copy.is_some_and(|copy| copy.state == CopyState::Present);
        it.decision.keep && is_present && it.destination == destination && destination != LOCAL
    };
    let kept = || plan.iter().filter(is_kept).map(|it| &*it.record);
    let proven = kept().find(|record| record.state == State::Proven);
    proven.or_else(|| kept().next())
}
