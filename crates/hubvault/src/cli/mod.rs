//! The commands: what they take, what they print, how they end. One file a command.

mod select;
mod seal;
mod proof;
mod show_rows;
mod plan;
mod backup;
mod drill_answer;
mod list_store;
mod list;
mod drill;
mod show;
mod restored;
mod restore_args;
mod restore_ask;
mod restore_plan;
mod living_restore;
mod restore;
mod differences;
mod diff;
mod prune;
mod copies_sync;
mod copies;
mod mail;
mod status;
mod logs;
mod token;
mod check;
mod alert;
mod consequences;
mod config;
mod completions;
mod doctor;
mod init;
mod demo;
mod operation;
mod child;
mod serve;
mod usage;
mod for_each_job;
#[cfg(test)]
mod hints;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use hubvault_config::{ConfigError, Environment, Inputs, LogFormat, Settings};
use hubvault_model::Masks;
use hubvault_service::logging;
use seal::SealCommand;
use std::path::PathBuf;
pub(crate) use usage::parse;
use usage::wrong;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// As asked, or proven.
    Done,
    /// Done, and something in the scope is missing, unproven or wrong.
    Warnings,
    /// Looked, and something is failing.
    Failing,
    /// As the worst of several ended.
    Code(u8),
}

const EXIT_CODES: &str = "Exit codes:
  0  done as asked; a backup is proven
  1  failed; nothing was published
  2  bad usage or configuration
  3  done, with warnings: something of the scope is missing, or the backup is unproven
  130, 143  interrupted by SIGINT, SIGTERM; nothing was published, unless mail was being sent";

/// Backs up what a product on PostgreSQL needs to come back from nothing: critical tables, a
/// recent window of transactions and configuration files, as of one moment, in one archive that
/// tar and psql restore.
#[derive(Debug, Parser)]
#[command(name = "hubvault", version, after_help = EXIT_CODES, after_long_help = format!("{START}\n\n{EXIT_CODES}"))]
pub(crate) struct Cli {
    /// The configuration file
    ///
    /// By default the first that exists of hubvault.toml in the working directory, in the
    /// configuration directory (/config), and in /etc/hubvault.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The job, if the configuration has several (`[[job]]`)
    ///
    /// Without it, backup, list, prune, check, status and mail retry work on all jobs, one after the other.
    #[arg(long, global = true, value_name = "NAME")]
    job: Option<String>,
    /// Print JSON, errors included (docs/json.md)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const START: &str = "Start here:
  hubvault demo                see the whole of it on a server of its own
  hubvault init                write a configuration for a database of yours
  hubvault config check        is what is configured right?
  hubvault backup --dry-run    what would be taken, what would not, what is wrong?
  hubvault backup";

#[derive(Debug, Subcommand)]
enum Command {
    /// Take one backup, prove it, publish it
    ///
    /// All tables are read in one snapshot. The archive is written as a hidden partial file, made
    /// durable, read back whole, and only then given its name.
    #[command(after_long_help = "Examples:
  hubvault backup --dry-run
  POSTGRES_HOST=db POSTGRES_DB=hub BACKUP_DIR=/srv/backups hubvault backup
  hubvault backup --json | jq .state

Exit codes: 0 proven; 1 failed, nothing was published; 2 bad configuration; 3 published, with \
warnings or unproven; 130 or 143 interrupted, nothing was published. SIGHUP is ignored: a run goes \
on when its terminal is closed.")]
    Backup(backup::BackupArgs),
    /// List the runs, newest first
    #[command(after_long_help = "Examples:
  hubvault list --limit 20
  hubvault list --failed --since 7d
  hubvault list s3://acme-backups/hub
  hubvault list --json | jq -r '.[] | select(.state == \"failed\") | .error'

Exit codes: 0 listed; 1 the catalog or the store cannot be read; 2 bad usage or configuration; 3 an archive of the \
store cannot be read or is damaged.")]
    List(list::ListArgs),
    /// Show what an archive holds
    ///
    /// Reads the archive's own manifest; the database is not needed.
    #[command(after_long_help = "Examples:
  hubvault show latest
  hubvault show s3://acme-backups/hub/latest
  hubvault show 3f2a91c0 --json | jq '.entries[].name'
  hubvault show ./critical_backup_20260131_020000.tar.gz

A sealed archive is shown from its sidecar, or with --identity from itself.

Exit codes: 0 shown; 1 no such backup, or not an archive; 2 bad usage or configuration.")]
    Show(show::ShowArgs),
    /// Read an archive back whole: every checksum, row count and digest
    #[command(after_long_help = "Examples:
  hubvault verify
  hubvault verify /media/usb/critical_backup_20260131_020000.tar.gz
  hubvault verify latest --identity key.txt

Of a sealed archive without --identity only the file's checksum is compared with its sidecar.

Exit codes: 0 whole; 1 damaged, with the entry and offset; 2 bad usage or configuration; 3 sealed, \
and only the file's checksum was compared, or with --drill unproven, or a constraint came back NOT \
VALID.")]
    Verify(show::VerifyArgs),
    /// Restore a whole database, the rows of some tables, or the configuration files
    ///
    /// Compares every row with the archive's manifest at the end. Refuses a database that already holds
    /// the archive's tables.
    #[command(after_long_help = restore_args::EXAMPLES)]
    Restore(restore_args::RestoreArgs),
    /// Compare an archive with a live database, row by row
    ///
    /// Rows are matched by primary key, columns by their names. Nothing is changed in the database.
    #[command(after_long_help = diff::EXAMPLES)]
    Diff(diff::DiffArgs),
    /// Restore old backups into a throwaway server and compare them
    #[command(after_long_help = drill::EXAMPLES)]
    Drill(drill::DrillArgs),
    /// Remove archives that no retention rule keeps; every backup does this at its end
    #[command(after_long_help = "Examples:
  hubvault prune --dry-run    # every decision with its reason
  hubvault prune --gone       # accept archives removed by hand; ends the alert of the check `files`

Exit codes: 0 done; 1 failed; 2 bad usage or configuration; 3 something could not be removed.")]
    Prune(prune::PruneArgs),
    /// List, make, check and remove copies at other destinations
    #[command(subcommand)]
    Copies(copies::CopiesCommand),
    /// Keep an archive, whatever the retention rules say
    Pin {
        /// An id, an unambiguous prefix of one, a file name, or `latest`
        backup: String,
    },
    /// Let the retention rules decide about an archive again
    Unpin {
        /// An id, an unambiguous prefix of one, a file name, or `latest`
        backup: String,
    },
    /// Check that recipients can open sealed archives
    #[command(subcommand)]
    Seal(SealCommand),
    /// Show the newest proven backup, the last run, who is notified, and what is at risk
    #[command(
        after_long_help = "Exit codes: 0 safe; 1 the catalog cannot be read; 2 bad configuration; 3 \
                           something is at risk."
    )]
    Status,
    /// Print the log of a run, by default of the newest
    #[command(after_long_help = "Examples:
  hubvault logs
  hubvault logs 3f2a91c0
  hubvault logs --follow    # of a run that is running

