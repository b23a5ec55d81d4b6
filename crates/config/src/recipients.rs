//! To whom archives are sealed: `seal.recipients`, and `[[seal.recipient]]` for people with names.

use super::document::Document;
use super::problem::Problem;
use super::setting::{Values, WithOrigin};
use super::table::Table;
use super::trusted_file::text_of;
use hubvault_archive::Recipient;
use hubvault_engine::state::ownership::ReadOnlyMount;
use std::path::Path;

/// More make every header long; age writes one part of it for each.
const MOST: usize = 100;
/// No file of public keys is larger than this, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Somebody who can open the archives.
#[derive(Clone)]
pub struct Administrator {
    /// The name that the configuration gives, or the comment of an SSH key.
    pub name: Option<String>,
    /// The key.
    pub recipient: Recipient,
}

impl Administrator {
    /// For people: the name, or enough of the key.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.recipient.short())
    }
}

/// Every recipient, wherever it is named. A wrong one, or one that is named twice, is a problem.
pub(crate) fn recipients(
    values: &Values,
    document: &Document,
    config_dir: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<Administrator>> {
    let mut reader = Reader {
        config_dir,
        problems,
        recipients: Vec::new(),
    };
    if let Some(setting) = values.get(LIST) {
        let lines = setting.item_lines.iter().map(|line| document.origin(*line));
        let origins = lines.chain(std::iter::repeat(setting.origin.clone()));
        for (item, origin) in values.list(LIST).iter().zip(origins) {
            reader.item(item, &origin);
        }
    }
    for fields in document.array(TABLE).unwrap_or_default() {
        let mut table = Table::new(TABLE, document, fields, &["key", "name"], reader.problems);
        let key = table.required("key", "expected a public key of age or SSH");
        let name = table.text("name");
        let origin = table.origin("key");
        if let Some(key) = key {
            reader.key(&key, name, &origin, "seal.recipient.key");
        }
    }
    if let Some(beyond) = reader.recipients.get(MOST) {
        let what = format!("there are more than {MOST} recipients; name fewer");
        let problem = Problem::new(&beyond.origin, LIST, what);
        reader.problems.push(problem);
    }
    reader.recipients
}

const LIST: &str = "seal.recipients";
const TABLE: &str = "seal.recipient";

struct Reader<'a> {
    config_dir: &'a Path,
    problems: &'a mut Vec<Problem>,
    recipients: Vec<WithOrigin<Administrator>>,
}

impl Reader<'_> {
    /// A key, several of them a line each (as the file of a variable may have them), or a file.
    fn item(&mut self, item: &str, origin: &str) {
        let mut lines = entries(item).map(|(_, line)| line);
        match (lines.next(), lines.next()) {
            (Some(one), None) if !looks_like_key(one) => self.file(one, origin),
            (None, _) => self.problem(
                origin,
                LIST,
                "expected a public key or a file, not an empty text",
            ),
            _ => {
                for (_, line) in entries(item) {
                    self.key(line, None, origin, LIST);
                }
            }
        }
    }

    fn file(&mut self, word: &str, origin: &str) {
        let path = self.config_dir.join(word);
        if !word.contains('/') && !path.is_file() {
            let what = format!(
                "expected a public key (age1..., ssh-ed25519 ..., ssh-rsa ...) or the path of a file \
                 of them; there is no file {}",
                path.display()
            );
            return self.problem(origin, LIST, what);
        }
        let read = path.metadata().and_then(|meta| {
            if meta.len() > FILE_LIMIT {
                return Err(std::io::Error::other("it is too large for a list of keys"));
            }
            text_of(&path, ReadOnlyMount::Trusted)
        });
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                let what = format!("reading {}: {error}", path.display());
                return self.problem(origin, LIST, what);
            }
        };
        if entries(&text).next().is_none() {
            let what = format!("{} names no recipient", path.display());
            return self.problem(origin, LIST, what);
        }
        for (line, key) in entries(&text) {
            let origin = format!("{origin} ({} line {line})", path.display());
            self.key(key, None, &origin, LIST);
        }
    }

    fn key(&mut self, text: &str, name: Option<String>, origin: &str, key: &str) {
        let recipient: Recipient = match text.parse() {
            Ok(recipient) => recipient,
            Err(error) => return self.problem(origin, key, error.to_string()),
        };
        let mut others = self.recipients.iter();
        if let Some(other) = others.find(|other| other.value.recipient == recipient) {
            let what = format!(
                "{} is named twice, here and in {}; keep one",
                recipient.short(),
                other.origin
            );
            return self.problem(origin, key, what);
        }
        let comment = || {
            let mut words = text.trim().splitn(3, char::is_whitespace);
            words.nth(2).map(|comment| comment.trim().to_owned())
        };
        let name = name.or_else(comment).filter(|name| !name.is_empty());
        self.recipients.push(WithOrigin {
            value: Administrator { name, recipient },
            origin: origin.to_owned(),
        });
    }

    fn problem(&mut self, origin: &str, key: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(origin, key, what));
    }
}

