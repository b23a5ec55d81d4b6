//! When and where archives are drilled.

use hubvault_postgres::ConnectSettings;
use std::path::PathBuf;
use std::time::Duration;

/// Where Linux has a file system in memory that everybody may write to.
pub const MEMORY: &str = "/dev/shm";

/// When and where archives are drilled.
#[derive(Clone, Debug)]
pub struct ProofOptions {
    /// When.
    pub when: ProofWhen,
    /// When the archive's own `restore.sh` is run in a drill, too.
    pub script: ProofWhen,
    /// Where the throwaway server's directory is made; short, as it holds a socket.
    pub directory: PathBuf,
    /// Where it is made instead for a small archive, while the machine has memory to spare: a directory in memory.
    pub memory: Option<PathBuf>,
    /// Where empty clusters are kept, of which the throwaway server gets a copy; `None`: each is made anew.
    pub empty_clusters: Option<PathBuf>,
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
    /// How old the newest proven archive may get, in hours, where the newest archive may be so old: at least as old as the
    /// drills are apart, with an hour for a run and a day for the run that comes after the drill is due.
    pub fn max_age_of_proven(self, max_age_hours: u32) -> u32 {
        match self {
            Self::Always | Self::Off => max_age_hours,
            Self::Daily => max_age_hours.max(25),
            Self::Weekly => max_age_hours.max(7 * 24 + 25),
        }
    }

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
