//! `[[source]]`, `[[hook]]`, `[[check]]` and `[[notify]]`: the user's commands.

use super::document::Document;
use super::problem::Problem;
use super::setting::WithOrigin;
use super::table::Table;
use hubvault_engine::job::{CommandSource, FileSource, Hook, HookWhen, UserCommand};
use hubvault_engine::monitor;
use hubvault_engine::progress::Stage;
use std::path::{Component, Path};
use std::time::Duration;

/// The default time limit of a source.
const SOURCE_TIMEOUT: Duration = Duration::from_mins(10);
/// The default time limit of a hook.
const HOOK_TIMEOUT: Duration = Duration::from_mins(5);
/// The default time limit of a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(4);
/// The default time limit of a command that notifies.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(30);
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
pub(crate) fn sources(
    document: &Document,
    files: &[WithOrigin<FileSource>],
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<CommandSource>> {
    let mut sources: Vec<WithOrigin<CommandSource>> = Vec::new();
    for fields in document.array("source").unwrap_or_default() {
        let known = &["name", "command", "timeout", "required"];
        let mut table = Table::new("source", document, fields, known, problems);
        let name = table.required("name", "expected a name such as redis.rdb");
        let command = table.command();
        let timeout = table.timeout(SOURCE_TIMEOUT);
        let required = table.flag("required").unwrap_or(true);
        let Some(name) = name.map(|name| format!("sources/{name}")) else {
            continue;
        };
        if !is_plain(&name) {
            table.problem(
                "name",
                "expected a relative path such as redis.rdb or app/settings.json, without . and ..",
            );
        }
        let names = sources.iter().map(|s| (s.value.name.as_str(), &s.origin));
        let mut names = names.chain(files.iter().map(|f| (f.value.name.as_str(), &f.origin)));
        if let Some((other, origin)) = names.find(|(other, _)| collides(other, &name)) {
            table.problem("name", format!("{name} collides with {other} ({origin})"));
        }
        if let Some(command) = command {
            sources.push(table.located(CommandSource {
                name,
                command,
                timeout,
                required,
            }));
        }
    }
    sources
}

/// Reads the hooks, in the order in which they run.
pub(crate) fn hooks(document: &Document, problems: &mut Vec<Problem>) -> Vec<WithOrigin<Hook>> {
    let mut hooks = Vec::new();
    for fields in document.array("hook").unwrap_or_default() {
        let known = &["stage", "when", "command", "timeout", "on_failure"];
        let mut table = Table::new("hook", document, fields, known, problems);
        let words = STAGES.map(|stage| stage.map_or("run", Stage::as_str));
        let stage = table.required_word("stage", &words).map(|at| STAGES[at]);
        let sides = [HookWhen::Before, HookWhen::After];
        let words = sides.map(HookWhen::as_str);
        let when = table.required_word("when", &words).map(|at| sides[at]);
        let command = table.command();
        let timeout = table.timeout(HOOK_TIMEOUT);
        let on_failure = table.word("on_failure", &["fail", "warn"]);
        let fails = on_failure.map(|at| at == 0);
        let (Some(stage), Some(when), Some(command)) = (stage, when, command) else {
            continue;
        };
        let published = when == HookWhen::After && matches!(stage, None | Some(Stage::Publish));
        if published && fails == Some(true) {
            table.problem(
                "on_failure",
                "expected warn: the archive is published by then, so that the run cannot fail any more",
            );
        }
        hooks.push(table.located(Hook {
            stage,
            when,
            command,
            timeout,
            fails: fails.unwrap_or(when == HookWhen::Before),
        }));
    }
    hooks
}

/// Reads the user's own checks.
pub(crate) fn checks(
    document: &Document,
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<UserCommand>> {
    named(document, "check", CHECK_TIMEOUT, problems)
}

/// Reads the commands that notify somebody.
pub(crate) fn notify(
    document: &Document,
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<UserCommand>> {
    named(document, "notify", NOTIFY_TIMEOUT, problems)
}

/// The commands of an array of tables that have names of their own.
fn named(
    document: &Document,
    array: &'static str,
    timeout: Duration,
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<UserCommand>> {
    let mut all: Vec<WithOrigin<UserCommand>> = Vec::new();
    for fields in document.array(array).unwrap_or_default() {
        let known = &["name", "command", "timeout"];
        let mut table = Table::new(array, document, fields, known, problems);
        let name = table.required("name", "expected a name such as queue-length");
        let command = table.command();
        let timeout = table.timeout(timeout);
        let (Some(name), Some(command)) = (name, command) else {
            continue;
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if !name.chars().all(plain) {
            table.problem("name", "expected lower-case letters, digits, - and _");
        }
        if array == "check" && monitor::NAMES.contains(&name.as_str()) {
            table.problem("name", format!("{name} is a built-in check of hubvault"));
        }
        if all.iter().any(|other| other.value.name == name) {
            table.problem(
                "name",
                format!("{name} is also the name of another {array}"),
            );
        }
        all.push(table.located(UserCommand {
            name,
            command,
            timeout,
        }));
    }
    all
}

/// Whether a path is relative, stays below its directory and has its shortest form.
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
    use super::super::parser::parse;
    use super::*;
    use hubvault_engine::command::CommandLine;

    fn read(toml: &str) -> (Vec<CommandSource>, Vec<Hook>, String) {
        let mut problems = Vec::new();
        let document = parse(Path::new("hubvault.toml"), toml, &mut problems);
        let sources = sources(&document, &[], &mut problems);
        let hooks = hooks(&document, &mut problems);
        let mistakes: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let values = sources.into_iter().map(|it| it.value).collect();
        let hooks = hooks.into_iter().map(|it| it.value).collect();
        (values, hooks, mistakes.join("\n"))
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
            "line 13: source.name: sources/b/c collides with sources/b",
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
