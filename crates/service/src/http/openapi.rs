//! The document of the interface. It is made from the handlers where the tests run, kept in `docs/openapi.json`, and
//! served from there: a running service needs no part of what makes it.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

/// This document.
#[cfg_attr(test, utoipa::path(
    get,
    path = "/openapi.json",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
))]
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        App, backups, change, download, error, events, health, numbers, operations, restores,
        routes::table, run, settings, status,
    };
    use std::collections::BTreeSet;
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
        components(schemas(error::ErrorBody))
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

    fn documented() -> OpenApiRouter<Arc<App>> {
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

    /// `UPDATE_OPENAPI=1 cargo test -p hubvault openapi` writes it anew.
    #[test]
    fn the_document_is_what_the_handlers_say() {
        let made = documented().into_openapi().to_pretty_json().unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        if option_env!("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            made == checked_in,
            "docs/openapi.json is not what the handlers say; UPDATE_OPENAPI=1 cargo test -p hubvault \
             openapi writes it"
        );
    }

    #[test]
    fn every_route_is_in_the_document_and_no_other() {
        let document = serde_json::to_value(documented().into_openapi()).unwrap();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let routed: BTreeSet<(String, String)> = table()
            .into_iter()
            .map(|(method, path, _)| (method.to_string(), path.to_owned()))
            .collect();
        assert_eq!(documented, routed);
    }
}
