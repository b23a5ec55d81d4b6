//! One database: filled, backed up, restored in every way, judged, and written into a table.

use crate::facts::Facts;
use crate::form::sized;
use crate::real_server::{RealServer, quoted};
use crate::ways::{By, Restored, Taken, back_up, make_least_role, restore_reference};
use std::path::Path;

/// A database and what is right for it.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    /// In `docs/reliability.md`.
    pub(crate) title: &'a str,
    /// What is special, in the same table.
    pub(crate) special: &'a str,
    /// The database's name.
    pub(crate) database: &'a str,
    /// Of `CREATE DATABASE`.
    pub(crate) options: &'a str,
    /// A variable of psql for `fill`, small and large.
    pub(crate) size: (&'a str, usize, usize),
    pub(crate) fill: &'a str,
    /// `proven` or `unproven`.
    pub(crate) state: &'a str,
    /// What the record of the backup says.
    pub(crate) says: &'a [&'a str],
    /// The exit codes of backup, `hubvault restore` and `restore.sh`.
    pub(crate) codes: [i32; 3],
    /// `pg_dump | pg_restore` fails itself, so that it is no reference.
    pub(crate) plain_fails: bool,
    /// What the least role is granted beside what the dry run asks for; `ROLE` is its name.
    pub(crate) besides: &'a str,
    /// What comes back otherwise and may.
    pub(crate) known: &'a [Known<'a>],
    /// What is not right yet, and why; empty when all is.
    pub(crate) short: &'a str,
    /// Whose backups are tried.
    pub(crate) by: &'a [By],
}

/// Everything is proven and comes back, without a word.
pub(crate) const EQUAL: Trial = Trial {
    title: "",
    special: "",
    database: "",
    options: "",
    size: ("size", 1, 1),
    fill: "",
    state: "proven",
    says: &[],
    codes: [0, 0, 0],
    plain_fails: false,
    besides: "",
    known: &[],
    short: "",
    by: &BOTH,
};

pub(crate) static BOTH: [By; 2] = [By::Superuser, By::LeastRole];

/// A difference that is known.
pub(crate) struct Known<'a> {
    /// A part of the line that names it.
    pub(crate) difference: &'a str,
    /// For the table.
    pub(crate) why: &'a str,
}

/// Makes the database and its rows.
pub(crate) fn fill(server: &RealServer, trial: &Trial<'_>) {
    server.create(trial.database, trial.options);
    let (variable, short, long) = trial.size;
    let sql = format!("\\set {variable} {}\n{}", sized(short, long), trial.fill);
    server.run(trial.database, &sql);
}

/// Panics with all that is wrong.
pub(crate) fn passed(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n- {}", wrong.join("\n- "));
}

/// Tries one database in all ways; what is wrong.
pub(crate) fn try_database(server: &RealServer, trial: &Trial<'_>) -> Vec<String> {
    fill(server, trial);
    try_filled(server, trial)
}

/// The same with a database that is there already. Removes it.
pub(crate) fn try_filled(server: &RealServer, trial: &Trial<'_>) -> Vec<String> {
    try_on_servers(server, [server; 3], trial)
}

/// What the database is called where PostgreSQL, `hubvault restore` and `restore.sh` bring it back.
pub(crate) fn copies_of(name: &str) -> [String; 3] {
    ["plain", "back", "by script"].map(|way| format!("{name:.50} {way}"))
}

