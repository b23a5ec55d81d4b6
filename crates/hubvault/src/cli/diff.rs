//! `hubvault diff`: what an archive has that a living database has not, and the other way round.

use super::Exit;
use super::differences::Differences;
use super::seal::{IdentityArgs, witness};
use super::select::resolve;
use crate::text::{Align, columns, grouped, print, print_with};
use crate::{answer, progress, signals};
use anyhow::{Context, Result};
use clap::Args;
use hubvault_archive::Archive;
use hubvault_config::Settings;
use hubvault_engine::restore::{self, Conditions, TableDiff};
use hubvault_model::{Cancel, TablePattern};

/// `hubvault diff`
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// An id, an unambiguous prefix of one, `latest`, or a file (with a / or the ending of an archive)
    pub(crate) backup: String,
    /// The database: a postgres:// URL or name=value pairs [default: the configured one]
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Only this table; may be given more than once, and may be a glob
    #[arg(long = "table", value_name = "TABLE")]
    pub(crate) tables: Vec<TablePattern>,
    /// Print the keys of all rows that differ as CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Run window conditions that only the archive has; they are SQL written by whoever made the archive
    #[arg(long)]
    pub(crate) trust_conditions: bool,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// No progress bar and no progress lines
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// Prints the differences; 3 when there are any.
pub(crate) fn run(settings: &Settings, args: &DiffArgs) -> Result<Exit> {
    let path = resolve(settings, &args.backup)?;
    let archive = Archive::open_path(&path, &args.identity.read()?)
        .with_context(|| format!("opening {}", path.display()))?;
    witness(settings, &archive.source().opened_by());
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let to = match &args.to {
        Some(url) => settings.target(url)?,
        None => settings.job().database.clone(),
    };
    let bar = progress::choose(args.no_progress);
    let job = settings.job();
    let conditions = Conditions::new(&job.scope, args.trust_conditions);
    let mut kept = (answer::is_json() || args.csv)
        .then(|| Differences::keep(&settings.temp_dir))
        .transpose()?;
    let mut each = |table, row| kept.as_mut().map_or(Ok(()), |kept| kept.add(table, &row));
    let tables = &args.tables;
    let found = restore::diff(
        &archive,
        &to,
        tables,
        conditions,
        &mut each,
        bar.as_ref(),
        &cancel,
    )?;
    drop(bar);
    match kept {
        Some(kept) if answer::is_json() => answer::stream(|out| kept.json(&found, out))?,
        Some(kept) => print_with(|out| kept.csv(&found, out))?,
        None => print(&diff_text(&found))?,
    }
    let equal = found.iter().all(TableDiff::is_equal);
    Ok(if equal { Exit::Done } else { Exit::Warnings })
}

/// A line for each table.
pub(crate) fn diff_text(found: &[TableDiff]) -> String {
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|table| {
            let known = |known: bool, rows| {
                if known { grouped(rows) } else { "?".to_owned() }
            };
            vec![
                table.name.to_string(),
                grouped(table.missing),
                known(table.has_key, table.changed),
                known(table.knows_extra, table.extra),
            ]
        })
        .collect();
    let header = [
        ("table", Align::Left),
        ("only in the backup", Align::Right),
        ("changed", Align::Right),
        ("only in the database", Align::Right),
    ];
    columns(&header, &rows)
}
