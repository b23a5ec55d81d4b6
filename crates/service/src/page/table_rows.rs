//! The rows of a table as an archive has them, fifty at a time, or those with one value; and one value whole.

use super::Page;
use super::inside::{Inside, look, open, show_rows, table_frame};
use super::live::Live;
use super::shown::percent_encoded;
use super::view::Visit;
use crate::http::auth::Audit;
use crate::http::error::ApiError;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_archive::{Coverage, TableSummary};
use hubvault_engine::restore::{Browsed, BrowsedRow, Filter, Value as Shown, Wish, browse};
use hubvault_model::{Cancel, grouped, one_line, printable};
use minijinja::{Value, context};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many rows are a page.
const ROWS: usize = 50;
/// Letters of a value in a list: fewer in a wide table, so that no page is larger than a browser likes.
const LETTERS: (usize, usize) = (20, 160);
const PAGE_LETTERS: usize = 1 << 20;
/// Bytes of a value that are kept: in a list, and where it is shown alone.
const KEPT: usize = super::live::COMPARED;
const WHOLE: usize = 1 << 20;
/// A search ends after so many bytes of rows, or so long, and goes on with the next request.
const SEARCHED: u64 = 512 << 20;
const SEARCH_TIME: Duration = Duration::from_secs(8);

/// Which rows, as the address says it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// From 1; empty is the first one.
    row: String,
    /// A column, and its value in the rows that are wanted.
    column: String,
    value: String,
    /// Instead of a value.
    null: Option<String>,
    /// Whether the living rows are shown, too.
    live: Option<String>,
}

impl Asked {
    fn from(&self) -> Result<u64, ApiError> {
        match self.row.trim() {
            "" => Ok(0),
            text => {
                let plain = text.replace([',', ' '], "");
                let row: Option<u64> = plain.parse().ok().filter(|row| *row > 0);
                row.map(|row| row - 1)
                    .ok_or_else(|| ApiError::bad("row is the number of a row, from 1"))
            }
        }
    }

    fn filter(&self, table: &TableSummary) -> Result<Option<Filter>, ApiError> {
        if self.column.is_empty() {
            return Ok(None);
        }
        let value = self.null.is_none().then(|| self.value.clone());
        let column = column(table, &self.column)?;
        Ok(Some(Filter { column, value }))
    }

    fn wish(&self, table: &TableSummary) -> Result<Wish, ApiError> {
        Ok(Wish {
            from: self.from()?,
            most: ROWS,
            filter: self.filter(table)?,
            keep: KEPT,
            bytes: SEARCHED,
            until: Instant::now() + SEARCH_TIME,
        })
    }

    /// The same from another row, as the query of an address.
    fn query(&self, from: u64) -> String {
        let mut query = format!("?row={}", from + 1);
        if self.live.is_some() {
            query += "&live=1";
        }
        if !self.column.is_empty() {
            query += &format!("&column={}", percent_encoded(&self.column));
            query += &match self.null {
                Some(_) => "&null=1".to_owned(),
                None => format!("&value={}", percent_encoded(&self.value)),
            };
        }
        query
    }
}

/// The number of a column, by its name or by what is shown of it: forms do not carry every name as it is.
fn column(table: &TableSummary, name: &str) -> Result<usize, ApiError> {
    let mut columns = table.columns.iter();
    let named = columns.clone().position(|it| it == name);
    let shown = || columns.position(|it| one_line(it) == name);
    named.or_else(shown).ok_or_else(|| {
        let shown: String = one_line(name).chars().take(70).collect();
        ApiError::bad(format!("the table has no column {shown} in this backup"))
    })
}

/// A page of rows.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path((word, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    look(page, visit, move |page, visit, cancel| {
        let commands = |id: &str| show_rows(id, &name);
        let inside = match open(page, visit, &word, commands, cancel)? {
            Ok(inside) => inside,
            Err(sealed) => return Ok(sealed),
        };
        let table = inside.table(&name)?;
        let wish = asked.wish(table)?;
        let found = browse(&inside.archive, table, &wish, cancel)
            .map_err(|error| inside.failed(error, cancel))?;
        let audit = format!("{} of {} of {}", counted(&found), name, inside.record.id);
        let live = Live::of(asked.live.is_some(), &inside, table, &found.rows, cancel);
        let live_values = live.frame(&asked.query(wish.from));
        let rows = rows(table, &asked, &wish, &found, &live);
        let values = context! { ..rows, ..live_values, ..table_frame(&inside, visit, table) };
        let html = page.views.render("table.html", visit, values)?;
        Ok((Extension(Audit(one_line(&audit).into_owned())), html).into_response())
    })
    .await
}

fn counted(found: &Browsed) -> String {
    match (found.rows.first(), found.rows.last()) {
        (Some(first), Some(last)) => format!(
            "showed {} rows between {} and {}",
            found.rows.len(),
            first.number + 1,
            last.number + 1
        ),
        _ => "showed no row".to_owned(),
    }
}

