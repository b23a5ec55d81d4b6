//! A configuration file of an archive, with its text. Secrets are masked, unless an administrator asks for them.

use super::Page;
use super::file_secrets::mask;
use super::inside::{look, open};
use super::view::Visit;
use crate::http::auth::Audit;
use crate::http::error::ApiError;
use crate::logging::masked;
use axum::Extension;
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_engine::restore::{FileText, file_text};
use hubvault_model::{ByteSize, one_line, printable};
use minijinja::context;
use serde::Deserialize;
use std::sync::Arc;

/// So many bytes of a file are shown.
const MOST: u64 = 256 << 10;

/// Which file.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    name: String,
}

/// The file with its secrets masked.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    shown(page, visit, word, asked.name, true).await
}

/// The file as it is.
pub(super) async fn unmasked(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Form(asked): Form<Asked>,
) -> Result<Response, ApiError> {
    shown(page, visit, word, asked.name, false).await
}

async fn shown(
    page: Arc<Page>,
    visit: Visit,
    word: String,
    name: String,
    is_masked: bool,
) -> Result<Response, ApiError> {
    look(page, visit, move |page, visit, cancel| {
        let commands = |id: &str| vec![format!("restore {id} --files DIRECTORY")];
        let inside = match open(page, visit, &word, commands, cancel)? {
            Ok(inside) => inside,
            Err(sealed) => return Ok(sealed),
        };
        let label: String = one_line(&name).chars().take(300).collect();
        let found = file_text(&inside.archive, &name, MOST);
        let found = found.map_err(|error| inside.failed(error, cancel))?;
        let found = found.ok_or_else(|| {
            let what = format!("this backup has no file {label}");
            ApiError::new(StatusCode::NOT_FOUND, what)
        })?;
        let (mut text, mut link, mut is_cut) = (None, None, false);
        match found {
            FileText::Text(whole, cut) => {
                let seen = if is_masked { masked(&mask(&name, &whole)) } else { whole };
                text = Some(printable(&seen).into_owned());
                is_cut = cut;
            }
            FileText::Link(to) => link = Some(one_line(&to).into_owned()),
            FileText::Binary => {}
        }
        let files = &inside.archive.manifest().files;
        let file = files.iter().find(|file| file.name == name);
        let own = inside.frame(visit);
        let values = context! {
            file => label.clone(),
            name => name.clone(),
            source => file.map(|file| one_line(&masked(&file.source)).into_owned()),
            bytes => file.map(|file| ByteSize(file.bytes).to_string()),
            mode => file.map(|file| format!("{:04o}", file.mode & 0o7777)),
            text,
            link,
            is_cut,
            is_masked,
            commands_list => [format!("{} restore {} --files DIRECTORY", super::inside::program(visit, &inside.of), inside.record.id.short())],
            ..own
        };
        let html = page.views.render("file.html", visit, values)?;
        let how = if is_masked { "masked" } else { "with its secrets" };
        let audit = format!("showed the file {label} of {}, {how}", inside.record.id);
        Ok((Extension(Audit(audit)), html).into_response())
    })
    .await
}
