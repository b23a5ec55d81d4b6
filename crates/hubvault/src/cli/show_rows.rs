//! `hubvault show BACKUP --rows TABLE`: rows of a table as an archive has them.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, grouped, print};
use anyhow::{Context, Result, bail};
use clap::Args;
use hubvault_archive::{AnyArchive, TableSummary};
use hubvault_engine::restore::{Browsed, Filter, Value, Wish, browse};
use hubvault_model::{Cancel, TablePattern, counted};
use serde_json::{Map, json};
use std::time::{Duration, Instant};

/// So many rows are printed, where nobody says how many.
const ROWS: usize = 50;
/// Bytes of a value that a terminal shows.
const SHOWN: usize = 100;
/// A search of a command has no limit but this one.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// Which rows.
#[derive(Debug, Args)]
pub(crate) struct RowsArgs {
    /// Print rows of this table
    #[arg(long = "rows", value_name = "TABLE")]
    table: Option<TablePattern>,
    /// With --rows: only rows with exactly this value in this column; without `=`, those in which it is NULL
    #[arg(long = "where", value_name = "COLUMN=VALUE", requires = "table")]
    filter: Option<String>,
    /// With --rows: begin with this row, counted from 1
    #[arg(long, value_name = "N", requires = "table", value_parser = clap::value_parser!(u64).range(1..))]
    from_row: Option<u64>,
    /// With --rows: at most so many rows [default: 50]
    #[arg(long, value_name = "N", requires = "table")]
    limit: Option<usize>,
}

impl RowsArgs {
    /// Whether rows are asked for.
    pub(crate) fn is_given(&self) -> bool {
        self.table.is_some()
    }

    fn filter(&self, table: &TableSummary) -> Result<Option<Filter>> {
        let Some(text) = &self.filter else {
            return Ok(None);
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        let column = table.columns.iter().position(|column| column == name);
        let column = column.with_context(|| {
            let known = table.columns.join(", ");
            format!(
                "{} has no column {name:?} in this backup; it has: {known}",
                table.name
            )
        })?;
        Ok(Some(Filter { column, value }))
    }
}

/// Prints them.
pub(crate) fn rows(args: &RowsArgs, archive: &AnyArchive, cancel: &Cancel) -> Result<Exit> {
    let table = table(args, archive)?;
    let is_json = answer::is_json();
    let wish = Wish {
        from: args.from_row.unwrap_or(1).saturating_sub(1),
        most: args.limit.unwrap_or(ROWS),
        filter: args.filter(table)?,
        keep: if is_json { usize::MAX } else { SHOWN },
        bytes: u64::MAX,
        until: Instant::now() + LONGEST,
    };
    let found = browse(archive, table, &wish, cancel)?;
    if is_json {
        answer::json(&document(table, &found))?;
    } else {
        print(&text(table, &found))?;
    }
    Ok(Exit::Done)
}

/// The one table that matches.
fn table<'a>(args: &RowsArgs, archive: &'a AnyArchive) -> Result<&'a TableSummary> {
    let pattern = args.table.as_ref().context("no table was named")?;
    let tables = archive.manifest().tables.iter();
    let tables: Vec<&TableSummary> = tables.filter(|it| pattern.matches(&it.name)).collect();
    match tables.as_slice() {
        [one] => Ok(one),
        [] => {
            bail!("the backup has no rows of a table {pattern}; `hubvault show` lists its tables")
        }
        several => bail!(
            "{pattern} matches {} tables; name one of them",
            several.len()
        ),
    }
}

fn document(table: &TableSummary, found: &Browsed) -> serde_json::Value {
    let rows = found.rows.iter().map(|row| {
        let values = table.columns.iter().zip(&row.values);
        let values = values.map(|(name, value)| (name.clone(), json!(value.text)));
        json!({ "row": row.number + 1, "values": values.collect::<Map<_, _>>() })
    });
    json!({
        "table": table.name.to_string(),
        "columns": table.columns,
        "total": table.digest.rows,
        "rows": rows.collect::<Vec<_>>(),
        "next": found.next.map(|next| next + 1),
    })
}

fn text(table: &TableSummary, found: &Browsed) -> String {
    let cell = |value: &Value| match &value.text {
        None => "NULL".to_owned(),
        Some(text) if value.is_cut => format!("{text}…"),
        Some(text) => text.clone(),
    };
    let lines = found.rows.iter().map(|row| {
        let number = std::iter::once(grouped(row.number + 1));
        number.chain(row.values.iter().map(cell)).collect()
    });
    let names = table
        .columns
        .iter()
        .map(|name| (name.as_str(), Align::Left));
    let header: Vec<(&str, Align)> = std::iter::once(("row", Align::Right))
        .chain(names)
        .collect();
    let mut out = columns(&header, &lines.collect::<Vec<Vec<String>>>());
    let total = counted(table.digest.rows, "row");
    out += &match found.next {
        Some(next) => format!("\nof {total}; --from-row {} goes on\n", next + 1),
        None => format!("\nof {total}\n"),
    };
    out
}
