//! What became of an archive's rows in the living database, for the page that shows them.

use super::inside::Inside;
use crate::logging::{chain, masked};
use hubvault_archive::TableSummary;
use hubvault_engine::restore::{
    Beside, BrowsedRow, LiveComparison, RestoreError, Value as Shown, compare_live,
};
use hubvault_model::{Cancel, one_line};
use minijinja::{Value, context};

/// So many characters of a value are compared.
pub(super) const COMPARED: usize = 4 << 10;

/// The living rows, where they are asked for.
pub(super) struct Live {
    is_asked: bool,
    found: Option<LiveComparison>,
    problem: Option<String>,
}

impl Live {
    /// Looks them up. What goes wrong leaves the rows of the archive as they are.
    pub(super) fn of(
        is_asked: bool,
        inside: &Inside,
        table: &TableSummary,
        rows: &[BrowsedRow],
        cancel: &Cancel,
    ) -> Self {
        let mut live = Self {
            is_asked,
            found: None,
            problem: None,
        };
        if !is_asked || rows.is_empty() {
            return live;
        }
        if let Some(encoding) = &table.encoding {
            live.problem = Some(format!(
                "the text of this table is in {encoding} in the backup and is not compared here"
            ));
            return live;
        }
        let settings = inside.of.job.settings();
        let database = &settings.job().database;
        match compare_live(database, table, rows, COMPARED, cancel) {
            Ok(found) => live.found = Some(found),
            Err(error) => live.problem = Some(said(error, cancel)),
        }
        live
    }

    /// What became of a row, and whether it is as it was.
    pub(super) fn row(&self, at: usize, table: &TableSummary) -> Option<Value> {
        let names = |columns: Vec<usize>| {
            let names = columns.into_iter().filter_map(|at| table.columns.get(at));
            let names: Vec<String> = names.map(|name| one_line(name).into_owned()).collect();
            names.join(", ")
        };
        let (mark, text) = match self.found.as_ref()?.rows.get(at)? {
            Beside::Same => ("proven", "the same".to_owned()),
            Beside::Missing => ("failed", "not there any more".to_owned()),
            Beside::Changed(values) => {
                let columns = values.iter().map(|(column, _)| *column).collect();
                ("unproven", format!("changed: {}", names(columns)))
            }
            Beside::TooLong(columns) => {
                let columns = names(columns.clone());
                let text = format!("the same, but too long to compare here: {columns}");
                ("none", text)
            }
        };
        Some(context! { mark, text })
    }

    /// The value that a changed column has now.
    pub(super) fn value(&self, row: usize, column: usize) -> Option<&Shown> {
        let Beside::Changed(values) = self.found.as_ref()?.rows.get(row)? else {
            return None;
        };
        let mut values = values.iter();
        values.find(|(at, _)| *at == column).map(|(_, now)| now)
    }

    /// What the page says of it; `here` is the address of these rows.
    pub(super) fn frame(&self, here: &str) -> Value {
        let plain = here.replace("&live=1", "");
        let shown = |names: &[String]| one_line(&names.join(", ")).into_owned();
        let not_compared = self.found.as_ref().map(|found| shown(&found.not_compared));
        context! {
            live => self.is_asked,
            live_found => self.found.is_some(),
            live_problem => self.problem.clone(),
            live_key => self.found.as_ref().map(|found| shown(&found.key)),
            not_compared => not_compared.filter(|names| !names.is_empty()),
            with_live => format!("{plain}&live=1"),
            without_live => plain,
        }
    }
}

fn said(error: RestoreError, cancel: &Cancel) -> String {
    if cancel.is_requested() {
        return "the database took too long to answer".to_owned();
    }
    match error {
        RestoreError::NotThere { table } => {
            let table = table.to_string();
            format!("there is no table {} in the database now", one_line(&table))
        }
        error => one_line(&masked(&chain(&error.into()))).into_owned(),
    }
}
