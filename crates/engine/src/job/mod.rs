//! A job as built values: one database with its scope, files, archive and limits.
//!
//! The configuration makes one; nothing below it reads the environment or parses again.

use crate::command::CommandLine;
use crate::progress::Stage;
use crate::schedule::Schedule;
use hubvault_archive::{Codec, Compression, Recipient, SEALED_ENDING};
use hubvault_model::{ByteSize, Masks, TablePattern};
use hubvault_notify::{Channel, SmtpSettings};
use hubvault_postgres::ConnectSettings;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that one backup needs to know.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name in reports; the database's name where nothing else is set.
    pub name: String,
    /// The database.
    pub database: ConnectSettings,
    /// When it is backed up, where a service does it.
    pub schedule: Option<Schedule>,
    /// Which tables, and which of their rows.
    pub scope: Scope,
    /// Which files of the host.
    pub files: Vec<FileSource>,
    /// What else goes in: the output of commands.
    pub sources: Vec<CommandSource>,
    /// The commands that run around its stages.
    pub hooks: Vec<Hook>,
    /// How the archive is made.
    pub archive: ArchiveOptions,
    /// To whom the archive is sealed; to nobody means in the clear.
    pub seal: Vec<Recipient>,
    /// Where archives live.
    pub directory: PathBuf,
    /// What a finished archive may measure.
    pub limits: SizeLimits,
    /// When and where a new archive is drilled.
    pub proof: ProofOptions,
    /// Who hears what came of it.
    pub delivery: Delivery,
    /// Which archives stay.
    pub retention: RetentionRules,
    /// What is watched between two runs, and from when on it is wrong.
    pub monitor: MonitorOptions,
    /// How many connections export at once.
    pub workers: usize,
    /// How gently the source is read.
    pub gentleness: Gentleness,
    /// What a run may take until its archive has its name.
    pub time_limit: Duration,
    /// How long to wait for the table locks before the blocking query is named.
    pub lock_timeout: Duration,
}

impl Job {
    /// What the archive's name ends with, without the first dot.
    pub(crate) fn archive_ending(&self) -> String {
        let sealed = if self.seal.is_empty() {
            ""
        } else {
            SEALED_ENDING
        };
        format!("{}{sealed}", self.archive.codec.extension())
    }
}

/// How gently a source is read, so that its users feel less of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gentleness {
    /// What each connection waits between two extents.
    pub pause: Duration,
    /// COPY data a second over all connections, before compression.
    pub bytes_per_second: Option<ByteSize>,
}

/// What is in: whole tables and windows of tables.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Tables that are taken whole.
    pub tables: Vec<TablePattern>,
    /// Tables that are left out of both lists.
    pub exclude: Vec<TablePattern>,
    /// What to do about a named table that does not exist.
    pub missing: MissingPolicy,
    /// Tables of which some rows are taken.
    pub windows: Vec<Window>,
}

/// What to do about something named that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPolicy {
    /// A warning: exit code 3, in the INFO, the manifest and every report.
    #[default]
    Warn,
    /// An error before anything is exported.
    Fail,
}

/// Some rows of some tables.
#[derive(Clone, Debug)]
pub struct Window {
    /// The tables.
    pub tables: Vec<TablePattern>,
    /// Which of their rows.
    pub rows: WindowRows,
    /// What about the rows that these refer to.
    pub references: ReferencePolicy,
}

impl Window {
    /// Whether the configuration gives its condition as SQL.
    pub(crate) fn has_own_condition(&self) -> bool {
        matches!(self.rows, WindowRows::Where(_))
    }
}

/// What to do about rows outside a window that its rows refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferencePolicy {
    /// They are taken, too, and what they refer to.
    #[default]
    Include,
    /// They stay out; the foreign keys come back `NOT VALID`, which is said.
    Warn,
}

/// Which rows a window takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowRows {
    /// Those whose `column` is not older than `length` at the moment of the snapshot.
    Recent {
        /// A date or timestamp column.
        column: String,
        /// A `PostgreSQL` interval such as `3 months`.
        length: String,
    },
    /// Those for which an SQL expression is true.
    Where(String),
}

/// A file or directory of the host that goes into the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Where it is.
    pub source: PathBuf,
    /// Its path inside the archive, such as `config/nginx.prod.conf`.
    pub name: String,
    /// Whether a backup without it is an error instead of a warning.
    pub required: bool,
}

/// A command whose standard output goes into the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSource {
    /// Its path inside the archive, below `sources/`.
    pub name: String,
    /// The command.
    pub command: CommandLine,
    /// How long it may run.
    pub timeout: Duration,
    /// Whether a backup without it is an error instead of a warning.
    pub required: bool,
}

/// A command that runs before or after a stage of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Which stage; `None` is the whole run.
    pub stage: Option<Stage>,
    /// On which side of it.
    pub when: HookWhen,
    /// The command.
    pub command: CommandLine,
    /// How long it may run.
    pub timeout: Duration,
    /// Whether the backup fails with it, instead of a warning.
    pub fails: bool,
}

impl Hook {
    /// The word for its stage.
    pub fn stage_text(&self) -> &'static str {
        self.stage.map_or("run", Stage::as_str)
    }
}

/// On which side of its stage a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookWhen {
    /// Before it begins.
    Before,
    /// After it went well; after the whole run, however it ended.
    After,
}

