//! One backup: its stages, what was proven, what is in it, where it is, who was notified.

use super::Page;
use super::growth::Growth;
use super::messages::MessageRow;
use super::operation_row::in_a_line;
use super::run_row::mark;
use super::shown::{Clock, span};
use super::view::Visit;
use super::wish::{Wish, one_of};
use crate::http::backups::{id, last_lines};
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::of_job::{OfJob, Which, choose};
use crate::logging::masked;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubvault_archive::FileSummary;
use hubvault_engine::catalog::{BackupCopy, BackupRecord, Catalog, TableRecord};
use hubvault_engine::overview::{archive, copy_text};
use hubvault_engine::state::progress_file::running;
use hubvault_model::{ByteSize, grouped};
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;
use std::cmp::Reverse;
use std::sync::Arc;

/// So many tables are shown, the largest first, unless all are asked for.
const TABLES: usize = 50;
/// So many files, names and sentences of a kind are shown.
const MANY: usize = 200;
/// The orders: of tables, of files, of copies.
const ORDERS: [&str; 9] = [
    "name",
    "rows",
    "size",
    "file",
    "from",
    "bytes",
    "destination",
    "copy",
    "where",
];
/// So many operations are shown.
const OPERATIONS: usize = 5;

/// The page of one backup.
pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(word): Path<String>,
    Query(wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let (of, record) = find(&page, &word)?;
        render(&page, &visit, &of, &record, &wish, context! {})
    })
    .await
}

/// The backup with this id, whichever job has it.
pub(super) fn find(page: &Page, word: &str) -> Result<(OfJob, BackupRecord), ApiError> {
    let id = id(word)?;
    let of = choose(&page.app, Which::default(), Some(id), false)?;
    let found = of.catalog()?.find(word).map_err(anyhow::Error::new)?;
    let record = found.ok_or_else(|| {
        let begins = of.job.is_starting(id);
        let what = if begins {
            "this backup begins; look again in a moment"
        } else {
            "there is no backup with this id"
        };
        ApiError::new(StatusCode::NOT_FOUND, what)
    })?;
    Ok((of, record))
}

/// Its page, with what an action said.
pub(super) fn render(
    page: &Page,
    visit: &Visit,
    of: &OfJob,
    record: &BackupRecord,
    wish: &Wish,
    said: Value,
) -> Result<Response, ApiError> {
    let settings = of.job.settings();
    let clock = Clock::of(&settings);
    one_of("tables", &wish.tables, &["all"])?;
    one_of("sort", &wish.sort, &ORDERS)?;
    let path = format!("backups/{}", record.id);
    let reason = record.error.as_ref().or(record.proof.reason.as_ref());
    let is_running = running(&of.job.state()).is_some_and(|progress| progress.id == record.id);
    let values = context! {
        at => "backup",
        job => of.job.name(),
        id => record.id.to_string(),
        short => record.id.short(),
        mark => mark(record),
        // `state` is a macro.
        state_text => record.state_text(),
        began => Value::from(Serde(clock.when(record.started_at))),
        ended => record.finished_at.map(|at| Value::from(Serde(clock.when(at)))),
        took => record.seconds().map(span),
        bytes => record.bytes.map(|bytes| ByteSize(bytes).to_string()),
        rows => grouped(record.rows()),
        file => record.archive_name(),
        reason => reason.map(|reason| masked(reason)),
        pinned => record.pinned,
        pin => record.pin.as_ref().map(|pin| pin.in_words(&clock.zone)),
        sealed => record.sealed_to.len(),
        server => record.snapshot.as_ref().map(|snapshot| snapshot.server_version.clone()),
        database => record.snapshot.as_ref().map(|snapshot| snapshot.database.clone()),
        outside => record.outside.as_ref().map(|outside| outside.text(record.id).replace('`', "")),
        stages => stages(record),
        proof => proof(record, &clock),
        warnings => warnings(record),
        table_count => record.tables.len(),
        tables => tables(record, &of.catalog()?, wish)?,
        all_tables => Wish { tables: "all".to_owned(), ..wish.clone() }.address(&path),
        files => files(record, wish),
        file_count => record.files.len(),
        copies => Value::from(Serde(copies(record, wish, &clock))),
        copy_count => record.copies.len(),
        delivery => delivery(record),
        messages => messages(record, &of.catalog()?, &clock)?,
        log => of.state().ok().and_then(|state| last_lines(&state.run_log(record.id))),
        can_download => archive(record).is_some(),
        can_pin => record.is_kept() && !record.pinned,
        is_running,
        can_operate => record.was_published(),
        operations => operations(of, record, &clock),
        ..wish.order(&path, &ORDERS)
    };
    let html = page
        .views
        .render("backup.html", visit, context! { ..said, ..values })?;
    Ok(html.into_response())
}

/// The last that people started with it.
fn operations(of: &OfJob, record: &BackupRecord, clock: &Clock) -> Vec<Value> {
    let all = of.job.operations().list().into_iter();
    let own = all.filter(|operation| operation.backup == record.id);
    own.take(OPERATIONS)
        .map(|one| in_a_line(of, &one, clock))
        .collect()
}

fn stages(record: &BackupRecord) -> Vec<Value> {
    let longest = record
        .stages
        .iter()
        .map(|time| time.seconds)
        .fold(0.001, f64::max);
    let one = |time: &hubvault_engine::progress::StageTime| {
        context! {
            name => time.stage.as_str(),
            took => span(time.seconds),
            // At least a line that can be seen.
            width => (time.seconds / longest * 100.0).clamp(0.5, 100.0),
        }
    };
    record.stages.iter().map(one).collect()
}

