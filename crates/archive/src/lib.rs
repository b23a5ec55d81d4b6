//! The archive format of hubvault: a tar that plain tools read and that can be sought.
//!
//! Every entry begins at the start of a compression member, so one table is read without the
//! rest, and many threads compress at once. The format is described in `docs/archive-format.md`.

mod error;
mod codec;
mod json;
mod window;
mod manifest;
mod entry;
mod trailer;
mod writer;
mod source;
mod seal;
mod relations;
mod verify;
mod reader;

pub use codec::{Codec, Compression};
pub use entry::{EntryBuilder, EntryMeta, PackedEntry, hex};
pub use error::ArchiveError;
pub use json::from_json;
pub use manifest::{
    Coverage, EntryKind, EntryRecord, FORMAT_VERSION, FileSummary, LeftOut, Manifest, RowData,
    ScopeInfo, SequenceState, SnapshotInfo, TableSummary, Tool, UncheckedForeignKey,
};
pub use reader::{Archive, ContentReader, manifest_limit, open_regular};
pub use seal::{
    ArchiveFile, BadIdentity, BadRecipient, Identities, Recipient, SEALED_ENDING, SealedFile,
    SealedWriter, seal,
};
pub use source::Source;
pub use window::Window;
pub use writer::ArchiveWriter;
