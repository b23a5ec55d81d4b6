//! The table of contents, as `manifest.json`.

use crate::{Codec, Columns, LoadOrder, Window};
use hubvault_model::{
    BackupId, DatabaseFacts, HostNeeds, RowDigest, RowFormat, TableName, Warning,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format version that this crate writes.
pub const FORMAT_VERSION: u32 = 1;

/// The table of contents of an archive.
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
    /// The snapshot of all rows.
    pub snapshot: SnapshotInfo,
    /// What the database was created with; absent in archives of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    /// The configured scope.
    pub scope: ScopeInfo,
    /// The tables whose rows are inside.
    pub tables: Vec<TableSummary>,
    /// The state of every sequence.
    pub sequences: Vec<SequenceState>,
    /// Roles that the definitions name; a restore needs them.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Materialized views that a restore fills, in this order.
    #[serde(default)]
    pub refresh: Vec<TableName>,
    /// What is loaded and added when.
    #[serde(default)]
    pub load_order: LoadOrder,
    /// What the target of a restore must offer.
    #[serde(default)]
    pub needs: HostNeeds,
    /// User mappings, subscriptions and the like whose passwords were taken out of the definitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// Tables whose rows are not inside.
    pub left_out: Vec<LeftOut>,
    /// Foreign keys that come back `NOT VALID`.
    pub not_valid: Vec<UncheckedForeignKey>,
    /// Configuration files.
    pub files: Vec<FileSummary>,
    /// All warnings.
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

/// The configured scope, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeInfo {
    /// Patterns of whole tables.
    pub tables: Vec<String>,
    /// Patterns of excluded tables.
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
    /// The extension that it belongs to: CREATE EXTENSION makes it, and inside are the rows that the extension marks as
    /// the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// How much of it is inside.
    pub coverage: Coverage,
    /// A window's condition, as SQL. It is untrusted: use [`TableSummary::window`].
    pub filter: Option<String>,
    /// The same in structured form; absent in archives of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The columns in their order.
    pub columns: Columns,
    /// The format of its rows.
    pub format: RowFormat,
    /// The encoding of its rows, by PostgreSQL's name; absent where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The row count and digest of all its entries.
    #[serde(flatten)]
    pub digest: RowDigest,
    /// Rows besides the window's that others in the archive refer to.
    #[serde(default)]
    pub added_rows: u64,
    /// The sum of the server's `hashtextextended(row::text, 0)` over the rows that it sent, where it was asked for
    /// one; with `utf8:` before it that of `hashtextextended(encode(sha256(convert_to(row::text, 'UTF8')), 'hex'), 0)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// Generated columns that functions of users compute, as they were; absent where there are none, and in archives of
    /// earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<Computed>,
    /// COPY bytes of all its entries.
    pub bytes: u64,
    /// The names of its entries.
    pub entries: Vec<String>,
}

/// What the generated columns of a table held. They are not inside: a restore computes them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Computed {
    /// The columns.
    pub columns: Columns,
    /// The row count and digest of these columns alone, of the rows that are inside.
    #[serde(flatten)]
    pub digest: RowDigest,
}

impl TableSummary {
    /// Which rows a window took of this table, whichever version wrote it.
    pub fn window(&self) -> Option<Window> {
        let text = || self.filter.as_deref().map(Window::of);
        self.window.clone().or_else(text)
    }
}

/// The state of a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    /// Its name.
    #[serde(flatten)]
    pub name: TableName,
    /// Its last value; `None` when it could not be read.
    pub last_value: Option<i64>,
    /// Whether that value was used (`is_called`).
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
    /// Why it is listed.
    pub reason: String,
}

impl LeftOut {
    /// The reason of a table that is not related to what is inside.
    pub const NOT_IN_SCOPE: &str = "not in the scope";
    /// The reason of a table whose definition is not inside, either.
    pub const NOT_READABLE: &str =
        "not readable for the backup's role: its definition is missing, too";
    /// The same of several.
    pub const NOT_READABLE_MANY: &str =
        "the backup's role cannot read them, their definitions are missing, too";
}

/// A foreign key that references rows outside the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncheckedForeignKey {
    /// The constraint.
    pub name: String,
    /// The table that has it.
    pub table: TableName,
    /// The referenced table.
    pub references: TableName,
    /// Why it cannot be validated.
    pub reason: String,
}

/// A configuration file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSummary {
    /// Its path on the host, or the program that wrote it.
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
    /// Its owner and group, by number. The tar says the same; older archives say 0 there.
    #[serde(default)]
    pub owner: Option<(u32, u32)>,
    /// Set-user-ID and set-group-ID bits that it had on the host. No entry has them: a `tar` that cannot or should not
    /// set owners would make the file root's with these bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out_bits: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(bits: &u32) -> bool {
    *bits == 0
}

/// Older archives contain the whole command line, which may hold a password.
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
        // Shell text may begin with anything, also with PASSWORD=...
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

/// The position, size and checksums of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// Its path.
    pub name: String,
    /// What it holds.
    pub kind: EntryKind,
    /// Where the member with its tar header begins, in bytes from the start of the file.
    pub offset: u64,
    /// The size of all its members, the header's included.
    pub stored_bytes: u64,
    /// The size of its content, without tar header and padding.
    pub raw_bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
    /// SHA-256 of its members as stored.
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
    /// The table.
    pub table: TableName,
    /// The columns in their order.
    pub columns: Columns,
    /// Their format.
    pub format: RowFormat,
    /// The encoding of their text, by PostgreSQL's name; absent where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Their count and digest.
    #[serde(flatten)]
    pub digest: RowDigest,
    /// Bytes of content before the first row.
    pub header_bytes: u64,
    /// Bytes of content after the last row.
    pub footer_bytes: u64,
}

impl EntryKind {
    /// Its tar entry type.
    pub(crate) fn in_tar(self) -> tar::EntryType {
        match self {
            Self::Directory => tar::EntryType::Directory,
            Self::Link => tar::EntryType::Symlink,
            _ => tar::EntryType::Regular,
        }
    }
}

impl EntryRecord {
    /// Whether its tar entry has no content.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, EntryKind::Directory | EntryKind::Link)
    }
}
