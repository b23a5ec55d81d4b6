//! Whether the newest archive is as large as one would think.

use super::super::{Finding, Look};
use hubvault_model::{ByteSize, Cancel};

pub(super) const NAME: &str = "size";
/// So many earlier ones are the measure.
const LAST: usize = 7;
/// Fewer are none.
const LEAST: usize = 3;

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let mut sizes = look.runs.iter().filter_map(|summary| summary.run.bytes);
    let Some(newest) = sizes.next() else {
        return Finding::skipped(NAME, "there is no archive yet");
    };
    let limits = look.job.limits;
    let size = ByteSize(newest);
    let failing = |what: String, next: &str| Finding::failing(NAME, what, next);
    let outside =
        "see what changed (hubvault show latest), or correct that setting if the size is right";
    if let Some(min) = limits.min.filter(|min| size < *min) {
        let what = format!("the newest archive has {size}, less than BACKUP_MIN_SIZE_MB ({min})");
        return failing(what, outside);
    }
    if let Some(max) = limits.max.filter(|max| size > *max) {
        let what = format!("the newest archive has {size}, more than BACKUP_MAX_SIZE_MB ({max})");
        return failing(what, outside);
    }
    let mut earlier: Vec<u64> = sizes.take(LAST).collect();
    if earlier.len() < LEAST {
        let what = format!("the newest archive has {size}; too few came before it to compare");
        return Finding::ok(NAME, what);
    }
    let median = median(&mut earlier);
    let usual = format!(
        "the newest archive has {size}, where the last {} had {} (median)",
        earlier.len(),
        ByteSize(median)
    );
    let next = "hubvault show latest says what is inside; an intended change becomes the reference in a few days";
    if newest < median / 2 {
        failing(format!("{usual}: less than half"), next)
    } else if newest > median.saturating_mul(2) {
        failing(format!("{usual}: more than double"), next)
    } else {
        Finding::ok(NAME, usual)
    }
}

fn median(sizes: &mut [u64]) -> u64 {
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or_default()
}
