//! What is backed up where nothing says it: what the Bash system took, for those who move from it, else everything.

use super::document::Document;
use super::environment::Environment;

/// The Bash system's tables.
pub(crate) const TABLES: &str = "users,user_roles,organizations,agencies,referrals,exchange_rates,system_settings,roles,\
     permissions,role_permissions";

/// The variables by which the Bash system found its database.
const VARIABLES: [&str; 5] = [
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
];

/// Which defaults apply to tables, windows and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultScope {
    /// The whole database, no windows, no files.
    Whole,
    /// The tables, windows and files of the Bash system: its variables are set, and no file sets anything.
    BashSystem,
    /// Its variables and a file. All tables, unless the file names some; the Bash system's windows and files where they
    /// exist, so that nothing that was backed up before is left out.
    BashSystemWithFile,
}

impl DefaultScope {
    /// Which ones apply here.
    pub(crate) fn of(environment: &Environment, document: &Document) -> Self {
        let is_set = |name: &&str| {
            environment.text(name).is_some() || environment.text(&format!("{name}_FILE")).is_some()
        };
        match (VARIABLES.iter().any(is_set), document.is_empty()) {
            (false, _) => Self::Whole,
            (true, true) => Self::BashSystem,
            (true, false) => Self::BashSystemWithFile,
        }
    }
}
