//! The lock of who makes copies at a destination.

use super::copy_error::CopyError;
use super::source::turn_of;
use crate::job::Destination;
use crate::state::StateDir;
use crate::state::file::{Access, open};
use hubvault_model::Cancel;
use std::fs::{File, TryLockError};
use std::time::Duration;

/// How often it is tried while another process has it.
const ASK: Duration = Duration::from_millis(100);

/// Waits until no other process works at this destination; an error once it has to stop. `None` where it cannot be locked.
pub(super) fn lock(
    state: &StateDir,
    destination: &Destination,
    stop: &Cancel,
) -> Result<Option<File>, CopyError> {
    let path = state.file(&turn_of(&destination.name));
    let file = match open(&path, Access::Append) {
        Ok(file) => file,
        Err(error) => {
            // Two at once are of no harm: a store takes one or the other, whole.
            tracing::warn!("could not lock {}: {error}", path.display());
            return Ok(None);
        }
    };
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                if stop.wait(ASK) {
                    return Err(CopyError::Stopped);
                }
            }
            Err(TryLockError::Error(_)) => return Ok(None),
        }
    }
}
