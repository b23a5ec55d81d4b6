//! The configuration: variables, `hubvault.toml` and `*_FILE` become one job. The only place of
//! hubvault that reads the environment.

mod problem;
mod environment;
mod address;
mod keys;
mod url;
mod document;
mod input;
mod place;
mod overlay;
mod resolve;
mod strictness;
mod weakened;
mod jobs;
mod scope;
mod seal;
mod http;
mod delivery;
mod schedule;
mod service;
mod commands;
mod command_secrets;
mod checks;
mod job;

pub use environment::Environment;
pub use input::Inputs;
pub use overlay::{CHANGEABLE, Changes};
pub use problem::{ConfigError, Problem, nearest};
pub use resolve::{Found, Value};
pub use scope::Said;
pub use seal::Administrator;
pub use service::{LogFormat, LogOptions, Service};
pub use strictness::longest_gap;
pub use weakened::Difference;

use hubvault_engine::job::{CommandSource, FileSource, Hook, Job, UserCheck, Window};
use hubvault_model::Masks;
use hubvault_postgres::ConnectSettings;
use input::Read;
use jiff::tz::TimeZone;
use keys::KEYS;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that is set, with where it was said.
pub struct Settings {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// The single values, in the order of the list of keys.
    pub found: Vec<Found>,
    /// The windows.
    pub windows: Vec<Said<Window>>,
    /// The files.
    pub files: Vec<Said<FileSource>>,
    /// The commands whose output goes in.
    pub sources: Vec<Said<CommandSource>>,
    /// The commands that run around the stages.
    pub hooks: Vec<Said<Hook>>,
    /// The user's own checks.
    pub checks: Vec<Said<UserCheck>>,
    /// To whom archives are sealed.
    pub recipients: Vec<Said<Administrator>>,
    /// What is set and has no effect, or looks like a mistake without being one.
    pub notices: Vec<String>,
    /// Where short-lived directories go.
    pub temp_dir: PathBuf,
    /// The zone of schedules, of names and of days.
    pub zone: TimeZone,
    /// Which `[[job]]` of the file it is; `None` where there is none.
    pub job_name: Option<String>,
    /// What a service has once, whatever its jobs are.
    pub service: Service,
    /// What file and variables say where something was changed over HTTP.
    floor: weakened::Floor,
    /// What the file says, as it was read; empty without one. It may hold secrets.
    source: SecretString,
    job: Arc<Job>,
}

impl Settings {
    /// Reads everything for one job: `wanted`, or the only one. All mistakes are reported together.
    pub fn load(inputs: &Inputs, wanted: Option<&str>) -> Result<Self, ConfigError> {
        Self::of(&inputs.environment, inputs.read(), wanted, None)
    }

    /// Every job of the file; the one job that there is where it has no `[[job]]`.
    pub fn load_all(inputs: &Inputs) -> Result<Vec<Self>, ConfigError> {
        Self::load_all_with(inputs, None, None)
    }

