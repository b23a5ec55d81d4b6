//! A new `hubvault.toml`: what differs from the defaults, in the order of the list of keys, with comments.

use super::environment::Environment;
use super::keys::{KEYS, Key};
use super::kind::Kind;
use super::setting::Value;
use super::settings::Settings;
use hubvault_model::TableName;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEADER: &str = "# What hubvault backs up, where to, and who is notified. Written by `hubvault init`.
# Only what differs from the defaults is here; hubvault.example.toml has every setting (`hubvault config init FILE`
# writes it). `hubvault config check` checks this file, `hubvault backup --dry-run` shows what a backup takes.
";

const COMMENTS: [(&str, &str); 6] = [
    (
        "database",
        "The database, and the role that reads it. The role needs no other right.",
    ),
    ("archive", "Where archives are kept."),
    (
        "retention",
        "Which archives are kept. The newest proven one always is.",
    ),
    (
        "schedule",
        "When `hubvault serve` takes a backup: minute, hour, day, month, weekday.",
    ),
    (
        "email",
        "Who is notified of every run, and the mail server.",
    ),
    (
        "seal",
        "Archives are encrypted: whoever has the private key of one of these keys can open them, and nobody else.",
    ),
];

/// Settings that a file says even at their default: without them nobody would know which database it is about.
const ALWAYS: [&str; 4] = [
    "database.host",
    "database.name",
    "database.user",
    "archive.directory",
];

/// A configuration file that is to be written.
#[derive(Clone, Default)]
pub struct Draft {
    values: BTreeMap<&'static str, String>,
    secrets: Vec<(&'static str, SecretString)>,
    /// Patterns of the tables that are taken.
    pub tables: Vec<String>,
    /// Patterns of the tables that are left out.
    pub exclude: Vec<String>,
    /// Large tables of which only recent rows might be taken.
    pub windows: Vec<DraftWindow>,
    /// Files that might be taken.
    pub files: Vec<DraftFile>,
}

/// A window that is written, or proposed in a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftWindow {
    /// The table.
    pub table: TableName,
    /// Its column.
    pub column: String,
    /// `3 months`
    pub length: String,
    /// Why it is proposed.
    pub reason: String,
    /// Whether it is more than a proposal.
    pub is_wanted: bool,
}

/// A file that is written, or proposed in a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftFile {
    /// Where it is.
    pub source: PathBuf,
    /// Its name in the archive, which no other has.
    pub name: String,
    /// Whether it probably holds passwords.
    pub has_secrets: bool,
    /// Whether it is more than a proposal.
    pub is_wanted: bool,
}

impl Draft {
    /// What the variables set, as a file says it. Relative paths are those of `directory`.
    pub fn of(settings: &Settings, environment: &Environment, directory: &Path) -> Self {
        let mut draft = Self::default();
        for setting in settings.values.iter() {
            let key = setting.key;
            let is_said = ALWAYS.contains(&key.name) || setting.is_given();
            if !is_said || ["database.url", "config_dir"].contains(&key.name) {
                continue;
            }
            match &setting.value {
                Value::Secret(secret) => match file_of(key, environment, &setting.origin) {
                    Some(path) => draft.name_secret_file(key.name, &directory.join(path)),
                    None => draft.secrets.push((key.name, secret.clone())),
                },
                Value::Text(text) if text != key.default || ALWAYS.contains(&key.name) => {
                    let text = match key.name {
                        "archive.directory" => directory.join(text).display().to_string(),
                        _ => text.clone(),
                    };
                    draft.values.insert(key.name, literal(key, &text));
                }
                Value::List(items) => {
                    draft.values.insert(key.name, list(items));
                }
                Value::Text(_) | Value::Unset => {}
            }
        }
        draft
    }

    /// Sets a key that is one value.
    pub fn set(&mut self, key: &str, text: &str) {
        if let Some(key) = Key::named(key) {
            self.values.insert(key.name, literal(key, text));
        }
    }

