//! The layers: crates, wings and files import only what is below them, and none is too large.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod files;
mod sizes;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates from the ground up, each with what it may name.
const CRATES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("archive", &["model"]),
    ("postgres", &["model"]),
    ("notify", &["model"]),
    ("store", &["model"]),
    (
        "engine",
        &["archive", "postgres", "notify", "store", "model"],
    ),
    ("testkit", &["postgres", "model"]),
    (
        "config",
        &["engine", "archive", "postgres", "notify", "store", "model"],
    ),
    ("service", &["config", "engine", "archive", "model"]),
    (
        "hubvault",
        &[
            "service", "config", "engine", "archive", "postgres", "notify", "model",
        ],
    ),
];

/// The engine's wings from the top floor down. A wing imports only from floors below its own.
const ENGINE: &[&[&str]] = &[
    &["backup"],
    &["logical"],
    &["publish"],
    &["run"],
    &["monitor"],
    &["proof"],
    &["restore", "delivery", "retain"],
    &["overview"],
    &["remote"],
    &["catalog"],
    &["state"],
    &["job"],
    &["schedule", "progress", "disk"],
    &["command", "pool", "deadline"],
];

/// The binary's rooms from the top floor down.
const BINARY: &[&[&str]] = &[
    &["unconfigured"],
    &["cli"],
    &["failure"],
    &["progress", "signals"],
    &["terminal"],
    &["answer"],
    &["text"],
    &["screen"],
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// Text without unit tests, which are at its end or in a file of their own.
fn without_tests(path: &Path) -> String {
    if path.ends_with("tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap()
        .to_owned()
}

/// Code without comments and without unit tests.
fn code(path: &Path) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let text = without_tests(path);
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

#[test]
fn crates_depend_only_downward() {
    for (name, allowed) in CRATES {
        let manifest = fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap();
        let named: BTreeSet<&str> = dependencies
            .lines()
            .filter_map(|line| line.strip_prefix("hubvault-"))
            .map(|line| line.split(['.', ' ']).next().unwrap())
            .collect();
        for other in named {
            assert!(allowed.contains(&other), "{name} depends on {other}");
        }
    }
    let known = CRATES.len();
    assert_eq!(
        fs::read_dir(crates()).unwrap().count(),
        known,
        "a crate has no floor here"
    );
}

/// For every file of `tree`, the rooms of the same crate that it names, held against the floors.
fn wings_import_only_downward(tree: &Path, floors: &[&[&str]]) {
    let rooms: Vec<&str> = floors
        .iter()
        .flat_map(|floor| floor.iter().copied())
        .collect();
    let floor_of = |room: &str| {
        floors
            .iter()
            .position(|floor| floor.contains(&room))
            .unwrap_or(usize::MAX)
    };
    for path in sources(tree) {
        let inside = path.strip_prefix(tree).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let room = first.trim_end_matches(".rs");
        if ["lib", "main"].contains(&room) {
            continue;
        }
        assert!(rooms.contains(&room), "{room} has no floor here");
        let code = code(&path);
        for named in code.split("crate::").skip(1) {
            let target: String = named
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if target == room || !rooms.contains(&target.as_str()) {
                continue;
            }
            assert!(
                floor_of(&target) > floor_of(room),
                "{} names {target}, which does not stand below {room}",
                inside.display()
            );
        }
    }
}

#[test]
fn the_wings_of_the_engine_import_only_downward() {
    wings_import_only_downward(&crates().join("engine/src"), ENGINE);
}

#[test]
fn the_rooms_of_the_binary_import_only_downward() {
    wings_import_only_downward(&crates().join("hubvault/src"), BINARY);
}

#[test]
fn only_the_configuration_reads_the_environment() {
    for (name, _) in CRATES {
        for path in sources(&crates().join(name).join("src")) {
            let reads = ["env::var", "env::vars", "env::temp_dir", "env::home_dir"];
            let code = code(&path);
            let found = reads.iter().any(|call| code.contains(call));
            let allowed = path.ends_with("config/src/environment.rs");
            assert!(
                !found || allowed,
                "{} reads the environment",
                path.display()
            );
        }
    }
}

#[test]
fn only_the_postgres_crate_speaks_to_a_server() {
    for (name, _) in CRATES
        .iter()
        .filter(|(name, _)| !["postgres", "testkit"].contains(name))
    {
        let manifest = fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
        let named = manifest.lines().any(|line| line.starts_with("postgres"));
        assert!(!named, "{name} depends on the postgres driver");
    }
}