    /// The same, with `tried` in place of the overlay that the job `of` has.
    pub fn load_all_with(
        inputs: &Inputs,
        of: Option<&str>,
        tried: Option<&Changes>,
    ) -> Result<Vec<Self>, ConfigError> {
        let said = inputs.read();
        let names = jobs::names(&said.document);
        if names.is_empty() {
            return Ok(vec![Self::of(&inputs.environment, said, None, tried)?]);
        }
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for name in &names {
            let tried = tried.filter(|_| of == Some(name.as_str()));
            match Self::of(&inputs.environment, said.clone(), Some(name), tried) {
                Ok(settings) => all.push(settings),
                // What stands at the top is every job's.
                Err(error) => error.problems.into_iter().for_each(|problem| {
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }),
            }
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let notices = jobs::notices(&all);
        if let Some(first) = all.first_mut() {
            first.notices.extend(notices);
        }
        Ok(all)
    }

    fn of(
        environment: &Environment,
        said: Read,
        wanted: Option<&str>,
        tried: Option<&Changes>,
    ) -> Result<Self, ConfigError> {
        let Read {
            file,
            source,
            document: whole,
            mut problems,
            mut notices,
        } = said;
        jobs::check_names(&whole, &mut problems);
        jobs::check_directories(environment, &whole, &mut problems);
        let document = match jobs::chosen(&whole, wanted) {
            Ok(document) => document,
            Err(problem) => {
                problems.push(problem);
                return Err(ConfigError { problems });
            }
        };
        let overlay = overlay::read(environment, &document, tried, &mut problems, &mut notices);
        let floor = weakened::Floor::of(environment, &document, &overlay);
        let mut found = resolve::resolve(environment, &document, &overlay, &mut problems);
        settle_defaults(environment, &mut found);
        let shared = place::said(environment, &whole);
        let service_directory = jobs::settle_directory(&document, shared, &mut found);
        let windows = scope::windows(&document, &mut problems);
        let config_dir = PathBuf::from(text(&found, "config_dir"));
        let files = scope::files(&document, &config_dir, &mut problems);
        let recipients = seal::recipients(&found, &document, &config_dir, &mut problems);
        let sources = commands::sources(&document, &files, &mut problems);
        let hooks = commands::hooks(&document, &mut problems);
        let mut job = job::job(&found, &windows, &files, &mut problems);
        let checks = checks::checks(&document, &mut problems);
        if let Some(name) = &document.job {
            job.name.clone_from(name);
        }
        job.monitor = checks::monitor(&found, &checks);
        job.proof.environment = environment.of_drills();
        job.seal = recipients
            .iter()
            .map(|said| said.value.recipient.clone())
            .collect();
        job.sources = sources.iter().map(|said| said.value.clone()).collect();
        job.hooks = hooks.iter().map(|said| said.value.clone()).collect();
        // A URL holds passwords of its own.
        let of_servers = std::iter::once(&job.database)
            .chain(&job.proof.server)
            .filter_map(|server| server.password.clone());
        let in_commands = sources.iter().map(|said| &said.value.command);
        let in_commands = in_commands
            .chain(hooks.iter().map(|said| &said.value.command))
            .chain(checks.iter().map(|said| &said.value.command))
            .flat_map(command_secrets::secrets);
        job.delivery.masks = Masks::new(
            delivery::secrets(found.values())
                .into_iter()
                .chain(of_servers)
                .chain(in_commands),
        );
        input::check_included(&found, &mut problems);
        notices.extend(delivery::notices(&found));
        notices.extend(http::notices(&found));
        notices.extend(environment.misspelt());
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let zone = schedule::zone(&found);
        let service = service::service(&found, service_directory);
        let found = KEYS
            .iter()
            .filter_map(|key| found.remove(key.name))
            .collect();
        let temp_dir = environment.temp_dir();
        let mut settings = Self {
            file,
            found,
            windows,
            files,
            sources,
            hooks,
            checks,
            recipients,
            notices,
            temp_dir,
            zone,
            job_name: document.job,
            service,
            floor,
            source: SecretString::from(source),
            job: Arc::new(job),
        };
        let weakened = settings.weakened_in_words();
        settings.notices.extend(weakened);
        Ok(settings)
    }

    /// The job that they make.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// What the file says, for a child that is to go by the same.
    pub fn source(&self) -> &SecretString {
        &self.source
    }

    /// A server that a connection string names; what it does not say is the configuration's, but
    /// never a password for another host or role.
    pub fn target(&self, url: &str) -> Result<ConnectSettings, ConfigError> {
        let mut problems = Vec::new();
        let target = job::connect_to(&self.job.database, url, "--to", &mut problems);
        if problems.is_empty() {
            Ok(target)
        } else {
            Err(ConfigError { problems })
        }
    }

    /// What no log line and no message may hold.
    pub fn masks(&self) -> &Masks {
        &self.job.delivery.masks
    }

    /// The text of a plain value.
    #[cfg(test)]
    fn text(&self, key: &str) -> &str {
        self.found
            .iter()
            .find(|found| found.key.name == key)
            .map_or("", Found::text)
    }
}

/// Defaults that depend on something: as libpq has them, the database is called like the role, and
/// the password file is in the home directory. Drills go where short-lived directories go.
fn settle_defaults(environment: &Environment, found: &mut BTreeMap<&'static str, Found>) {
    let user = text(found, "database.user").to_owned();
    let passfile = environment
        .home()
        .map(|home| home.join(".pgpass").display().to_string());
    let temp_dir = environment.temp_dir().display().to_string();
    for (key, value) in [
        ("database.name", Some(user)),
        ("database.passfile", passfile),
        ("proof.directory", Some(temp_dir)),
    ] {
        if let (Some(found), Some(value)) = (found.get_mut(key), value)
            && !found.is_given()
        {
            found.value = Value::Text(value);
        }
    }
}

fn text<'a>(found: &'a BTreeMap<&'static str, Found>, key: &str) -> &'a str {
    found.get(key).map_or("", Found::text)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod properties;