    /// Whether a key is said.
    pub fn says(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The secrets that the variables hold themselves, for files that the configuration then names.
    pub fn take_secrets(&mut self) -> Vec<(&'static str, SecretString)> {
        std::mem::take(&mut self.secrets)
    }

    /// Forgets the password of the role that is replaced.
    pub fn forget_password(&mut self) {
        self.secrets.retain(|(key, _)| *key != "database.password");
        self.values.remove("database.password");
        self.values.remove("database.passfile");
    }

    /// Names the file that holds a secret.
    pub fn name_secret_file(&mut self, key: &str, path: &Path) {
        if let Some(key) = Key::named(key) {
            self.values
                .insert(key.name, quoted(&path.display().to_string()));
        }
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut out = String::from(HEADER);
        let mut table = "";
        for key in KEYS {
            let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if of != table {
                if table == "database" {
                    self.scope(&mut out);
                    self.files(&mut out);
                }
                table = of;
                if KEYS.iter().any(|key| self.is_of(key, of)) {
                    let comment = COMMENTS.iter().find(|(table, _)| *table == of);
                    let comment = comment.map(|(_, text)| format!("# {text}\n"));
                    let _ = write!(out, "\n{}[{of}]\n", comment.unwrap_or_default());
                }
            }
            if let Some(value) = self.values.get(key.name).filter(|_| of != "scope") {
                let by_file = if key.is_secret() { "_file" } else { "" };
                let _ = writeln!(out, "{name}{by_file} = {value}");
            }
        }
        out
    }

    fn is_of(&self, key: &Key, table: &str) -> bool {
        table != "scope"
            && self.values.contains_key(key.name)
            && key.name.split_once('.').is_some_and(|(of, _)| of == table)
    }

    fn scope(&self, out: &mut String) {
        *out += "\n# Tables that are backed up whole; [\"*\"] is all, also those to come. The definitions of the whole database\n\
                 # are always in the archive.\n[scope]\n";
        let _ = writeln!(out, "tables = {}", list(&self.tables));
        if !self.exclude.is_empty() {
            let _ = writeln!(out, "exclude = {}", list(&self.exclude));
        }
        for window in &self.windows {
            let mark = if window.is_wanted { "" } else { "# " };
            let what = if window.is_wanted {
                "only its recent rows"
            } else {
                "to take only its recent rows, remove the marks"
            };
            let _ = write!(
                out,
                "\n# {}: {what}.\n{mark}[[scope.window]]\n{mark}tables = {}\n{mark}column = {}\n{mark}length = {}\n",
                hubvault_model::one_line(&window.reason),
                list(&[window.table.to_string()]),
                quoted(&window.column),
                quoted(&window.length),
            );
        }
    }

    fn files(&self, out: &mut String) {
        if self.files.is_empty() {
            return;
        }
        *out += "\n# Files and directories of this host that go into the archive, too.\n";
        for file in &self.files {
            let mark = if file.is_wanted { "" } else { "# " };
            if file.has_secrets {
                *out += "\n# It probably holds passwords: only for sealed archives.";
            }
            let _ = write!(
                out,
                "\n{mark}[[file]]\n{mark}source = {}\n{mark}name = {}\n",
                quoted(&file.source.display().to_string()),
                quoted(&file.name)
            );
        }
    }
}

/// The file that holds a secret of the variables.
fn file_of(key: &Key, environment: &Environment, origin: &str) -> Option<PathBuf> {
    let mut names = key.variables.iter().map(|name| format!("{name}_FILE"));
    let name = names.find(|name| origin.starts_with(&format!("variable {name} ")))?;
    environment.text(&name).map(PathBuf::from)
}

fn literal(key: &Key, text: &str) -> String {
    match key.kind {
        Kind::Integer(..) => text.to_owned(),
        Kind::List => list(
            &text
                .split(',')
                .map(|item| item.trim().to_owned())
                .collect::<Vec<_>>(),
        ),
        kind if kind.is_yes_no() => text.to_owned(),
        _ => quoted(text),
    }
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string of TOML. What JSON escapes is escaped alike there, and one more character is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{ALICE, load};
    use secrecy::ExposeSecret;

    fn window(is_wanted: bool, name: &str) -> DraftWindow {
        DraftWindow {
            table: TableName::new("My Shop", name),
            column: "at \"noon\"".to_owned(),
            length: "3 months".to_owned(),
            reason: "My Shop.events, 2 GB\n[evil]".to_owned(),
            is_wanted,
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        let variables = [
            ("DATABASE_URL", "postgres://reader:p%40ss@db:5433/a%3Db"),
            ("SMTP_HOST", "smtp.example.com"),
            ("SMTP_FROM", "backup@example.com"),
            ("ADMIN_EMAILS", "ada@example.com, grace@example.com"),
            ("EMAIL_MAX_MESSAGE_MB", "9"),
            ("SMTP_ALLOW_PLAIN", "true"),
            ("BACKUP_RECIPIENTS", ALICE),
            ("BACKUP_DIR", "kept \"here\""),
            ("BACKUP_RETENTION_DAYS", "30"),
        ];
        let settings = load(&variables, "").unwrap();
        let environment = Environment::of(&variables);
        let place = Path::new("/srv/\u{7f}x\\y");
        let mut draft = Draft::of(&settings, &environment, place);
        let secrets = draft.take_secrets();
        assert_eq!(secrets[0].0, "database.password");
        assert_eq!(secrets[0].1.expose_secret(), "p@ss");
        draft.tables = vec!["*".to_owned()];
        draft.exclude = vec!["\"Odd\".\"a.b*\"".to_owned()];
        draft.windows = vec![window(true, "events"), window(false, "Big*")];
        draft.files = vec![DraftFile {
            source: "/etc/nginx/nginx.conf".into(),
            name: "config/nginx.conf".to_owned(),
            has_secrets: false,
            is_wanted: true,
        }];
        let text = draft.text();
        assert!(!text.contains("p@ss") && !text.contains("days"), "{text}");
        let read = load(&[], &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let job = read.job();
        assert_eq!(job.database.to_string(), "reader@db:5433/a=b");
        assert_eq!(job.local_directory(), place.join("kept \"here\""));
        let mail = job.delivery.mail.as_ref().unwrap();
        assert_eq!(mail.to.len(), 2);
        assert!(mail.smtp.allow_plain);
        assert_eq!(mail.max_message, hubvault_model::ByteSize::from_mib(9));
        assert_eq!((job.seal.len(), job.files.len()), (1, 1));
        let [window] = job.scope.windows.as_slice() else {
            panic!("{text}")
        };
        assert!(window.tables[0].matches(&TableName::new("My Shop", "events")));
        assert!(job.scope.exclude[0].matches(&TableName::new("Odd", "a.b*")));
        // The proposal is one, and right when its marks are removed.
        let agreed = text
            .replace("\n# [[", "\n[[")
            .replace("\n# tables", "\ntables");
        let agreed = agreed
            .replace("\n# column", "\ncolumn")
            .replace("\n# length", "\nlength");
        let both = load(&[], &agreed).unwrap_or_else(|error| panic!("{error}\n{agreed}"));
        let big = &both.job().scope.windows[1].tables[0];
        assert!(big.matches(&TableName::new("My Shop", "Big*")));
        assert!(!big.matches(&TableName::new("My Shop", "Bigger")));
    }
}
