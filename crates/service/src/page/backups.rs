//! The list of backups: filters, an order and pages, all in its address, so that a view can be sent to somebody.

use super::Page;
use super::growth::{BACKUPS, trend};
use super::run_row::RunRow;
use super::shown::Clock;
use super::view::Visit;
use super::wish::{Wish, bad};
use crate::http::blocking;
use crate::http::error::ApiError;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_engine::catalog::{Catalog, CatalogError, Order, RunSummary, Selection};
use hubvault_model::{ByteSize, grouped};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use minijinja::value::Serde;
use minijinja::{Value, context};
use std::sync::Arc;

/// Runs on a page.
const LIMIT: u64 = 50;
const PATH: &str = "backups";

/// What the address asks for.
fn selection(wish: &Wish, clock: &Clock) -> Result<Selection, ApiError> {
    let date = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => text.parse::<Date>().map(Some).map_err(|_| bad(name, text)),
    };
    let (day, from, until) = (
        date("day", &wish.day)?,
        date("from", &wish.from)?,
        date("until", &wish.until)?,
    );
    let midnight = |date: Date| -> Option<Timestamp> {
        Some(date.to_zoned(clock.zone.clone()).ok()?.timestamp())
    };
    let states = ["running", "proven", "unproven", "failed"];
    Ok(Selection {
        state: match wish.state.as_str() {
            "" => None,
            text if states.contains(&text) => serde_json::from_value(text.into()).ok(),
            text => return Err(bad("state", text)),
        },
        from: day.or(from).and_then(midnight),
        until: day
            .or(until)
            .and_then(|date| midnight(date.tomorrow().ok()?)),
        pinned: !wish.pinned.is_empty(),
        order: match wish.sort.as_str() {
            "" => Order::Began,
            "took" => Order::Took,
            "size" => Order::Size,
            "rows" => Order::Rows,
            text => return Err(bad("sort", text)),
        },
        ascending: !wish.up.is_empty(),
        offset: wish.offset(LIMIT),
        limit: LIMIT,
    })
}

/// The newest backup that began about a day before a run, or earlier: a schedule is never to the minute.
fn day_before(catalog: &Catalog, run: &RunSummary) -> Result<Option<RunSummary>, CatalogError> {
    if !run.run.was_published() {
        return Ok(None);
    }
    let before = run.run.started_at - SignedDuration::from_hours(23);
    let found = catalog.published_before(&run.run.job, before, 1)?;
    Ok(found.into_iter().next())
}

/// How the rows and the sizes of the last backups went, oldest first.
fn trends(catalog: &Catalog, job: &str, clock: &Clock) -> Result<Vec<Value>, ApiError> {
    let last = catalog.published_before(job, clock.now, BACKUPS);
    let mut last = last.map_err(anyhow::Error::new)?;
    last.reverse();
    let rows: Vec<u64> = last.iter().map(|one| one.rows).collect();
    let bytes: Vec<u64> = last.iter().filter_map(|one| one.run.bytes).collect();
    let size = |bytes| ByteSize(bytes).to_string();
    let trends = [
        ("Rows", trend(&rows, " rows", grouped)),
        ("Size", trend(&bytes, "", size)),
    ];
    let shown = trends.into_iter();
    Ok(shown
        .filter_map(|(name, shown)| Some(context! { name, shown => shown? }))
        .collect())
}

/// The list of one job.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(mut wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let of = wish.choose(&page, &visit)?;
        let settings = of.job.settings();
        let clock = Clock::of(&settings);
        let wanted = selection(&wish, &clock)?;
        let catalog = of.catalog()?;
        let (total, runs) = catalog.select(&wanted).map_err(anyhow::Error::new)?;
        let rows = runs.iter().map(|run| {
            let before = day_before(&catalog, run)?;
            Ok(RunRow::of(run, &clock).since(before.as_ref(), run, &clock))
        });
        let rows = rows.collect::<Result<Vec<RunRow>, CatalogError>>().map_err(anyhow::Error::new)?;
        let first = wanted.offset + 1;
        let values = context! {
            at => "backups",
            job => of.job.name(),
            rows => Value::from(Serde(rows)),
            total, first, last => wanted.offset + runs.len() as u64,
            newer => wish.newer(PATH),
            older => wish.older(PATH, LIMIT, total),
            filtered => wanted.state.is_some() || wanted.from.is_some() || wanted.until.is_some() || wanted.pinned,
            trends => trends(&catalog, &of.job.name(), &clock)?,
            ..wish.order(PATH, &["took", "size", "rows"])
        };
        Ok(page.views.render("backups.html", &visit, values)?.into_response())
    })
    .await
}
