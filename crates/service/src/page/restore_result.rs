//! What a restore would do, and what it did, for a template.

use super::shown::span;
use super::wish::Wish;
use crate::restore_request::RestoreRequest;
use hubvault_model::{ByteSize, counted, grouped, quote_ident};
use minijinja::{Value, context};
use serde_json::Value as Json;

/// So many tables, and sentences of a kind, are shown.
const MANY: usize = 200;

/// A preview.
pub(super) fn preview(answer: &Json, wish: &Wish) -> Value {
    let mut lines = Vec::new();
    if let Some(name) = answer["created_database"].as_str() {
        lines.push(format!("create the database {name}"));
    }
    for what in ["role", "schema"] {
        let names = texts(&answer[format!("{what}s")]);
        if !names.is_empty() {
            let plural = if names.len() == 1 { "" } else { "s" };
            lines.push(format!("create the {what}{plural} {}", names.join(", ")));
        }
    }
    let tables = list(&answer["tables"]);
    let made = tables
        .iter()
        .filter(|table| table["is_made"].as_bool() == Some(true));
    let made = made.count() as u64;
    if made > 0 {
        let others = answer["definitions"].as_u64().unwrap_or_default();
        let others = match others {
            0 => String::new(),
            others => format!(" and {}", counted(others, "other definition")),
        };
        lines.push(format!("create {}{others}", counted(made, "table")));
    }
    let files = list(&answer["files"]).len() as u64;
    if files > 0 {
        lines.push(format!("write {}", counted(files, "file")));
    }
    let mut rows: Vec<&Json> = tables.iter().collect();
    rows.sort_by_key(|table| std::cmp::Reverse(table["overwritten"].as_u64()));
    arrange(&mut rows, "overwritten", wish);
    let one = |table: &&Json| {
        context! {
            name => name(table),
            inserted => number(&table["inserted"]),
            changed => number(&table["overwritten"]),
        }
    };
    let lost = answer["lost"].as_object().into_iter().flatten();
    let lost: u64 = lost.filter_map(|(_, rows)| rows.as_u64()).sum();
    let sum = |key: &str| -> u64 { tables.iter().filter_map(|it| it[key].as_u64()).sum() };
    let bytes = |key: &str| {
        answer[key]
            .as_u64()
            .map(|bytes| ByteSize(bytes).to_string())
    };
    context! {
        into => answer["into"].as_str(),
        lines,
        dropped_count => list(&answer["dropped"]).len(),
        dropped => dropped(answer, wish),
        lost => counted(lost, "row"),
        tables => rows.iter().take(MANY).map(one).collect::<Vec<_>>(),
        table_count => tables.len(),
        inserted => counted(sum("inserted"), "row"),
        changed => grouped(sum("overwritten")),
        needed => bytes("needed_bytes").filter(|_| answer["needed_bytes"].as_u64() > Some(0)),
        free => bytes("free_bytes"),
        time => answer["seconds"].as_f64().map(span),
        notes => texts(&answer["notes"]),
        obstacles => texts(&answer["obstacles"]),
    }
}

