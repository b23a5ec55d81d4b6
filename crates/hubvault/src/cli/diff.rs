//! `hubvault diff`: what an archive has that a living database has not, and the other way round.

use super::Exit;
use super::differences::Differences;
use super::restored::about_table;
use super::seal::{IdentityArgs, witness};
use super::select::{FromArgs, backup_of, target_of};
use crate::text::{Align, columns, grouped, plain, print, print_with};
use crate::{answer, progress, signals};
use anyhow::{Result, bail};
use clap::Args;
use hubvault_config::Settings;
use hubvault_engine::restore::{self, Conditions, TableDiff};
use hubvault_model::{Cancel, TablePattern};
use serde_json::{Value, json};

pub(super) const EXAMPLES: &str = "Examples:
  hubvault diff latest
  hubvault diff latest --table users --csv
  hubvault restore latest --table users --missing-rows    # put back what is missing

Exit codes: 0 no difference; 1 a table could not be compared; 2 bad usage or configuration; 3 there are \
differences, also in columns.";

/// `hubvault diff`
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct DiffArgs {
    /// An id, an unambiguous prefix of one, `latest`, a file (with a / or the ending of an archive), or a URL
    /// (`s3://bucket/prefix/latest`)
    pub(crate) backup: String,
    #[command(flatten)]
    pub(crate) from: FromArgs,
    /// The database: a postgres:// URL or name=value pairs [default: the configured one]
    #[arg(long, value_name = "URL", conflicts_with = "database")]
    pub(crate) to: Option<String>,
    /// The database on the configured server
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Only this table; may be given more than once, and may be a glob
    #[arg(long = "table", value_name = "TABLE")]
    pub(crate) tables: Vec<TablePattern>,
    /// Print the keys of all rows that differ as CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// With --json: how many rows differ instead of their keys
    #[arg(long, hide = true, requires = "json")]
    pub(crate) counts: bool,
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
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let backup = backup_of(settings, &args.from, &args.backup, &cancel)?;
    let archive = backup.open(&args.identity.read()?)?;
    witness(settings, &archive.source().opened_by());
    let to = target_of(settings, args.to.as_deref(), args.database.as_deref())?;
    let bar = progress::choose(args.no_progress);
    let job = settings.job();
    let conditions = Conditions::new(&job.scope, args.trust_conditions);
    let mut kept = ((answer::is_json() && !args.counts) || args.csv)
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
    complain_of(&found);
    match kept {
        Some(kept) if answer::is_json() => answer::stream(|out| kept.json(&found, out))?,
        Some(kept) => print_with(|out| kept.csv(&found, out))?,
        None if args.counts => answer::json(&counts(&found))?,
        None => print(&diff_text(&found))?,
    }
    let problems = found.iter().filter(|table| table.problem.is_some());
    let problems: Vec<String> = problems.map(|table| plain(&table.name)).collect();
    if !problems.is_empty() {
        bail!(
            "could not compare {}; see the reasons above",
            problems.join(", ")
        );
    }
    let equal = found.iter().all(TableDiff::is_equal);
    Ok(if equal { Exit::Done } else { Exit::Warnings })
}

/// How many rows differ in each table; `null` where that is not known.
fn counts(found: &[TableDiff]) -> Value {
    let table = |table: &TableDiff| {
        let known = |known: bool, rows: u64| (known && table.problem.is_none()).then_some(rows);
        json!({
            "table": table.name.to_string(), "missing": known(true, table.missing),
            "changed": known(table.has_key, table.changed), "extra": known(table.knows_extra, table.extra),
            "columns": table.drift, "error": table.problem,
        })
    };
    found.iter().map(table).collect()
}

/// A line for each table.
pub(crate) fn diff_text(found: &[TableDiff]) -> String {
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|table| {
            let is_compared = table.problem.is_none();
            let known = |known: bool, rows| {
                if known && is_compared {
                    grouped(rows)
                } else {
                    "?".to_owned()
                }
            };
            vec![
                table.name.to_string(),
                known(true, table.missing),
                known(table.has_key, table.changed),
                known(table.knows_extra, table.extra),
            ]
        })
        .collect();
    let header = [
        ("table", Align::Wrap),
        ("only in the backup", Align::Right),
        ("changed", Align::Right),
        ("only in the database", Align::Right),
    ];
    let mut text = columns(&header, &rows);
    let drifted = found.iter().filter(|table| !table.drift.is_none());
    let drifted: Vec<String> = drifted
        .map(|table| format!("  {}: {}\n", plain(&table.name), plain(table.drift.text())))
        .collect();
    if found.iter().all(TableDiff::is_equal) {
        text += "\nno differences\n";
    }
    text += &unknown(found);
    if !drifted.is_empty() {
        text += "\nColumns that differ: those in both were compared, as text if types differ\n";
        text += &drifted.concat();
    }
    text
}

/// Why a number is not known, for each kind that is in the table.
fn unknown(found: &[TableDiff]) -> String {
    let has = |is: fn(&TableDiff) -> bool| found.iter().filter(|it| it.problem.is_none()).any(is);
    let mut text = String::new();
    if has(|table| !table.has_key) {
        text += "  no primary key: a changed row counts once in each of the other columns\n";
    }
    if has(|table| !table.knows_extra) {
        text += "  only some rows in the backup: rows only in the database are not counted\n";
    }
    if found.iter().any(|table| table.problem.is_some()) {
        text += "  tables that could not be compared: a warning says why\n";
    }
    if text.is_empty() {
        return text;
    }
    format!("\n`?` marks a number that is not known:\n{text}")
}

/// Says of every table that was not compared why.
fn complain_of(found: &[TableDiff]) {
    for table in found {
        if let Some(problem) = &table.problem {
            tracing::warn!("{}", about_table(&table.name, problem));
        }
    }
}
