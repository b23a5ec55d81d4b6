//! What the configuration is read from: the variables, and the file that is named or found.

use super::document::Document;
use super::environment::Environment;
use super::keys::KEYS;
use super::parser;
use super::problem::Problem;
use super::trusted_file::text_of;
use hubvault_engine::state::ownership::ReadOnlyMount;
use secrecy::{ExposeSecret, SecretString};
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

/// The file that was found and read, for all its jobs; without one, an empty document.
#[derive(Clone)]
pub(crate) struct ConfigFile {
    pub(crate) path: Option<PathBuf>,
    pub(crate) text: String,
    pub(crate) document: Document,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notices: Vec<String>,
}

/// The path that stands for standard input.
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

    /// Of a file that is named, the mount is trusted. That of the current directory is not: anybody may have made it.
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

    /// Whether there is no configuration file, and nothing of what names one is there and cannot be read.
    pub(crate) fn is_without_file(&self) -> bool {
        let is_missing = |path: &PathBuf| {
            let found = path.symlink_metadata();
            found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        match self.named() {
            Some(path) => path != Path::new(STANDARD_INPUT) && is_missing(&path),
            None => places(&self.environment).iter().all(is_missing),
        }
    }

    /// The file that `--config`, `HUBVAULT_CONFIG` or `CONFIG_DIR` asks for.
    pub(crate) fn configured_path(&self) -> Option<PathBuf> {
        let in_directory = || {
            let directory = self.environment.text("CONFIG_DIR")?;
            Some(Path::new(directory).join("hubvault.toml"))
        };
        self.named().or_else(in_directory)
    }

    fn named(&self) -> Option<PathBuf> {
        let variable = || self.environment.text("HUBVAULT_CONFIG").map(PathBuf::from);
        self.config.clone().or_else(variable)
    }

    pub(crate) fn read(&self) -> ConfigFile {
        let mut problems = Vec::new();
        let mut notices = Vec::new();
        // What is named, or the first that exists.
        let found = || {
            places(&self.environment)
                .into_iter()
                .find(|path| path.exists())
        };
        let path = self.named().or_else(found);
        let (text, document) = match &path {
            Some(path) => parse(path, self.text(path), &mut problems, &mut notices),
            None => (String::new(), Document::default()),
        };
        ConfigFile {
            path,
            text,
            document,
            problems,
            notices,
        }
    }
}

/// Where a file is searched that nothing names.
fn places(environment: &Environment) -> [PathBuf; 3] {
    [
        PathBuf::from("hubvault.toml"),
        environment.config_dir().join("hubvault.toml"),
        PathBuf::from("/etc/hubvault/hubvault.toml"),
    ]
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
            problems.push(Problem::new(
                origin,
                "",
                format!("could not be read: {error}"),
            ));
            return (String::new(), Document::default());
        }
    };
    let document = parser::parse(path, &text, problems);
    let says_secret = |document: &Document| {
        let mut secrets = KEYS.iter().filter(|key| key.is_secret());
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
