//! `[[source]]` and `[[hook]]`: the commands of a backup.

use super::document::Document;
use super::keys;
use super::problem::{Problem, nearest};
use super::scope::{Fields, Said};
use hubvault_engine::command::CommandLine;
use hubvault_engine::job::{CommandSource, FileSource, Hook, HookWhen};
use hubvault_engine::progress::Stage;
use std::path::{Component, Path};
use std::time::Duration;

/// How long a source may run where nobody says.
const SOURCE_TIMEOUT: Duration = Duration::from_mins(10);
/// How long a hook may run where nobody says.
const HOOK_TIMEOUT: Duration = Duration::from_mins(5);
/// The stages that have hooks; `None` is the whole run.
const STAGES: [Option<Stage>; 9] = [
    None,
    Some(Stage::Sources),
    Some(Stage::Snapshot),
    Some(Stage::Plan),
    Some(Stage::Files),
    Some(Stage::Export),
    Some(Stage::Integrity),
    Some(Stage::Drill),
    Some(Stage::Publish),
];

/// Reads the sources; none of them may have the name of another, or of a file.
pub(super) fn sources(
    document: &Document,
    files: &[Said<FileSource>],
    problems: &mut Vec<Problem>,
) -> Vec<Said<CommandSource>> {
    let mut found: Vec<Said<CommandSource>> = Vec::new();
    for item in document.array("source").unwrap_or_default() {
        let known = &["name", "command", "timeout", "required"];
        let mut fields = Fields::new("source", document, item, known, problems);
        let name = required_text(&mut fields, "name", "expected a name such as redis.rdb");
        let command = command(&mut fields);
        let timeout = timeout(&mut fields, SOURCE_TIMEOUT);
        let required = fields.flag("required").unwrap_or(true);
        let Some(name) = name.map(|name| format!("sources/{name}")) else {
            continue;
        };
        if !is_plain(&name) {
            fields.problem(
                "name",
                "expected a relative path such as redis.rdb or app/settings.json, without . and ..",
            );
        }
        let sources = found.iter().map(|s| (s.value.name.as_str(), &s.origin));
        let mut others = sources.chain(files.iter().map(|f| (f.value.name.as_str(), &f.origin)));
        if let Some((other, origin)) = others.find(|(other, _)| collides(other, &name)) {
            let what = format!("{name} gets in the way of {other} ({origin})");
            fields.problem("name", what);
        }
        if let Some(command) = command {
            found.push(Said {
                value: CommandSource {
                    name,
                    command,
                    timeout,
                    required,
                },
                origin: document.origin(item.line),
            });
        }
    }
    found
}

/// Reads the hooks, in the order in which they run.
pub(super) fn hooks(document: &Document, problems: &mut Vec<Problem>) -> Vec<Said<Hook>> {
    let mut found = Vec::new();
    for item in document.array("hook").unwrap_or_default() {
        let known = &["stage", "when", "command", "timeout", "on_failure"];
        let mut fields = Fields::new("hook", document, item, known, problems);
        let words = STAGES.map(|stage| stage.map_or("run", Stage::as_str));
        let stage = word(&mut fields, "stage", &words).map(|at| STAGES[at]);
        let sides = [HookWhen::Before, HookWhen::After];
        let words = sides.map(HookWhen::as_str);
        let when = word(&mut fields, "when", &words).map(|at| sides[at]);
        let command = command(&mut fields);
        let timeout = timeout(&mut fields, HOOK_TIMEOUT);
        let fails = fields
            .field("on_failure")
            .is_some()
            .then(|| word(&mut fields, "on_failure", &["fail", "warn"]))
            .flatten()
            .map(|at| at == 0);
        let (Some(stage), Some(when), Some(command)) = (stage, when, command) else {
            continue;
        };
        let over = when == HookWhen::After && matches!(stage, None | Some(Stage::Publish));
        if over && fails == Some(true) {
            fields.problem(
                "on_failure",
                "expected warn: the archive is published by then, so that the run cannot fail any more",
            );
        }
        found.push(Said {
            value: Hook {
                stage,
                when,
                command,
                timeout,
                fails: fails.unwrap_or(when == HookWhen::Before),
            },
            origin: document.origin(item.line),
        });
    }
    found
}

fn required_text(fields: &mut Fields<'_>, key: &str, expected: &str) -> Option<String> {
    if fields.field(key).is_none() {
        fields.problem("", format!("{key} is missing; {expected}"));
        return None;
    }
    fields.text(key)
}

/// Which of `words` a key holds.
fn word(fields: &mut Fields<'_>, key: &str, words: &[&str]) -> Option<usize> {
    let expected = format!("expected one of {}", words.join(", "));
    let text = required_text(fields, key, &expected)?;
    let at = words.iter().position(|word| *word == text);
    if at.is_none() {
        let hint = nearest(&text, words.iter().copied());
        fields.problem(key, format!("{expected}, not {text:?}{hint}"));
    }
    at
}

