//! The list of backups: filters, an order and pages, all in its address, so that a view can be sent to somebody.

use super::Page;
use super::run_row::RunRow;
use super::shown::{Clock, percent_encoded};
use super::view::Visit;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::of_job::{Which, choose};
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_engine::catalog::{Order, Selection};
use jiff::Timestamp;
use jiff::civil::Date;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::sync::Arc;

/// Runs on a page.
const LIMIT: u64 = 50;

/// What the address says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Wish {
    job: String,
    state: String,
    from: String,
    until: String,
    day: String,
    pinned: String,
    sort: String,
    up: String,
    page: u64,
}

impl Wish {
    /// Its address, with another order or page.
    fn address(&self) -> String {
        let page = if self.page > 1 {
            self.page.to_string()
        } else {
            String::new()
        };
        let mut query = String::new();
        for (name, value) in [
            ("job", &self.job),
            ("state", &self.state),
            ("from", &self.from),
            ("until", &self.until),
            ("day", &self.day),
            ("pinned", &self.pinned),
            ("sort", &self.sort),
            ("up", &self.up),
            ("page", &page),
        ] {
            if value.is_empty() {
                continue;
            }
            query.push(if query.is_empty() { '?' } else { '&' });
            let _ = write!(query, "{name}={}", percent_encoded(value));
        }
        format!("backups{query}")
    }

    /// The same list in this order; the other way round, where it has it already.
    fn sorted(&self, by: &str) -> String {
        let turned = self.sort == by && self.up.is_empty();
        Self {
            sort: by.to_owned(),
            up: if turned {
                "1".to_owned()
            } else {
                String::new()
            },
            page: 1,
            ..self.clone()
        }
        .address()
    }

    fn selection(&self, clock: &Clock) -> Result<Selection, ApiError> {
        let date = |name: &str, text: &str| match text {
            "" => Ok(None),
            text => text.parse::<Date>().map(Some).map_err(|_| bad(name, text)),
        };
        let (day, from, until) = (
            date("day", &self.day)?,
            date("from", &self.from)?,
            date("until", &self.until)?,
        );
        let midnight = |date: Date| -> Option<Timestamp> {
            Some(date.to_zoned(clock.zone.clone()).ok()?.timestamp())
        };
        let states = ["running", "proven", "unproven", "failed"];
        Ok(Selection {
            state: match self.state.as_str() {
                "" => None,
                text if states.contains(&text) => serde_json::from_value(text.into()).ok(),
                text => return Err(bad("state", text)),
            },
            from: day.or(from).and_then(midnight),
            until: day
                .or(until)
                .and_then(|date| midnight(date.tomorrow().ok()?)),
            pinned: !self.pinned.is_empty(),
            order: match self.sort.as_str() {
                "" => Order::Began,
                "took" => Order::Took,
                "size" => Order::Size,
                text => return Err(bad("sort", text)),
            },
            ascending: !self.up.is_empty(),
            offset: (self.page.clamp(1, 1_000_000) - 1) * LIMIT,
            limit: LIMIT,
        })
    }
}

fn bad(name: &str, text: &str) -> ApiError {
    let shown: String = text.chars().take(60).collect();
    ApiError::bad(format!("{shown:?} is no {name} of this list"))
}

/// The list of one job.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(mut wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        if wish.job.is_empty() && visit.jobs.len() > 1 {
            wish.job.clone_from(&visit.jobs[0]);
        }
        let job = Some(wish.job.clone()).filter(|job| !job.is_empty());
        let of = choose(&page.app, Which { job }, None, false)?;
        let settings = of.job.settings();
        let clock = Clock { now: Timestamp::now(), zone: settings.zone.clone() };
        let wanted = wish.selection(&clock)?;
        let catalog = of.catalog()?;
        let (total, records) = catalog.select(&wanted).map_err(anyhow::Error::new)?;
        let rows: Vec<RunRow> = records.iter().map(|record| RunRow::of(record, &clock)).collect();
        let first = wanted.offset + 1;
        let to = |page: u64| Wish { page, ..wish.clone() }.address();
        let number = wish.page.max(1);
        let values = context! {
            at => "backups",
            job => of.job.name(),
            wish => Value::from(Serde(&wish)),
            rows => Value::from(Serde(rows)),
            total, first, last => wanted.offset + records.len() as u64,
            newer => (number > 1).then(|| to(number - 1)),
            older => (wanted.offset + LIMIT < total).then(|| to(number + 1)),
            sorts => context! { began => wish.sorted(""), took => wish.sorted("took"), size => wish.sorted("size") },
            direction => if wanted.ascending { "ascending" } else { "descending" },
            filtered => wanted.state.is_some() || wanted.from.is_some() || wanted.until.is_some() || wanted.pinned,
        };
        Ok(page.views.render("backups.html", &visit, values)?.into_response())
    })
    .await
}
