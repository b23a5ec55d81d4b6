//! What the address of a list asks for: a job, filters, an order, a page. All of it is in the address, so that a view can
//! be sent to somebody.

use super::Page;
use super::shown::percent_encoded;
use super::view::Visit;
use crate::http::error::ApiError;
use crate::http::of_job::{OfJob, Which, choose};
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Beyond this no list has pages.
const LAST_PAGE: u64 = 1_000_000;

/// The query of a list. Each list knows some of these.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Wish {
    pub(super) job: String,
    pub(super) state: String,
    pub(super) find: String,
    pub(super) from: String,
    pub(super) until: String,
    pub(super) day: String,
    pub(super) pinned: String,
    pub(super) take: String,
    /// What the names of files, and of the places of copies, have in them.
    pub(super) file: String,
    pub(super) copy: String,
    /// `all` where no page of them is wanted.
    pub(super) tables: String,
    pub(super) sort: String,
    pub(super) up: String,
    pub(super) page: u64,
}

impl Wish {
    /// The job that is meant; the first one where none is named.
    pub(super) fn choose(&mut self, page: &Arc<Page>, visit: &Visit) -> Result<OfJob, ApiError> {
        if self.job.is_empty() && visit.jobs.len() > 1 {
            self.job.clone_from(&visit.jobs[0]);
        }
        let job = Some(self.job.clone()).filter(|job| !job.is_empty());
        choose(&page.app, Which { job }, None, false)
    }

    /// Its address below the root.
    pub(super) fn address(&self, path: &str) -> String {
        let page = if self.page > 1 {
            self.page.to_string()
        } else {
            String::new()
        };
        let mut query = String::new();
        for (name, value) in [
            ("job", &self.job),
            ("state", &self.state),
            ("find", &self.find),
            ("from", &self.from),
            ("until", &self.until),
            ("day", &self.day),
            ("pinned", &self.pinned),
            ("take", &self.take),
            ("file", &self.file),
            ("copy", &self.copy),
            ("tables", &self.tables),
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
        format!("{path}{query}")
    }

    /// The same list in this order; the other way round, where it has it already.
    pub(super) fn sorted(&self, path: &str, by: &str) -> String {
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
        .address(path)
    }

    /// Sorts rows by a key, the greatest first, where the address asks for this order.
    pub(super) fn sort<T, K: Ord>(&self, by: &str, rows: &mut [T], key: impl Fn(&T) -> K) {
        if self.sort == by {
            rows.sort_by_cached_key(|row| Reverse(key(row)));
            if !self.up.is_empty() {
                rows.reverse();
            }
        }
    }

    /// Whether a text has in it what the address looks for.
    pub(super) fn finds(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.find.to_lowercase())
    }

    /// For a template: the addresses of these orders, and the way of the present one.
    pub(super) fn order(&self, path: &str, by: &[&str]) -> Value {
        let others = by
            .iter()
            .map(|by| ((*by).to_owned(), self.sorted(path, by)));
        let first = ("first".to_owned(), self.sorted(path, ""));
        // Of pairs alone a list would be made.
        let sorts: BTreeMap<String, String> = [first].into_iter().chain(others).collect();
        let direction = if self.up.is_empty() {
            "descending"
        } else {
            "ascending"
        };
        context! { sorts => Value::from(Serde(sorts)), direction, wish => Value::from(Serde(self)) }
    }

    /// The same list, with what to write so that this is taken in.
    pub(super) fn taking(&self, path: &str, take: &str) -> String {
        Self {
            take: take.to_owned(),
            ..self.clone()
        }
        .address(path)
    }

    /// So many rows are before this page.
    pub(super) fn offset(&self, limit: u64) -> u64 {
        (self.page.clamp(1, LAST_PAGE) - 1) * limit
    }

    /// The page before this one.
    pub(super) fn newer(&self, path: &str) -> Option<String> {
        (self.page > 1).then(|| self.to(path, self.page - 1))
    }

    /// The page after this one.
    pub(super) fn older(&self, path: &str, limit: u64, total: u64) -> Option<String> {
        let number = self.page.clamp(1, LAST_PAGE);
        (number * limit < total).then(|| self.to(path, number + 1))
    }

    fn to(&self, path: &str, page: u64) -> String {
        Self {
            page,
            ..self.clone()
        }
        .address(path)
    }
}

/// A word of the address that the list does not have.
pub(super) fn bad(name: &str, text: &str) -> ApiError {
    let shown: String = text.chars().take(60).collect();
    ApiError::bad(format!("{shown:?} is no {name} of this list"))
}

/// One of these words, or none.
pub(super) fn one_of(name: &str, text: &str, words: &[&str]) -> Result<(), ApiError> {
    if text.is_empty() || words.contains(&text) {
        Ok(())
    } else {
        Err(bad(name, text))
    }
}