/// What came back. The command answers in three forms: of a restore of tables, of rows that were put back, of files.
pub(super) fn restored(answer: &Json, wish: &Wish) -> Value {
    if let Some(directory) = answer["directory"].as_str() {
        return context! { directory, files => list(&answer["files"]).len() };
    }
    if let Some(tables) = answer.as_array() {
        let one = |table: &Json| {
            context! {
                name => name(table),
                inserted => number(&table["inserted"]),
                changed => number(&table["updated"]),
                error => table["error"].as_str(),
            }
        };
        let mut rows: Vec<&Json> = tables.iter().collect();
        rows.sort_by_key(|table| table["error"].is_null());
        arrange(&mut rows, "updated", wish);
        return context! {
            put_back => true,
            table_count => tables.len(),
            tables => rows.into_iter().take(MANY).map(one).collect::<Vec<_>>(),
        };
    }
    let tables = list(&answer["tables"]);
    let (wrong, equal): (Vec<&Json>, Vec<&Json>) =
        tables.iter().partition(|table| !table["error"].is_null());
    let rows: u64 = equal
        .iter()
        .filter_map(|table| table["rows"].as_u64())
        .sum();
    let errors = |list: &[&Json]| -> Vec<String> {
        let one = |table: &&Json| {
            let text = |key: &str| table[key].as_str().unwrap_or_default();
            format!("{}: {}", text("table"), text("error"))
        };
        list.iter().take(MANY).map(one).collect()
    };
    let not_restored: Vec<&Json> = list(&answer["not_restored"]).iter().collect();
    context! {
        into => answer["database"].as_str(),
        equal => counted(equal.len() as u64, "table"),
        rows => counted(rows, "row"),
        not_compared => texts(&answer["not_compared"]).join(", "),
        is_whole => wrong.is_empty() && not_restored.is_empty(),
        lists => [
            ("Not equal", errors(&wrong)),
            ("Not restored", errors(&not_restored)),
            ("Could not be built", texts(&answer["not_rebuilt"])),
            ("Came back NOT VALID", texts(&answer["not_valid"])),
            ("Warnings", texts(&answer["warnings"])),
            ("Notes", texts(&answer["notes"])),
        ].into_iter().map(|(name, list)| context! { name, list }).collect::<Vec<_>>(),
    }
}

/// What there may be after a restore that failed or crashed, and the way on.
pub(super) fn remedy(request: &RestoreRequest) -> String {
    match request {
        RestoreRequest::NewDatabase { name, .. } => {
            let name = quote_ident(name);
            format!(
                "The database {name} may exist and hold a part of the backup. Look what it holds: if this restore made it, \
                 remove it with DROP DATABASE {name}, then restore again; or restore into another new database."
            )
        }
        RestoreRequest::NewSchema { name, .. } => {
            let name = quote_ident(name);
            format!(
                "All tables are made in one transaction: the schema {name} is there with all of them, or nothing is."
            )
        }
        RestoreRequest::Files { directory } => {
            let directory = directory.display();
            format!("{directory} may hold some of the files. Another restore makes another directory.")
        }
        RestoreRequest::Living { .. } => {
            "Tables of the living database may be missing, empty or without some of their rows, indexes and foreign keys. \
             Restore the same backup again: what is there of it is dropped, and all of it is made."
                .to_owned()
        }
        RestoreRequest::Rows { .. } => {
            "The rows of a table are put back together or not at all. The same restore again puts back what is still \
             missing."
                .to_owned()
        }
    }
}

/// The name of the table that a line is about.
pub(super) fn name(table: &Json) -> &str {
    table["table"].as_str().unwrap_or_default()
}

/// Leaves the tables that the address asks for, in its order; `changed` is the key of the rows that were there before.
fn arrange(tables: &mut Vec<&Json>, changed: &str, wish: &Wish) {
    tables.retain(|table| wish.finds(name(table)));
    wish.sort("name", tables, |table| name(table).to_owned());
    wish.sort("inserted", tables, |table| table["inserted"].as_u64());
    wish.sort("changed", tables, |table| table[changed].as_u64());
}

/// The tables that are dropped, those with most rows first, where the address asks for no other order.
fn dropped(answer: &Json, wish: &Wish) -> Vec<Value> {
    let names = list(&answer["dropped"]).iter().filter_map(Json::as_str);
    let mut names: Vec<&str> = names.filter(|name| wish.finds(name)).collect();
    let rows = |name: &str| answer["lost"][name].as_u64();
    names.sort_by_key(|name| std::cmp::Reverse(rows(name)));
    wish.sort("dropped", &mut names, |name| (*name).to_owned());
    wish.sort("lost", &mut names, |name| rows(name));
    let one = |name: &&str| context! { name => *name, rows => rows(name).map(grouped) };
    names.iter().take(MANY).map(one).collect()
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The first of a list of texts; the last one says how many more there are.
fn texts(value: &Json) -> Vec<String> {
    let all = list(value);
    let shown = all.iter().filter_map(Json::as_str).take(MANY);
    let mut texts: Vec<String> = shown.map(str::to_owned).collect();
    if all.len() > MANY {
        texts.push(format!("and {} more", all.len() - MANY));
    }
    texts
}

fn number(value: &Json) -> String {
    grouped(value.as_u64().unwrap_or_default())
}
