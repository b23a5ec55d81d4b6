//! PostgreSQL programs that crash, hang, report a wrong result or have the wrong version.

use crate::fixture::{Fixture, SMALL};
use crate::form::points;
use crate::tally::Tally;
use hubvault_testkit::{Database, Server, server};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A directory that is first in the PATH, with false programs.
struct Bench {
    directory: TempDir,
    bin_dir: PathBuf,
}

impl Bench {
    fn new(server: &Arc<Server>, fixture: &mut Fixture) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("hvp")
            .tempdir_in("/tmp")
            .unwrap();
        // The drill's server runs as another user when we are root.
        open_to_all(directory.path());
        let path = std::env::var("PATH").unwrap_or_default();
        fixture
            .hub
            .set("PATH", format!("{}:{path}", directory.path().display()));
        Self {
            directory,
            bin_dir: server.bin_dir().to_owned(),
        }
    }

    /// Puts one there: it says its `version`, else does as `body` says, where `$REAL` is the real one.
    fn put(&self, program: &str, version: Option<&str>, body: &str) {
        let real = self.bin_dir.join(program);
        let version = version.map_or_else(
            || "exec \"$REAL\" --version".to_owned(),
            |version| format!("echo '{program} (PostgreSQL) {version}'; exit 0"),
        );
        let script = format!(
            "#!/bin/sh\nREAL='{}'\nif [ \"$1\" = --version ]; then {version}; fi\n{body}\n",
            real.display()
        );
        let path = self.directory.path().join(program);
        std::fs::write(&path, script).unwrap();
        open_to_all(&path);
    }

    fn clear(&self) {
        for entry in std::fs::read_dir(self.directory.path()).unwrap().flatten() {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The expected outcome.
#[derive(Clone, Copy)]
enum Expected {
    /// Nothing is published.
    Failed,
    /// It is published and not called proven.
    Unproven,
    /// Another program is found and it goes well.
    Proven,
    /// It goes well, and the words are among its warnings.
    Warned(&'static str),
}

fn check_run(tally: &mut Tally, kind: &str, fixture: &Fixture, expected: Expected) {
    let ended = fixture.backup().and_then(|outcome| {
        let what = outcome.what.as_str();
        let holds = match expected {
            Expected::Failed => what.starts_with("failed") || what.starts_with("rejected"),
            Expected::Unproven => what.starts_with("unproven"),
            Expected::Proven => what == "proven",
            Expected::Warned(words) => {
                what == "proven" && fixture.listed()?[0]["warnings"].to_string().contains(words)
            }
        };
        let said = &outcome.said;
        if holds {
            Ok(outcome.what)
        } else {
            Err(format!("{what}: {said}"))
        }
    });
    match ended {
        Ok(what) => tally.passed(kind, &what),
        Err(why) => tally.failed(kind, &why),
    }
}

fn check_recovery(tally: &mut Tally, kind: &str, bench: &Bench, fixture: &mut Fixture) {
    bench.clear();
    if let Err(why) = fixture.check_recovery() {
        tally.failed(kind, &why);
    }
}

/// Sizes from nothing to one byte less than all.
fn sizes(count: usize, all: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |n| {
        if n + 1 == count {
            all - 1
        } else {
            n * all / count
        }
    })
}

fn dump_of(source: &Database, arguments: &[&str], input: Option<&[u8]>, program: &Path) -> Vec<u8> {
    use std::io::Write;
    let settings = source.settings();
    let mut child = std::process::Command::new(program)
        .args(arguments)
        .env("PGHOST", &settings.host)
        .env("PGUSER", &settings.user)
        .env("PGDATABASE", &settings.dbname)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.unwrap_or_default())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of faults")]
fn crashing_or_wrong_pg_dump_and_pg_restore_are_found() {
    let server = server();
    let source = server.database();
    source.execute(SMALL);
    let mut fixture = Fixture::of(&source);
    let bench = Bench::new(&server, &mut fixture);
    let mut tally = Tally::new("programs");
    let arguments = ["--schema-only", "--format=custom"];
    let dump = dump_of(&source, &arguments, None, &server.bin_dir().join("pg_dump"));
    let count = points(2, 20);
    for size in sizes(count, dump.len()) {
        let cut = format!("\"$REAL\" \"$@\" | head -c {size}");
        bench.put("pg_dump", None, &format!("{cut}; kill -KILL $$"));
        check_run(
            &mut tally,
            "pg_dump killed in mid-output",
            &fixture,
            Expected::Failed,
        );
        bench.put("pg_dump", None, &format!("{cut}; exit 0"));
        check_run(
            &mut tally,
            "pg_dump cut short, exit 0",
            &fixture,
            Expected::Failed,
        );
    }
    bench.put("pg_dump", None, "\"$REAL\" \"$@\"; exit 1");
    check_run(
        &mut tally,
        "pg_dump exits 1 after full output",
        &fixture,
        Expected::Failed,
    );
    bench.put(
        "pg_dump",
        None,
        "echo 'pg_dump: warning: something is odd' >&2; exec \"$REAL\" \"$@\"",
    );
    check_run(
        &mut tally,
        "pg_dump warns, exit 0",
        &fixture,
        Expected::Warned("something is odd"),
    );
    bench.put("pg_dump", Some("12.4"), "exit 1");
    check_run(
        &mut tally,
        "pg_dump of an older version first",
        &fixture,
        Expected::Proven,
    );
    bench.put("pg_dump", Some("no version"), "exit 1");
    check_run(
        &mut tally,
        "pg_dump without a version first",
        &fixture,
        Expected::Proven,
    );
    check_recovery(
        &mut tally,
        "pg_dump killed in mid-output",
        &bench,
        &mut fixture,
    );
    for (option, arguments) in [
        ("--list", ["--list", "--verbose"]),
        ("--section=pre-data", ["--section=pre-data", "--file=-"]),
        ("--section=post-data", ["--section=post-data", "--file=-"]),
    ] {
        let program = server.bin_dir().join("pg_restore");
        let output = dump_of(&source, &arguments, Some(&dump), &program);
        // What comes after the words that all is there is none of the definitions, nor what comes after the last object.
        let text = String::from_utf8_lossy(&output);
        let is_object = |at: &usize| text.as_bytes()[at + 1].is_ascii_digit();
        let mut places: Vec<usize> = match text.find("-- PostgreSQL database dump complete") {
            Some(end) => sizes(points(1, 8), end).collect(),
            None => sizes(points(1, 8), text.rfind('\n').unwrap()).collect(),
        };
        if option == "--list" {
            // A list that ends with a line looks whole.
            let lines = text.trim_end().match_indices('\n').map(|(at, _)| at);
            let objects: Vec<usize> = lines.filter(is_object).map(|at| at + 1).collect();
            places.extend(objects.iter().step_by(points(objects.len() - 1, 1)));
            places.retain(|size| size <= objects.last().unwrap());
        }
        for size in places {
            // In the drill pg_restore writes to a database and to no file.
            let of = |end: &str| {
                format!(
                    "case \"$*\" in *{option}*) case \"$*\" in *--list*|*--file=-*)
                     \"$REAL\" \"$@\" | head -c {size}; {end};; esac;; esac\nexec \"$REAL\" \"$@\""
                )
            };
            bench.put("pg_restore", None, &of("kill -KILL $$"));
            check_run(
                &mut tally,
                "pg_restore killed in mid-output",
                &fixture,
                Expected::Failed,
            );
            bench.put("pg_restore", None, &of("exit 0"));
            check_run(
                &mut tally,
                "pg_restore cut short, exit 0",
                &fixture,
                Expected::Failed,
            );
        }
    }
    bench.put("pg_restore", None, "\"$REAL\" \"$@\"; exit 1");
    check_run(
        &mut tally,
        "pg_restore exits 1 after full output",
        &fixture,
        Expected::Failed,
    );
    bench.put("pg_restore", Some("12.4"), "exit 1");
    check_run(
        &mut tally,
        "pg_restore of an older version first",
        &fixture,
        Expected::Proven,
    );
    check_recovery(
        &mut tally,
        "pg_restore killed in mid-output",
        &bench,
        &mut fixture,
    );
    tally.finish();
}

#[test]
fn hanging_programs_are_ended_by_a_signal_and_by_the_time_limit() {
    let server = server();
    let source = server.database();
    source.execute(SMALL);
    let mut fixture = Fixture::of(&source);
    let bench = Bench::new(&server, &mut fixture);
    let mut tally = Tally::new("programs-hang");
    let hangs = "exec sleep 600";
    let after = "\"$REAL\" \"$@\"; exec sleep 600";
    for _ in 0..points(1, 4) {
        for (program, body) in [
            ("pg_dump", hangs),
            ("pg_dump", after),
            ("pg_restore", hangs),
        ] {
            bench.put(program, None, body);
            let kind = format!("{program} hangs, then SIGTERM");
            match interrupted(&fixture) {
                Ok(what) => tally.passed(&kind, &what),
                Err(why) => tally.failed(&kind, &why),
            }
            fixture.hub.set("BACKUP_TIME_LIMIT", "1 s");
            let kind = format!("{program} hangs, with a limit of 1 s");
            check_run(&mut tally, &kind, &fixture, Expected::Failed);
            fixture.hub.set("BACKUP_TIME_LIMIT", "1 h");
            bench.clear();
        }
    }
    check_recovery(
        &mut tally,
        "pg_dump hangs, then SIGTERM",
        &bench,
        &mut fixture,
    );
    tally.finish();
}

/// A backup that gets SIGTERM half a second after its start.
fn interrupted(fixture: &Fixture) -> Result<String, String> {
    let mut command = fixture.hub.command(&["backup", "--json", "--no-progress"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .arg(&pid)
        .status()
        .unwrap();
    let begun = Instant::now();
    let output = child.wait_with_output().unwrap();
    if output.status.code() != Some(143) || begun.elapsed() > Duration::from_secs(10) {
        return Err(format!("{} after {:?}", output.status, begun.elapsed()));
    }
    fixture.check_run(&output).map(|outcome| outcome.what)
}

#[test]
fn failing_server_programs_neither_prove_nor_reject_an_archive() {
    let server = server();
    let source = server.database();
    source.execute(SMALL);
    let mut fixture = Fixture::of(&source);
    let bench = Bench::new(&server, &mut fixture);
    let scope = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";
    let limited = format!("{scope}[proof]\ntime_limit = \"3 s\"\n");
    let mut tally = Tally::new("programs-drill");
    let real = "exec \"$REAL\" \"$@\"";
    let dies = "(sleep 0.PART; kill -KILL $$) & exec \"$REAL\" \"$@\"";
    for round in 0..points(1, 4) {
        for (kind, program, body) in [
            (
                "initdb fails",
                "initdb",
                "echo 'initdb: error: no' >&2; exit 1",
            ),
            ("initdb is killed", "initdb", "kill -KILL $$"),
            ("initdb hangs", "initdb", "exec sleep 600"),
            ("postgres fails", "postgres", "echo 'FATAL: no' >&2; exit 1"),
            ("postgres is killed", "postgres", "kill -KILL $$"),
            ("postgres hangs", "postgres", "exec sleep 600"),
        ] {
            bench.put("initdb", None, real);
            bench.put("postgres", None, real);
            bench.put(program, None, body);
            let hangs = kind.ends_with("hangs");
            fixture.hub.write(if hangs { &limited } else { scope });
            check_run(&mut tally, kind, &fixture, Expected::Unproven);
        }
        fixture.hub.write(scope);
        bench.put("initdb", None, real);
        bench.put(
            "postgres",
            None,
            &dies.replace("PART", &(round * 7 % 10).to_string()),
        );
        let kind = "postgres killed in the drill";
        match fixture.backup() {
            // It may have been done by then.
            Ok(outcome) if outcome.what.contains("proven") => tally.passed(kind, &outcome.what),
            Ok(outcome) => tally.failed(kind, &format!("{}: {}", outcome.what, outcome.said)),
            Err(why) => tally.failed(kind, &why),
        }
    }
    check_recovery(&mut tally, "initdb fails", &bench, &mut fixture);
    tally.finish();
}
