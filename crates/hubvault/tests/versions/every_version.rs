//! Every version is backed up, proven, and restored on itself and on newer ones; the results are one table.

use crate::fetched::target;
use crate::hub::{Hub, stderr, stdout};
use crate::servers::{Client, MAJORS, Running, long_form};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{Digests, digests, extract, restore_at};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One line of the table.
struct Line {
    major: u32,
    client: Client,
    /// What failed, in words; empty when all is green.
    failed: Vec<String>,
    cells: String,
}

#[test]
fn every_version_is_restored_equal_on_itself_and_on_newer_ones() {
    let running: Vec<Running> = MAJORS
        .iter()
        .map(|major| Running::start(*major, &[("max_connections", "60")]))
        .collect();
    // All first: roles belong to the server, and a restore makes those that it misses.
    for one in &running {
        one.nasty_database("hub");
    }
    let next = AtomicUsize::new(0);
    let lines = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(source) = running.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for line in source_lines(source, &running) {
                        lines
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(line);
                    }
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap();
    lines.sort_by_key(|line: &Line| (line.major, line.client == Client::Newest));
    let table = table(&lines);
    println!("\n{table}");
    let report = target().join("reliability");
    std::fs::create_dir_all(&report).unwrap();
    std::fs::write(report.join("versions.md"), &table).unwrap();
    let failed: Vec<String> = lines.into_iter().flat_map(|line| line.failed).collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n\n"));
}

/// The nasty database of one version, backed up with each client that reads this version.
fn source_lines(source: &Running, running: &[Running]) -> Vec<Line> {
    let expected = digests(&source.admin("hub"));
    let clients = [Client::System, Client::Newest];
    clients
        .into_iter()
        .filter(|client| client.major() >= source.major)
        .map(|client| line(source, client, &expected, running))
        .collect()
}

fn line(source: &Running, client: Client, expected: &Digests, running: &[Running]) -> Line {
    let name = format!("PostgreSQL {}, pg_dump {}", source.major, client.major());
    let mut line = Line {
        major: source.major,
        client,
        failed: Vec::new(),
        cells: format!("| {} | {} ", source.major, client.major()),
    };
    let (hub, _drills) = source.hub("hub", client);
    let output = hub.run(&["backup", "--json", "--no-progress"]);
    if output.status.code() != Some(0) {
        line.failed.push(format!(
            "{name}: backup: {}{}",
            stderr(&output),
            stdout(&output)
        ));
        line.cells += "| | | **failed** ";
    }
    let Ok(record) = serde_json::from_slice::<Value>(&output.stdout) else {
        line.cells += "| | | **failed** ";
        return line;
    };
    let Some(archive) = record["file"].as_str().map(Path::new) else {
        return line;
    };
    let drill = &record["proof"]["drill"];
    let _ = write!(
        line.cells,
        "| {} | {} | {} on {} ",
        drill["tables"],
        drill["rows"],
        record["state"].as_str().unwrap_or("?"),
        drill["server_version"].as_str().unwrap_or("?")
    );
    let definitions = source.definitions("hub");
    for to in running {
        let newest = to.major == MAJORS[MAJORS.len() - 1];
        let wanted =
            to.major >= source.major && (long_form() || newest || to.major == source.major);
        if !wanted {
            line.cells += "| ";
            continue;
        }
        let unpacked = tempfile::tempdir().unwrap();
        extract(archive, unpacked.path());
        let database = format!("from_{}_{}", source.major, client.major());
        let ways = [
            restore_by_hubvault(&hub, archive, to, client, &format!("{database}_a")),
            restore_by_script(unpacked.path(), to, client, &format!("{database}_b")),
        ];
        let wrong: Vec<String> = ways
            .into_iter()
            .filter_map(|way| {
                let settings = match way {
                    Ok(settings) => settings,
                    Err(why) => return Some(why),
                };
                let same = (to.major == source.major).then_some(definitions.as_str());
                let rows = check_equal(expected, &settings).err();
                rows.or_else(|| same.and_then(|same| other_definitions(same, to, &settings)))
            })
            .map(|why| format!("{name} into {}: {why}", to.major))
            .collect();
        line.cells += if wrong.is_empty() {
            "| = "
        } else {
            "| **no** "
        };
        line.failed.extend(wrong);
    }
    line
}

/// `hubvault restore` into a new database.
fn restore_by_hubvault(
    hub: &Hub,
    archive: &Path,
    to: &Running,
    client: Client,
    database: &str,
) -> Result<ConnectSettings, String> {
    let settings = to.admin(database);
    let url = format!(
        "host='{}' user='{}' dbname='{database}'",
        settings.host, settings.user
    );
    let archive = archive.to_str().unwrap();
    let output = hub
        .command(&[
            "restore",
            archive,
            "--to",
            &url,
            "--create",
            "--create-roles",
            "--no-progress",
        ])
        .env("PATH", to.path(client))
        .output()
        .unwrap();
    match output.status.code() {
        Some(0) => Ok(settings),
        code => Err(format!(
            "hubvault restore: {code:?}: {}{}",
            stderr(&output),
            stdout(&output)
        )),
    }
}

/// `restore.sh` with `psql` and `pg_restore` alone.
fn restore_by_script(
    unpacked: &Path,
    to: &Running,
    client: Client,
    database: &str,
) -> Result<ConnectSettings, String> {
    to.server.create_database(database).unwrap();
    let settings = to.admin(database);
    let output = restore_at(
        unpacked,
        &settings,
        Some(&to.path(client)),
        &["--create-roles"],
    );
    match output.status.code() {
        Some(0) => Ok(settings),
        code => Err(format!(
            "restore.sh: {code:?}: {}{}",
            stderr(&output),
            stdout(&output)
        )),
    }
}

fn check_equal(expected: &Digests, settings: &ConnectSettings) -> Result<(), String> {
    let found = digests(settings);
    let mut wrong = Vec::new();
    for (name, digest) in expected {
        if found.get(name) != Some(digest) {
            wrong.push(format!(
                "{name}: {digest:?}, came back {:?}",
                found.get(name)
            ));
        }
    }
    if found.len() != expected.len() {
        wrong.push(format!(
            "{} tables came back of {}",
            found.len(),
            expected.len()
        ));
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

/// The first line in which the definitions came back otherwise.
fn other_definitions(expected: &str, to: &Running, settings: &ConnectSettings) -> Option<String> {
    let found = to.definitions(&settings.dbname);
    let other = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    if other.is_none() && expected.len() != found.len() {
        return Some("the definitions came back longer or shorter".to_owned());
    }
    other.map(|(was, is)| format!("the definitions: {was:?} came back as {is:?}"))
}

fn table(lines: &[Line]) -> String {
    let targets: Vec<String> = MAJORS.iter().map(|major| format!(" {major} |")).collect();
    let mut text = format!(
        "| server | pg_dump | tables | rows | proof | {}\n",
        targets.concat().trim_start()
    );
    text += &format!("|{}\n", "---|".repeat(5 + MAJORS.len()));
    for line in lines {
        text += &format!("{}|\n", line.cells);
    }
    text
}
