//! Which handler answers what.

use super::{
    App, backups, change, download, events, health, numbers, openapi, operations, restores, run,
    settings, status,
};
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use std::sync::Arc;

/// Method, path, and what answers them.
type Route = (Method, &'static str, MethodRouter<Arc<App>>);

/// Every route of the interface.
pub(super) fn table() -> Vec<Route> {
    vec![
        get("/health", health::health),
        get("/backup/status", status::status),
        post("/backup/trigger", run::trigger),
        get("/backup/history", backups::history),
        get("/backup/config", settings::show),
        put("/backup/config", change::change),
        get("/backup/{id}", backups::one),
        get("/backup/{id}/events", events::events),
        post("/backup/{id}/operation", operations::start),
        get("/operation/{id}", operations::show),
        post("/operation/{id}/stop", operations::stop),
        post("/backup/{id}/restore", restores::preview),
        post("/operation/{id}/restore", restores::confirm),
        post("/backup/{id}/link", download::link),
        get("/download/{id}", download::download),
        get("/metrics", numbers::metrics),
        get("/openapi.json", openapi::openapi),
    ]
}

/// What answers them.
pub(super) fn router() -> Router<Arc<App>> {
    table()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| {
            router.route(path, handler)
        })
}

fn get<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::GET, path, on(MethodFilter::GET, handler))
}

fn post<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::POST, path, on(MethodFilter::POST, handler))
}

fn put<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, handler: H) -> Route {
    (Method::PUT, path, on(MethodFilter::PUT, handler))
}
