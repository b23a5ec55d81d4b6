//! What `hubvault restore --dry-run` prints.

use super::Exit;
use super::restore_args::RestoreArgs;
use super::select::target_of;
use crate::screen::{Align, columns};
use crate::text::{bullets, grid, grouped, plain, print};
use crate::{answer, progress};
use anyhow::Result;
use hubvault_archive::{Archive, Source};
use hubvault_config::Settings;
use hubvault_engine::catalog::Catalog;
use hubvault_engine::overview::Overview;
use hubvault_engine::restore::{Asked, Preview};
use hubvault_engine::state::StateDir;
use hubvault_model::{ByteSize, Cancel, counted};
use serde_json::json;

/// Prints it and changes nothing; warnings where something would keep the restore from bringing everything back.
pub(super) fn run<S: Source>(
    settings: &Settings,
    args: &RestoreArgs,
    archive: &Archive<S>,
    cancel: &Cancel,
) -> Result<Exit> {
    let (preview, place, seconds) = if let Some(directory) = &args.files {
        let preview = Preview::files(archive, directory)?;
        (preview, directory.display().to_string(), None)
    } else {
        let to = target_of(settings, args.to.as_deref(), args.database.as_deref())?;
        let (tables, schema) = (&args.tables, args.into_schema.as_deref());
        let is_whole = !args.missing_rows && !args.upsert && tables.is_empty();
        let bar = progress::choose(args.no_progress);
        let preview = if args.missing_rows || args.upsert {
            Preview::rows(archive, &to, tables, args.upsert, bar.as_ref(), cancel)?
        } else if is_whole {
            Preview::whole(archive, &to, asked(args), cancel)?
        } else {
            Preview::tables(archive, &to, tables, schema, bar.as_ref(), cancel)?
        };
        let seconds = measured(settings, &archive.manifest().job).filter(|_| is_whole);
        (preview, to.to_string(), seconds)
    };
    if answer::is_json() {
        let mut document = json!(preview);
        document["dry_run"] = json!(true);
        document["into"] = json!(place);
        document["seconds"] = json!(seconds);
        answer::json(&document)?;
    } else {
        print(&preview_text(&preview, &place, seconds))?;
    }
    Ok(if preview.obstacles.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn asked(args: &RestoreArgs) -> Asked {
    Asked {
        create: args.create,
        clean: args.clean,
        create_roles: args.create_roles,
        no_owner: args.no_owner,
        force: args.force,
    }
}

/// How long the last whole restores of this job took; those of another job say nothing.
fn measured(settings: &Settings, job: &str) -> Option<f64> {
    let state = StateDir::of(settings.job().state_root());
    if settings.job().name != job || !state.file("catalog.sqlite").is_file() {
        return None;
    }
    let overview = Catalog::open(&state).and_then(|catalog| Overview::read(&catalog, job));
    overview.ok()?.durations.restore()
}

fn preview_text(preview: &Preview, place: &str, seconds: Option<f64>) -> String {
    let mut out = format!("A restore into {} would\n\n", plain(place));
    let names = |names: &[String]| plain(names.join(", "));
    if let Some(database) = &preview.created_database {
        out += &format!("  create the database {}\n", plain(database));
    }
    for (what, list) in [("role", &preview.roles), ("schema", &preview.schemas)] {
        if !list.is_empty() {
            let plural = if list.len() == 1 { "" } else { "s" };
            out += &format!("  create the {what}{plural} {}\n", names(list));
        }
    }
    if !preview.dropped.is_empty() {
        let rows = |name: &String| match preview.lost.get(name) {
            Some(rows) => format!("{name} ({})", counted(*rows, "row")),
            None => name.clone(),
        };
        let dropped: Vec<String> = preview.dropped.iter().map(rows).collect();
        let line = format!(
            "drop, with all rows: {}; {} in all; also all else that the archive defines: {}",
            names(&dropped),
            counted(preview.lost.values().sum(), "row"),
            counted(preview.drop_statements as u64, "statement")
        );
        out += &grid(&[vec![" ".to_owned(), line]], &[1]);
    }
    out += &tables_text(preview);
    for file in &preview.files {
        out += &format!("  write {}\n", plain(file.display()));
    }
    let is_nothing = preview.tables.is_empty() && preview.files.is_empty();
    if is_nothing {
        out += "  write nothing\n";
    }
    if preview.needed_bytes > 0 {
        let free = preview.free_bytes.map_or_else(
            || "what the server has free is not known here".to_owned(),
            |free| format!("{} free", ByteSize(free)),
        );
        out += &format!(
            "\nRoom: about {} needed, {free}\n",
            ByteSize(preview.needed_bytes)
        );
    }
    if let Some(seconds) = seconds {
        out += &format!(
            "Time: about {seconds:.0} s, as the last restores and drills of this job took\n"
        );
    }
    for (title, list) in [
        ("Notes", &preview.notes),
        ("It would not succeed", &preview.obstacles),
    ] {
        if !list.is_empty() {
            out += &format!("\n{title} ({})\n", list.len());
        }
        out += &bullets(list.iter().map(plain));
    }
    out + "\nNothing was changed (dry run).\n"
}

fn tables_text(preview: &Preview) -> String {
    let made = preview.tables.iter().filter(|table| table.is_made).count();
    let mut out = String::new();
    if made > 0 {
        out += &format!("  create {}", counted(made as u64, "table"));
        if preview.definitions > 0 {
            let others = counted(preview.definitions as u64, "other definition");
            out += &format!(" and {others}");
        }
        out += "\n";
    }
    if preview.tables.is_empty() {
        return out;
    }
    let row = |table: &hubvault_engine::restore::PreviewTable| {
        let (inserted, over) = (grouped(table.inserted), grouped(table.overwritten));
        vec![table.table.clone(), inserted, over]
    };
    let rows: Vec<Vec<String>> = preview.tables.iter().map(row).collect();
    let header = [
        ("table", Align::Left),
        ("rows inserted", Align::Right),
        ("overwritten", Align::Right),
    ];
    if !out.is_empty() {
        out += "\n";
    }
    out + &columns(&header, &rows)
}
