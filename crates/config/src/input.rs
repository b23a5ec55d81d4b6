//! What the configuration is read from: the file that is named or found, with all that it includes. What another user can
//! write is refused: it says what hubvault runs, where it sends, and to whom.

use super::document::Document;
use super::environment::Environment;
use super::keys::KEYS;
use super::problem::Problem;
use super::resolve::Found;
use hubvault_engine::state::ownership::{self, ReadOnlyMount};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// What the configuration is read from.
#[derive(Clone)]
pub struct Inputs {
    /// The variables.
    pub environment: Environment,
    /// What `--config` names.
    pub config: Option<PathBuf>,
    /// What came on standard input, which can be read once and stays the same.
    standard_input: Arc<OnceLock<SecretString>>,
}

/// A file that was found and read, before it is known which job is wanted.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) file: Option<PathBuf>,
    pub(super) source: String,
    pub(super) document: Document,
    pub(super) problems: Vec<Problem>,
    pub(super) notices: Vec<String>,
}

/// More than any of them needs, in bytes.
const LARGEST: u64 = 8 << 20;

/// As which file standard input is named.
const STANDARD_INPUT: &str = "-";

impl Inputs {
    /// Of these variables and this `--config`.
    pub fn new(environment: Environment, config: Option<PathBuf>) -> Self {
        Self {
            environment,
            config,
            standard_input: Arc::default(),
        }
    }

    /// Of these variables and of a configuration's text.
    pub fn with_text(environment: Environment, text: SecretString) -> Self {
        Self {
            environment,
            config: Some(PathBuf::from(STANDARD_INPUT)),
            standard_input: Arc::new(OnceLock::from(text)),
        }
    }

    /// The text of a file, or of standard input.
    fn text(&self, path: &Path) -> std::io::Result<String> {
        if path != Path::new(STANDARD_INPUT) {
            return text_of(path, self.mount(path));
        }
        if let Some(text) = self.standard_input.get() {
            return Ok(text.expose_secret().to_owned());
        }
        let text = std::io::read_to_string(std::io::stdin())?;
        let text = self.standard_input.get_or_init(|| SecretString::from(text));
        Ok(text.expose_secret().to_owned())
    }

    /// Whoever mounts the directory that somebody happens to be in is not asked; those that are named are another matter.
    fn mount(&self, path: &Path) -> ReadOnlyMount {
        let here = |path: &Path| std::fs::canonicalize(path).ok();
        let configured = self.environment.config_dir().join("hubvault.toml");
        let is_found_here = self.config.is_none()
            && self.environment.text("HUBVAULT_CONFIG").is_none()
            && path == Path::new("hubvault.toml");
        if is_found_here && here(path) != here(&configured) {
            ReadOnlyMount::Untrusted
        } else {
            ReadOnlyMount::Trusted
        }
    }

    pub(super) fn read(&self) -> Read {
        let mut problems = Vec::new();
        let mut notices = Vec::new();
        let file = find_file(&self.environment, self.config.as_deref());
        let (source, document) = match &file {
            Some(path) => parse(path, self.text(path), &mut problems, &mut notices),
            None => (String::new(), Document::default()),
        };
        Read {
            file,
            source,
            document,
            problems,
            notices,
        }
    }
}

/// What `--config` names, what `HUBVAULT_CONFIG` names, or the first that exists of
/// `./hubvault.toml`, `$CONFIG_DIR/hubvault.toml` and `/etc/hubvault/hubvault.toml`.
fn find_file(environment: &Environment, config: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = config {
        return Some(path.to_owned());
    }
    if let Some(path) = environment.text("HUBVAULT_CONFIG") {
        return Some(PathBuf::from(path));
    }
    let places = [
        PathBuf::from("hubvault.toml"),
        environment.config_dir().join("hubvault.toml"),
        PathBuf::from("/etc/hubvault/hubvault.toml"),
    ];
    places.into_iter().find(|path| path.exists())
}

fn parse(
    path: &Path,
    text: std::io::Result<String>,
    problems: &mut Vec<Problem>,
    notices: &mut Vec<String>,
) -> (String, Document) {
    use std::os::unix::fs::PermissionsExt;
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            let origin = path.display().to_string();
            problems.push(Problem::new(origin, "", format!("reading it: {error}")));
            return (String::new(), Document::default());
        }
    };
    let document = Document::parse(path, &text, problems);
    let says_secret = |document: &Document| {
        let mut secrets = KEYS.iter().filter(|key| key.secret);
        secrets.any(|key| document.value(key.name).is_some())
    };
    let holds_secret =
        says_secret(&document) || document.jobs.iter().any(|job| says_secret(&job.value));
    let mode = path.metadata().map_or(0, |meta| meta.permissions().mode());
    if holds_secret && mode & 0o077 != 0 {
        let path = path.display();
        notices.push(format!(
            "{path} holds a secret and others may read it; run chmod 600 {path}, or name a file \
             with password_file"
        ));
    }
    (text, document)
}

/// The text of a file of the configuration, which no other user may write. A pipe that somebody names is read as it is:
/// `--config <(...)`.
pub(super) fn text_of(path: &Path, mount: ReadOnlyMount) -> std::io::Result<String> {
    if ["/dev/", "/proc/"].iter().any(|of| path.starts_with(of)) {
        return std::fs::read_to_string(path);
    }
    ownership::read_trusted(path, LARGEST, mount)
}

/// Files that the configuration names and others read.
const INCLUDED: [&str; 4] = [
    "database.passfile",
    "database.sslrootcert",
    "email.ca_file",
    "delivery.ca_file",
];

/// Looks at them; one that is not there is complained about where it is needed.
pub(super) fn check_included(found: &BTreeMap<&'static str, Found>, problems: &mut Vec<Problem>) {
    for key in INCLUDED {
        let Some(found) = found.get(key).filter(|found| found.is_given()) else {
            continue;
        };
        if let Err(error) =
            ownership::check_trusted(Path::new(found.text()), ReadOnlyMount::Trusted)
            && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        {
            problems.push(Problem::new(&found.origin, key, error.to_string()));
        }
    }
}
