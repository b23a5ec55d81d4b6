//! Archives that are read where they are, in a store: found by their names and sidecars, and read by ranges.

mod error;
mod fetch;
mod stream;
mod object;
mod pins;
mod marks;
mod owner;
mod places;
mod archives;
mod backup;
mod merge;
mod sealed;
mod records;

pub use archives::{Archives, Listed};
pub use backup::Backup;
pub use error::RemoteError;
pub use fetch::Patience;
pub use hubvault_store::{Location, Requests};
pub(crate) use marks::{MarkNames, delete_marks, put_mark, read_marks};
pub use object::StoredObject;
pub(crate) use owner::{
    Owner, Wanted, delete_archive, hash, is_short, only_sidecar_locked, open_source, open_stored,
    owner, sidecar_bytes, sidecar_key, sidecar_locked_until, stored_sidecar, was_stored,
};
pub(crate) use pins::{delete_pin, put_pin, stored_pins};
pub(crate) use places::{
    Probe, check_alone, impatient, is_locked, open_alone_now, same_as, shared,
};
pub use records::{Found, Unreadable, rebuild_from};
