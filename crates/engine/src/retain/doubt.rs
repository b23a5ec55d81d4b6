//! What stays while a destination does not answer: a drill of another machine may have shown there that what is kept is
//! not proven.

use super::drills::copy_at;
use super::plan::Pruned;
use crate::catalog::{BackupRecord, CopyState, State};
use crate::job::Destination;
use std::collections::HashSet;

/// Keeps at each destination, where everything proven that stays has a copy at a silent one, the newest proven backup that
/// would be removed, and the newest one without a copy at a silent one. Returns which, in sentences.
pub(super) fn spare(plan: &mut [Pruned], silent: &[&Destination]) -> Vec<String> {
    let has_copy = |record: &BackupRecord| silent.iter().any(|at| copy_at(record, at).is_some());
    let mut seen = HashSet::new();
    let all = plan.iter().map(|it| it.destination.clone());
    let places: Vec<String> = all.filter(|name| seen.insert(name.clone())).collect();
    let names: Vec<&str> = silent.iter().map(|at| at.name.as_str()).collect();
    let names = names.join(", ");
    let mut spared = Vec::new();
    for place in places {
        let proven: Vec<usize> = (0..plan.len())
            .filter(|at| plan[*at].destination == place && is_proven(&plan[*at]))
            .collect();
        let is_sure = |at: &usize| !has_copy(&plan[*at].record);
        let is_kept = |at: &usize| plan[*at].decision.keep;
        // Of one destination, the plan has the newest first.
        let Some(next) = proven.iter().position(|at| !is_kept(at)) else {
            continue;
        };
        if proven[..next].iter().any(is_sure) {
            continue;
        }
        let mut stay = vec![proven[next]];
        if !proven.iter().any(|at| is_kept(at) && is_sure(at)) {
            let sure = proven.iter().find(|at| is_sure(at)).copied();
            stay.extend(sure.filter(|at| *at != proven[next]));
        }
        for at in stay {
            let (id, decision) = (plan[at].record.id.short(), &mut plan[at].decision);
            decision.keep = true;
            decision.reason =
                format!("kept until {names} can be asked whether newer backups failed a drill");
            spared.push(format!(
                "backup {id} is kept at {place} until {names} can be asked whether newer backups failed a drill"
            ));
        }
    }
    spared
}

fn is_proven(pruned: &Pruned) -> bool {
    let is_present = |state: Option<CopyState>| state == Some(CopyState::Present);
    pruned.record.state == State::Proven && is_present(pruned.copy().map(|copy| copy.state))
}
