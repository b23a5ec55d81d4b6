//! What a restore brought back, for people and for programs.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, grouped, plain, print};
use anyhow::{Result, bail};
use hubvault_engine::restore::{Compared, Comparison, NotLoaded, PutBack, Restored};
use hubvault_model::{TableName, counted};
use hubvault_postgres::ConnectSettings;
use serde_json::{Value, json};

/// A problem with the name of its table, once.
pub(super) fn about_table(name: &TableName, problem: &str) -> String {
    let name = name.to_string();
    if problem.contains(&name) {
        problem.to_owned()
    } else {
        format!("{name}: {problem}")
    }
}

fn put_back_json(done: &[PutBack]) -> Value {
    let table = |table: &PutBack| {
        json!({
            "table": table.name.to_string(), "inserted": table.inserted, "updated": table.updated,
            "not_settable": table.not_settable.1, "columns": table.drift, "error": table.problem,
        })
    };
    done.iter().map(table).collect()
}

fn restored_json(restored: &Restored, to: &ConnectSettings) -> Value {
    let said = &restored.said;
    let table = |table: &Compared| {
        let rows = table.expected.rows;
        json!({ "table": table.name.to_string(), "rows": rows, "error": table.problem() })
    };
    let not_restored =
        |one: &NotLoaded| json!({ "table": one.table.to_string(), "error": one.error.to_string() });
    let texts = |of: &mut dyn Iterator<Item = String>| of.collect::<Vec<_>>();
    json!({
        "database": to.to_string(),
        "compared": match restored.compared {
            Comparison::Rows => "rows",
            Comparison::Counts => "counts",
            Comparison::Off => "off",
        },
        "tables": restored.tables.iter().map(table).collect::<Vec<_>>(),
        "not_compared": restored.tables.iter().filter(|it| it.incomparable.is_some())
            .map(|it| it.name.to_string()).collect::<Vec<_>>(),
        "not_restored": restored.passed_over.iter().map(not_restored).collect::<Vec<_>>(),
        "not_rebuilt": texts(&mut said.failures.iter().map(ToString::to_string)),
        "not_valid": texts(&mut said.not_valid.iter().map(ToString::to_string)),
        "warnings": said.warnings, "notes": said.notes,
    })
}

/// Prints what was put back, how tables differ, and why rows were not put back, which is an error.
pub(super) fn report_rows(done: &[PutBack]) -> Result<Exit> {
    if answer::is_json() {
        answer::json(&put_back_json(done))?;
    } else {
        print(&put_back_text(done))?;
    }
    for table in done {
        if let Some(problem) = &table.problem {
            tracing::warn!("{}", about_table(&table.name, problem));
        } else if !table.drift.is_none() {
            let (name, drift) = (&table.name, table.drift.text());
            tracing::warn!(
                "{name} has other columns than the backup, those in both were put back: {drift}"
            );
        }
        if let Some(left) = table.not_overwritten() {
            tracing::warn!("{}: {left}", table.name);
        }
    }
    let problems = done.iter().filter(|table| table.problem.is_some());
    let problems: Vec<String> = problems.map(|table| plain(&table.name)).collect();
    if !problems.is_empty() {
        bail!(
            "nothing was put back into {}; see the reasons above",
            problems.join(", ")
        );
    }
    let is_same = |table: &PutBack| table.drift.is_none() && table.not_settable.0 == 0;
    let is_same = done.iter().all(is_same);
    Ok(if is_same { Exit::Done } else { Exit::Warnings })
}

/// What was put back, a line for each table.
pub(crate) fn put_back_text(done: &[PutBack]) -> String {
    let rows: Vec<Vec<String>> = done
        .iter()
        .map(|table| {
            vec![
                table.name.to_string(),
                grouped(table.inserted),
                grouped(table.updated),
            ]
        })
        .collect();
    let header = [
        ("table", Align::Wrap),
        ("put back", Align::Right),
        ("overwritten", Align::Right),
    ];
    columns(&header, &rows)
}

/// Prints what a restore brought back; an error where rows were not loaded or differ.
pub(super) fn report(restored: &Restored, to: &ConnectSettings) -> Result<Exit> {
    let said = &restored.said;
    for message in &said.warnings {
        tracing::warn!("{message}");
    }
    for one in &restored.passed_over {
        tracing::warn!("{}: {}", one.table, one.error);
    }
    for failure in &said.failures {
        tracing::warn!("not rebuilt: {failure}");
    }
    for constraint in &said.not_valid {
        tracing::warn!("came back NOT VALID, because rows of the archive break it: {constraint}");
    }
    for note in &said.notes {
        tracing::info!("{note}");
    }
    if answer::is_json() {
        answer::json(&restored_json(restored, to))?;
    }
    if !restored.passed_over.is_empty() {
        let names = restored.passed_over.iter().map(|one| plain(&one.table));
        let names: Vec<String> = names.collect();
        bail!("not restored: {}; see the reasons above", names.join(", "));
    }
    restored.all_equal()?;
    let rows: u64 = restored
        .tables
        .iter()
        .map(|table| table.expected.rows)
        .sum();
    let not_rebuilt = match said.failures.len() as u64 {
        0 => String::new(),
        many => format!(
            "; {} of the definitions could not be rebuilt, see above",
            grouped(many)
        ),
    };
    let tables: usize = restored.tables.iter().map(|table| table.tables).sum();
    let (tables, rows) = (tables as u64, counted(rows, "row"));
    let counted_only = restored
        .tables
        .iter()
        .filter(|it| it.incomparable.is_some());
    let compared = match (restored.compared, counted_only.count() as u64) {
        (Comparison::Rows, 0) => format!("{rows}, every row equal"),
        (Comparison::Rows, some) => {
            let some = counted(some, "table");
            format!(
                "{rows}; every row is equal but in {some}, whose contents could not be compared"
            )
        }
        (Comparison::Counts, _) => format!("{rows}; the counts match, contents were not compared"),
        (Comparison::Off, _) => format!("{rows} in the archive; nothing was compared"),
    };
    let text = format!(
        "restored into {to}: {}, {compared}{not_rebuilt}\n",
        counted(tables, "table")
    );
    if !answer::is_json() {
        print(&text)?;
    }
    let is_clean =
        said.warnings.is_empty() && said.failures.is_empty() && said.not_valid.is_empty();
    Ok(if is_clean { Exit::Done } else { Exit::Warnings })
}
