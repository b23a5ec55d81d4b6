//! Rows that a new archive lacks: the archive that has them is pinned.

use crate::catalog::{BackupRecord, Catalog, Pin};
use crate::job::Job;
use crate::monitor::{self, RowChange, compare_rows};
use crate::retain::{self, ROWS_LOST, Unstored};
use hubvault_model::Warning;

/// Holds the rows of a new archive against those of the proven one before it (the newest of any
/// kind where none is proven). What changed too much is told; where rows are gone, the earlier archive is
/// pinned, so that no rule removes it before somebody has looked.
pub(super) fn keep_what_is_lost(job: &Job, catalog: &Catalog, new: &BackupRecord) -> Vec<Warning> {
    let warning = |subject: &str, what: String| Warning::new("rows", subject, what);
    let earlier = match monitor::proven_before(catalog, new) {
        Ok(earlier) => earlier,
        Err(error) => {
            let what =
                format!("could not compare the rows with those of an earlier archive: {error}");
            return vec![warning(&job.name, what)];
        }
    };
    let Some(earlier) = earlier else {
        return Vec::new();
    };
    let changes = compare_rows(&earlier, new, job.monitor.rows);
    if changes.is_empty() {
        return Vec::new();
    }
    let id = earlier.id.short();
    let is_loss = changes.iter().any(RowChange::is_loss);
    let kept = if !is_loss {
        String::new()
    } else if earlier.pinned {
        format!("; that archive is pinned and is kept: hubvault diff {id} shows what is missing")
    } else {
        match retain::pin(job, catalog, &earlier, Some(Pin::now(ROWS_LOST))) {
            Ok(unstored) => {
                let later = |pin: &Unstored| {
                    let (name, problem) = (&pin.destination, &pin.problem);
                    format!("; {name}: {problem}; the next run or hubvault copies sync tries again")
                };
                let also: Vec<String> = unstored.iter().map(later).collect();
                let also = also.concat();
                format!(
                    "; that archive is pinned now and is kept{also}: hubvault diff {id} shows what is missing, hubvault unpin \
                     {id} releases it"
                )
            }
            Err(error) => format!("; that archive could not be pinned and may be removed: {error}"),
        }
    };
    let told = |change: &RowChange| {
        let kept = if change.is_loss() { kept.as_str() } else { "" };
        let what = format!("{change} since backup {id}{kept}");
        warning(&change.table, what)
    };
    changes.iter().map(told).collect()
}
