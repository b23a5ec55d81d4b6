//! Files that can be read in one sitting, functions that fit on a screen.

use super::{CRATES, crates, sources, without_tests};
use std::fs;

const LINES_OF_A_FILE: usize = 400;
/// Tests are long lists more often than code is.
const LINES_OF_A_TEST_FILE: usize = 520;
const LINES_OF_A_FUNCTION: usize = 70;

/// Files that are still too long. The list only shrinks.
const LONG_FILES: &[&str] = &[];

/// Functions that are still too long, with their files. The list only shrinks.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

#[test]
fn no_file_is_long() {
    let mut long = Vec::new();
    for (name, _) in CRATES {
        for path in sources(&crates().join(name)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            let name = path.strip_prefix(crates()).unwrap().display().to_string();
            let is_source = name.contains("/src/");
            let most = if is_source {
                LINES_OF_A_FILE
            } else {
                LINES_OF_A_TEST_FILE
            };
            if lines > most {
                assert!(
                    LONG_FILES.contains(&name.as_str()),
                    "{name} has {lines} lines: does it have two subjects?"
                );
                long.push(name);
            }
        }
    }
    for name in LONG_FILES {
        let is_long = long.iter().any(|other| other == name);
        assert!(is_long, "{name} is short now: remove it from LONG_FILES");
    }
}

/// The functions of a source file as they are formatted, each with its lines from the signature to the closing brace.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((before, name)) = line.split_once("fn ") else {
            continue;
        };
        let mut words = before.split_whitespace();
        if !words
            .all(|word| word.starts_with("pub") || ["const", "async", "unsafe"].contains(&word))
        {
            continue;
        }
        let name = name.split(['(', '<']).next().unwrap();
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", &line[..indent]);
        let length = if line.ends_with(['}', ';']) {
            1
        } else {
            // A signature in a trait ends without a body.
            let ends = |line: &&str| {
                **line == end
                    || (line.ends_with(");")
                        && line.starts_with(&end[..indent])
                        && line[indent..].starts_with(')'))
            };
            2 + lines[at + 1..]
                .iter()
                .take_while(|line| !ends(line))
                .count()
        };
        found.push((name, length));
    }
    found
}

#[test]
fn no_function_is_long() {
    let mut long = Vec::new();
    for (name, _) in CRATES {
        for path in sources(&crates().join(name).join("src")) {
            let file = path.strip_prefix(crates()).unwrap().display().to_string();
            for (function, lines) in functions(&without_tests(&path)) {
                if lines > LINES_OF_A_FUNCTION {
                    assert!(
                        LONG_FUNCTIONS.contains(&(file.as_str(), function)),
                        "{function} in {file} has {lines} lines"
                    );
                    long.push((file.clone(), function.to_owned()));
                }
            }
        }
    }
    for (file, function) in LONG_FUNCTIONS {
        let is_long = long.contains(&((*file).to_owned(), (*function).to_owned()));
        assert!(
            is_long,
            "{function} in {file} is short now: remove it from LONG_FUNCTIONS"
        );
    }
}