impl HookWhen {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// When and where archives are drilled.
#[derive(Clone, Debug)]
pub struct ProofOptions {
    /// When.
    pub when: ProofWhen,
    /// Where the throwaway server's directory is made; short, as it holds a socket.
    pub directory: PathBuf,
    /// A server on which a scratch database is made and dropped, instead of a throwaway server.
    pub server: Option<ConnectSettings>,
    /// When the server is asked for a digest of its own, which the drill compares.
    pub source_digest: SourceDigest,
    /// How long one drill may take; then the backup is unproven.
    pub time_limit: Duration,
    /// All that a throwaway server gets of the environment: where programs, libraries and short-lived files are.
    pub environment: Vec<(String, String)>,
}

/// When the server that is backed up makes a digest of what it sends, so that a drill finds also what was changed
/// on its way. It costs the server about as much as the COPY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceDigest {
    /// Where the rows come over a network without TLS.
    #[default]
    Auto,
    /// For every table.
    Always,
    /// Never.
    Never,
}

/// When a new archive is drilled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProofWhen {
    /// Every one.
    #[default]
    Always,
    /// The first of a day.
    Daily,
    /// The first of a week.
    Weekly,
    /// None.
    Off,
}

impl ProofWhen {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Off => "off",
        }
    }
}

/// Who hears what came of a run, and how.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Mail to the administrators.
    pub mail: Option<MailOptions>,
    /// Other ways of telling: webhooks, pings.
    pub channels: Vec<Channel>,
    /// Why nobody would hear of a run, where somebody should: `ADMIN_EMAILS is not set`.
    pub missing: Option<String>,
    /// How often each message is tried within a run.
    pub tries: u32,
    /// What is waited between two tries.
    pub pause: Duration,
    /// Where templates are that stand for the built-in ones, and further ones.
    pub templates: Option<PathBuf>,
    /// Links to archives in what is told, where they are made.
    pub links: Option<Links>,
    /// What no message may hold.
    pub masks: Masks,
}

/// How messages link to archives.
#[derive(Clone, Debug)]
pub struct Links {
    /// Where people reach the service, without a slash at its end: `https://backups.example.com`.
    pub base: String,
    /// How long a link opens.
    pub lasts: Duration,
    /// Whether only sealed archives are linked to.
    pub sealed_only: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            mail: None,
            channels: Vec::new(),
            missing: None,
            tries: 3,
            pause: Duration::from_secs(30),
            templates: None,
            links: None,
            masks: Masks::default(),
        }
    }
}

/// Mail.
#[derive(Clone, Debug)]
pub struct MailOptions {
    /// The server that takes it.
    pub smtp: SmtpSettings,
    /// Who writes.
    pub from: String,
    /// The administrators; not empty.
    pub to: Vec<String>,
    /// When the archive itself is attached.
    pub attach: AttachWhen,
    /// What a whole message may measure, encoded.
    pub max_message: ByteSize,
    /// Whether an archive that is too large goes out in numbered parts.
    pub split: bool,
}

/// When an archive is attached to the mail that speaks of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachWhen {
    /// Whenever it fits.
    #[default]
    Always,
    /// When it is sealed, and fits.
    Sealed,
    /// Never.
    Never,
}

/// Which archives stay. A rule can only keep; 0 keeps none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionRules {
    /// Everything younger than so many days.
    pub days: u32,
    /// The last so many proven ones.
    pub keep_last: u32,
    /// The newest proven one of each of so many days that have one.
    pub daily: u32,
    /// The same for weeks, which begin on Monday.
    pub weekly: u32,
    /// The same for months.
    pub monthly: u32,
    /// The same for years.
    pub yearly: u32,
    /// What all archives may measure together; the oldest go first.
    pub max_total: Option<ByteSize>,
}

/// What is watched, and from when on it is wrong.
#[derive(Clone, Debug)]
pub struct MonitorOptions {
    /// How old the newest proven archive may be, in hours.
    pub max_age_hours: u32,
    /// How old the last drill may be, in hours.
    pub max_drill_age_hours: u32,
    /// What must be free besides room for two more archives.
    pub min_free: Option<ByteSize>,
    /// When rows changed too much.
    pub rows: RowLimits,
    /// When an alert that still stands is told again; zero for never.
    pub reminder: Duration,
    /// Who hears that the watcher lives.
    pub ping: Option<Channel>,
    /// Notices are logged and recorded, and not sent.
    pub test_mode: bool,
    /// The user's own checks.
    pub checks: Vec<UserCheck>,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            max_age_hours: 25,
            max_drill_age_hours: 192,
            min_free: None,
            rows: RowLimits::default(),
            reminder: Duration::from_hours(24),
            ping: None,
            test_mode: false,
            checks: Vec::new(),
        }
    }
}

/// From which change on the rows of a table are worth a warning, in percent of what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLimits {
    /// Lost more than this.
    pub fell_percent: u32,
    /// Grew by this or more; 0 for never.
    pub grew_percent: u32,
}

impl Default for RowLimits {
    fn default() -> Self {
        Self {
            fell_percent: 50,
            grew_percent: 100,
        }
    }
}

/// A check of the user's own: a command that ends with exit code 0 where all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCheck {
    /// Its name in reports; none of the built-in ones.
    pub name: String,
    /// What is run.
    pub command: CommandLine,
    /// How long it may take.
    pub timeout: Duration,
}

/// How the archive is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// The compression.
    pub codec: Codec,
    /// Its level: gzip 1 to 12, zstd 1 to 19.
    pub level: i32,
}

impl ArchiveOptions {
    /// How its entries are compressed.
    pub(crate) fn compression(self) -> Compression {
        Compression {
            codec: self.codec,
            level: self.level,
        }
    }
}

/// What a finished archive may measure, in bytes. `None` means that nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeLimits {
    /// Smaller is an error.
    pub min: Option<ByteSize>,
    /// Larger is an error.
    pub max: Option<ByteSize>,
}
