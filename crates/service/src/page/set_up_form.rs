//! The form of the set-up page: what is answered, and what the service's own variables say already.

use crate::set_up::{SECRETS, SetUp, VARIABLES};
use hubvault_config::Environment;
use hubvault_engine::command::shell_word;
use hubvault_model::TablePattern;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The longest answer, in bytes: many public keys.
const LONGEST: usize = 8192;
/// So many tables, and files, can be named.
const ITEMS: usize = 500;
/// What a password is for: where one of these changes, it is asked for again, so that it goes nowhere else.
const OF_PASSWORDS: [(&str, &[&str]); 2] = [
    (
        "POSTGRES_PASSWORD",
        &[
            "POSTGRES_HOST",
            "POSTGRES_PORT",
            "POSTGRES_USER",
            "PGSSLMODE",
        ],
    ),
    (
        "SMTP_PASS",
        &["SMTP_HOST", "SMTP_PORT", "SMTP_SECURITY", "SMTP_USER"],
    ),
];
/// What the form proposes at first.
const FIRST: [(&str, &str); 7] = [
    ("POSTGRES_HOST", "localhost"),
    ("POSTGRES_PORT", "5432"),
    ("POSTGRES_DB", "postgres"),
    ("POSTGRES_USER", "postgres"),
    ("PGSSLMODE", "prefer"),
    ("BACKUP_RETENTION_DAYS", "30"),
    ("BACKUP_SCHEDULE", "0 2 * * *"),
];
/// How much of a table that only grows is proposed.
const LENGTH: &str = "3 months";

/// One field, for a template.
#[derive(Debug, Serialize)]
struct Field {
    value: String,
    is_fixed: bool,
    is_given: bool,
}

/// Before anything is answered.
pub(super) fn first(output: PathBuf, environment: &Environment) -> SetUp {
    let answers = FIRST
        .iter()
        .filter(|(name, _)| !is_fixed(environment, name));
    SetUp {
        answers: answers
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        scope: vec!["*".to_owned()],
        output,
        ..SetUp::default()
    }
}

/// Whether the service's own variables decide: they win over the file, and their secrets go nowhere else than they say.
fn is_fixed(environment: &Environment, name: &str) -> bool {
    let is_set = |name: &str| {
        environment.text(name).is_some() || environment.text(&format!("{name}_FILE")).is_some()
    };
    let mut passwords = OF_PASSWORDS.iter();
    let needs_fixed = passwords.any(|(password, of)| of.contains(&name) && is_set(password));
    is_set(name) || needs_fixed
}

/// What the form says. A password that is left empty is the one that was given before, for the same server and role.
pub(super) fn read(
    pairs: &[(String, String)],
    before: &SetUp,
    environment: &Environment,
) -> Result<SetUp, String> {
    let mut asked = SetUp {
        output: before.output.clone(),
        ..SetUp::default()
    };
    let mut windows = None;
    let mut takes_windows = false;
    for (name, value) in pairs {
        if value.len() > LONGEST {
            return Err(format!("an answer may have at most {LONGEST} bytes"));
        }
        match name.as_str() {
            "scope" => asked.scope = patterns(value)?,
            "exclude" => asked.exclude = patterns(value)?,
            "windows" => windows = Some(value.trim().to_owned()),
            "take_windows" => takes_windows = true,
            "file" if asked.files.len() < ITEMS => asked.files.push(PathBuf::from(value)),
            name if VARIABLES.contains(&name) && !is_fixed(environment, name) => {
                let text = answer(name, value)?;
                if !text.is_empty() {
                    asked.answers.insert(name.to_owned(), text);
                }
            }
            _ => {}
        }
    }
    asked.windows = windows.filter(|text| takes_windows && !text.is_empty());
    for (password, of) in OF_PASSWORDS {
        let is_same = of
            .iter()
            .all(|name| asked.answer(name) == before.answer(name));
        if asked.answer(password).is_empty() && is_same && !before.answer(password).is_empty() {
            let kept = before.answer(password).to_owned();
            asked.answers.insert(password.to_owned(), kept);
        }
    }
    Ok(asked)
}

fn answer(name: &str, value: &str) -> Result<String, String> {
    if SECRETS.contains(&name) {
        return Ok(value.to_owned());
    }
    let lines = value.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let text = lines.join(",");
    if text.chars().any(char::is_control) {
        return Err(format!("{name} has a control character"));
    }
    let mut keys = text.split(',').map(str::trim);
    let is_key = |key: &str| key.is_empty() || key.starts_with("age1") || key.starts_with("ssh-");
    if name == "BACKUP_RECIPIENTS" && !keys.all(is_key) {
        // A name would be that of a file of the host.
        return Err(
            "BACKUP_RECIPIENTS: expected public keys (age1…, ssh-ed25519 …, ssh-rsa …)".to_owned(),
        );
    }
    Ok(text)
}

fn patterns(value: &str) -> Result<Vec<String>, String> {
    let items = value.split(['\n', ',']).map(str::trim);
    let items: Vec<String> = (items.filter(|item| !item.is_empty()).map(str::to_owned)).collect();
    if items.len() > ITEMS {
        return Err(format!("at most {ITEMS} patterns can be named"));
    }
    for item in &items {
        (item.parse::<TablePattern>()).map_err(|error| error.to_string())?;
    }
    Ok(items)
}

