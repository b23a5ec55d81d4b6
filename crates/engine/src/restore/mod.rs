//! An archive put back into a database: definitions, rows, sequences, and the proof that it is
//! equal. The drill restores through here, so that what is proven is what a user gets.

mod error;
mod whole;
mod tables;
mod order;
mod rows;
mod compare;
mod files;
mod diff;

pub(crate) use compare::unlike_the_source;
pub use compare::{Compared, digest};
pub use diff::{PutBack, TableDiff, diff, put_back};
pub use error::RestoreError;
pub use files::files;
pub use tables::tables;
pub(crate) use whole::missing_extensions;
pub use whole::{present, whole};

use hubvault_archive::{Archive, Manifest, Source, TableSummary};
use hubvault_model::{TableName, TablePattern};
use hubvault_postgres::{Access, ConnectSettings};
use std::io::Read;

/// Where an archive is restored to, and over which logins.
#[derive(Clone, Debug)]
pub enum Target {
    /// Over one login.
    Login(ConnectSettings),
    /// Over a superuser's, on a server that is nobody else's: definitions. Rows are loaded, constraints checked and tables
    /// compared over logins of the tables' owners, which are no superusers: what is restored may be hostile.
    Owners(ConnectSettings),
    /// On a server that others use, over a login that may do nothing there but own this database.
    Lesser {
        /// That login.
        login: ConnectSettings,
        /// A superuser's, to the same database: extensions and event triggers are made over it, and nothing else.
        superuser: ConnectSettings,
    },
}

impl Target {
    /// Who makes definitions.
    pub(crate) fn definer(&self) -> &ConnectSettings {
        match self {
            Self::Login(login) | Self::Owners(login) | Self::Lesser { login, .. } => login,
        }
    }
}

/// How a restore goes about it.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer that a user gives"
)]
pub struct RestoreOptions {
    /// Connections that load rows and build indexes at once.
    pub workers: usize,
    /// Make roles that are missing, without login.
    pub create_roles: bool,
    /// Everything belongs to who restores; nothing is granted.
    pub no_owner: bool,
    /// Try a server that is older than the archive's.
    pub force: bool,
    /// Drop what the archive holds from the target first.
    pub clean: bool,
    /// Go on past what cannot be restored; it is in the report.
    pub keep_going: bool,
}

/// What came of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Every table that was meant to come back, as it is now.
    pub tables: Vec<Compared>,
    /// Tables whose rows could not be loaded, where the options said to go on.
    pub passed_over: Vec<TableName>,
    /// What the programs warned of.
    pub warnings: Vec<String>,
    /// What could not be restored, where the options said to go on.
    pub failures: Vec<String>,
    /// The logins that it was made over.
    pub access: Access,
}

impl Restored {
    /// An error that names every table that is not equal.
    pub fn all_equal(&self) -> Result<(), RestoreError> {
        let tables: Vec<String> = self.tables.iter().filter_map(Compared::problem).collect();
        if tables.is_empty() {
            Ok(())
        } else {
            Err(RestoreError::Different { tables })
        }
    }
}

/// The tables of an archive that are wanted; all of them when nothing is said.
fn chosen<'a>(
    manifest: &'a Manifest,
    wanted: &[TablePattern],
) -> Result<Vec<&'a TableSummary>, RestoreError> {
    for pattern in wanted {
        if !manifest
            .tables
            .iter()
            .any(|table| pattern.matches(&table.name))
        {
            return Err(RestoreError::NoSuchTable {
                word: pattern.to_string(),
            });
        }
    }
    let meant = |table: &&TableSummary| {
        wanted.is_empty() || wanted.iter().any(|pattern| pattern.matches(&table.name))
    };
    Ok(manifest.tables.iter().filter(meant).collect())
}

fn entry<S: Source>(archive: &Archive<S>, name: &'static str) -> Result<Vec<u8>, RestoreError> {
    let missing = |why: String| RestoreError::Entry { name, why };
    let record = archive
        .entry(name)
        .ok_or_else(|| missing("it is not there".to_owned()))?;
    let mut bytes = Vec::new();
    archive
        .content(record)?
        .read_to_end(&mut bytes)
        .map_err(|error| missing(error.to_string()))?;
    Ok(bytes)
}

fn text<S: Source>(archive: &Archive<S>, name: &'static str) -> Result<String, RestoreError> {
    String::from_utf8(entry(archive, name)?).map_err(|error| RestoreError::Entry {
        name,
        why: error.to_string(),
    })
}
