//! `restore.sh` is the same for every shell and every set of tools that a machine may have.

use crate::hub::{Hub, stderr, stdout};
use crate::not_rebuilt::{LOST, NAMES, ORPHANS};
use hubvault_testkit::{extract, restore_at, server};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the script runs beside `psql` and `pg_restore`.
const TOOLS: [&str; 17] = [
    "awk", "cat", "cp", "cut", "dirname", "env", "grep", "mktemp", "mv", "rm", "sed", "sh",
    "sleep", "sort", "tr", "wc", "head",
];

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|at| at.join(program))
        .find(|at| at.is_file())
}

/// A `PATH` on which these programs are first, by the names of others.
fn path_with(directory: &Path, programs: &[(&str, &Path)]) -> OsString {
    std::fs::create_dir_all(directory).unwrap();
    for (name, program) in programs {
        symlink(program, directory.join(name)).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap();
    let all = std::iter::once(directory.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).unwrap()
}

#[test]
fn every_shell_restores_the_same_and_says_the_same() {
    let server = server();
    let source = server.database();
    // Quotes at a line's end, and the end of COPY's data inside of a value.
    source.execute(
        &[NAMES, ORPHANS, LOST, "CREATE TABLE \"odd\ttable %'\" (id int, v text);
            INSERT INTO \"odd\ttable %'\" VALUES (1, E'a\n\\\\.\n\"b\",\\tc\r\n'), (2, NULL), (3, '');"].concat(),
    );
    let scope = "[scope]\ntables = [\"*\"]\n[[scope.window]]\ntables = [\"\\\"odd\\ttable %'\\\"\"]\nwhere = \"id > 0\"\n";
    let hub = Hub::with(&source, scope);
    let (_, archive) = hub.backup();
    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    let rows = "SELECT concat((SELECT string_agg(o::text, '|' ORDER BY id) FROM \"odd\ttable %'\" o),
        (SELECT string_agg(c::text, '|' ORDER BY id) FROM c), (SELECT string_agg(n::text, '|') FROM numbers n),
        (SELECT string_agg(p::text, '|' ORDER BY k) FROM parted p))";
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    // bash as sh is bash --posix.
    for shell in ["dash", "bash", "busybox"] {
        let Some(program) = found(shell) else {
            println!("{shell} is not installed, and was not tried");
            continue;
        };
        let names: &[&str] = if shell == "busybox" { &TOOLS } else { &["sh"] };
        let links: Vec<(&str, &Path)> = names.iter().map(|name| (*name, &*program)).collect();
        let path = path_with(&directory.path().join(format!("of {shell}")), &links);
        let target = server.database();
        let output = restore_at(
            directory.path(),
            &target.settings(),
            Some(&path),
            &["--jobs", "2"],
        );
        assert_eq!(
            output.status.code(),
            Some(3),
            "{shell}: {}",
            stderr(&output)
        );
        assert_eq!(target.value(rows), source.value(rows), "{shell}");
        let text = stdout(&output).replace(&format!("into {}:", target.name()), "into it:");
        let mut report: Vec<String> = text.lines().map(str::to_owned).collect();
        report.sort();
        assert!(
            text.contains("not rebuilt:") && text.contains("came back NOT VALID"),
            "{text}"
        );
        said.push((shell.to_owned(), report));
    }
    for pair in said.windows(2) {
        assert_eq!(pair[0].1, pair[1].1, "{} and {}", pair[0].0, pair[1].0);
    }
    let script = directory.path().join("restore.sh");
    match found("shellcheck") {
        Some(program) => {
            let words = [OsStr::new("-s"), OsStr::new("sh"), script.as_os_str()];
            let checked = Command::new(program).args(words).output().unwrap();
            assert!(checked.status.success(), "{}", stdout(&checked));
        }
        None => println!("shellcheck is not installed, and was not run"),
    }
}
