//! Who did what over HTTP: the newest lines of the audit log.

use super::Page;
use super::shown::{Clock, When};
use super::view::Visit;
use super::wish::{Wish, bad, one_of};
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::logging::{AUDIT_PREFIX, KEPT, audit_to, masked};
use anyhow::Context;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_config::Service;
use hubvault_engine::command::shell_word;
use hubvault_engine::state::StateDir;
use hubvault_model::excerpt;
use jiff::Timestamp;
use jiff::civil::Date;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PATH: &str = "audit";
/// Lines on a page.
const LIMIT: u64 = 100;
/// So much of a line is shown, in characters.
const LONGEST: usize = 600;
/// So much of a file is read, in bytes: more than it can have.
const MOST: u64 = 4 << 20;

/// One line, for a template.
#[derive(Debug, Serialize)]
struct Line {
    when: When,
    refused: bool,
    text: String,
}

/// The state directory has it, so that the page can show it whatever `log.file` is.
fn file(service: &Service) -> PathBuf {
    StateDir::of(&service.directory).file("audit.log")
}

/// Begins to write it.
pub(super) fn begin(service: &Service) {
    // Without the directory there is nothing to audit yet; the log says why.
    if StateDir::open(&service.directory).is_ok() {
        audit_to(&file(service));
    }
}

/// The lines that the address asks for, newest first.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        one_of("state", &wish.state, &["refused", "done"])?;
        one_of("sort", &wish.sort, &[])?;
        let jobs = page.app.daemon.jobs();
        let first = jobs.first().context("there is no job")?.settings();
        let clock = Clock::of(&first);
        let day: Option<Date> = match wish.day.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| bad("day", text))?),
        };
        let find = wish.find.to_lowercase();
        let fits = |at: Timestamp, text: &str| {
            let is_refused = text.starts_with("refused ");
            let is_of_day = day.is_none_or(|day| at.to_zoned(clock.zone.clone()).date() == day);
            let is_of_state = wish.state.is_empty() || (wish.state == "refused") == is_refused;
            is_of_day && is_of_state && text.to_lowercase().contains(&find)
        };
        let texts = texts(&file(&first.service))?;
        let newest_first = texts.iter().flat_map(|text| text.lines().rev());
        let mut wanted: Vec<(Timestamp, &str)> = newest_first
            .filter_map(parsed)
            .filter(|(at, text)| fits(*at, text))
            .collect();
        if !wish.up.is_empty() {
            wanted.reverse();
        }
        let (offset, total) = (wish.offset(LIMIT), wanted.len() as u64);
        let shown = wanted
            .into_iter()
            .skip(offset as usize)
            .take(LIMIT as usize);
        let one = |(at, text): (Timestamp, &str)| Line {
            when: clock.when(at),
            refused: text.starts_with("refused "),
            text: excerpt(&masked(text), LONGEST),
        };
        let lines: Vec<Line> = shown.map(one).collect();
        let values = context! {
            at => PATH,
            command => format!("grep audit: {}", shell_word(&file(&first.service).display().to_string())),
            first => offset + 1,
            last => offset + lines.len() as u64,
            lines => Value::from(Serde(lines)),
            total,
            newer => wish.newer(PATH),
            older => wish.older(PATH, LIMIT, total),
            ..wish.order(PATH, &[])
        };
        let html = page.views.render("audit.html", &visit, values)?;
        Ok(html.into_response())
    })
    .await
}

/// The texts of the files, the newest first.
fn texts(newest: &Path) -> Result<Vec<String>, ApiError> {
    let older = (1..=KEPT).map(|number| {
        let mut name = newest.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    let mut texts = Vec::new();
    for path in std::iter::once(newest.to_owned()).chain(older) {
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        match read {
            Ok(_) => texts.push(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let doing = format!("reading the audit log {}", path.display());
                return Err(anyhow::Error::new(error).context(doing).into());
            }
        }
    }
    Ok(texts)
}

/// When, and what; `None` of a line that was not written whole.
fn parsed(line: &str) -> Option<(Timestamp, &str)> {
    let (at, rest) = line.split_once(' ')?;
    let (_, text) = rest.split_once(AUDIT_PREFIX)?;
    Some((at.parse().ok()?, text))
}
