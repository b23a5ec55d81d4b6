//! A job as built values: one database with its scope, files, archive and limits.
//!
//! The configuration makes one; nothing below it reads the environment or parses again.

mod destination;
mod lease;
mod scope;
mod sources;
mod archive;
mod proof;

pub use archive::{ArchiveOptions, SizeLimits};
pub use destination::{CopyRules, CopyWhen, Destination, Destinations, LOCAL, SealRule};
pub use lease::LeaseOptions;
pub use proof::{MEMORY, ProofOptions, ProofWhen, SourceDigest};
pub(crate) use scope::midnight_before;
pub use scope::{MissingPolicy, ReferencePolicy, Scope, Window, WindowRows};
pub use sources::{CommandSource, FileSource, Hook, HookWhen, IfMissing, LINKED, may_follow};

use crate::command::CommandLine;
use crate::schedule::Schedule;
use hubvault_archive::{Recipient, SEALED_ENDING};
use hubvault_model::{ByteSize, Masks};
use hubvault_notify::{Channel, SmtpSettings};
use hubvault_postgres::ConnectSettings;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that one backup needs to know.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name in reports; the database's name where nothing else is set.
    pub name: String,
    /// The database.
    pub database: ConnectSettings,
    /// When it is backed up, where a service does it.
    pub schedule: Schedule,
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
    /// Where the copies of its backups go.
    pub destinations: Destinations,
    /// What keeps other machines with the same job from running at once.
    pub lease: Option<LeaseOptions>,
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
    /// The directory whose `.hubvault` is the state directory.
    pub fn state_root(&self) -> &Path {
        self.destinations.directory()
    }

    /// The directory in which archives are made.
    pub fn spool(&self) -> &Path {
        self.destinations.directory()
    }

    /// The directory of the destination [`LOCAL`].
    pub fn local_directory(&self) -> &Path {
        self.destinations.directory()
    }

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

/// Who hears what came of a run, and how.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Mail to the administrators.
    pub mail: Option<MailOptions>,
    /// Other ways of telling: webhooks, pings.
    pub channels: Vec<Channel>,
    /// The commands of the channels of that kind.
    pub commands: Vec<UserCommand>,
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
    /// When the digest is sent; `None` for never.
    pub digest: Option<Schedule>,
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
            commands: Vec::new(),
            missing: None,
            tries: 3,
            pause: Duration::from_secs(30),
            templates: None,
            links: None,
            digest: None,
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
    /// The time between two checks of the service.
    pub interval: Duration,
    /// How old the newest proven archive may be, in hours.
    pub max_age_hours: u32,
    /// How old the newest archive may be, proven or not.
    pub max_archive_age_hours: u32,
    /// How old the last drill may be, in hours.
    pub max_drill_age_hours: u32,
    /// What must be free besides room for two more archives.
    pub min_free: Option<ByteSize>,
    /// How much of the copies is read back a day.
    pub read_back: ByteSize,
    /// When rows changed too much.
    pub rows: RowLimits,
    /// When an alert that still stands is told again; zero for never.
    pub reminder: Duration,
    /// Who hears that the watcher lives.
    pub ping: Option<Channel>,
    /// Notices are logged and recorded, and not sent.
    pub test_mode: bool,
    /// The user's own checks.
    pub checks: Vec<UserCommand>,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(5),
            max_age_hours: 25,
            max_archive_age_hours: 25,
            max_drill_age_hours: 192,
            min_free: None,
            read_back: ByteSize::from_mib(1_024),
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

/// A command of the user's own, as a check or a way to notify: it ends with exit code 0 where all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCommand {
    /// Its name in reports, its own within `[[check]]` or `[[notify]]`.
    pub name: String,
    /// What is run.
    pub command: CommandLine,
    /// How long it may take.
    pub timeout: Duration,
}
