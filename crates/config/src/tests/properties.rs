//! Whatever anybody writes into the file and the variables: settings come of it, or mistakes with their places.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A value that fits a key, or one that fits another, or none at all.
fn value(kind: Kind, any_text: String, number: i64, choice: Index) -> String {
    match kind {
        Kind::Integer(least, most) if number % 3 != 0 => {
            (least + number.rem_euclid((most - least).max(1))).to_string()
        }
        Kind::Integer(..) => number.to_string(),
        Kind::Choice(words) if number % 3 != 0 => choice.get(words).to_string(),
        Kind::Duration if number % 3 != 0 => format!("{} min", number.rem_euclid(2_000)),
        Kind::Cron if number % 3 != 0 => format!("{} 2 * * *", number.rem_euclid(70)),
        Kind::Zone if number % 3 != 0 => "Europe/Berlin".to_owned(),
        Kind::Address if number % 3 != 0 => "Ada <ada@hub.example>".to_owned(),
        _ => any_text,
    }
}

/// Texts that something reads as something: addresses, keys, patterns, times, other tables.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,16}",
        any::<String>(),
        "[-0-9a-z@.,:/ *%\"'\\[\\]=]{0,16}",
        select(vec![
            "postgres://u:p@h:1/d?sslmode=never",
            "http://",
            "https://[::1",
            "age1",
            "ssh-ed25519 AAAA",
            "*.*",
            "\"a",
            "a.b.c",
            "TZ",
            "<>@",
            "@daily",
            "61 * * * *",
            "-5 s",
            "99999999999999999999 h",
            "../..",
            "/dev/null",
            "~",
            "\u{0}",
            "{{",
            "{% if",
        ])
        .prop_map(str::to_owned),
    ]
}

/// A line of a file: a key with a value that may fit, or whatever.
fn line() -> impl Strategy<Value = (usize, String, i64, Index, u8)> {
    (
        0..KEYS.len(),
        odd_text(),
        any::<i32>().prop_map(i64::from),
        any::<Index>(),
        any::<u8>(),
    )
}

const BLOCKS: [&str; 9] = [
    "[[scope.window]]",
    "[[file]]",
    "[[source]]",
    "[[hook]]",
    "[[check]]",
    "[[seal.recipient]]",
    "[scope]",
    "[[job]]",
    "[nothing]",
];

fn toml(lines: &[(usize, String, i64, Index, u8)]) -> String {
    let mut out = String::new();
    for (key, text, number, choice, form) in lines {
        let key = KEYS[*key];
        let written = value(key.kind, text.clone(), *number, *choice);
        let quoted = toml::Value::String(written.clone()).to_string();
        // Dotted keys at the top need no order of tables.
        match form % 8 {
            0 => out += &format!("{} = {number}\n", key.name),
            1 => out += &format!("{} = [{quoted}]\n", key.name),
            2 => out += &format!("{} = {written}\n", key.name),
            _ => out += &format!("{} = {quoted}\n", key.name),
        }
    }
    for (_, text, number, choice, form) in lines.iter().filter(|line| line.4 % 4 == 0) {
        let quoted = toml::Value::String(text.clone()).to_string();
        let word = choice.get(&[
            "name", "source", "command", "stage", "when", "tables", "column", "key", "required",
            "timeout",
        ]);
        out += &format!(
            "{}\n{word} = {quoted}\ntables = [{quoted}]\n{} = {number}\n",
            BLOCKS[usize::from(*form) % 9],
            "length"
        );
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn settings_or_mistakes_with_their_places(in_file in vec(line(), 0..6), in_variables in vec(line(), 0..6)) {
        let variables: Vec<(&str, String)> = in_variables
            .iter()
            .filter_map(|(key, text, number, choice, _)| {
                let key = KEYS[*key];
                let name = choice.index(key.variables.len().max(1));
                Some((*key.variables.get(name)?, value(key.kind, text.clone(), *number, *choice)))
            })
            .collect();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match load(&variables, &toml(&in_file)) {
            Ok(settings) => {
                prop_assert!(settings.values.iter().all(|it| !it.origin.is_empty()));
                // What goes down is made of them, whatever they are.
                let _ = (settings.job(), settings.masks());
            }
            Err(error) => {
                prop_assert!(!error.problems.is_empty());
                for problem in &error.problems {
                    prop_assert!(!problem.origin.is_empty() && !problem.what.is_empty(), "{problem}");
                }
            }
        }
    }

    #[test]
    fn no_file_panics(text in any::<String>(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = load(&[], &text);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hubvault.toml");
        std::fs::write(&path, bytes).unwrap();
        let inputs = Inputs::new(Environment::of(&[]), Some(path));
        let _ = Settings::load(&inputs, None);
    }
}
