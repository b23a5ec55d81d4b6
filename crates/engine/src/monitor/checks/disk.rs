//! Whether there is room for the next archives.

use super::super::{Finding, Look};
use crate::catalog::State;
use crate::disk::{free_bytes, free_inodes};
use hubvault_model::{ByteSize, Cancel};

pub(super) const NAME: &str = "disk";
/// A run makes about ten files, and some weeks of runs keep a log each.
const FEW_INODES: u64 = 50;

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let directory = look.job.local_directory().display();
    let free = match free_bytes(look.job.spool()) {
        Ok(free) => free,
        Err(error) => {
            let what = format!("asking for the free space of {directory}: {error}");
            return Finding::failing(
                NAME,
                what,
                "see that the disk is mounted and BACKUP_DIR is right",
            );
        }
    };
    let newest = look.archives().find_map(|record| record.bytes);
    let more = look.job.monitor.min_free.map_or(0, |size| size.0);
    let twice = newest.unwrap_or_default().saturating_mul(2);
    let asked = asked_for(look);
    let needed = twice.max(asked).saturating_add(more);
    let what = format!("{} free in {directory}", ByteSize(free));
    if free < needed {
        let what = format!(
            "{what}, less than {} ({}{})",
            ByteSize(needed),
            if asked > twice {
                "what the last run needed"
            } else {
                "twice the newest archive"
            },
            if more > 0 {
                " and monitor.min_free_mb"
            } else {
                ""
            }
        );
        let failed = look.overview.last_run.as_ref();
        let failed = failed.is_some_and(|newest| newest.state == State::Failed);
        let next = if failed {
            "hubvault prune --after-failed-run removes what the rules let go though the last run failed (--dry-run \
             shows it); make room, or set retention.max_total_mb"
        } else {
            "hubvault prune --dry-run shows what the rules would let go; make room, or set retention.max_total_mb"
        };
        return Finding::failing(NAME, what, next);
    }
    // Where bytes can be asked for, these can, too.
    let inodes = free_inodes(look.job.spool()).ok().flatten();
    if let Some(inodes) = inodes.filter(|inodes| *inodes < FEW_INODES) {
        let what = format!("{what}, but room for {inodes} more files only (inodes)");
        let next = "df -i shows the file system; remove what takes its inodes, or use another one";
        return Finding::failing(NAME, what, next);
    }
    Finding::ok(NAME, what)
}

/// What the newest run asked for; one that filled the disk needed more than its plan said.
fn asked_for(look: &Look<'_>) -> u64 {
    let mut runs = look.runs.iter().map(|summary| &summary.run);
    let Some((run, asked)) = runs.find_map(|run| Some((run, run.needed_bytes?))) else {
        return 0;
    };
    let has_filled = run.failed_check.as_deref() == Some(NAME);
    if has_filled {
        asked.saturating_mul(2)
    } else {
        asked
    }
}
