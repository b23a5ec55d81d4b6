//! The web page: what `hubvault status`, `list` and `show` say, for a browser. Made on the server; a session stands for
//! a token, with that token's role.

mod session;
mod origin;
mod assets;
mod first_token;
mod shown;
mod view;
mod shape;
mod guard;
mod login;
mod oidc;
mod wish;
mod asked;
mod run_row;
mod operation_row;
mod calendar;
mod timeline;
mod job_facts;
mod facts_cache;
mod overview;
mod growth;
mod messages;
mod backups;
mod backup;
mod actions;
mod restore_result;
mod restore;
mod operation;
mod inside;
mod live;
mod rows_plan;
mod file_secrets;
mod file;
mod manifest;
mod table_rows;
mod checks;
mod recipients;
mod scope_change;
mod coverage;
mod settings;
mod tokens;
mod audit;
mod set_up_form;
mod set_up;

use crate::daemon::{Daemon, ServedJob};
use crate::http::limit::Limit;
use crate::http::permits::Permits;
use crate::http::{self, App, Around, BODY_LIMIT, TIME_LIMIT};
use anyhow::Result;
use asked::Asked;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, AUTHORIZATION};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use facts_cache::FactsCache;
use hubvault_config::{Inputs, Oidc, Unconfigured};
use oidc::Logins;
use session::Sessions;
use set_up::SetUpState;
use std::sync::Arc;
use tower::ServiceExt;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use view::Views;

/// What the handlers share.
struct Page {
    app: Arc<App>,
    sessions: Sessions,
    views: Views,
    facts: FactsCache,
    /// Looks into archives that go on, by token.
    looks: Permits<String>,
    asked: Asked,
    /// Logins at the identity provider.
    logins: Logins,
    starts: Limit,
}

/// Logins at the identity provider that one address may begin: twenty at once, then one in two seconds.
const STARTS: (f64, f64) = (20.0, 0.5);

/// Starts HTTP, with the page unless the configuration switches it off.
pub(crate) fn start(daemon: &Daemon, address: &str) -> Result<http::Handle> {
    let jobs = daemon.jobs();
    let settings = jobs.first().map(ServedJob::settings);
    let with_page = settings.filter(|settings| settings.service.http_page);
    if let Some(settings) = &with_page {
        audit::begin(&settings.service);
        first_token::make(&settings.service);
    }
    let around = with_page.map(|_| Box::new(around) as Around);
    http::start(App::new(daemon.clone(), None), address, around)
}

/// Starts HTTP with the set-up page alone.
pub(crate) fn start_set_up(
    daemon: &Daemon,
    inputs: &Inputs,
    new: Unconfigured,
) -> Result<http::Handle> {
    let (tokens, text) = first_token::for_set_up(&new.service)?;
    let address = new.service.http_address.clone().unwrap_or_default();
    let set_up = Arc::new(SetUpState::new(inputs.clone(), new.file, text));
    let around: Around = Box::new(move |app, _| {
        let own = set_up::routes(Arc::new(Page::new(app)), set_up);
        split(own, set_up::elsewhere())
    });
    http::start(
        App::new(daemon.clone(), Some(tokens)),
        &address,
        Some(around),
    )
}

/// The page's routes; everything else is the API's, and so is every request that is not a browser's.
fn around(app: Arc<App>, api: Router) -> Router {
    split(routes(Arc::new(Page::new(app))), api)
}

fn split(own: Router, api: Router) -> Router {
    Router::new().fallback(|request: Request| async move {
        let router = if is_for_page(&request) { own } else { api };
        router.oneshot(request).await
    })
}

impl Page {
    fn new(app: Arc<App>) -> Self {
        Self {
            app,
            sessions: Sessions::default(),
            views: Views::default(),
            facts: FactsCache::default(),
            looks: Permits::new(inside::LOOKS.0, inside::LOOKS.1),
            asked: Asked::default(),
            logins: Logins::default(),
            starts: Limit::new(STARTS.0, STARTS.1),
        }
    }

    /// The identity provider that people may log in with.
    fn oidc(&self) -> Option<Oidc> {
        let job = self.app.daemon.jobs().into_iter().next()?;
        job.settings().service.oidc.clone()
    }

    /// The address at which people reach the service, where the configuration says it.
    fn public_url(&self) -> Option<String> {
        let job = self.app.daemon.jobs().into_iter().next()?;
        let links = job.settings().job().delivery.links.clone()?;
        Some(links.base)
    }
}

fn routes(page: Arc<Page>) -> Router {
    let router = Router::new()
        .route("/", get(overview::show))
        .route("/start", post(actions::start))
        .route("/backups", get(backups::list))
        .route("/backups/{id}", get(backup::show))
        .route("/backups/{id}/tables/{table}", get(table_rows::show))
        .route("/backups/{id}/tables/{table}/value", get(table_rows::value))
        .route("/backups/{id}/tables/{table}/plan", post(rows_plan::show))
        .route("/backups/{id}/file", get(file::show))
        .route("/backups/{id}/manifest", get(manifest::show))
        .route("/backups/{id}/file/unmasked", post(file::unmasked))
        .route("/backups/{id}/link", post(actions::link))
        .route("/backups/{id}/pin", post(actions::pin))
        .route("/backups/{id}/operation", post(actions::operate))
        .route(
            "/backups/{id}/restore",
            get(restore::form).post(restore::preview),
        )
        .route("/operations/{id}", get(operation::show))
        .route("/checks", get(checks::list))
        .route("/checks/now", post(checks::now))
        .route("/checks/silence", post(checks::silence))
        .route("/checks/resolved", post(checks::resolved))
        .route("/coverage", get(coverage::list))
        .route("/coverage/now", post(coverage::now))
        .route("/recipients", get(recipients::show))
        .route("/settings", get(settings::list))
        .route("/settings/change", post(settings::change))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/revoke", post(tokens::revoke))
        .route("/audit", get(audit::list))
        .route("/operations/{id}/restore", post(restore::restore))
        .route("/operations/{id}/stop", post(operation::stop))
        .route("/login", get(login::show).post(login::login))
        .route("/login/oidc", get(oidc::begin))
        .route("/login/oidc/callback", get(oidc::end))
        .route("/logout", post(login::logout))
        .route("/assets/{name}", get(assets::asset))
        .fallback(shape::nothing_here);
    closed(router, page)
}

/// Behind the guard, with limits and headers.
fn closed(router: Router<Arc<Page>>, page: Arc<Page>) -> Router {
    router
        .layer(from_fn_with_state(Arc::clone(&page), guard::guard))
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            TIME_LIMIT,
        ))
        .layer(from_fn_with_state(Arc::clone(&page), shape::shape))
        .with_state(page)
}

/// Whether a browser asks for a page. What has a token of its own, or an address of the API, gets the API's answer.
fn is_for_page(request: &Request) -> bool {
    let path = request.uri().path();
    let of_api = ["/health", "/metrics", "/openapi.json"].contains(&path)
        || path.starts_with("/backup/")
        || path.starts_with("/operation/")
        || path.starts_with("/download/");
    let accepts = request.headers().get_all(ACCEPT).iter();
    let mut accepts = accepts.filter_map(|value| value.to_str().ok());
    let is_browser = accepts.any(|kinds| kinds.contains("text/html"));
    let has_token = request.headers().contains_key(AUTHORIZATION);
    !of_api && !has_token && (is_browser || path.starts_with("/assets/"))
}