fn rows(table: &TableSummary, asked: &Asked, wish: &Wish, found: &Browsed, live: &Live) -> Value {
    let cells = ROWS * table.columns.len().max(1);
    let letters = (PAGE_LETTERS / cells).clamp(LETTERS.0, LETTERS.1);
    let total = table.digest.rows;
    let end = found.next.unwrap_or(total);
    let one_row = |(at, row): (usize, &BrowsedRow)| {
        let cells = row.values.iter().zip(&table.columns).enumerate();
        let cells = cells.map(|(number, (value, column))| {
            let now = live.value(at, number).map(|now| shown(now, letters));
            context! { now, ..cell(value, row.number, column, letters) }
        });
        let cells: Vec<Value> = cells.collect();
        context! { number => grouped(row.number + 1), now => live.row(at, table), cells }
    };
    let previous = (wish.from > 0 && wish.filter.is_none())
        .then(|| asked.query(wish.from.saturating_sub(ROWS as u64)));
    context! {
        columns => table.columns.iter().map(|name| one_line(name).into_owned()).collect::<Vec<_>>(),
        rows => found.rows.iter().enumerate().map(one_row).collect::<Vec<_>>(),
        found => found.rows.len(),
        total => grouped(total),
        coverage => coverage(table),
        first => grouped(wish.from + 1),
        last => grouped(end),
        looked_at => end > wish.from,
        filtered => wish.filter.is_some(),
        // `column` is a macro.
        chosen => one_line(&asked.column).into_owned(),
        value => asked.value.clone(),
        null => asked.null.is_some(),
        row => wish.from + 1,
        previous,
        next => found.next.map(|next| asked.query(next)),
    }
}

/// Why the archive may have fewer rows than the table had.
fn coverage(table: &TableSummary) -> Option<&'static str> {
    match table.coverage {
        Coverage::Whole => None,
        Coverage::Window => Some("the rows of a window"),
        Coverage::Referenced => Some("only rows that others refer to"),
    }
}

/// A value in a list, and where the whole of it is.
fn cell(value: &Shown, row: u64, column: &str, letters: usize) -> Value {
    let is_long = |text: &String| value.is_cut || text.chars().nth(letters).is_some();
    let is_cut = value.text.as_ref().is_some_and(is_long);
    let link = format!(
        "?row={}&column={}",
        row + 1,
        percent_encoded(&one_line(column))
    );
    context! { whole => is_cut.then_some(link), ..shown(value, letters) }
}

/// The beginning of a value.
fn shown(value: &Shown, letters: usize) -> Value {
    let Some(text) = &value.text else {
        return context! { is_null => true };
    };
    let cut = text.char_indices().nth(letters).map(|(end, _)| end);
    context! {
        text => one_line(&text[..cut.unwrap_or(text.len())]).into_owned(),
        is_empty => text.is_empty() && !value.is_cut,
        is_cut => cut.is_some() || value.is_cut,
    }
}

/// One value as it is, line breaks and all.
pub(super) async fn value(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path((word, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    look(page, visit, move |page, visit, cancel| {
        let commands = |id: &str| show_rows(id, &name);
        let inside = match open(page, visit, &word, commands, cancel)? {
            Ok(inside) => inside,
            Err(sealed) => return Ok(sealed),
        };
        let table = inside.table(&name)?;
        let column = column(table, &asked.column)?;
        let from = asked.from()?;
        let wish = Wish {
            most: 1,
            filter: None,
            keep: WHOLE,
            ..asked.wish(table)?
        };
        let row = one(&inside, table, &wish, cancel)?;
        let value = &row.values[column];
        let audit = format!(
            "showed a value of row {} of {} of {}",
            from + 1,
            name,
            inside.record.id
        );
        let values = context! {
            // `column` is a macro.
        chosen => one_line(&asked.column).into_owned(),
            row => grouped(from + 1),
            back => format!("?row={}", from + 1 - from % ROWS as u64),
            text => value.text.as_deref().map(|text| printable(text).into_owned()),
            is_cut => value.is_cut,
            ..table_frame(&inside, visit, table)
        };
        let html = page.views.render("value.html", visit, values)?;
        Ok((Extension(Audit(one_line(&audit).into_owned())), html).into_response())
    })
    .await
}

fn one(
    inside: &Inside,
    table: &TableSummary,
    wish: &Wish,
    cancel: &Cancel,
) -> Result<BrowsedRow, ApiError> {
    let found = browse(&inside.archive, table, wish, cancel);
    let found = found.map_err(|error| inside.failed(error, cancel))?;
    found.rows.into_iter().next().ok_or_else(|| {
        let what = format!(
            "the table has {} rows in this backup",
            grouped(table.digest.rows)
        );
        ApiError::new(StatusCode::NOT_FOUND, what)
    })
}
