//! The list of backups: filters, an order and pages, all in its address, so that a view can be sent to somebody.

use super::Page;
use super::run_row::RunRow;
use super::shown::Clock;
use super::view::Visit;
use super::wish::{Wish, bad};
use crate::http::blocking;
use crate::http::error::ApiError;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_engine::catalog::{Order, Selection};
use jiff::Timestamp;
use jiff::civil::Date;
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
            text => return Err(bad("sort", text)),
        },
        ascending: !wish.up.is_empty(),
        offset: wish.offset(LIMIT),
        limit: LIMIT,
    })
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
        let clock = Clock { now: Timestamp::now(), zone: settings.zone.clone() };
        let wanted = selection(&wish, &clock)?;
        let catalog = of.catalog()?;
        let (total, runs) = catalog.select(&wanted).map_err(anyhow::Error::new)?;
        let rows: Vec<RunRow> = runs.iter().map(|run| RunRow::of(run, &clock)).collect();
        let first = wanted.offset + 1;
        let values = context! {
            at => "backups",
            job => of.job.name(),
            wish => Value::from(Serde(&wish)),
            rows => Value::from(Serde(rows)),
            total, first, last => wanted.offset + runs.len() as u64,
            newer => wish.newer(PATH),
            older => wish.older(PATH, LIMIT, total),
            sorts => context! { first => wish.sorted(PATH, ""), took => wish.sorted(PATH, "took"), size => wish.sorted(PATH, "size") },
            direction => if wanted.ascending { "ascending" } else { "descending" },
            filtered => wanted.state.is_some() || wanted.from.is_some() || wanted.until.is_some() || wanted.pinned,
        };
        Ok(page.views.render("backups.html", &visit, values)?.into_response())
    })
    .await
}