/// The form as a template takes it; of a secret only that there is one.
pub(super) fn shown(asked: &SetUp, environment: &Environment) -> Value {
    let field = |name: &&'static str| {
        let is_fixed = is_fixed(environment, name);
        let text = if is_fixed {
            environment.text(name).unwrap_or_default()
        } else {
            asked.answer(name)
        };
        let is_given = !text.is_empty();
        let is_shown = !SECRETS.contains(name);
        let value = if is_shown {
            text.to_owned()
        } else {
            String::new()
        };
        (
            *name,
            Field {
                value,
                is_fixed,
                is_given,
            },
        )
    };
    let fields: BTreeMap<&str, Field> = VARIABLES.iter().map(field).collect();
    context! {
        fields => Value::from(Serde(fields)),
        scope => asked.scope.join("\n"),
        exclude => asked.exclude.join("\n"),
        windows => asked.windows.as_deref().unwrap_or(LENGTH),
        takes_windows => asked.windows.is_some(),
    }
}

/// The same as variables, where `text` is the configuration; a secret is in a file. Tables and files cannot be said so.
pub(super) fn variables(asked: &SetUp, text: &str) -> Vec<String> {
    let line = |(name, value): (&String, &String)| {
        if SECRETS.contains(&name.as_str()) {
            return format!("{name}_FILE=/run/secrets/{}", name.to_ascii_lowercase());
        }
        format!("{name}={}", shell_word(value))
    };
    let attach = "attach = \"sealed\"";
    let is_attached_sealed = text.lines().any(|line| line == attach);
    let attach = is_attached_sealed.then(|| "EMAIL_ATTACH=sealed".to_owned());
    asked.answers.iter().map(line).chain(attach).collect()
}

/// Whether variables say all of it.
pub(super) fn is_said_by_variables(asked: &SetUp) -> bool {
    let SetUp {
        scope,
        exclude,
        windows,
        files,
        ..
    } = asked;
    (scope.is_empty() || *scope == ["*"])
        && exclude.is_empty()
        && windows.is_none()
        && files.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Environment {
        Environment::bare(&Environment::of_process())
    }

    fn sent(
        pairs: &[(&str, &str)],
        before: &SetUp,
        environment: &Environment,
    ) -> Result<SetUp, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        read(
            &pairs.iter().map(own).collect::<Vec<_>>(),
            before,
            environment,
        )
    }

    #[test]
    fn a_password_goes_nowhere_else_than_it_was_given_for() {
        let environment = bare();
        let first = first("x.toml".into(), &environment);
        let db = [
            ("POSTGRES_HOST", "db"),
            ("POSTGRES_USER", "reader"),
            ("POSTGRES_DB", "shop"),
        ];
        let given = [&db[..], &[("POSTGRES_PASSWORD", " s3cret ")]].concat();
        let before = sent(&given, &first, &environment).unwrap();
        assert_eq!(before.answer("POSTGRES_PASSWORD"), " s3cret ");
        let kept = sent(&db, &before, &environment).unwrap();
        assert_eq!(kept.answer("POSTGRES_PASSWORD"), " s3cret ");
        let other = [("POSTGRES_DB", "other"), db[0], db[1]];
        assert!(
            !sent(&other, &before, &environment)
                .unwrap()
                .answer("POSTGRES_PASSWORD")
                .is_empty()
        );
        for evil in [
            ("POSTGRES_HOST", "evil"),
            ("POSTGRES_PORT", "5433"),
            ("PGSSLMODE", "disable"),
        ] {
            let evil = [&db[1..], &[evil]].concat();
            let asked = sent(&evil, &before, &environment).unwrap();
            assert_eq!(asked.answer("POSTGRES_PASSWORD"), "", "{evil:?}");
        }
        let shown = format!("{:?} {before:?}", shown(&before, &environment));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(!variables(&before, "").join(" ").contains("s3cret"));
        // One of the service's variables.
        let with = bare().with("SMTP_PASS", "hidden");
        let asked = sent(
            &[("SMTP_HOST", "evil"), ("SMTP_FROM", "a@b")],
            &first,
            &with,
        )
        .unwrap();
        assert_eq!(
            (asked.answer("SMTP_HOST"), asked.answer("SMTP_FROM")),
            ("", "a@b")
        );
    }

    #[test]
    fn variables_attach_archives_as_the_configuration_does() {
        let said = |text: &str| variables(&SetUp::default(), text);
        assert_eq!(
            said("[email]\nattach = \"sealed\"\n"),
            ["EMAIL_ATTACH=sealed"]
        );
        assert!(said("# attach = \"sealed\"\n").is_empty());
    }

    #[test]
    fn what_is_no_answer_is_not_taken() {
        let (environment, before) = (bare(), SetUp::default());
        let asked = sent(
            &[
                ("PROOF_SCRIPT", "x"),
                ("SMTP_PASS_FILE", "/etc/shadow"),
                ("step", "x"),
            ],
            &before,
            &environment,
        );
        assert!(asked.unwrap().answers.is_empty());
        for bad in [
            ("BACKUP_RECIPIENTS", "/etc/shadow"),
            ("BACKUP_RECIPIENTS", "age1x, shadow"),
            ("POSTGRES_HOST", "a\u{1b}[2J"),
            ("scope", "\"open"),
            ("exclude", "a.b.c"),
        ] {
            assert!(sent(&[bad], &before, &environment).is_err(), "{bad:?}");
        }
        let long = "x".repeat(LONGEST + 1);
        assert!(sent(&[("POSTGRES_HOST", &long)], &before, &environment).is_err());
    }
}
