//! What users read is written in plain words: messages, help, log lines, mails, documents, example configurations.
//!
//! [`TABLE`] has the words that are not used, each with the word to use. A hit is printed as
//! `file:line: word -> replacement`. Names that are stored or sent (JSON fields, flags, code in backquotes) are single
//! words or code and are not read here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// A piece of text for users, and the line where it begins.
type Passage = (usize, String);

/// Phrases, separated by commas, and what to write instead. Whole words, in any case, also across line breaks.
const TABLE: &str = "
told, tell, tells, telling -> notified, notify; of a text: say, show
untold -> notification pending
who must know, hear of, hears of, heard of, hears, knows of the last run -> notified, recipient
nothing waits, something waits, still waits or, what waits, message waits, messages wait -> is queued
mail waits, waits in the outbox -> is queued
came of, comes of, come of it, became of, becomes of -> result, outcome
it stays, they stay, what it left, what they left -> leftover, could not be removed; is kept
died, dies, dying -> crashed, ended
mend, mends, mended, mending -> fix
stand, stands, stood, standing -> is firing; is
quiet, quietly, quieted -> silenced
is meant, are meant, was meant -> matches; is intended
by chance -> random sample
as many rows but others, as many rows and others -> row counts match, contents differ
is not recorded what, written down, writes down, is not known what -> could not record
the numbers -> metrics; figures
chore, chores -> periodic task
keeper, keepers -> scheduler
teller, tellers -> notifier
the letter, post office -> message
posted, posts it -> send
send it again, sends it again, sent again, sends again, mail it again, tell it again -> resend
gentleness, gentle, gently, pace -> throttle
read again and holds, holds from now on, still holds, what holds, holds now -> is in effect; configuration reloaded
anew -> again; a new one
heed, heeds, heeded -> observed
at work -> running
begun -> started
is gone, are gone, was gone, were gone -> is missing; was removed
nobody looked, somebody looks, next look -> check
speaks of, speak of -> names
longer than any may, takes long -> timed out; is still running
please, simply -> (leave it out)
";

/// Uses that are right: the end of a file's path, the phrase, and why.
const ALLOWED: &[(&str, &str, &str)] = &[];

/// Hits that are left below a path, at most so many. To be emptied.
const LEFT: &[(&str, usize)] = &[];

#[test]
fn what_users_read_is_in_plain_words() {
    let phrases = phrases();
    let paths = files();
    let mut lines = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        for (line, passage) in passages(name, &text) {
            let hits = hits_of(line, &passage, &phrases).into_iter();
            let hits = hits.filter(|hit| !is_allowed(name, &hit.word));
            lines.extend(hits.map(|hit| {
                let (line, word, instead) = (hit.line, hit.word, hit.instead);
                format!("{name}:{line}: {word} -> {instead}")
            }));
        }
    }
    assert!(paths.len() > 200, "only {} files were read", paths.len());
    for (below, most) in LEFT {
        if lines.iter().filter(|line| line.starts_with(below)).count() <= *most {
            lines.retain(|line| !line.starts_with(below));
        }
    }
    assert!(
        lines.is_empty(),
        "words that are not used here:\n{}",
        lines.join("\n")
    );
}

