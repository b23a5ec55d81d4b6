//! What the set-up page asks a child process, and what that found. `hubvault init` does the work.

use hubvault_model::Masks;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The settings that the page asks for, by their variables. What names a file of the host is not among them, nor what
/// runs a command: the page gives no more of the host than a backup needs.
pub const VARIABLES: &[&str] = &[
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "PGSSLMODE",
    "BACKUP_DIR",
    "BACKUP_DESTINATIONS",
    "BACKUP_RECIPIENTS",
    "BACKUP_RETENTION_DAYS",
    "BACKUP_SCHEDULE",
    "ADMIN_EMAILS",
    "SMTP_HOST",
    "SMTP_PORT",
    "SMTP_SECURITY",
    "SMTP_USER",
    "SMTP_PASS",
    "SMTP_FROM",
];

/// Those that are never shown.
pub const SECRETS: &[&str] = &["POSTGRES_PASSWORD", "SMTP_PASS"];

/// What the child process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Look for the programs of this host.
    #[default]
    Host,
    /// Look at the database and propose a configuration.
    Database,
    /// Send a test message.
    Mail,
    /// Store, read and delete a tiny object at each destination.
    Destinations,
    /// Write the configuration that was proposed.
    Write,
}

/// What is asked.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetUp {
    /// What is to be done.
    pub step: Step,
    /// The settings, by their variables.
    pub answers: BTreeMap<String, String>,
    /// Tables that are backed up, as patterns.
    pub scope: Vec<String>,
    /// Tables that are left out.
    pub exclude: Vec<String>,
    /// Of large tables that only grow, take only the rows of this length.
    pub windows: Option<String>,
    /// Files that were proposed and are backed up, too.
    pub files: Vec<PathBuf>,
    /// The configuration file.
    pub output: PathBuf,
    /// The proposal that was shown, which is the one that is written.
    pub shown: String,
}

/// Without what may be secret.
impl fmt::Debug for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetUp")
            .field("step", &self.step)
            .field("answers", &self.answers.keys())
            .finish_non_exhaustive()
    }
}

impl SetUp {
    /// An answer; empty for none.
    pub fn answer(&self, name: &str) -> &str {
        self.answers.get(name).map_or("", String::as_str)
    }

    /// Masks the secrets among the answers.
    pub fn masks(&self) -> Masks {
        let secrets = SECRETS.iter().map(|name| self.answer(name));
        Masks::new(secrets.map(SecretString::from))
    }
}

/// A file of the host that might be backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFile {
    /// Where it is.
    pub source: PathBuf,
    /// Whether it probably holds passwords.
    pub has_secrets: bool,
    /// Whether it is taken.
    pub is_wanted: bool,
}

/// What was found, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// What is right.
    pub good: Vec<String>,
    /// What may be intended, and may be a mistake.
    pub doubts: Vec<String>,
    /// What has to be fixed.
    pub bad: Vec<String>,
    /// Statements for the owner of the database.
    pub statements: Vec<String>,
    /// Large tables that only grow.
    pub growing: Vec<String>,
    /// Files that might be taken.
    pub files: Vec<FoundFile>,
    /// The configuration file that is proposed; empty for none.
    pub text: String,
    /// The files of secrets that it names.
    pub secret_files: Vec<PathBuf>,
    /// Why the configuration file cannot be written; empty where it can.
    pub unwritable: String,
}

impl Found {
    /// The same with every sentence changed. The configuration holds no secret, and is written as it is shown.
    #[must_use]
    pub fn map(mut self, change: impl Fn(&str) -> String) -> Self {
        let lists = [
            &mut self.good,
            &mut self.doubts,
            &mut self.bad,
            &mut self.statements,
            &mut self.growing,
        ];
        for text in lists.into_iter().flatten() {
            *text = change(text);
        }
        self.unwritable = change(&self.unwritable);
        self
    }
}
