//! An archive that somebody looks into: opened where it is, within a time limit. Whoever may look into it may download it.

use super::Page;
use super::backup::find;
use super::shown::{Clock, percent_encoded};
use super::view::Visit;
use crate::http::auth::too_many;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::of_job::OfJob;
use crate::logging::masked;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_archive::{AnyArchive, Identities, TableSummary};
use hubvault_engine::catalog::BackupRecord;
use hubvault_engine::command;
use hubvault_engine::remote::{Backup, RemoteError};
use hubvault_engine::restore::RestoreError;
use hubvault_model::{Cancel, is_unseen, one_line};
use minijinja::value::Serde;
use minijinja::{Value, context};
use std::sync::Arc;
use std::time::Duration;

/// Looks at once: in all, and with one token. Each costs a processor for a while.
pub(super) const LOOKS: (usize, usize) = (6, 2);
/// A look is broken off after this time: less than a request may take, so that there is an answer.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Does the work of one look, as long as it may take.
pub(super) async fn look(
    page: Arc<Page>,
    visit: Visit,
    work: impl FnOnce(&Page, &Visit, &Cancel) -> Result<Response, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let token = visit.caller.as_ref().and_then(|it| it.token.as_ref());
    let permit = page
        .looks
        .take(token.map(crate::token::Token::id).unwrap_or_default());
    let Some(permit) = permit else {
        return Err(too_many("too many looks into archives at once", 5));
    };
    let cancel = Cancel::new();
    let limit = cancel.clone();
    let clock = tokio::spawn(async move {
        tokio::time::sleep(TIME_LIMIT).await;
        limit.request();
    });
    let answer = blocking(move || {
        let _permit = permit;
        work(&page, &visit, &cancel)
    })
    .await;
    clock.abort();
    answer
}

/// An open archive.
pub(super) struct Inside {
    pub(super) of: OfJob,
    pub(super) record: BackupRecord,
    pub(super) archive: AnyArchive,
    /// The copy that is read, for people.
    place: String,
}

/// Opens the archive of a backup, or says on a page of its own that it is sealed. `command` does the same on a machine
/// with the key, from the backup's short id on.
pub(super) fn open(
    page: &Page,
    visit: &Visit,
    word: &str,
    command: impl FnOnce(&str) -> Vec<String>,
    cancel: &Cancel,
) -> Result<Result<Inside, Response>, ApiError> {
    let (of, record) = find(page, word)?;
    let settings = of.job.settings();
    let open = || -> Result<_, RemoteError> {
        let backup = Backup::there(&record, &settings.job().destinations, cancel)?;
        Ok((backup.open(&Identities::none())?, masked(&backup.place())))
    };
    let opened = match record.sealed_to.is_empty().then(open) {
        Some(Err(error)) if !error.is_sealed() => return Err(not_open(&record, error, cancel)),
        opened => opened.and_then(Result::ok),
    };
    let Some((archive, place)) = opened else {
        return sealed(page, visit, &of, &record, command).map(Err);
    };
    Ok(Ok(Inside {
        of,
        record,
        archive,
        place,
    }))
}

fn not_open(record: &BackupRecord, error: RemoteError, cancel: &Cancel) -> ApiError {
    if cancel.is_requested() {
        return too_long();
    }
    match error {
        RemoteError::NoCopy { .. } => ApiError::new(StatusCode::NOT_FOUND, error.to_string()),
        RemoteError::Archive { .. } | RemoteError::OtherBackup { .. } => damaged(record, &error),
        error => anyhow::Error::new(error).into(),
    }
}

fn too_long() -> ApiError {
    let what = "it took longer than 20 s, and was stopped; nothing was changed";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, what)
}

fn damaged(record: &BackupRecord, error: &dyn std::fmt::Display) -> ApiError {
    let said = masked(&one_line(&error.to_string()));
    tracing::error!("http: backup {}: {said}", record.id);
    let id = record.id.short();
    let what =
        format!("{said}; `hubvault verify {id}` reads all of it back, and names what is damaged");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, what)
}

