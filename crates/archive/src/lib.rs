//! The archive format of hubvault: a seekable tar that standard tools can read.
//!
//! Every entry begins at the start of a compression member: a single table can be read without the
//! rest, and threads compress in parallel. The format is described in `docs/archive-format.md`.

mod error;
mod codec;
mod columns;
mod json;
mod window;
mod load_order;
mod manifest;
mod entry;
mod trailer;
mod writer;
mod source;
mod seal;
mod relations;
mod verify;
mod reader;
mod checked;

pub use checked::CheckedMembers;
pub use codec::{Codec, Compression};
pub use columns::Columns;
pub use entry::{EntryBuilder, EntryMeta, PackedEntry, hex};
pub use error::ArchiveError;
pub use json::from_json;
pub use load_order::{CheckedKind, LateCheck, LoadGroup, LoadOrder, Through};
pub use manifest::{
    Computed, Coverage, EntryKind, EntryRecord, FORMAT_VERSION, FileSummary, LeftOut, Manifest,
    RowData, ScopeInfo, SequenceState, SnapshotInfo, TableSummary, Tool, UncheckedForeignKey,
};
pub use reader::{AnyArchive, Archive, ContentReader, manifest_limit, open_regular};
pub use relations::is_entry_name;
pub use seal::{
    ArchiveFile, BadIdentity, BadRecipient, Identities, Recipient, SEALED_ENDING, SealedFile,
    SealedWriter, seal,
};
pub use source::Source;
pub use window::Window;
pub use writer::ArchiveWriter;
