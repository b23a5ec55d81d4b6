//! What goes in besides the database, and the commands that run around the stages.

use crate::command::CommandLine;
use crate::progress::Stage;
use std::path::PathBuf;
use std::time::Duration;

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
