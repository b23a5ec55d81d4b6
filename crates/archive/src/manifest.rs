//! The table of contents, as `manifest.json`.

use crate::{Codec, Window};
use hubvault_model::{BackupId, RowDigest, RowFormat, TableName, Warning};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format version that this crate writes.
pub const FORMAT_VERSION: u32 = 1;

/// Everything that an archive says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The backup's id.
    pub id: BackupId,
    /// The job's name.
    pub job: String,
    /// What wrote it.
    pub tool: Tool,
    /// When the run began.
    pub started_at: Timestamp,
    /// When the manifest was written.
    pub finished_at: Timestamp,
    /// The compression of the whole archive.
    pub codec: Codec,
    /// The moment that all rows show.
    pub snapshot: SnapshotInfo,
    /// What was asked for.
    pub scope: ScopeInfo,
    /// The tables whose rows are inside.
    pub tables: Vec<TableSummary>,
    /// Where every sequence stood.
    pub sequences: Vec<SequenceState>,
    /// Roles that the definitions name; a restore needs them.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Materialized views that a restore fills, in this order.
    #[serde(default)]
    pub refresh: Vec<TableName>,
    /// Tables whose rows are not inside.
    pub left_out: Vec<LeftOut>,
    /// Foreign keys that come back `NOT VALID`.
    pub not_valid: Vec<UncheckedForeignKey>,
    /// Configuration files.
    pub files: Vec<FileSummary>,
    /// Everything that was wrong without being fatal.
    pub warnings: Vec<Warning>,
    /// Every entry but the manifest's own, in the order of the file; they lie without gaps.
    pub entries: Vec<EntryRecord>,
}

/// The program that wrote an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// The exported snapshot's name.
    pub id: String,
    /// The WAL position at that moment.
    pub lsn: String,
    /// The server's clock.
    pub taken_at: Timestamp,
    /// The database.
    pub database: String,
    /// As the server writes it.
    pub server_version: String,
    /// As a number: 150018.
    pub server_version_num: u32,
    /// Whether the server was a hot standby.
    pub standby: bool,
    /// The cluster's identity, where the role may ask for it.
    pub system_identifier: Option<String>,
}

/// What was asked for, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeInfo {
    /// Patterns of whole tables.
    pub tables: Vec<String>,
    /// Patterns of tables that stay out.
    pub exclude: Vec<String>,
    /// The windows' tables.
    pub windows: Vec<String>,
}

/// How much of a table is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Every row of the snapshot.
    Whole,
    /// The rows of a window.
    Window,
    /// Only rows that others in the archive refer to.
    Referenced,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSummary {
    /// Its name.
    #[serde(flatten)]
    pub name: TableName,
    /// How much of it is inside.
    pub coverage: Coverage,
    /// A window's condition, as SQL. It is text of whoever wrote the archive: [`TableSummary::window`] says what it
    /// means.
    pub filter: Option<String>,
    /// The same as structure; archives of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The columns in their order.
    pub columns: Vec<String>,
    /// How its rows are written.
    pub format: RowFormat,
    /// Rows and digest of all its entries.
    #[serde(flatten)]
    pub digest: RowDigest,
    /// Rows besides the window's that others in the archive refer to.
    #[serde(default)]
    pub added_rows: u64,
    /// The sum of the server's `hashtextextended(row::text, 0)` over the rows that it sent, where it was asked for
    /// one; with `utf8:` before it that of `hashtextextended(encode(sha256(convert_to(row::text, 'UTF8')), 'hex'), 0)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// COPY bytes of all its entries.
    pub bytes: u64,
    /// The names of its entries.
    pub entries: Vec<String>,
}

impl TableSummary {
    /// Which rows a window took of this table, whichever version wrote it.
    pub fn window(&self) -> Option<Window> {
        let text = || self.filter.as_deref().map(Window::of);
        self.window.clone().or_else(text)
    }
}

/// Where a sequence stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    /// Its name.
    #[serde(flatten)]
    pub name: TableName,
    /// Its last value; `None` when it could not be read.
    pub last_value: Option<i64>,
    /// Whether that value was given out.
    pub is_called: bool,
}

/// A table whose rows are not inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    #[serde(flatten)]
    pub name: TableName,
    /// The planner's estimate.
    pub estimated_rows: Option<u64>,
    /// What ties it to the archive.
    pub reason: String,
}

/// A foreign key into rows that are not inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncheckedForeignKey {
    /// The constraint.
    pub name: String,
    /// The table that bears it.
    pub table: TableName,
    /// The table that it points to.
    pub references: TableName,
    /// Why it cannot be validated.
    pub reason: String,
}

/// A configuration file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSummary {
    /// Where it was, or which program wrote it.
    #[serde(deserialize_with = "without_arguments")]
    pub source: String,
    /// Its path inside the archive.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Of its content; none for directories and links.
    pub sha256: Option<String>,
    /// Permission bits.
    pub mode: u32,
    /// Its owner and group, by number; the tar itself says 0.
    #[serde(default)]
    pub owner: Option<(u32, u32)>,
}

/// Older archives name the whole of a command, and a password may be in it.
fn without_arguments<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    const COMMAND: &str = "the command ";
    let source = String::deserialize(deserializer)?;
    let Some(command) = source.strip_prefix(COMMAND) else {
        return Ok(source);
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    Ok(match command.split_once(' ') {
        None => source,
        Some((program, _)) if program.chars().all(plain) => format!("{COMMAND}{program} ..."),
        // A text for the shell begins in any way, also with PASSWORD=...
        Some(_) => format!("{COMMAND}sh ..."),
    })
}

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// `BACKUP_INFO.txt`.
    Info,
    /// `restore.sh`.
    RestoreScript,
    /// Definitions.
    Schema,
    /// Rows.
    TableData,
    /// `database/sequences.sql`.
    Sequences,
    /// `database/foreign-keys.sql`.
    ForeignKeys,
    /// A configuration file.
    Config,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// `manifest.json`.
    Manifest,
}

/// Where an entry lies and what its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// Its path.
    pub name: String,
    /// What it holds.
    pub kind: EntryKind,
    /// Where the member with its tar header begins, in bytes from the start of the file.
    pub offset: u64,
    /// All its members together, the header's included.
    pub stored_bytes: u64,
    /// Its content, without tar header and padding.
    pub raw_bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
    /// SHA-256 of its members as they lie in the file.
    pub stored_sha256: String,
    /// Permission bits.
    pub mode: u32,
    /// A symbolic link's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What rows it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowData>,
}

/// Rows in an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowData {
    /// Of which table.
    pub table: TableName,
    /// The columns in their order.
    pub columns: Vec<String>,
    /// How they are written.
    pub format: RowFormat,
    /// How many, and their digest.
    #[serde(flatten)]
    pub digest: RowDigest,
    /// Bytes of content before the first row.
    pub header_bytes: u64,
    /// Bytes of content after the last row.
    pub footer_bytes: u64,
}

impl EntryKind {
    /// What tar calls it.
    pub(crate) fn in_tar(self) -> tar::EntryType {
        match self {
            Self::Directory => tar::EntryType::Directory,
            Self::Link => tar::EntryType::Symlink,
            _ => tar::EntryType::Regular,
        }
    }
}

impl EntryRecord {
    /// True for what tar makes without content.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, EntryKind::Directory | EntryKind::Link)
    }
}