fn proof(record: &BackupRecord, clock: &Clock) -> Value {
    let proof = &record.proof;
    let all = |list: &[String]| -> Vec<String> {
        list.iter().take(MANY).map(|text| masked(text)).collect()
    };
    let drill = proof.drill.as_ref().map(|drill| {
        let missing = drill
            .confinement
            .as_ref()
            .map(|known| known.missing.join("; "));
        context! {
            at => Value::from(Serde(clock.when(drill.drilled_at))),
            took => span(drill.seconds),
            server => drill.server_version.clone(),
            tables => drill.tables,
            rows => grouped(drill.rows),
            script => drill.script.clone(),
            not_provable => all(&drill.not_provable),
            not_rebuilt => all(&drill.not_rebuilt),
            not_valid => all(&drill.not_valid),
            notes => all(&drill.notes),
            confinement => missing.filter(|missing| !missing.is_empty()),
        }
    });
    context! { proven => proof.proven, read_back => proof.read_back, drill }
}

fn warnings(record: &BackupRecord) -> Vec<Value> {
    let warnings = record.warnings.iter().take(MANY);
    let one = |warning: &hubvault_model::Warning| {
        context! { subject => masked(&warning.subject), message => masked(&warning.message) }
    };
    warnings.map(one).collect()
}

/// The tables that the address asks for, in its order.
fn tables(record: &BackupRecord, catalog: &Catalog, wish: &Wish) -> Result<Vec<Value>, ApiError> {
    let find = wish.find.to_lowercase();
    let fits = |table: &&TableRecord| table.name.to_lowercase().contains(&find);
    let mut sorted: Vec<&TableRecord> = record.tables.iter().filter(fits).collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted.sort_by_key(|table| Reverse(table.bytes));
    wish.sort("size", &mut sorted, |table| table.bytes);
    wish.sort("rows", &mut sorted, |table| table.rows);
    wish.sort("name", &mut sorted, |table| table.name.clone());
    if wish.tables.is_empty() {
        sorted.truncate(TABLES);
    }
    // Only of the first ones: a page has to arrive.
    let first = &sorted[..sorted.len().min(TABLES)];
    let growth = Growth::of(catalog, record, first).map_err(anyhow::Error::new)?;
    let largest = record.tables.iter().map(|table| table.bytes).max();
    let largest = largest.unwrap_or_default().max(1) as f64;
    let one = |table: &TableRecord| {
        context! {
            name => table.name.clone(),
            rows => grouped(table.rows),
            bytes => ByteSize(table.bytes).to_string(),
            width => table.bytes as f64 / largest * 100.0,
            growth => growth.shown(&table.name),
            coverage => serde_json::to_value(table.coverage).ok().and_then(|word| Some(word.as_str()?.to_owned())),
        }
    };
    Ok(sorted.into_iter().map(one).collect())
}

/// The files that the address asks for, in its order.
fn files(record: &BackupRecord, wish: &Wish) -> Vec<Value> {
    let find = wish.file.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&find);
    let fits = |file: &&FileSummary| has(&file.name) || has(&masked(&file.source));
    let mut sorted: Vec<&FileSummary> = record.files.iter().filter(fits).collect();
    wish.sort("file", &mut sorted, |file| file.name.clone());
    wish.sort("from", &mut sorted, |file| masked(&file.source));
    wish.sort("bytes", &mut sorted, |file| file.bytes);
    let files = sorted.into_iter().take(MANY);
    let one = |file: &FileSummary| {
        context! { name => file.name.clone(), source => masked(&file.source), bytes => ByteSize(file.bytes).to_string() }
    };
    files.map(one).collect()
}

/// A copy, for a template.
#[derive(Debug, Serialize)]
struct CopyRow {
    destination: String,
    key: String,
    text: String,
    mark: &'static str,
}

/// The copies that the address asks for, in its order.
fn copies(record: &BackupRecord, wish: &Wish, clock: &Clock) -> Vec<CopyRow> {
    let one = |copy: &BackupCopy| CopyRow {
        destination: copy.destination.clone(),
        key: copy
            .path()
            .map_or_else(|| copy.key.clone(), |path| path.display().to_string()),
        text: masked(&copy_text(copy, record, clock.now, &clock.zone)),
        mark: match (copy.is_there(), copy.is_expected()) {
            (true, _) => "proven",
            (false, true) if copy.is_present() => "failed",
            (false, true) => "unproven",
            (false, false) => "stopped",
        },
    };
    let find = wish.copy.to_lowercase();
    let mut rows: Vec<CopyRow> = record.copies.iter().map(one).collect();
    rows.retain(|row| {
        let texts = [&row.destination, &row.key, &row.text];
        texts.iter().any(|text| text.to_lowercase().contains(&find))
    });
    wish.sort("destination", &mut rows, |row| row.destination.clone());
    wish.sort("copy", &mut rows, |row| row.text.clone());
    wish.sort("where", &mut rows, |row| row.key.clone());
    rows
}

/// The messages about it, newest first.
fn messages(
    record: &BackupRecord,
    catalog: &Catalog,
    clock: &Clock,
) -> Result<Vec<Value>, ApiError> {
    let outbox = catalog.messages().map_err(anyhow::Error::new)?;
    let own = outbox.iter().filter(|item| item.backup == Some(record.id));
    let row = |item| Value::from(Serde(MessageRow::of(item, clock)));
    Ok(own.take(MANY).map(row).collect())
}

fn delivery(record: &BackupRecord) -> Option<Value> {
    let delivery = record.delivery.as_ref()?;
    let undelivered = delivery.undelivered.iter().map(|one| {
        context! { to => one.to.clone(), reason => masked(&one.reason), queued => one.queued }
    });
    Some(context! {
        notified => delivery.notified.clone(),
        undelivered => undelivered.collect::<Vec<_>>(),
        attachment => delivery.attachment.clone(),
    })
}
