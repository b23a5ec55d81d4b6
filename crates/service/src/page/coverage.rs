//! Every table of the database: in a backup, in a window, or left out. From the newest backup, which costs the database
//! nothing, or from a plan that somebody asked for.

use super::Page;
use super::actions::caller;
use super::guard::see_other;
use super::scope_change::scope_change;
use super::shown::{Clock, percent_encoded};
use super::view::Visit;
use super::wish::{Wish, bad, one_of};
use crate::child::Task;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::of_job::{OfJob, Which, choose};
use crate::logging::masked;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_archive::Identities;
use hubvault_engine::catalog::{BackupRecord, contents};
use hubvault_engine::logical::{TableCoverage, Taken, coverage_of_archive};
use hubvault_engine::overview::archive;
use hubvault_model::{ByteSize, excerpt, grouped};
use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PATH: &str = "coverage";
/// Tables on a page.
const LIMIT: u64 = 100;
/// So much is said of a table, in characters, and so many references are named.
const LONGEST: usize = 300;
const MOST_NAMED: usize = 6;

/// What is known, and since when.
struct Known {
    at: Timestamp,
    tables: Vec<TableCoverage>,
    /// The backup that it is of; `None` of a plan.
    backup: Option<BackupRecord>,
    grants: Vec<String>,
    /// What the backup's record says of tables that it does not name.
    more: Option<String>,
}

/// The answer of [`Task::Plan`].
#[derive(Deserialize)]
struct Planned {
    tables: Vec<TableCoverage>,
    grants: Vec<String>,
}

/// One table, for a template.
#[derive(Debug, Serialize)]
struct TableRow {
    name: String,
    mark: &'static str,
    taken: &'static str,
    how: String,
    rows: Option<String>,
    bytes: Option<String>,
    refers_to: String,
    take: Option<String>,
}

/// The list of tables.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(mut wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let of = wish.choose(&page, &visit)?;
        one_of("state", &wish.state, &["in", "window", "out"])?;
        let settings = of.job.settings();
        let clock = Clock::of(&settings);
        let Some(known) = known(&page, &of)? else {
            let values = context! { at => PATH, job => of.job.name(), total => 0, is_empty => true };
            let html = page.views.render("coverage.html", &visit, values)?;
            return Ok(html.into_response());
        };
        let count = |taken| known.tables.iter().filter(|table| table.taken == taken).count();
        let counts = [Taken::In, Taken::Window, Taken::Out].map(count);
        let selected = selected(&known.tables, &wish)?;
        let change = match wish.take.as_str() {
            "" => None,
            take => {
                let taken = taken(&known.tables, &selected, take)?;
                (!taken.is_empty()).then(|| scope_change(&settings, &known.tables, &taken))
            }
        };
        let (total, offset) = (selected.len() as u64, wish.offset(LIMIT));
        let shown = selected.into_iter().skip(offset as usize).take(LIMIT as usize);
        let rows: Vec<TableRow> = shown.map(|table| row(table, &wish)).collect();
        let values = context! {
            at => PATH,
            job => of.job.name(),
            first => offset + 1,
            last => offset + rows.len() as u64,
            rows => Value::from(Serde(rows)),
            total, counts,
            as_of => Value::from(Serde(clock.when(known.at))),
            backup => known.backup.as_ref().map(|record| context! { id => record.id.to_string(), short => record.id.short() }),
            grants => known.grants,
            more => known.more,
            change => change.map(|change| Value::from(Serde(change))),
            take_all => (counts[2] > 0).then(|| wish.taking(PATH, "*")),
            newer => wish.newer(PATH),
            older => wish.older(PATH, LIMIT, total),
            ..wish.order(PATH, &["rows", "size", "taken"])
        };
        let html = page.views.render("coverage.html", &visit, values)?;
        Ok(html.into_response())
    })
    .await
}

/// A plan that somebody asked for lately, else the newest backup.
fn known(page: &Page, of: &OfJob) -> Result<Option<Known>, ApiError> {
    let name = of.job.name();
    let newest = of.catalog()?.newest(Some(&name), |it| it.tables > 0);
    let newest = newest.map_err(anyhow::Error::new)?;
    let planned = page.asked.latest::<Planned>(of, &Task::Plan);
    let is_newer = |at: &Timestamp| newest.as_ref().is_none_or(|record| record.started_at < *at);
    if let Some((at, planned)) = planned.filter(|(at, _)| is_newer(at)) {
        return Ok(Some(Known {
            at,
            tables: planned.tables,
            backup: None,
            grants: planned.grants.iter().map(|grant| masked(grant)).collect(),
            more: None,
        }));
    }
    Ok(newest.map(|record| of_backup(of, record)))
}

