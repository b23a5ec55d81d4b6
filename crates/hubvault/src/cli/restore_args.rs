//! What `hubvault restore` is asked for.

use super::seal::IdentityArgs;
use super::select::FromArgs;
use crate::answer;
use clap::{Args, ValueEnum};
use hubvault_engine::restore::Comparison;
use hubvault_model::TablePattern;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "Examples:
  hubvault restore latest --database hub_restored --create
  hubvault restore latest --to postgres://postgres@db2/hub --create-roles
  hubvault restore 3f2a91c0 --table purchases --to postgres://postgres@db/hub
  hubvault restore latest --table users --missing-rows
  hubvault restore latest --files /tmp/config
  hubvault restore s3://acme-backups/hub/latest --table users --to postgres://postgres@db/hub
  hubvault restore                             # asks, on a terminal
  hubvault restore latest --clean --dry-run    # what would be dropped?
  hubvault restore --resolved                  # after one that did not end well and was made good

Exit codes: 0 restored and equal, as far as --compare looks; 1 not; 2 bad usage or configuration; 3 restored, and something is \
not as it was: a definition that could not be rebuilt, a constraint that came back NOT VALID, a column \
that the table no longer has; 130 or 143 interrupted.";

/// `hubvault restore`
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct RestoreArgs {
    /// An id, an unambiguous prefix of one, `latest`, a file (with a / or the ending of an archive), a URL
    /// (`s3://bucket/prefix/latest`), or `-` for standard input; without it, on a terminal, it is asked for, with all else
    #[arg(required_unless_present_any = instead_of_a_backup())]
    pub(crate) backup: Option<String>,
    #[command(flatten)]
    pub(crate) from: FromArgs,
    /// The database: a postgres:// URL or name=value pairs [default: the configured server]
    #[arg(long, value_name = "URL", conflicts_with = "database")]
    pub(crate) to: Option<String>,
    /// The database on the configured server
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Create the database first; it must not exist
    #[arg(long)]
    pub(crate) create: bool,
    /// Only the rows of this table, into the same table, which must be empty; may be given more
    /// than once, and may be a glob
    #[arg(long = "table", value_name = "TABLE", conflicts_with = "create")]
    pub(crate) tables: Vec<TablePattern>,
    /// Only rows that are missing in the database, by primary key; nothing is overwritten
    #[arg(long, conflicts_with_all = ["create", "upsert"])]
    pub(crate) missing_rows: bool,
    /// Only rows that are missing or differ; rows that differ are overwritten
    #[arg(long, conflicts_with = "create")]
    pub(crate) upsert: bool,
    /// Only the configuration files, into this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["to", "database", "create", "tables"])]
    pub(crate) files: Option<PathBuf>,
    /// Put the rows of --table into a new table of this schema, beside the live table
    #[arg(long, value_name = "SCHEMA", requires = "tables", conflicts_with_all = ["missing_rows", "upsert"])]
    pub(crate) into_schema: Option<String>,
    /// Drop what the archive holds from the database first; asks, unless --yes
    #[arg(long, conflicts_with_all = ["create", "tables", "missing_rows", "upsert"])]
    pub(crate) clean: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print what would be made, dropped and overwritten, the room and the time; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --table: continue past tables whose rows cannot be loaded; they are listed at the end, with exit code 1. A
    /// whole database is always restored so
    #[arg(long, conflicts_with_all = ["missing_rows", "upsert"])]
    pub(crate) keep_going: bool,
    /// Stop where the database changed since the dry run whose answer in JSON is in this file: other rows would be
    /// overwritten or dropped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "files", "create"])]
    pub(crate) as_previewed: Option<PathBuf>,
    /// Restore nothing; say that the database is as it should be after a restore that did not end well, so that the check
    /// `restore` ends
    #[arg(long, conflicts_with = "backup")]
    pub(crate) resolved: bool,
    /// What is compared with the archive at the end: every row, which is about a quarter of the time; how many rows each
    /// table has; or nothing
    #[arg(long, value_enum, value_name = "WHAT", default_value_t,
        conflicts_with_all = ["tables", "missing_rows", "upsert", "files", "as_previewed"])]
    pub(crate) compare: CompareArg,
    /// Create missing roles, without login
    #[arg(long)]
    pub(crate) create_roles: bool,
    /// Make the restoring role the owner of everything; grant nothing
    #[arg(long)]
    pub(crate) no_owner: bool,
    /// Allow a server that is older than the archive's
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// Print how much of the archive was read
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// No progress bar and no progress lines
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// `--compare`
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum CompareArg {
    #[default]
    Rows,
    Counts,
    Off,
}

impl From<CompareArg> for Comparison {
    fn from(arg: CompareArg) -> Self {
        match arg {
            CompareArg::Rows => Self::Rows,
            CompareArg::Counts => Self::Counts,
            CompareArg::Off => Self::Off,
        }
    }
}

impl RestoreArgs {
    /// Whether they say what is to be restored, or where.
    pub(super) fn says_what(&self) -> bool {
        let is_place = self.to.is_some() || self.database.is_some();
        let is_part = !self.tables.is_empty() || self.missing_rows || self.upsert;
        is_place || is_part || self.files.is_some() || self.create || self.clean
    }
}

impl RestoreArgs {
    /// Whether somebody is to be asked for the backup.
    pub(super) fn asks(&self) -> bool {
        self.backup.is_none() && !self.resolved
    }

    /// Whether everything is restored.
    pub(super) fn is_whole(&self) -> bool {
        self.tables.is_empty() && !self.missing_rows && !self.upsert
    }

    /// What is restored, and how.
    pub(super) fn what(&self) -> String {
        if self.is_whole() {
            return "the whole database".to_owned();
        }
        let which = match (self.missing_rows, self.upsert) {
            (true, _) => "missing rows of",
            (_, true) => "missing and different rows of",
            _ => "the rows of",
        };
        let tables: Vec<String> = self.tables.iter().map(ToString::to_string).collect();
        let tables = if tables.is_empty() {
            "all tables".to_owned()
        } else {
            tables.join(", ")
        };
        let into = self.into_schema.as_ref();
        let into = into.map_or_else(String::new, |schema| format!(" into the schema {schema}"));
        format!("{which} {tables}{into}")
    }
}

/// What may be given in place of a backup.
fn instead_of_a_backup() -> Vec<&'static str> {
    if may_ask() {
        Vec::new()
    } else {
        vec!["resolved"]
    }
}

/// Whether somebody at a terminal can answer.
fn may_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && !answer::is_json()
}
