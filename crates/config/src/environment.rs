//! The variables of the process: the only place of hubvault that reads them.

use super::input::text_of;
use super::keys::{self, KEYS};
use super::problem::{Problem, nearest};
use hubvault_engine::state::ownership::ReadOnlyMount;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Variables that are no settings: where to look for files and programs.
const OTHERS: &[&str] = &["HUBVAULT_CONFIG"];

/// The variables that are set, as they were when the process began.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// What the process was given. A variable that is not UTF-8 counts as absent, as none of ours
    /// can mean such bytes.
    pub fn of_process() -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            variables: std::env::vars_os().filter_map(text).collect(),
        }
    }

    /// An environment of these variables, for tests.
    #[cfg(test)]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            variables: variables.iter().map(own).collect(),
        }
    }

    /// The same process without any setting: only where directories and programs are.
    pub fn bare(of: &Self) -> Self {
        let kept = ["HOME", "TMPDIR", "PATH"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), of.text(name)?.to_owned())));
        Self {
            variables: kept.collect(),
        }
    }

    /// With one variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// A variable's own text. An empty one counts as unset, as `${NAME:-default}` of the shell
    /// scripts had it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A setting from `NAME`, or from the file that `NAME_FILE` names (without its last line
    /// break); with where it came from.
    pub fn setting(&self, name: &str) -> Result<Option<(String, String)>, Problem> {
        let by_file = format!("{name}_FILE");
        match (self.text(name), self.text(&by_file)) {
            (Some(_), Some(_)) => Err(Problem::new(
                format!("variable {name}"),
                "",
                format!("{by_file} is set too; keep one of them"),
            )),
            (Some(text), None) => Ok(Some((text.to_owned(), format!("variable {name}")))),
            (None, Some(path)) => {
                let origin = format!("variable {by_file} ({path})");
                let text = read_value(path).map_err(|what| Problem::new(&origin, "", what))?;
                Ok(Some((text, origin)))
            }
            (None, None) => Ok(None),
        }
    }

    /// Variables that look like ours and are not: `BACKUP_DRI`.
    pub fn misspelt(&self) -> Vec<String> {
        let known: Vec<&str> = KEYS
            .iter()
            .flat_map(|key| key.variables.iter().copied())
            .chain(OTHERS.iter().copied())
            .collect();
        self.variables
            .keys()
            .filter(|name| name.starts_with("BACKUP_") || name.starts_with("HUBVAULT_"))
            .filter(|name| {
                let plain = name.strip_suffix("_FILE").unwrap_or(name);
                !known.contains(&plain)
            })
            .map(|name| {
                let hint = nearest(name, known.iter().copied());
                format!("variable {name} means nothing to hubvault{hint}")
            })
            .collect()
    }

    /// The home directory, for `~/.pgpass`.
    pub fn home(&self) -> Option<PathBuf> {
        self.text("HOME").map(PathBuf::from)
    }

    /// What a throwaway server gets: where programs, libraries and short-lived files are.
    pub fn of_drills(&self) -> Vec<(String, String)> {
        let kept = |name: &str| matches!(name, "PATH" | "TMPDIR" | "TZ") || name.starts_with("LD_");
        self.variables
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Where short-lived directories go.
    pub fn temp_dir(&self) -> PathBuf {
        PathBuf::from(self.text("TMPDIR").unwrap_or("/tmp"))
    }

    /// Where the configuration's files are looked for; also asked before there are settings.
    pub fn config_dir(&self) -> PathBuf {
        PathBuf::from(self.text("CONFIG_DIR").unwrap_or(keys::CONFIG_DIR))
    }
}

/// The text of a file that holds one value, without the line break at its end.
pub(crate) fn read_value(path: &str) -> Result<String, String> {
    let text = text_of(Path::new(path), ReadOnlyMount::Trusted)
        .map_err(|error| format!("reading {path}: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        Err(format!("{path} is empty"))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stands_for_a_variable_but_not_beside_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret \n").unwrap();
        let path = file.path().to_str().unwrap();
        let environment = Environment::of(&[("POSTGRES_PASSWORD_FILE", path)]);
        let (text, origin) = environment.setting("POSTGRES_PASSWORD").unwrap().unwrap();
        assert_eq!(text, "secret ");
        assert!(origin.contains(path));
        let both = Environment::of(&[("SMTP_PASS", "a"), ("SMTP_PASS_FILE", path)]);
        let problem = both.setting("SMTP_PASS").unwrap_err().to_string();
        assert!(problem.contains("SMTP_PASS") && problem.contains("SMTP_PASS_FILE"));
    }

    #[test]
    fn an_empty_variable_is_unset() {
        assert!(
            Environment::of(&[("BACKUP_DIR", "")])
                .setting("BACKUP_DIR")
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_misspelt_variable_is_noticed() {
        let environment = Environment::of(&[("BACKUP_DRI", "/b"), ("BACKUP_DIR_FILE", "/x")]);
        assert_eq!(
            environment.misspelt(),
            ["variable BACKUP_DRI means nothing to hubvault; did you mean BACKUP_DIR?"]
        );
    }
}
