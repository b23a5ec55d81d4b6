//! What goes in besides the database, and the commands that run around the stages.

use crate::command::CommandLine;
use crate::progress::Stage;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where in the archive that is which only links lead to.
pub const LINKED: &str = "linked";

/// A file or directory of the host that goes into the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Where it is.
    pub source: PathBuf,
    /// Its path inside the archive, such as `config/nginx.prod.conf`.
    pub name: String,
    /// What to do when it does not exist or cannot be read.
    pub if_missing: IfMissing,
    /// Directories of which what links lead to is taken, too.
    pub follow: Vec<PathBuf>,
}

/// What to do about a file that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfMissing {
    /// The backup fails, also if the file cannot be read.
    Fail,
    /// A warning.
    #[default]
    Warn,
    /// One warning for all such files: they are defaults.
    WarnTogether,
    /// Nothing: it is a default, and the configuration names other things.
    Ignore,
}

impl FileSource {
    /// Whether a backup without it is an error instead of a warning.
    pub fn is_required(&self) -> bool {
        self.if_missing == IfMissing::Fail
    }

    /// The resolved directories of `follow`.
    pub(crate) fn roots(&self) -> impl Iterator<Item = PathBuf> {
        let roots = self.follow.iter();
        let roots = roots.filter_map(|root| std::fs::canonicalize(root).ok());
        roots.filter(|root| may_follow(root))
    }
}

/// Whether links into a directory may be followed: not into everything, not into all secrets of the host, and not into
/// file systems whose files are no files.
pub fn may_follow(root: &Path) -> bool {
    let kernels = ["/proc", "/sys", "/dev"];
    root.is_absolute()
        && root.parent().is_some()
        && root != Path::new("/etc")
        && !kernels.iter().any(|kernel| root.starts_with(kernel))
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
