//! Logging in with the identity provider: away to it, and back with a code. A login is ended by the browser that began it,
//! once.

use super::Page;
use super::guard::see_other;
use super::login::{Way, form, onward, with_cookie};
use super::origin::{LOGIN, cookie, set_login_cookie};
use super::session::Holder;
use super::view::Visit;
use crate::http::auth::too_many;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::oidc::{self, Begun, Person};
use crate::token::{Role, hash, hex, random, same};
use anyhow::Context;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hubvault_config::Oidc;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// So long a person may take at the provider.
const LONGEST: Duration = Duration::from_mins(10);
/// Logins that were begun and not ended; the oldest one is forgotten for a new one.
const MOST: usize = 256;

/// So many ask the provider at once; the others wait, so that a slow provider leaves threads for everything else.
const AT_ONCE: usize = 3;

/// Logins that were begun, by the hash of their state.
pub(super) struct Logins {
    pending: Mutex<HashMap<String, Pending>>,
    asking: Arc<Semaphore>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            asking: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

struct Pending {
    /// The hash of the cookie of the browser that began it.
    browser: String,
    begun: Begun,
    next: String,
    at: Instant,
}

impl Logins {
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let asking = Arc::clone(&self.asking).acquire_owned().await;
        let asking = asking.context("waiting for other logins")?;
        blocking(move || {
            let answer = work();
            drop(asking);
            Ok(answer)
        })
        .await
    }

    fn keep(&self, begun: Begun, next: String, now: Instant) -> anyhow::Result<String> {
        let browser = hex(&random()?);
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, one| now.saturating_duration_since(one.at) < LONGEST);
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, one)| one.at);
            if let Some(oldest) = oldest.map(|(state, _)| state.clone()) {
                all.remove(&oldest);
            }
        }
        let pending = Pending {
            browser: hash(&browser),
            next,
            at: now,
            begun,
        };
        all.insert(hash(&pending.begun.state), pending);
        Ok(browser)
    }

    /// The login with this state, if this browser began it. It is over with that, whatever comes of it.
    fn take(&self, state: &str, browser: &str, now: Instant) -> Option<(Begun, String)> {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let one = all.remove(&hash(state))?;
        let is_in_time = now.saturating_duration_since(one.at) < LONGEST;
        let is_same = same(hash(browser).as_bytes(), one.browser.as_bytes());
        (is_in_time && is_same).then_some((one.begun, one.next))
    }
}

/// What the browser brings back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Back {
    code: String,
    state: String,
    error: String,
}

fn configured(page: &Page) -> Result<Oidc, ApiError> {
    page.oidc().ok_or_else(|| {
        let what = "there is no page at this address";
        ApiError::new(StatusCode::NOT_FOUND, what)
    })
}

/// Sends the browser to the provider.
pub(super) async fn begin(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(way): Query<Way>,
) -> Result<Response, ApiError> {
    let oidc = configured(&page)?;
    if visit.caller.is_some() {
        return Ok(onward(&visit, &way.next));
    }
    let now = Instant::now();
    let taken = page.starts.take(visit.origin.network(), now);
    taken.map_err(|seconds| too_many("too many logins from this address", seconds))?;
    let begun = match page.logins.ask(move || oidc::begin(&oidc)).await? {
        Ok(begun) => begun,
        Err(error) => {
            tracing::error!("http: single sign-on: {error:#}");
            let problem = "The identity provider does not answer as it should; the log of the service says more. A token \
                           works all the same.";
            return form(&page, &visit, &way.next, None, Some(problem));
        }
    };
    let mut response = see_other(&begun.url);
    let browser = page.logins.keep(begun, way.next, now)?;
    add_cookie(&mut response, &visit, Some(&browser));
    Ok(response)
}

/// Begins a session for whoever the provider says that it is.
pub(super) async fn end(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Query(back): Query<Back>,
) -> Result<Response, ApiError> {
    let oidc = configured(&page)?;
    let browser = cookie(&headers, LOGIN, visit.secure).unwrap_or_default();
    let now = Instant::now();
    let Some((begun, next)) = page.logins.take(&back.state, browser, now) else {
        let why = "this login was not started in this browser, was ended before, or took too long";
        return refuse(
            &page,
            &visit,
            "/",
            why,
            "This login is over. Begin it again.",
        );
    };
    if back.code.is_empty() {
        let said: String = back.error.chars().take(100).collect();
        let why = format!("the identity provider answered {said:?}");
        let problem = "The identity provider did not let you in.";
        return refuse(&page, &visit, &next, &why, problem);
    }
    let asked = oidc.clone();
    let ended = page.logins.ask(move || oidc::end(&asked, begun, back.code));
    let ended = ended.await?;
    let person = match ended {
        Ok(person) => person,
        Err(error) => {
            let problem = "The identity provider's answer could not be confirmed; the log of the service says why.";
            return refuse(&page, &visit, &next, &format!("{error:#}"), problem);
        }
    };
    let Some(role) = oidc::role(&oidc, &person) else {
        let why = format!(
            "{} ({}) has no group that gives a role",
            person.name, person.subject
        );
        let problem = "None of your groups gives you a role here. Ask an administrator.";
        return refuse(&page, &visit, &next, &why, problem);
    };
    enter(&page, &visit, &headers, &next, person, role, now)
}

fn enter(
    page: &Page,
    visit: &Visit,
    headers: &HeaderMap,
    next: &str,
    person: Person,
    role: Role,
    now: Instant,
) -> Result<Response, ApiError> {
    if let Some(before) = super::origin::session(headers, visit.secure) {
        page.sessions.end(before);
    }
    let (name, subject, origin) = (person.name.clone(), person.subject.clone(), visit.origin);
    let session = page.sessions.begin(Holder::Person(person), now)?;
    let role = role.as_str();
    tracing::info!(
        "audit: {name} ({role}) GET /login/oidc/callback began a session as the subject {subject:?} from {origin}: 303"
    );
    let mut response = with_cookie(onward(visit, next), Some(&session), visit);
    add_cookie(&mut response, visit, None);
    Ok(response)
}

fn refuse(
    page: &Page,
    visit: &Visit,
    next: &str,
    why: &str,
    problem: &str,
) -> Result<Response, ApiError> {
    let why: String = why.chars().take(500).collect();
    let what = "GET \"/login/oidc/callback\"";
    page.app
        .refusals
        .line(what, &visit.origin, &hubvault_model::one_line(&why));
    form(page, visit, next, None, Some(problem))
}

fn add_cookie(response: &mut Response, visit: &Visit, browser: Option<&str>) {
    if let Ok(value) = HeaderValue::from_str(&set_login_cookie(browser, visit.secure)) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::runtime::Builder;

    #[test]
    fn few_ask_the_provider_at_once_and_the_others_wait() {
        let logins = Logins::default();
        let all = Arc::clone(&logins.asking).try_acquire_many_owned(AT_ONCE as u32);
        assert!(logins.ask(|| ()).now_or_never().is_none());
        drop(all);
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(logins.ask(|| 7)).ok(), Some(7));
        assert_eq!(logins.asking.available_permits(), AT_ONCE);
    }
}
