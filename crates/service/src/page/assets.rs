//! Files of the page that are the same for everybody. Their addresses carry a hash, so that browsers keep them.

use crate::token::hash;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::LazyLock;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");

/// The names under `/assets/`.
#[derive(Debug, Serialize)]
pub(super) struct Names {
    style: String,
    script: String,
    icon: String,
}

/// Made once.
pub(super) static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    style: named("style", STYLE, "css"),
    script: named("page", SCRIPT, "js"),
    icon: named("icon", ICON, "svg"),
});

fn named(stem: &str, text: &str, ending: &str) -> String {
    format!("{stem}-{}.{ending}", &hash(text)[..12])
}

/// One of them. They hold nothing secret, so that they need no session.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let (text, kind) = match name {
        name if name == NAMES.style => (STYLE, "text/css; charset=utf-8"),
        name if name == NAMES.script => (SCRIPT, "text/javascript; charset=utf-8"),
        name if name == NAMES.icon => (ICON, "image/svg+xml"),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, text).into_response()
}