Exit codes: 0 printed; 1 no such run, or its log is missing; 2 bad usage or configuration.")]
    Logs(logs::LogsArgs),
    /// Take backups on the schedule, until stopped
    ///
    /// Each run is a process of its own. SIGHUP reloads the configuration for later runs; SIGTERM stops the
    /// current run and ends the service.
    #[command(after_long_help = "Examples:
  BACKUP_SCHEDULE='0 2 * * *' TZ=Europe/Berlin hubvault serve
  kill -HUP $(pidof hubvault)    # after hubvault.toml was changed

Exit codes: 0 stopped by SIGTERM or SIGINT; 1 failed; 2 bad configuration.")]
    Serve,
    /// Do one task of the service
    #[command(hide = true)]
    Child(child::ChildArgs),
    /// Run every check; each failure says what to do next
    Check(check::CheckArgs),
    /// List, silence and test alerts
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Preview, test and resend mail
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Create, list and revoke API tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Write a first configuration for a database
    ///
    /// Looks at the database, proposes what to back up and where to, asks on a terminal, writes hubvault.toml and shows what
    /// a backup would take.
    Init(Box<init::InitArgs>),
    /// Create, check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a report to attach to a bug: versions, settings, checks, last errors; secrets are masked
    Doctor(doctor::DoctorArgs),
    /// Rebuild the catalog of runs
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Back up a sample database, mail it sealed, restore it from the mail and compare
    #[command(after_long_help = "Examples:
  hubvault demo --users 5000
  hubvault demo --s3-server weed      # and restore from an S3 server alone

Keeps only the archive and its key. Needs the PostgreSQL server programs, age, tar and python3; \
with --s3-server, SeaweedFS, and the archive that is kept comes out of the bucket; \
started as root, the server runs as the user postgres.

Exit codes: 0 restored and equal; 1 anything else.")]
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell, or install it
    #[command(after_long_help = "Examples:
  hubvault completions bash --install
  hubvault completions bash > /etc/bash_completion.d/hubvault

