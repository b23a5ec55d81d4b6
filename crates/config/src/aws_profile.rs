//! A profile of `~/.aws/credentials` and `~/.aws/config`, as the tools of AWS read them.

use super::environment::Environment;
use super::problem::Problem;
use super::trusted_file::existing;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a profile sets.
#[derive(Default)]
pub(crate) struct Profile {
    name: String,
    values: BTreeMap<String, String>,
}

/// Ways to get credentials that need the tools of AWS, with a word for each.
const ELSEWHERE: &[(&str, &str)] = &[
    ("credential_process", "a program"),
    ("sso_session", "single sign-on"),
    ("sso_start_url", "single sign-on"),
    ("source_profile", "the role of another profile"),
    ("credential_source", "the role of a machine"),
];

impl Profile {
    /// The profile that is chosen. Without `AWS_PROFILE` it need not exist. Where it is not needed, a file that cannot be
    /// read or trusted is left out.
    pub(crate) fn chosen(environment: &Environment, is_needed: bool) -> Result<Self, Problem> {
        let by_name = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]
            .into_iter()
            .find_map(|variable| Some((variable, environment.text(variable)?)));
        let name = by_name.map_or("default", |(_, name)| name);
        let mut profile = Self {
            name: name.to_owned(),
            values: BTreeMap::new(),
        };
        let is_needed = is_needed || by_name.is_some();
        let of_user = |file: &str| Some(environment.home()?.join(".aws").join(file));
        let (mut is_found, mut read, mut by_file) = (false, Vec::new(), None);
        for (variable, file) in [
            ("AWS_CONFIG_FILE", "config"),
            // Read last: of both files this one counts.
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        ] {
            let named = environment.text(variable).map(PathBuf::from);
            let is_named = named.is_some();
            let Some(path) = named.or_else(|| of_user(file)) else {
                continue;
            };
            let shown = path.display().to_string();
            match existing(&path) {
                Ok(Some(text)) => is_found |= profile.read(&text, file == "config"),
                Ok(None) => continue,
                Err(error) if !is_needed => {
                    tracing::warn!("{shown} is not read: {error}");
                    continue;
                }
                Err(error) if is_named => {
                    let what = format!("reading {shown}: {error}");
                    return Err(Problem::new(format!("variable {variable}"), "", what));
                }
                Err(error) => return Err(Problem::new(shown, "", error.to_string())),
            }
            // The other file often names no profile.
            if is_named && is_needed && file == "credentials" {
                by_file = Some(variable);
            }
            read.push(shown);
        }
        match by_name.map(|(variable, _)| variable).or(by_file) {
            Some(variable) if !is_found => {
                let origin = format!("variable {variable}");
                let what = match read.join(" and ") {
                    read if read.is_empty() => {
                        format!(
                            "no profile {name}: there is neither ~/.aws/credentials nor ~/.aws/config"
                        )
                    }
                    read => format!("no profile {name} in {read}"),
                };
                Err(Problem::new(origin, "", what))
            }
            _ => Ok(profile),
        }
    }

    /// Adds what the section of this profile sets; whether there is one. Indented lines are settings of single services.
    fn read(&mut self, text: &str, is_config: bool) -> bool {
        let (mut is_inside, mut is_found) = (false, false);
        // What editors of Windows put first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for line in text.lines() {
            let is_nested = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(title) = line.strip_prefix('[') {
                let title = title.split(']').next().unwrap_or_default().trim();
                is_inside = self.is_called(title, is_config);
                is_found |= is_inside;
            } else if let Some((name, value)) = line.split_once('=')
                && is_inside
                && !is_nested
            {
                let value = value.split(" #").next().unwrap_or_default().trim();
                self.values
                    .insert(name.trim().to_ascii_lowercase(), value.to_owned());
            }
        }
        is_found
    }

    fn is_called(&self, title: &str, is_config: bool) -> bool {
        match title.strip_prefix("profile") {
            Some(name) if is_config && name.starts_with(char::is_whitespace) => {
                name.trim() == self.name
            }
            _ => title == self.name && (!is_config || title == "default"),
        }
    }

    /// A setting; an empty one counts as unset.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Refuses a profile that has credentials which only the tools of AWS can get.
    pub(crate) fn refuse_elsewhere(&self) -> Result<(), Problem> {
        let found = ELSEWHERE.iter().find(|(name, _)| self.text(name).is_some());
        let Some((name, way)) = found else {
            return Ok(());
        };
        let what = format!(
            "it gets its credentials by {way} ({name}), which hubvault does not do; run \
             `eval \"$(aws configure export-credentials --profile {} --format env)\"` before hubvault",
            self.name
        );
        Err(Problem::new(format!("AWS profile {}", self.name), "", what))
    }
}