fn command(fields: &mut Fields<'_>) -> Option<CommandLine> {
    if fields.field("command").is_none() {
        fields.problem(
            "",
            "command is missing; expected a text for `sh -c`, or an array of a program and its arguments",
        );
        return None;
    }
    fields.command("command")
}

fn timeout(fields: &mut Fields<'_>, default: Duration) -> Duration {
    if fields.field("timeout").is_none() {
        return default;
    }
    let text = fields.text("timeout");
    match text.map(|text| keys::duration(&text)) {
        Some(Ok(timeout)) => timeout,
        Some(Err(what)) => {
            fields.problem("timeout", what);
            default
        }
        None => default,
    }
}

/// Whether a path is relative, stays below and is written in the shortest way.
fn is_plain(name: &str) -> bool {
    name.split('/').all(|part| !part.is_empty())
        && !name.contains('\0')
        && !name.split('/').any(|part| part == ".")
        && Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// Whether two entries are the same, or one would be a directory and a file at once.
fn collides(one: &str, other: &str) -> bool {
    let (one, other) = (Path::new(one), Path::new(other));
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> (Vec<CommandSource>, Vec<Hook>, String) {
        let mut problems = Vec::new();
        let document = Document::parse(Path::new("hubvault.toml"), toml, &mut problems);
        let sources = sources(&document, &[], &mut problems);
        let hooks = hooks(&document, &mut problems);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let values = sources.into_iter().map(|said| said.value).collect();
        let hooks = hooks.into_iter().map(|said| said.value).collect();
        (values, hooks, said.join("\n"))
    }

    #[test]
    fn a_source_is_a_text_or_an_array() {
        let (sources, _, said) = read(
            "[[source]]\nname = \"a/b.txt\"\ncommand = \"echo $X\"\n\
             [[source]]\nname = \"c\"\ncommand = [\"cat\", \"/etc/hosts\"]\ntimeout = \"5 s\"\nrequired = false\n",
        );
        assert_eq!(said, "");
        assert_eq!(sources[0].name, "sources/a/b.txt");
        assert_eq!(sources[0].command, CommandLine::shell("echo $X"));
        assert_eq!(
            (sources[0].timeout, sources[0].required),
            (SOURCE_TIMEOUT, true)
        );
        assert_eq!(sources[1].command.argv, ["cat", "/etc/hosts"]);
        assert_eq!(
            (sources[1].timeout.as_secs(), sources[1].required),
            (5, false)
        );
    }

    #[test]
    fn hooks_have_their_defaults_by_their_side() {
        let (_, hooks, said) = read(
            "[[hook]]\nstage = \"export\"\nwhen = \"before\"\ncommand = \"true\"\n\
             [[hook]]\nstage = \"run\"\nwhen = \"after\"\ncommand = \"true\"\n",
        );
        assert_eq!(said, "");
        assert_eq!(
            (hooks[0].stage, hooks[0].fails),
            (Some(Stage::Export), true)
        );
        assert_eq!((hooks[1].stage, hooks[1].fails), (None, false));
        assert_eq!(hooks[0].timeout, HOOK_TIMEOUT);
    }

    #[test]
    fn every_mistake_has_its_line_and_its_neighbour() {
        let (_, _, said) = read(
            "[[source]]\nname = \"../x\"\ncomand = \"true\"\n\
             [[source]]\nname = \"a\"\ncommand = [1]\ntimeout = \"soon\"\nrequired = \"yes\"\n\
             [[source]]\nname = \"b\"\ncommand = \"true\"\n\
             [[source]]\nname = \"b/c\"\ncommand = []\n\
             [[hook]]\nstage = \"exprot\"\nwhen = \"during\"\n\
             [[hook]]\nstage = \"publish\"\nwhen = \"after\"\ncommand = \"true\"\non_failure = \"fail\"\n",
        );
        for part in [
            "line 3: source.comand: no such key; did you mean command?",
            "line 1: source: command is missing",
            "line 2: source.name: expected a relative path",
            "line 6: source.command: expected a text in the array",
            "line 7: source.timeout: expected a duration",
            "line 8: source.required: expected true or false",
            "line 13: source.name: sources/b/c gets in the way of sources/b",
            "line 14: source.command: expected a text for `sh -c`",
            "line 16: hook.stage: expected one of run, sources,",
            "did you mean export?",
            "line 17: hook.when: expected one of before, after, not \"during\"",
            "line 15: hook: command is missing",
            "line 22: hook.on_failure: expected warn",
        ] {
            assert!(said.contains(part), "{part:?} is not in\n{said}");
        }
    }
}
