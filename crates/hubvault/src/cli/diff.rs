//! `hubvault diff`: what an archive has that a living database has not, and the other way round.

use super::Exit;
use super::seal::{IdentityArgs, witness};
use super::which::resolve;
use crate::config::Settings;
use crate::text::{Align, columns, grouped, print};
use crate::{progress, signals};
use anyhow::{Context, Result};
use clap::Args;
use hubvault_archive::Archive;
use hubvault_engine::restore::{self, TableDiff};
use hubvault_model::{Cancel, TablePattern};
use hubvault_postgres::Difference;
use serde_json::json;

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
    /// Print counts and the keys of all rows that differ as JSON
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print the keys of all rows that differ as CSV
    #[arg(long)]
    pub(crate) csv: bool,
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
        None => settings.job().database,
    };
    let bar = progress::choose(args.no_progress);
    let found = restore::diff(&archive, &to, &args.tables, bar.as_ref(), &cancel)?;
    drop(bar);
    let text = if args.json {
        serde_json::to_string_pretty(&found.iter().map(as_json).collect::<Vec<_>>())? + "\n"
    } else if args.csv {
        as_csv(&found)
    } else {
        diff_text(&found)
    };
    print(&text)?;
    let equal = found.iter().all(|table| table.rows.is_empty());
    Ok(if equal { Exit::Done } else { Exit::Warnings })
}

fn count(table: &TableDiff, difference: Difference) -> u64 {
    table
        .rows
        .iter()
        .filter(|row| row.difference == difference)
        .count() as u64
}

/// A line for each table.
pub(crate) fn diff_text(found: &[TableDiff]) -> String {
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|table| {
            let known = |known: bool, difference| {
                if known {
                    grouped(count(table, difference))
                } else {
                    "?".to_owned()
                }
            };
            vec![
                table.name.to_string(),
                grouped(count(table, Difference::Missing)),
                known(table.has_key, Difference::Changed),
                known(table.knows_extra, Difference::Extra),
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

fn as_json(table: &TableDiff) -> serde_json::Value {
    let keys = |difference| -> Vec<serde_json::Value> {
        let rows = table.rows.iter().filter(|row| row.difference == difference);
        rows.map(|row| serde_json::from_str(&row.key).unwrap_or_else(|_| json!(row.key)))
            .collect()
    };
    json!({
        "table": table.name.to_string(),
        "missing": keys(Difference::Missing),
        "changed": table.has_key.then(|| keys(Difference::Changed)),
        "extra": table.knows_extra.then(|| keys(Difference::Extra)),
    })
}

fn as_csv(found: &[TableDiff]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut out = String::from("table,difference,key\n");
    for table in found {
        for row in &table.rows {
            let word = match row.difference {
                Difference::Missing => "missing",
                Difference::Changed => "changed",
                Difference::Extra => "extra",
            };
            out += &format!(
                "{},{word},{}\n",
                quoted(&table.name.to_string()),
                quoted(&row.key)
            );
        }
    }
    out
}