Exit codes: 0 done; 1 the file cannot be written, or is not hubvault's; 2 bad usage.")]
    Completions(completions::CompletionsArgs),
    /// Write the manual pages, one for each command
    #[command(hide = true)]
    Man {
        /// An existing directory
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write a file with every setting as a comment; `hubvault init` writes one for a database
    Init {
        /// The file to create; it must not exist
        #[arg(default_value = "hubvault.toml")]
        file: PathBuf,
    },
    /// Check the configuration; stores, reads and deletes a tiny object at each destination, touches no database
    #[command(
        after_long_help = "Exit codes: 0 right; 2 wrong; 3 right, but something has no effect."
    )]
    Check,
    /// Print the effective settings and where each was set; secrets are masked
    Show,
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// Rebuild the catalog from the manifests of the archives that exist
    #[command(
        after_long_help = "Exit codes: 0 all archives are known; 1 failed; 3 an archive cannot be read."
    )]
    Rebuild(list::RebuildArgs),
}

/// Runs what the arguments ask for.
pub(crate) fn run(cli: &Cli) -> Result<Exit> {
    if cli.json && !cli.command.answers_programs() {
        return wrong("this command has no answer in JSON; leave --json out");
    }
    let inputs = Inputs::new(Environment::of_process(), cli.config.clone());
    if for_each_job::is_for_all(cli) {
        let all = Settings::load_all(&inputs)?;
        if all.len() > 1 {
            return for_each_job::run(&all);
        }
    }
    let load = || -> Result<Settings, ConfigError> {
        let settings = Settings::load(&inputs, cli.job.as_deref())?;
        logging::start_for(&settings);
        Ok(settings)
    };
    match &cli.command {
        Command::Backup(args) => backup::run(&load()?, args),
        Command::List(args) => list::run(&load()?, args),
        Command::Show(args) => show::show(&load()?, args),
        Command::Verify(args) => show::verify(&load()?, args),
        Command::Drill(args) => drill::run(&load()?, args),
        Command::Prune(args) => prune::run(&load()?, args),
        Command::Copies(command) => copies::run(&load()?, command),
        Command::Pin { backup } => prune::pin(&load()?, backup, true),
        Command::Unpin { backup } => prune::pin(&load()?, backup, false),
        Command::Diff(args) => diff::run(&load()?, args),
        Command::Restore(args) if args.asks() => restore_asked(&load()?, args),
        Command::Restore(args) => restore::run(&load()?, args),
        Command::Seal(command) => seal::run(&load()?, command),
        Command::Logs(args) => logs::run(&load()?, args),
        Command::Status => status::run(&load()?),
        Command::Serve if cli.job.is_some() => {
            wrong("serve keeps all jobs of its configuration; leave --job out")
        }
        Command::Serve => serve::run(&inputs),
        Command::Child(args) => child::run(args, &inputs.environment, cli.job.as_deref()),
        Command::Check(args) => check::run(&load()?, args),
        Command::Alert(command) => alert::run(&load()?, command),
        Command::Mail(command) => mail::run(&load()?, command),
        Command::Token(command) => run_token(&inputs, command),
        Command::Doctor(_) => doctor::run(&inputs, cli.job.as_deref()),
        Command::Init(args) => init::run(&inputs.environment, args),
        Command::Config(ConfigCommand::Init { file }) => config::init(file),
        Command::Config(ConfigCommand::Check) => config::check(&load()?),
        Command::Config(ConfigCommand::Show) => config::show(&load()?),
        Command::Catalog(CatalogCommand::Rebuild(args)) => list::rebuild_catalog(&load()?, args),
        Command::Demo(args) => run_demo(&inputs, args),
        Command::Completions(args) => completions::run(&inputs.environment, args),
        Command::Man { dir } => {
            clap_mangen::generate_to(Cli::command(), dir)
                .with_context(|| format!("writing manual pages to {}", dir.display()))?;
            Ok(Exit::Done)
        }
    }
}

impl Command {
    /// Whether it has a result that a program may want to read.
    fn answers_programs(&self) -> bool {
        !matches!(
            self,
            Self::Serve | Self::Child(_) | Self::Demo(_) | Self::Man { .. }
        ) && !matches!(self, Self::Completions(args) if !args.install)
    }
}

/// Restores what the answers at the terminal say, as if they had been arguments.
fn restore_asked(settings: &Settings, args: &restore_args::RestoreArgs) -> Result<Exit> {
    let answers = restore_ask::ask(settings, args)?;
    let words = std::env::args_os().chain(answers.into_iter().map(Into::into));
    match Cli::parse_from(words).command {
        Command::Restore(args) => restore::run(settings, &args),
        _ => anyhow::bail!("the answers are no arguments of restore"),
    }
}

/// Tokens belong to the service, whatever its jobs are.
fn run_token(inputs: &Inputs, command: &token::TokenCommand) -> Result<Exit> {
    let all = Settings::load_all(inputs)?;
    let settings = all.first().context("there is no job")?;
    logging::start_for(settings);
    token::run(settings, command)
}

fn run_demo(inputs: &Inputs, args: &demo::DemoArgs) -> Result<Exit> {
    logging::start_lines(tracing::Level::INFO, LogFormat::Text, Masks::default());
    demo::run(inputs, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
