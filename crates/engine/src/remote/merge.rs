//! A copy that was found at its place, and what the catalog knows of it.

use crate::catalog::{BackupCopy, BackupRecord, CopyState, DeliveryRecord, FoundMark, State};
use jiff::Timestamp;

/// What became of a copy that was found.
pub(super) enum Merged {
    Known,
    Returned,
    /// It is recorded as missing or damaged, or is damaged now.
    Doubtful(String),
}

/// Adds the copy of a record that was found to the one in the catalog.
pub(super) fn merge(record: &mut BackupRecord, found: &BackupRecord) -> Merged {
    let Some(copy) = found.copies.first() else {
        return Merged::Known;
    };
    if record.state == State::Running {
        return Merged::Known;
    }
    let merged = merge_place(record, found, copy);
    if let Some(mark) = FoundMark::of(found) {
        record.learn_marks(&copy.destination, &[mark]);
    }
    merged
}

fn merge_place(record: &mut BackupRecord, found: &BackupRecord, copy: &BackupCopy) -> Merged {
    if let Some(pin) = found.pin.as_ref().filter(|_| copy.pin_stored)
        && let Some(known) = record.copy_at(&copy.destination)
        && known.key == copy.key
    {
        record.learn_pin(&copy.destination, pin);
    }
    let bytes = record.bytes;
    match record.copy_at_mut(&copy.destination) {
        Some(known) if known.key == copy.key => merge_copy(known, copy, bytes),
        Some(known) if known.is_expected() => Merged::Known,
        _ => {
            let mut copy = copy.clone();
            let other = differs(&copy, bytes);
            if let Some(damage) = &other {
                set_damaged(&mut copy, damage);
                copy.bytes = bytes;
            }
            let is_new = record.bytes.is_none()
                && (record.copies.iter()).all(|known| known.state == CopyState::Damaged);
            let mut copies = std::mem::take(&mut record.copies);
            copies.retain(|known| known.destination != copy.destination);
            copies.push(copy);
            if is_new {
                // Nothing whole was known of it yet.
                let delivery = record
                    .delivery
                    .take()
                    .or_else(|| Some(DeliveryRecord::default()));
                *record = BackupRecord {
                    delivery,
                    ..found.clone()
                };
            }
            record.copies = copies;
            if let Some(pin) = &found.pin {
                record.pinned = true;
                record.pin.get_or_insert_with(|| pin.clone());
            }
            other.map_or(Merged::Returned, |damage| {
                Merged::Doubtful(damaged(&damage))
            })
        }
    }
}

fn merge_copy(known: &mut BackupCopy, copy: &BackupCopy, bytes: Option<u64>) -> Merged {
    let bytes = known.bytes.or(bytes);
    let is_other = |known: &Option<String>, now: &Option<String>| known.is_some() && known != now;
    let is_moved =
        is_other(&known.location, &copy.location) || is_other(&known.server, &copy.server);
    match known.state {
        CopyState::Missing | CopyState::Damaged => {
            if known.state == CopyState::Missing {
                // Its loss was accepted; now it is looked for again.
                known.removed_at = None;
            }
            Merged::Doubtful(format!(
                "it is recorded as {}; `hubvault copies verify --full` reads it back",
                known.state.as_str()
            ))
        }
        CopyState::Pending => Merged::Known,
        CopyState::Present | CopyState::Removed => match differs(copy, bytes) {
            Some(damage) => {
                if known.is_expected() && !is_moved {
                    set_damaged(known, &damage);
                }
                Merged::Doubtful(damaged(&damage))
            }
            None if known.is_half_removed() || (known.is_expected() && !is_moved) => {
                take_place(known, copy);
                Merged::Known
            }
            None => {
                take_place(known, copy);
                known.state = CopyState::Present;
                known.removed_at = None;
                known.error = None;
                // What was read back then may not be what is there now.
                known.checked_at = None;
                Merged::Returned
            }
        },
    }
}

fn take_place(known: &mut BackupCopy, copy: &BackupCopy) {
    known.location.clone_from(&copy.location);
    known.server.clone_from(&copy.server);
    known.locked_until = copy.locked_until.or(known.locked_until);
}

/// What is wrong with a copy that was found, of an archive of this size.
fn differs(copy: &BackupCopy, bytes: Option<u64>) -> Option<String> {
    if copy.state == CopyState::Damaged {
        return copy.error.clone();
    }
    let (here, bytes) = (copy.bytes?, bytes?);
    (here != bytes).then(|| format!("it has {here} bytes there instead of {bytes}"))
}

/// What is wrong with a copy, in words.
pub(super) fn damaged(damage: &str) -> String {
    format!("it is damaged: {damage}")
}

fn set_damaged(copy: &mut BackupCopy, damage: &str) {
    copy.state = CopyState::Damaged;
    copy.checked_at = None;
    copy.since = Some(Timestamp::now());
    copy.error = Some(damage.to_owned());
}
