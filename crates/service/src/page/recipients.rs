//! Who is notified, which messages arrived, and who can open the archives.

use super::Page;
use super::messages::{MessageRow, state};
use super::shown::{Clock, When};
use super::view::Visit;
use super::wish::{Wish, one_of};
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::logging::masked;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_config::Settings;
use hubvault_engine::catalog::{Catalog, OutboxItem, RecipientState, standing};
use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;
use std::sync::Arc;

const PATH: &str = "recipients";
/// Messages on a page.
const LIMIT: u64 = 50;
/// The words of the filter.
const STATES: [&str; 5] = ["sent", "queued", "sending", "refused", "superseded"];

/// The orders: of messages, of who is notified, of who can open archives.
const ORDERS: [&str; 10] = [
    "by",
    "state",
    "to",
    "recipient",
    "last",
    "queued",
    "channel",
    "opener",
    "confirmed",
    "key",
];

/// One who is notified, for a template.
#[derive(Debug, Serialize)]
struct Notified {
    address: String,
    by: &'static str,
    last: Option<When>,
    #[serde(skip)]
    last_at: Option<Timestamp>,
    queued: usize,
    problem: Option<String>,
}

/// Who can open the archives, for a template.
#[derive(Debug, Serialize)]
struct Opener {
    name: Option<String>,
    key: String,
    kind: &'static str,
    shown: Option<When>,
    #[serde(skip)]
    shown_at: Option<Timestamp>,
}

/// Recipients of messages and of archives.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(mut wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let of = wish.choose(&page, &visit)?;
        one_of("state", &wish.state, &STATES)?;
        one_of("sort", &wish.sort, &ORDERS)?;
        let settings = of.job.settings();
        let clock = Clock::of(&settings);
        let catalog = of.catalog()?;
        let outbox = catalog.messages().map_err(anyhow::Error::new)?;
        let mut notified = notified(&settings, &outbox, &clock);
        let notified_count = notified.len();
        notified.retain(|one| has(&wish, &[&one.address, one.by]));
        wish.sort("channel", &mut notified, |one| one.by);
        wish.sort("recipient", &mut notified, |one| one.address.clone());
        wish.sort("last", &mut notified, |one| one.last_at);
        wish.sort("queued", &mut notified, |one| one.queued);
        let mut openers = openers(&settings, &catalog, &clock)?;
        let all = (notified_count, openers.len());
        openers.retain(|one| {
            has(
                &wish,
                &[one.name.as_deref().unwrap_or_default(), &one.key, one.kind],
            )
        });
        wish.sort("key", &mut openers, |one| one.key.clone());
        wish.sort("opener", &mut openers, |one| one.name.clone());
        wish.sort("confirmed", &mut openers, |one| one.shown_at);
        let (total, rows) = messages(&outbox, &wish, &clock);
        let delivery = &settings.job().delivery;
        let values = context! {
            at => PATH,
            job => of.job.name(),
            notified => Value::from(Serde(notified)),
            missing => delivery.missing.as_deref().map(masked),
            openers => Value::from(Serde(openers)),
            all,
            states => STATES,
            first => wish.offset(LIMIT) + 1,
            last => wish.offset(LIMIT) + rows.len() as u64,
            rows => Value::from(Serde(rows)),
            total,
            newer => wish.newer(PATH),
            older => wish.older(PATH, LIMIT, total),
            ..wish.order(PATH, &ORDERS)
        };
        let html = page.views.render("recipients.html", &visit, values)?;
        Ok(html.into_response())
    })
    .await
}

/// Whether one of the texts has in it what the address looks for.
fn has(wish: &Wish, texts: &[&str]) -> bool {
    texts.iter().any(|text| wish.finds(text))
}

/// The messages that the address asks for, newest first. An id finds those about that backup.
fn messages(outbox: &[OutboxItem], wish: &Wish, clock: &Clock) -> (u64, Vec<MessageRow>) {
    let is_to = |item: &&OutboxItem| {
        let about = item.backup.map(|id| id.to_string()).unwrap_or_default();
        let recipients = item.recipients.iter().map(|one| one.address.as_str());
        let texts: Vec<&str> = recipients.chain([about.as_str()]).collect();
        has(wish, &texts)
    };
    let wanted = outbox.iter().filter(is_to);
    let wanted = wanted.filter(|item| wish.state.is_empty() || state(item) == wish.state);
    let mut wanted: Vec<&OutboxItem> = wanted.collect();
    let to = |item: &OutboxItem| item.recipients.first().map(|one| one.address.clone());
    wish.sort("", &mut wanted, |item| item.created_at);
    wish.sort("by", &mut wanted, |item| item.channel.clone());
    wish.sort("state", &mut wanted, |item| state(item));
    wish.sort("to", &mut wanted, |item| to(item));
    let shown = wanted.iter().skip(wish.offset(LIMIT) as usize);
    let rows = shown
        .take(LIMIT as usize)
        .map(|item| MessageRow::of(item, clock));
    (wanted.len() as u64, rows.collect())
}

/// Everybody whom the configuration names, with what the queue knows of them.
fn notified(settings: &Settings, outbox: &[OutboxItem], clock: &Clock) -> Vec<Notified> {
    let delivery = &settings.job().delivery;
    let mails = delivery.mail.iter().flat_map(|mail| &mail.to);
    let mails = mails.map(|address| ("mail", address.clone()));
    let channels = delivery.channels.iter();
    let channels = channels.map(|channel| (channel.kind.as_str(), channel.host()));
    let one = |(by, address): (&'static str, String)| {
        let own = outbox.iter().filter(|item| item.channel == by);
        let own = own.flat_map(|item| item.recipients.iter().map(move |one| (item, one)));
        let own: Vec<_> = own.filter(|(_, one)| one.address == address).collect();
        let accepted = own
            .iter()
            .find(|(_, one)| one.state == RecipientState::Accepted);
        let newest = own
            .first()
            .filter(|(_, one)| one.state != RecipientState::Accepted);
        let open = own
            .iter()
            .filter(|(item, one)| item.is_open() && one.state == RecipientState::Waiting);
        let last_at = accepted.map(|(item, _)| item.tried_at.unwrap_or(item.created_at));
        Notified {
            last: last_at.map(|at| clock.when(at)),
            last_at,
            queued: open.count(),
            problem: newest
                .and_then(|(item, one)| one.reply.as_deref().or(item.error.as_deref()))
                .map(masked),
            address: masked(&address),
            by,
        }
    };
    mails.chain(channels).map(one).collect()
}

fn openers(settings: &Settings, catalog: &Catalog, clock: &Clock) -> Result<Vec<Opener>, ApiError> {
    let shown = catalog.shown_recipients().map_err(anyhow::Error::new)?;
    let standing = standing(&settings.job().seal, &shown);
    let one = |(person, row): (
        &hubvault_config::Administrator,
        &hubvault_engine::catalog::Standing,
    )| Opener {
        name: person.name.clone(),
        key: row.recipient.short(),
        kind: row.recipient.kind(),
        shown: row.shown_at.map(|at| clock.when(at)),
        shown_at: row.shown_at,
    };
    Ok(settings.administrators().zip(&standing).map(one).collect())
}
