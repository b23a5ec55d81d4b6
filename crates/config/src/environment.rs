//! The variables of the process: the only place of hubvault that reads them.

use super::keys::{KEYS, Key};
use super::problem::{Problem, nearest};
use super::trusted_file::read_value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Variables that are no settings.
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
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
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

    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a setting that wins over the variables of its name.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.remove(&format!("{name}_FILE"));
        self.with(name, value)
    }

    /// The same without a variable, whether it holds its value or names a file.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self.variables.remove(&format!("{name}_FILE"));
        self
    }

    /// The variables that say which database and role, of those that are set.
    pub fn of_database(&self) -> Vec<String> {
        let keys = KEYS.iter().filter(|key| key.name.starts_with("database."));
        let names = keys.flat_map(|key| key.variables.iter().copied());
        let names = names.chain(["PGSERVICE"]);
        let names = names.flat_map(|name| [name.to_owned(), format!("{name}_FILE")]);
        names.filter(|name| self.text(name).is_some()).collect()
    }

    /// The same, of the settings with those of the database alone.
    #[must_use]
    pub fn only_database(&self) -> Self {
        let mut only = Self::bare(self);
        for name in self.of_database() {
            if let Some(text) = self.text(&name) {
                only = only.with(&name, text);
            }
        }
        only
    }

    /// The same without those of the database.
    #[must_use]
    pub fn without_database(mut self) -> Self {
        for name in self.of_database() {
            self.variables.remove(&name);
        }
        self
    }

    /// The same without any variable that a setting has.
    #[must_use]
    pub fn without_settings(mut self) -> Self {
        let settings = KEYS.iter().flat_map(|key| key.variables.iter().copied());
        for name in settings.chain(["PGSERVICE", "CONFIG_DIR"]) {
            self.variables.remove(name);
            self.variables.remove(&format!("{name}_FILE"));
        }
        self
    }

    /// The text of a variable. An empty one counts as unset, like `${NAME:-default}` in the shell scripts.
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

    /// A notice for each variable that looks like one of hubvault's and is none: `BACKUP_DRI`.
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
                format!("variable {name} is unknown to hubvault{hint}")
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

    /// Where the configuration's files are searched; known before the settings are.
    pub fn config_dir(&self) -> PathBuf {
        let default = || Key::named("config_dir").map_or("", |key| key.default);
        PathBuf::from(self.text("CONFIG_DIR").unwrap_or_else(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_may_name_a_file_but_not_both_may_be_set() {
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
    fn a_misspelt_variable_gets_a_notice() {
        let environment = Environment::of(&[("BACKUP_DRI", "/b"), ("BACKUP_DIR_FILE", "/x")]);
        assert_eq!(
            environment.misspelt(),
            ["variable BACKUP_DRI is unknown to hubvault; did you mean BACKUP_DIR?"]
        );
    }
}