/// The sentence that the key stays with its owner, and what they can do.
fn sealed(
    page: &Page,
    visit: &Visit,
    of: &OfJob,
    record: &BackupRecord,
    command: impl FnOnce(&str) -> Vec<String>,
) -> Result<Response, ApiError> {
    let commands: Vec<String> = command(&record.id.short())
        .into_iter()
        .map(|command| format!("{} {command} --identity FILE", program(visit, of)))
        .collect();
    let values = context! {
        at => "backup",
        id => record.id.to_string(),
        short => record.id.short(),
        recipients => record.sealed_to.len(),
        commands_list => commands,
    };
    let html = page.views.render("sealed.html", visit, values)?;
    Ok((StatusCode::CONFLICT, html).into_response())
}

/// `hubvault`, with the job where there are several.
pub(super) fn program(visit: &Visit, of: &OfJob) -> String {
    match visit.jobs.len() {
        0 | 1 => "hubvault".to_owned(),
        _ => format!(
            "hubvault --job {}",
            shell_word(&of.job.name()).unwrap_or_default()
        ),
    }
}

/// A word for a shell; `None` where it has characters that nobody would see there.
pub(super) fn shell_word(word: &str) -> Option<String> {
    (!word.contains(is_unseen)).then(|| command::shell_word(word))
}

/// Arguments after an id that name a table; none where its name cannot be seen.
pub(super) fn with_table(command: &str, id: &str, table: &str, more: &str) -> Vec<String> {
    let table = shell_word(table).map(|table| format!("{command} {id} --table {table}{more}"));
    table.into_iter().collect()
}

impl Inside {
    /// The table of this name.
    pub(super) fn table(&self, name: &str) -> Result<&TableSummary, ApiError> {
        let mut tables = self.archive.manifest().tables.iter();
        tables
            .find(|table| table.name.to_string() == name)
            .ok_or_else(|| {
                let shown: String = one_line(name).chars().take(140).collect();
                let what = format!("this backup has no rows of a table {shown}");
                ApiError::new(StatusCode::NOT_FOUND, what)
            })
    }

    /// What went wrong with reading it.
    pub(super) fn failed(&self, error: RestoreError, cancel: &Cancel) -> ApiError {
        match error {
            RestoreError::Cancelled => too_long(),
            RestoreError::Archive(_) => damaged(&self.record, &error),
            _ if cancel.is_requested() => too_long(),
            error => anyhow::Error::new(error).into(),
        }
    }

    /// What every page about it says.
    pub(super) fn frame(&self, visit: &Visit) -> Value {
        let clock = Clock::of(&self.of.job.settings());
        let taken_at = self.archive.manifest().snapshot.taken_at;
        context! {
            at => "backup",
            id => self.record.id.to_string(),
            short => self.record.id.short(),
            taken => Value::from(Serde(clock.when(taken_at))),
            place => one_line(&self.place).into_owned(),
            base => Value::from_safe_string(format!("{}backups/{}", visit.root, self.record.id)),
            program => program(visit, &self.of),
        }
    }
}

/// What prints the rows of a table; nothing where its name cannot be shown.
pub(super) fn show_rows(id: &str, table: &str) -> Vec<String> {
    let table = shell_word(table).map(|table| format!("show {id} --rows {table}"));
    table.into_iter().collect()
}

/// What the pages about a table have in common.
pub(super) fn table_frame(inside: &Inside, visit: &Visit, table: &TableSummary) -> Value {
    let name = table.name.to_string();
    let own = inside.frame(visit);
    let program = program(visit, &inside.of);
    let commands = show_rows(&inside.record.id.short(), &name).into_iter();
    context! {
        table => one_line(&name).into_owned(),
        path => Value::from_safe_string(table_path(&name)),
        encoding => table.encoding.clone(),
        commands_list => commands.map(|it| format!("{program} {it}")).collect::<Vec<_>>(),
        ..own
    }
}

/// The address of a table below that of its backup.
fn table_path(name: &str) -> String {
    format!("tables/{}", percent_encoded(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_shell_or_none() {
        assert_eq!(shell_word("sales.orders").as_deref(), Some("sales.orders"));
        assert_eq!(shell_word("\"a b\"").as_deref(), Some("'\"a b\"'"));
        assert_eq!(shell_word("'; rm").as_deref(), Some("''\\''; rm'"));
        assert_eq!(shell_word("").as_deref(), Some("''"));
        assert_eq!((shell_word("a\nb"), shell_word("a\u{202e}b")), (None, None));
    }
}
