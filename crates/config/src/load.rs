//! Reads variables and file and makes the settings of one job, or of all.

use super::change_rules::changeable;
use super::default_scope::{self, DefaultScope};
use super::delivery;
use super::destination_list::first_directory;
use super::destination_places;
use super::document::Document;
use super::environment::Environment;
use super::input::{ConfigFile, Inputs};
use super::job::{build, schedule};
use super::jobs;
use super::libpq;
use super::links;
use super::oidc;
use super::overlay::{self, Changes};
use super::problem::{ConfigError, Problem};
use super::resolve::resolve;
use super::service::service;
use super::setting::{Value, Values};
use super::settings::{Baseline, Settings};
use super::{archive_directory, job_notices};
use hubvault_engine::state::ownership::{self, ReadOnlyMount};
use hubvault_postgres::SYSTEM_ROOTS;
use secrecy::SecretString;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

impl Settings {
    /// Reads everything for one job: `wanted`, or the only one. All mistakes are reported together.
    pub fn load(inputs: &Inputs, wanted: Option<&str>) -> Result<Self, ConfigError> {
        load(&inputs.environment, inputs.read(), wanted, None)
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
        let file = inputs.read();
        let names = jobs::names(&file.document);
        if names.is_empty() {
            return Ok(vec![load(&inputs.environment, file, None, tried)?]);
        }
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for name in &names {
            let tried = tried.filter(|_| of == Some(name.as_str()));
            match load(&inputs.environment, file.clone(), Some(name), tried) {
                Ok(settings) => all.push(settings),
                // A mistake at the top of the file is every job's.
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
        let notices = job_notices::notices(&all);
        if let Some(first) = all.first_mut() {
            first.notices.extend(notices);
        }
        Ok(all)
    }
}

fn load(
    environment: &Environment,
    file: ConfigFile,
    wanted: Option<&str>,
    tried: Option<&Changes>,
) -> Result<Settings, ConfigError> {
    let ConfigFile {
        path,
        text,
        document: whole,
        mut problems,
        mut notices,
    } = file;
    jobs::check_names(&whole, &mut problems);
    jobs::check_directories(environment, &whole, &mut problems);
    destination_places::check(environment, &whole, &mut problems);
    let document = match jobs::select(&whole, wanted) {
        Ok(document) => document,
        Err(problem) => {
            problems.push(problem);
            return Err(ConfigError { problems });
        }
    };
    archive_directory::accept_modes(environment, &document);
    let overlay = overlay::read(environment, &document, tried, &mut problems, &mut notices);
    let mut values = resolve(environment, &document, &overlay, &mut problems);
    set_defaults(environment, &document, &mut values);
    let shared = archive_directory::configured(environment, &whole);
    let service_directory = jobs::set_directory(&document, shared, &mut values);
    check_included(&values, &mut problems);
    oidc::check(&values, &mut problems);
    let mut unobeyed = Vec::new();
    libpq::check(environment, &mut problems, &mut unobeyed);
    let Some(built) = build(environment, &document, &values, &mut problems) else {
        return Err(ConfigError { problems });
    };
    notices.extend(delivery::notices(&values));
    notices.extend(links::notices(&values));
    notices.extend(environment.misspelt());
    notices.extend(unobeyed);
    let mut settings = Settings {
        file: path,
        job_name: document.job.clone(),
        service: service(&values, service_directory),
        temp_dir: environment.temp_dir(),
        zone: values.zone(),
        notices,
        values,
        tables: built.tables,
        job: Arc::new(built.job),
        administrators: built.administrators,
        baseline: baseline(environment, &document, &overlay),
        source: SecretString::from(text),
    };
    let weakened = settings.weakened_in_words();
    settings.notices.extend(weakened);
    Ok(settings)
}

/// The settings without the overlay, where it changes something.
fn baseline(
    environment: &Environment,
    document: &Document,
    overlay: &Document,
) -> Option<Baseline> {
    changeable().find(|key| overlay.value(key).is_some())?;
    // A mistake in file or variables matters only where the overlay does not override it.
    let values = resolve(environment, document, &Document::default(), &mut Vec::new());
    let schedule = schedule(&values);
    Some(Baseline { values, schedule })
}

/// Defaults that depend on something: as in libpq, the database has the role's name, and the password file and the
/// client's certificate are in the home directory. Archives are made in the first directory of the destinations. Drills use the directory for short-lived files. The Bash system had
/// tables of its own.
fn set_defaults(environment: &Environment, document: &Document, values: &mut Values) {
    if DefaultScope::of(environment, document) == DefaultScope::BashSystem
        && let Some(setting) = values.get_mut("scope.tables")
    {
        setting.value = Value::List(
            default_scope::TABLES
                .split(',')
                .map(str::to_owned)
                .collect(),
        );
    }
    let user = values.text("database.user").to_owned();
    let home = environment.home();
    let passfile = home
        .as_ref()
        .map(|home| home.join(".pgpass").display().to_string());
    let of_client = |name: &str| {
        let path = home.as_ref()?.join(".postgresql").join(name);
        path.exists().then(|| path.display().to_string())
    };
    let hostaddr =
        Some(values.text("database.hostaddr").to_owned()).filter(|text| !text.is_empty());
    let temp_dir = environment.temp_dir().display().to_string();
    let directory = first_directory(environment, document);
    let directory = directory.map(|path| path.display().to_string());
    for (key, default) in [
        ("archive.directory", directory),
        ("database.name", Some(user)),
        ("database.host", hostaddr),
        ("database.passfile", passfile),
        ("database.sslcert", of_client("postgresql.crt")),
        ("database.sslkey", of_client("postgresql.key")),
        ("proof.directory", Some(temp_dir)),
    ] {
        let setting = values.get_mut(key).filter(|setting| !setting.is_given());
        if let (Some(setting), Some(default)) = (setting, default) {
            setting.value = Value::Text(default);
        }
    }
}

/// Files that the configuration names and others read.
const INCLUDED: [&str; 7] = [
    "database.passfile",
    "database.sslrootcert",
    "database.sslcert",
    "database.sslkey",
    "email.ca_file",
    "delivery.ca_file",
    "http.oidc_ca_file",
];

/// Checks who may write them. A missing one is reported where it is needed.
fn check_included(values: &Values, problems: &mut Vec<Problem>) {
    for key in &INCLUDED {
        let Some(setting) = values.get(key).filter(|setting| setting.is_given()) else {
            continue;
        };
        let path = Path::new(setting.text());
        if *key == "database.sslrootcert" && setting.text() == SYSTEM_ROOTS {
            continue;
        }
        if let Err(error) = ownership::check_trusted(path, ReadOnlyMount::Trusted)
            && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        {
            problems.push(values.problem(key, error.to_string()));
        }
    }
}