#[test]
fn phrases_are_found_in_every_kind_of_file_and_nowhere_else() {
    let phrases = phrases();
    let found = |name: &str, text: &str| {
        let passages = passages(name, text).into_iter();
        let hits = passages.flat_map(|(line, passage)| hits_of(line, &passage, &phrases));
        hits.map(|hit| (hit.line, hit.word)).collect::<Vec<_>>()
    };
    let hit = |line: usize, word: &str| (line, word.to_owned());
    let source = "// it died\nlet c = '\"'; let told = b'\\'';\nlog(\"the run \\\n  died, \\\"it\\nstays\\\"\");\n\
        json(\"told\"); r#\"nobody \"told\" us\"#;\n#[cfg(test)]\nmod tests { f(\"it died\") }";
    let expected = [hit(4, "died"), hit(4, "it stays"), hit(5, "told")];
    assert_eq!(found("crates/a/src/b.rs", source), expected);
    assert_eq!(found("crates/testkit/src/b.rs", source), []);
    let help = "/// Mend it.\nfn f() {}\n";
    assert_eq!(
        found("crates/hubvault/src/cli/a.rs", help),
        [hit(1, "mend")]
    );
    assert_eq!(found("crates/engine/src/a.rs", help), []);
    let page =
        "It waits in\nthe outbox! `told` [a](told.md) isn't\n```\ntold\n```\nThe server's. Told";
    let expected = [
        hit(1, "waits in the outbox"),
        hit(2, "!"),
        hit(2, "isn't"),
        hit(6, "told"),
    ];
    assert_eq!(found("docs/a.md", page), expected);
    let mail = "{{ told }} told";
    assert_eq!(found("crates/engine/src/a.txt", mail), [hit(1, "told")]);
    let example = "# Who is told\n# told = \"it is\"\nkey = 1 # died\n";
    assert_eq!(
        found("examples/a.toml", example),
        [hit(1, "told"), hit(3, "died")]
    );
}

fn phrases() -> Vec<(Vec<&'static str>, &'static str)> {
    let rows = TABLE.lines().filter_map(|row| row.split_once(" -> "));
    let phrases = rows.flat_map(|(phrases, instead)| {
        let each = phrases.split(", ");
        each.map(move |phrase| (phrase.split(' ').collect(), instead))
    });
    phrases.collect()
}

fn is_allowed(file: &str, word: &str) -> bool {
    let mut allowed = ALLOWED.iter();
    allowed.any(|(end, known, _)| file.ends_with(end) && word == *known)
}

struct Hit {
    line: usize,
    word: String,
    instead: &'static str,
}

