//! What a drill says of the backup, in words, besides its own result.

use hubvault_engine::catalog::{BackupRecord, DrillMark, State};
use hubvault_engine::publish::Rejection;
use hubvault_model::counted;

/// What a drill that rejected a copy says of its backup.
pub(super) fn rejection_text(said: &Rejection) -> String {
    match said {
        Rejection::Backup(id) => format!(
            "backup {} is unproven now: this is the archive that was stored\n",
            id.short()
        ),
        Rejection::Copy {
            backup,
            destination,
            what,
        } => {
            let id = backup.short();
            format!(
                "the copy of backup {id} at {destination} is damaged ({what}), which says nothing of the backup; hubvault copies sync \
                 makes it again from a whole one\n"
            )
        }
        Rejection::Nothing { backup, why } => {
            format!("nothing was recorded of backup {}: {why}\n", backup.short())
        }
    }
}

/// Why a backup is not proven by a drill that proved it, or may not be: those of others.
pub(super) fn others_text(record: BackupRecord, is_proven: bool) -> Option<String> {
    let id = record.id.short();
    if is_proven && record.state == State::Unproven {
        let by = record.drill_mark.as_ref().map(DrillMark::by);
        let why = record.proof.reason.unwrap_or_default();
        return Some(format!(
            "backup {id} is unproven nevertheless, by a drill{} that did not see this one: {why}; remove marks (*.proof) \
             that hubvault did not make, and drill it again",
            by.unwrap_or_default()
        ));
    }
    let unread = record.unread_marks();
    (unread > 0).then(|| {
        format!(
            "{} of other drills beside the copies of backup {id} could not be read or are too many: one that failed may be \
             among them; remove those (*.proof) that hubvault did not make, and drill it again",
            counted(unread as u64, "mark")
        )
    })
}
