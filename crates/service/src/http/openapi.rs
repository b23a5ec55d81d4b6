//! The routes and the document that describes them, which is made from them.

use super::{
    App, backups, change, download, events, health, numbers, operations, restores, run, settings,
    status,
};
use axum::Json;
use std::sync::Arc;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hubvault",
        description = "Backups of a product on PostgreSQL that come back: what there is, what runs, \
                       what is configured. Errors have one shape. Roles: read < operate < admin."
    ),
    modifiers(&Bearer),
    components(schemas(super::error::ErrorBody))
)]
struct Described;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("hubvault token create NAME --role read|operate|admin"))
            .build();
        if let Some(components) = document.components.as_mut() {
            components.add_security_scheme("token", SecurityScheme::Http(bearer));
        }
    }
}

/// Every route.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(health::health))
        .routes(routes!(status::status))
        .routes(routes!(run::trigger))
        .routes(routes!(backups::history))
        .routes(routes!(settings::show, change::change))
        .routes(routes!(backups::one))
        .routes(routes!(events::events))
        .routes(routes!(operations::start))
        .routes(routes!(operations::show))
        .routes(routes!(operations::stop))
        .routes(routes!(restores::preview))
        .routes(routes!(restores::confirm))
        .routes(routes!(download::link))
        .routes(routes!(download::download))
        .routes(routes!(numbers::metrics))
        .routes(routes!(openapi))
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
async fn openapi() -> Json<Document> {
    Json(routes().into_openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_OPENAPI=1 cargo test -p hubvault openapi` writes it anew.
    #[test]
    fn the_checked_in_document_is_the_one_that_is_served() {
        let served = routes().into_openapi().to_pretty_json().unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        if option_env!("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &served).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            served == checked_in,
            "docs/openapi.json is not what is served; UPDATE_OPENAPI=1 cargo test -p hubvault \
             openapi writes it"
        );
    }
}