/// The phrases of the table, contractions and exclamation marks in a passage that begins at `first`.
fn hits_of(first: usize, passage: &str, phrases: &[(Vec<&str>, &'static str)]) -> Vec<Hit> {
    let words = words(passage);
    let mut hits = Vec::new();
    for (at, (line, word)) in words.iter().enumerate() {
        let mut add = |word: &str, instead| {
            hits.push(Hit {
                line: first + line,
                word: word.to_owned(),
                instead,
            });
        };
        for (phrase, instead) in phrases {
            let here = words[at..].iter().take(phrase.len());
            if here.map(|(_, word)| word).eq(phrase) {
                add(&phrase.join(" "), instead);
            }
        }
        if is_contraction(word) {
            add(word, "the words in full");
        }
        if word == "!" {
            add(word, "a full stop");
        }
    }
    hits
}

/// `doesn't`, `it's`, `we'll`; not the genitive (`the server's`).
fn is_contraction(word: &str) -> bool {
    let Some((stem, end)) = word.rsplit_once('\'') else {
        return false;
    };
    match end {
        "t" => stem.ends_with('n'),
        "s" => ["it", "that", "there", "here", "what", "who", "let"].contains(&stem),
        "re" | "ve" | "ll" | "m" => !stem.is_empty(),
        _ => false,
    }
}

/// The words of a text in small letters, each with its line from 0; an exclamation mark after a word is one, too.
fn words(text: &str) -> Vec<(usize, String)> {
    let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '\'' | '’');
    let mut words = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some(start) = rest.find(is_of_word) {
            let end = rest[start..].find(|c| !is_of_word(c));
            let end = end.map_or(rest.len(), |length| start + length);
            let word = rest[start..end].replace('’', "'").to_lowercase();
            words.push((index, word.trim_matches('\'').to_owned()));
            rest = &rest[end..];
            let after = rest.strip_prefix('!');
            if after.is_some_and(|after| after.is_empty() || after.starts_with(' ')) {
                words.push((index, "!".to_owned()));
            }
        }
    }
    words
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every file that may have texts for users.
fn files() -> Vec<PathBuf> {
    let ends = ["rs", "txt", "html", "sh", "md", "json", "toml", "env"];
    let mut paths: Vec<_> = ["README.md", "SECURITY.md", "hubvault.example.toml"]
        .map(|name| root().join(name))
        .into();
    let mut directories: Vec<_> = ["crates", "docs", "examples"]
        .map(|name| root().join(name))
        .into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|end| ends.iter().any(|known| end == *known))
            {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
}

/// What users read of a file.
fn passages(name: &str, text: &str) -> Vec<Passage> {
    let end = name.rsplit('.').next();
    if name.starts_with("crates/") {
        let is_source = name.contains("/src/") && !name.contains("/testkit/");
        return match end {
            _ if !is_source || name.ends_with("tests.rs") => Vec::new(),
            Some("rs") => literals(text, name.contains("/src/cli/")),
            _ => vec![(
                1,
                blank(
                    text,
                    &[
                        ("{%", "%}"),
                        ("{{", "}}"),
                        ("<style", "</style>"),
                        ("<", ">"),
                    ],
                ),
            )],
        };
    }
    match end {
        Some("md") => {
            let code = [("```", "```"), ("`", "`"), ("](", ")"), ("<", ">")];
            vec![(1, blank(text, &code))]
        }
        Some("json") => literals(text, false),
        _ => comments(text),
    }
}

/// A text with `x` for what is between each pair of marks, its lines where they were.
fn blank(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some(next) = rest.chars().next() {
        let mut found = pairs.iter().filter_map(|(open, close)| {
            let inside = rest.strip_prefix(open)?;
            Some(open.len() + inside.find(close)? + close.len())
        });
        if let Some(length) = found.next() {
            kept.push('x');
            kept.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        } else {
            kept.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    kept
}

/// The comments of a configuration file, without settings that are commented out.
fn comments(text: &str) -> Vec<Passage> {
    let comments = text.lines().map(|line| {
        let comment = line.split_once("# ").map_or("", |(_, comment)| comment);
        let is_setting = comment.contains(" = ") || comment.starts_with('[');
        format!("{}\n", if is_setting { "" } else { comment })
    });
    vec![(1, blank(&comments.collect::<String>(), &[("`", "`")]))]
}

/// The string literals of a Rust source that are more than a word, and its documentation where that is shown as help.
/// Unit tests at the end are left out.
fn literals(text: &str, with_documentation: bool) -> Vec<Passage> {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    let mut found = Vec::new();
    let (mut line, mut rest) = (1, text);
    while let Some(next) = rest.chars().next() {
        let (length, shown) = token(rest);
        let is_prose = |shown: &&str| !rest.starts_with('/') && shown.contains(' ');
        let is_help = rest.starts_with("/// ") && with_documentation;
        if let Some(shown) = shown.filter(|shown| is_help || is_prose(shown)) {
            let plain = shown.replace("\\n", "  ").replace("\\\"", "\"");
            found.push((line, blank(&plain, &[("`", "`")])));
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
        if next.is_alphabetic() {
            // The whole name: an `r` at its end begins no literal.
            rest = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        }
    }
    found
}

/// The length of what a Rust source begins with, and the text in it where that is a literal or a comment.
fn token(source: &str) -> (usize, Option<&str>) {
    if source.starts_with("//") {
        let length = source.find('\n').unwrap_or(source.len());
        return (length, Some(&source[2..length]));
    }
    for (open, close) in [
        ("r\"", "\""),
        ("r#\"", "\"#"),
        ("br\"", "\""),
        ("br#\"", "\"#"),
    ] {
        if let Some(inside) = source.strip_prefix(open) {
            let length = inside.find(close).unwrap();
            return (open.len() + length + close.len(), Some(&inside[..length]));
        }
    }
    let end_of = |close: char| {
        let mut escaped = false;
        let mut inside = source.char_indices().skip(1);
        let end = inside.find(|(_, c)| {
            let is_end = !escaped && *c == close;
            escaped = !escaped && *c == '\\';
            is_end
        });
        end.map(|(at, _)| at)
    };
    if source.starts_with('"') {
        let end = end_of('"').unwrap();
        return (end + 1, Some(&source[1..end]));
    }
    if source.starts_with('\'') {
        // A character, or a lifetime.
        let end = end_of('\'')
            .filter(|end| source[1..].starts_with('\\') || source[1..*end].chars().count() == 1);
        return (end.map_or(1, |end| end + 1), None);
    }
    (source.chars().next().map_or(0, char::len_utf8), None)
}
