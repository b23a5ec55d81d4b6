//! The manifest of a backup, read from its archive where that is. What looks like a secret of the configuration is masked.

use super::Page;
use super::inside::{look, open, program};
use super::view::Visit;
use crate::http::auth::Audit;
use crate::http::error::ApiError;
use crate::logging::masked;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hubvault_model::printable;
use minijinja::context;
use std::sync::Arc;

/// So many bytes are shown: a manifest of thousands of tables has megabytes.
const MOST: usize = 256 << 10;

/// The manifest as `hubvault show --json` prints it.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
) -> Result<Response, ApiError> {
    look(page, visit, move |page, visit, cancel| {
        let commands = |id: &str| vec![format!("show {id} --json")];
        let inside = match open(page, visit, &word, commands, cancel)? {
            Ok(inside) => inside,
            Err(sealed) => return Ok(sealed),
        };
        let whole = serde_json::to_string_pretty(inside.archive.manifest());
        let whole = masked(&whole.map_err(anyhow::Error::new)?);
        let shown = &whole[..whole.floor_char_boundary(MOST)];
        let (own, id) = (inside.frame(visit), inside.record.id);
        let program = program(visit, &inside.of);
        let values = context! {
            text => printable(shown).into_owned(),
            is_cut => shown.len() < whole.len(),
            commands_list => [format!("{program} show {} --json", id.short())],
            ..own
        };
        let html = page.views.render("manifest.html", visit, values)?;
        let audit = format!("showed the manifest of {id}");
        Ok((Extension(Audit(audit)), html).into_response())
    })
    .await
}
