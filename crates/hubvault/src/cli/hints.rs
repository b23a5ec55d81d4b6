//! Every command that a message, a mail or the help names is one that this program takes.

use super::Cli;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Flags of other programs that messages name: tar, `pg_dump`, curl, aws.
const FOREIGN: [&str; 5] = [
    "--zstd",
    "--large-objects",
    "--user",
    "--profile",
    "--format",
];

/// The sources and templates of the crates that write messages.
fn sources() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut places = vec![crates.join("../hubvault.example.toml")];
    for entry in fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("testkit") {
            places.push(path.join("src"));
        }
    }
    let mut found = Vec::new();
    while let Some(place) = places.pop() {
        if place.is_dir() {
            let inside = fs::read_dir(place).unwrap();
            places.extend(inside.map(|entry| entry.unwrap().path()));
        } else if !place.ends_with("tests.rs") && !place.ends_with("cli/hints.rs") {
            found.push(place);
        }
    }
    found
}

/// What people read of a source: no comments but those that are help, lines that go on joined, placeholders filled.
fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let text = text
        .split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let is_source = path.extension().is_some_and(|end| end == "rs");
    let has_help = path.components().any(|part| part.as_os_str() == "cli");
    let mut lines = String::new();
    for line in text.lines() {
        let plain = line.trim_start();
        let is_comment = plain.starts_with("//") && !(has_help && plain.starts_with("/// "));
        if is_source && is_comment {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(goes_on) if is_source => lines += goes_on,
            _ => lines += &format!("{line}\n"),
        }
    }
    filled(&lines.replace("\\n", "\n").replace("\\\"", "\""))
}

/// `{...}`, `{{ ... }}` and `{% ... %}` as words, blanks within literals that go on as one.
fn filled(text: &str) -> String {
    let (mut out, mut depth, mut before) = (String::new(), 0, ' ');
    for c in text.replace("{%", " {%").chars() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 && before != '%' {
                    out.push('x');
                }
            }
            '\n' => {
                depth = 0;
                out.push(c);
            }
            c if depth == 0 => out.push(c),
            _ => {}
        }
        before = c;
    }
    out
}

/// A value for a placeholder such as `TIME`.
fn value(word: &str) -> String {
    let word = word.trim_matches(|c| "[]".contains(c));
    match word {
        "TIME" => "2h".to_owned(),
        "N" => "2".to_owned(),
        "SHELL" => "bash".to_owned(),
        choices if choices.contains('|') => choices.split('|').next().unwrap_or("x").to_owned(),
        other => other.trim_end_matches(|c| ".:,".contains(c)).to_owned(),
    }
}

/// The commands of a text, each as its arguments: whole between backquotes, elsewhere as far as words are arguments.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.lines() {
        for (at, _) in line.match_indices("hubvault ") {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_-./".contains(c)) {
                continue;
            }
            let rest = line[at + "hubvault ".len()..].trim_start();
            let ends = [
                "`", "<", "\"", " #", " |", " >", " 2>", ";", "  ", ")", " &&", ", ",
            ];
            let end = ends.iter().filter_map(|end| rest.find(end)).min();
            let words: Vec<String> = rest[..end.unwrap_or(rest.len())]
                .split_whitespace()
                .map(value)
                .collect();
            if words.is_empty() {
                continue;
            }
            if before == Some('`') {
                found.push(words);
            } else if let Some(words) = arguments(&words) {
                found.push(words);
            }
        }
    }
    found
}

/// The words of prose that are a command with its arguments; `None` where the first is none.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    let (mut taken, mut rest) = (Vec::new(), words.iter().peekable());
    let mut required = 0;
    while let Some(word) = rest.peek() {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner;
            required = inner
                .get_positionals()
                .filter(|one| one.is_required_set())
                .count();
        } else if taken.is_empty() {
            return None;
        } else if let Some(long) = word.strip_prefix("--") {
            let flag = command
                .get_arguments()
                .find(|one| one.get_long() == Some(long));
            if flag.is_some_and(|flag| flag.get_action().takes_values()) {
                taken.extend(rest.next().cloned());
            }
        } else if required > 0 {
            required -= 1;
        } else {
            break;
        }
        taken.extend(rest.next().cloned());
    }
    Some(taken)
}

#[test]
fn every_command_in_a_message_is_one() {
    let (mut all, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in sources() {
        for words in commands(&read(&path)) {
            let line = words.join(" ");
            let arguments = ["hubvault".to_owned()].into_iter().chain(words);
            if let Err(error) = Cli::command().try_get_matches_from(arguments)
                && error.use_stderr()
                // Prose may name a command or flag without its values.
                && error.kind() != ErrorKind::MissingRequiredArgument
                && !error.to_string().contains("a value is required")
            {
                wrong.push(format!("{}: hubvault {line}: {error}", path.display()));
            }
            all.insert(line);
        }
    }
    assert!(all.len() > 60, "only {}: {all:#?}", all.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_flag_in_a_message_is_one_of_a_command() {
    fn flags(command: &Command, known: &mut BTreeSet<String>) {
        let long = command.get_arguments().filter_map(|one| one.get_long());
        known.extend(long.map(|long| format!("--{long}")));
        command
            .get_subcommands()
            .for_each(|inner| flags(inner, known));
    }
    let mut root = Cli::command();
    root.build();
    let mut known: BTreeSet<String> = FOREIGN.map(ToOwned::to_owned).into();
    flags(&root, &mut known);
    let (mut count, mut wrong) = (0, Vec::new());
    let messages = |path: &PathBuf| {
        let place = path.to_string_lossy().into_owned();
        let is_source = path.extension().is_some_and(|it| it == "rs") && !place.contains("/demo/");
        // What goes to PostgreSQL's programs is no message.
        is_source && !place.contains("/postgres/src") && !place.contains("/proof/script")
    };
    for path in sources().iter().filter(|path| messages(path)) {
        for word in read(path).split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            let is_flag =
                word.starts_with("--") && !word.starts_with("---") && !word.ends_with('-');
            count += usize::from(is_flag);
            if is_flag && !known.contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(count > 40, "only {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_are_found_in_prose_and_between_backquotes() {
    let found = |text: &str| -> Vec<String> {
        let found = commands(&filled(text)).into_iter();
        found.map(|words| words.join(" ")).collect()
    };
    assert_eq!(
        found("hubvault runs as root; hubvault backup takes one"),
        ["backup"]
    );
    assert_eq!(
        found("hubvault diff {id} shows it (hubvault prune --gone)"),
        ["diff x", "prune --gone"]
    );
    assert_eq!(found("run `hubvault no-such --thing`"), ["no-such --thing"]);
    assert_eq!(
        found("hubvault alert silence disk --for TIME ends it, hubvault list --identity FILE"),
        ["alert silence disk --for 2h", "list --identity"]
    );
}
