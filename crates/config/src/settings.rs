//! The settings: the finished job, and where each value was set.

use super::database::connect_to;
use super::problem::ConfigError;
use super::recipients::Administrator;
use super::service::Service;
use super::setting::Values;
use super::shown::TableEntry;
use hubvault_engine::job::Job;
use hubvault_engine::schedule::Schedule;
use hubvault_model::Masks;
use hubvault_postgres::ConnectSettings;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that is set for one job.
pub struct Settings {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// Which `[[job]]` of the file it is; `None` where there is none.
    pub job_name: Option<String>,
    /// What a service has once, whatever its jobs are.
    pub service: Service,
    /// Where short-lived directories go.
    pub temp_dir: PathBuf,
    /// The zone of schedules, of names and of days.
    pub zone: TimeZone,
    /// Settings without effect, and those that are probably mistakes.
    pub notices: Vec<String>,
    /// The single values with their origins, in the order of the list of keys.
    pub values: Values,
    /// The tables of the file, and the defaults in place of them.
    pub tables: Vec<TableEntry>,
    pub(crate) job: Arc<Job>,
    pub(crate) administrators: Vec<Administrator>,
    /// What file and variables set, where an overlay changes something.
    pub(crate) baseline: Option<Baseline>,
    pub(crate) source: SecretString,
}

/// The settings without the overlay.
pub(crate) struct Baseline {
    pub(crate) values: Values,
    pub(crate) schedule: Option<Schedule>,
}

impl Settings {
    /// The finished job.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// The text of the file as it was read, for a child process; empty without a file. It may hold secrets.
    pub fn source(&self) -> &SecretString {
        &self.source
    }

    /// Who can open the archives, in the order of the configuration.
    pub fn administrators(&self) -> impl Iterator<Item = &Administrator> {
        self.administrators.iter()
    }

    /// What no log line and no message may hold.
    pub fn masks(&self) -> &Masks {
        &self.job.delivery.masks
    }

    /// The server that a connection string names. What it leaves out is the configuration's, but never a password for
    /// another host or role.
    pub fn target(&self, url: &str) -> Result<ConnectSettings, ConfigError> {
        let mut problems = Vec::new();
        let target = connect_to(&self.job.database, url, "--to", &mut problems);
        if problems.is_empty() {
            Ok(target)
        } else {
            Err(ConfigError { problems })
        }
    }
}