fn of_backup(of: &OfJob, record: BackupRecord) -> Known {
    let settings = of.job.settings();
    let scope = &settings.job().scope;
    let opened = archive(&record).and_then(|path| contents(path, &Identities::none()).ok());
    let (tables, more) = if let Some(contents) = opened {
        (coverage_of_archive(&contents.manifest, scope), None)
    } else {
        // It is elsewhere, or cannot be read: the record names what is inside.
        let outside = record.outside.as_ref();
        let more = outside.map(|outside| masked(&outside.text(record.id)));
        let inside = record.tables.iter().map(TableCoverage::of_record);
        (inside.collect(), more)
    };
    Known {
        at: record.started_at,
        tables,
        backup: Some(record),
        grants: Vec::new(),
        more,
    }
}

/// The tables that the address asks for, in its order.
fn selected<'a>(
    tables: &'a [TableCoverage],
    wish: &Wish,
) -> Result<Vec<&'a TableCoverage>, ApiError> {
    let wanted = match wish.state.as_str() {
        "in" => Some(Taken::In),
        "window" => Some(Taken::Window),
        "out" => Some(Taken::Out),
        _ => None,
    };
    let find = wish.find.to_lowercase();
    let fits = |table: &&TableCoverage| {
        wanted.is_none_or(|taken| table.taken == taken) && table.name.to_lowercase().contains(&find)
    };
    let mut selected: Vec<&TableCoverage> = tables.iter().filter(fits).collect();
    selected.sort_by(|a, b| a.name.cmp(&b.name));
    match wish.sort.as_str() {
        "" => {}
        "rows" => selected.sort_by_key(|table| std::cmp::Reverse(table.rows)),
        "size" => selected.sort_by_key(|table| std::cmp::Reverse(table.bytes)),
        "taken" => selected.sort_by_key(|table| std::cmp::Reverse(table.taken)),
        text => return Err(bad("sort", text)),
    }
    if !wish.up.is_empty() {
        selected.reverse();
    }
    Ok(selected)
}

/// What is to be taken in: one table, or `*` for all that are left out among the selected ones.
fn taken<'a>(
    all: &'a [TableCoverage],
    selected: &[&'a TableCoverage],
    take: &str,
) -> Result<Vec<&'a TableCoverage>, ApiError> {
    let is_out = |table: &&TableCoverage| table.taken == Taken::Out && table.can_be_taken;
    let found: Vec<&TableCoverage> = match take {
        "*" => selected.iter().copied().filter(is_out).collect(),
        name => all
            .iter()
            .filter(is_out)
            .filter(|table| table.name == name)
            .collect(),
    };
    if found.is_empty() && take != "*" {
        return Err(bad("table that is left out", take));
    }
    Ok(found)
}

fn row(table: &TableCoverage, wish: &Wish) -> TableRow {
    let mut refers_to = table
        .refers_to
        .iter()
        .take(MOST_NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if table.refers_to.len() > MOST_NAMED {
        refers_to += &format!(" and {} more", table.refers_to.len() - MOST_NAMED);
    }
    let about = if table.is_estimate { "about " } else { "" };
    TableRow {
        name: table.name.clone(),
        mark: match table.taken {
            Taken::In => "proven",
            Taken::Window => "unproven",
            Taken::Out => "none",
        },
        taken: table.taken.as_str(),
        how: excerpt(&masked(&table.how), LONGEST),
        rows: table.rows.map(|rows| format!("{about}{}", grouped(rows))),
        bytes: table.bytes.map(|bytes| ByteSize(bytes).to_string()),
        refers_to,
        take: (table.taken == Taken::Out && table.can_be_taken)
            .then(|| wish.taking(PATH, &table.name)),
    }
}

/// The form that asks the database.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    job: Option<String>,
}

/// Plans a run now, as `hubvault backup --dry-run` does.
pub(super) async fn now(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Asked>,
) -> Result<Response, ApiError> {
    caller(&visit)?;
    blocking(move || {
        let of = choose(&page.app, Which { job: form.job }, None, false)?;
        page.asked.ask(&of, &Task::Plan)?;
        let job = percent_encoded(&of.job.name());
        let job = if visit.jobs.len() > 1 {
            format!("?job={job}")
        } else {
            String::new()
        };
        Ok(see_other(&format!("{}{PATH}{job}", visit.root)))
    })
    .await
}