/// The lines of a text that are neither comments nor empty, with their numbers from 1.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(i, line)| (i + 1, line))
}

/// Whether a text is a key, right or wrong, and not the name of a file.
fn looks_like_key(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let starts = [
        "age1",
        "age-secret-key-",
        "age-plugin-",
        "ssh-",
        "ecdsa-",
        "sk-",
    ];
    starts.iter().any(|start| lower.starts_with(start)) || lower.starts_with("-----begin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{ALICE, BOB, load, mistakes, refused};

    fn labels(variables: &[(&str, &str)], toml: &str) -> Vec<String> {
        let settings = load(variables, toml).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.job().seal.len(), settings.administrators().count());
        settings
            .administrators()
            .map(Administrator::label)
            .collect()
    }

    #[test]
    fn recipients_come_from_variables_files_and_tables() {
        let short = ALICE.parse::<Recipient>().unwrap().short();
        assert!(labels(&[], "").is_empty());
        let both = format!("{ALICE}, {BOB} bob@hub");
        assert_eq!(
            labels(&[("BACKUP_RECIPIENTS", &both)], ""),
            [&short, "bob@hub"]
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            format!("# who\n\n{ALICE}\n{BOB} bob the admin\n"),
        )
        .unwrap();
        let path = file.path().to_str().unwrap();
        for variable in ["BACKUP_RECIPIENTS", "BACKUP_RECIPIENTS_FILE"] {
            assert_eq!(labels(&[(variable, path)], ""), [&short, "bob the admin"]);
        }
        let toml = format!(
            "[seal]\nrecipients = [\"{ALICE}\"]\n\
             [[seal.recipient]]\nkey = \"{BOB} x\"\nname = \"bob@example.com\"\n"
        );
        assert_eq!(labels(&[], &toml), [&short, "bob@example.com"]);
        // The variable wins over the list, and tables stay.
        let hidden = [("BACKUP_RECIPIENTS", ALICE)];
        assert_eq!(labels(&hidden, &toml), [&short, "bob@example.com"]);
    }

    #[test]
    fn a_wrong_recipient_is_refused_with_its_line() {
        refused(
            &[],
            &format!(
                "[seal]\nrecipients = [\n  \"{ALICE}\",\n  \"age1x\",\n  \"nowhere\",\n  \"/no/file\",\n\
                 \x20 \"ecdsa-sha2-nistp256 AAAA\",\n  \"{ALICE}\"\n]\n\
                 [[seal.recipient]]\nname = \"x\"\n\
                 [[seal.recipient]]\nname = \"bob\"\nkey = \"{ALICE}\"\n\
                 [[seal.recipient]]\nkeys = \"x\"\nkey = \"{BOB}\"\n"
            ),
            &[
                "line 4: seal.recipients: not a public key of age",
                "line 5: seal.recipients: expected a public key",
                "line 6: seal.recipients: reading /no/file",
                "line 7: seal.recipients: not a public key of age",
                "line 8: seal.recipients: age1t7rx…vpy7pa is named twice, here and in hubvault.toml line 3",
                "line 10: seal.recipient: key is missing",
                "line 14: seal.recipient.key: age1t7rx…vpy7pa is named twice",
                "line 16: seal.recipient.keys: no such key; did you mean key?",
            ],
        );
        refused(
            &[("BACKUP_RECIPIENTS", "age1x")],
            "",
            &["variable BACKUP_RECIPIENTS"],
        );
    }

    #[test]
    fn a_wrong_line_of_a_file_is_named_and_a_private_key_is_not_repeated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        std::fs::write(file.path(), format!("{ALICE}\n{secret}\n")).unwrap();
        let path = file.path().to_str().unwrap();
        let variables = [("BACKUP_RECIPIENTS", path)];
        refused(
            &variables,
            "",
            &[&format!("({path} line 2)"), "private key"],
        );
        assert!(!mistakes(&variables, "").contains("GQ9778"));
        std::fs::write(file.path(), "# nobody\n").unwrap();
        refused(&variables, "", &["names no recipient"]);
    }
}