/// The same with a server for each copy, in the order of [`copies_of`].
pub(crate) fn try_on_servers(
    server: &RealServer,
    targets: [&RealServer; 3],
    trial: &Trial<'_>,
) -> Vec<String> {
    let name = trial.database;
    let role = format!("least role, {:.40}", trial.title);
    let copies = copies_of(name);
    let mut wrong: Vec<String> = make_least_role(server, name, &role, trial.besides)
        .err()
        .into_iter()
        .collect();
    for other in targets
        .iter()
        .filter(|target| !std::ptr::eq(**target, server))
    {
        other.run("postgres", &format!("CREATE ROLE {}", quoted(&role)));
    }
    let plain = restore_reference(server, name, targets[0], &copies[0]);
    if (plain.code != Some(0)) != trial.plain_fails {
        wrong.push(format!(
            "pg_dump | pg_restore: {:?}: {}",
            plain.code, plain.said
        ));
    }
    let reference = Facts::of(targets[0], &copies[0]);
    let source = Facts::of(server, name);
    let mut seen = vec![false; trial.known.len()];
    let mut own = 0;
    for by in trial.by.iter().copied() {
        let taken = back_up(server, name, &role, by);
        let [backup_code, restore_code, script_code] = trial.codes;
        if taken.code != Some(backup_code) || taken.state != trial.state {
            wrong.push(format!(
                "{by}: backup: {:?} {}: {}",
                taken.code, taken.state, taken.said
            ));
        }
        let missing = trial
            .says
            .iter()
            .filter(|words| !taken.said.contains(**words));
        wrong.extend(missing.map(|words| format!("{by}: does not say {words:?}: {}", taken.said)));
        if taken.archive().is_none() {
            continue;
        }
        targets[1].drop(&copies[1..2]);
        targets[2].drop(&copies[2..]);
        let restored = taken.restore(targets[1], &copies[1]);
        let by_script = taken.restore_by_script(server, targets[2], &copies[2]);
        print_seconds(trial, &taken, [&plain, &restored, &by_script]);
        for (way, code, restored, at) in [
            ("hubvault restore", restore_code, restored, 1),
            ("restore.sh", script_code, by_script, 2),
        ] {
            let Restored {
                code: ended, said, ..
            } = restored;
            if ended != Some(code) {
                wrong.push(format!("{by}: {way}: {ended:?}: {said}"));
            }
            if ended == Some(1) {
                continue;
            }
            let compared = source.compare(&Facts::of(targets[at], &copies[at]), &reference);
            own = own.max(compared.own);
            for difference in compared.differences {
                let line = format!("{by}: {way}: {difference}");
                match trial
                    .known
                    .iter()
                    .position(|known| line.contains(known.difference))
                {
                    Some(at) => seen[at] = true,
                    None => wrong.push(line),
                }
            }
        }
    }
    // A difference may be that of one role alone.
    let all = trial.known.iter().zip(seen);
    let stale = all.filter(|(_, seen)| !seen && trial.by.len() == BOTH.len());
    wrong.extend(stale.map(|(known, _)| format!("no longer a difference: {}", known.difference)));
    println!(
        "{}: {} relations, {own} definitions that PostgreSQL itself changes",
        trial.title,
        source.relations()
    );
    server.drop(&[name.to_owned()]);
    for target in targets {
        target.drop(&copies);
    }
    server.run("postgres", &format!("DROP ROLE {}", quoted(&role)));
    wrong.extend(not_in_the_table(trial));
    wrong
        .into_iter()
        .map(|what| format!("{}: {what:.2000}", trial.title))
        .collect()
}

/// How long each way took.
fn print_seconds(trial: &Trial<'_>, taken: &Taken, restored: [&Restored; 3]) {
    let [plain, restored, by_script] = restored.map(|way| way.seconds);
    let (backup, drill) = taken.seconds;
    println!(
        "{}: backup {backup:.1} s, of which drill {drill:.1} s; hubvault restore {restored:.1} s; restore.sh \
         {by_script:.1} s; pg_restore alone {plain:.1} s",
        trial.title
    );
}

/// The line of `docs/reliability.md`.
fn line(trial: &Trial<'_>) -> String {
    let way = |code: i32| match code {
        0 => "equal",
        3 => "equal but for what is said",
        _ => "fails, and says why",
    };
    let [_, restore, script] = trial.codes;
    let known = trial.known.iter().map(|known| known.why);
    let why: Vec<&str> = known
        .chain([trial.short])
        .filter(|why| !why.is_empty())
        .collect();
    format!(
        "| {} | {} | {} | {} | {} | {} |",
        trial.title,
        trial.special,
        trial.state,
        way(restore),
        way(script),
        why.join("; ")
    )
}

fn not_in_the_table(trial: &Trial<'_>) -> Option<String> {
    let line = line(trial);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let text = std::fs::read_to_string(docs).unwrap();
    (!text.contains(&line)).then(|| format!("docs/reliability.md has no line\n{line}"))
}
