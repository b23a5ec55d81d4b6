//! Whether the newest archive holds about as many rows as the proven one before it.

use super::super::{Finding, Look, compare_rows};
use crate::catalog::BackupRecord;
use hubvault_model::Cancel;

pub(super) const NAME: &str = "rows";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let Some(newest) = look.archives().next() else {
        return Finding::skipped(NAME, "there is no archive yet");
    };
    let both = look.catalog.whole(newest).and_then(|newest| {
        let earlier = look.earlier.as_ref().map(|run| look.catalog.whole(run));
        Ok(earlier.transpose()?.map(|earlier| (earlier, newest)))
    });
    match both {
        Ok(Some((earlier, newest))) => compare(look, &earlier, &newest),
        Ok(None) => Finding::skipped(NAME, "there is one archive, and none before it to compare"),
        Err(error) => Finding::skipped(NAME, error.to_string()),
    }
}

fn compare(look: &Look<'_>, earlier: &BackupRecord, newest: &BackupRecord) -> Finding {
    let changes = compare_rows(earlier, newest, look.job.monitor.rows);
    let id = earlier.id.short();
    if changes.is_empty() {
        let what = format!("no table changed much since backup {id}");
        return Finding::ok(NAME, what);
    }
    let said: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let next = format!(
        "hubvault diff {id} shows which rows are not there any more; if that is intended, the next backup becomes \
         the reference"
    );
    Finding::failing(NAME, format!("{} since backup {id}", said.join("; ")), next)
}
