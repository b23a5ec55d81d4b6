//! Advice after errors of the file system.

use std::io::{Error, ErrorKind};

/// Linux: the device reported an error.
const EIO: i32 = 5;

/// What to do after an error of the file system, to be appended to it; empty when the error is clear by itself.
///
/// ```
/// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
/// assert!(hubvault_model::remedy(&full).starts_with("; free some space"));
/// ```
pub fn remedy(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull => {
            "; free some space there (df -h shows it; df -i, whether it is the inodes), or use a larger disk"
        }
        ErrorKind::QuotaExceeded => {
            "; raise the disk quota of the user that hubvault runs as, or free some of it"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "; the file system is read-only: dmesg may say why; mount it writable"
        }
        ErrorKind::PermissionDenied => {
            "; give the user that hubvault runs as the right to do that there"
        }
        _ if error.raw_os_error() == Some(EIO) => {
            "; the disk reports an error: look into dmesg, and use another disk"
        }
        _ => "",
    }
}
