//! The configuration: variables, `hubvault.toml` and `*_FILE` become one job. The only place of
//! hubvault that reads the environment.

mod problem;
mod environment;
mod keys;
mod url;
mod document;
mod resolve;
mod scope;

pub(crate) use environment::Environment;
pub(crate) use problem::ConfigError;
pub(crate) use resolve::{Found, Value};
pub(crate) use scope::Said;

use document::Document;
use hubvault_archive::{Codec, Compression};
use hubvault_engine::job::{
    ArchiveOptions, FileSource, Job, MissingPolicy, ProofOptions, ProofWhen, RetentionRules, Scope,
    SizeLimits, Window,
};
use hubvault_model::ByteSize;
use hubvault_postgres::ConnectSettings;
use keys::{ARRAYS, KEYS};
use problem::Problem;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything that is set, with where it was said.
pub(crate) struct Settings {
    /// The file that was read, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The single values, in the order of the list of keys.
    pub(crate) found: Vec<Found>,
    /// The windows.
    pub(crate) windows: Vec<Said<Window>>,
    /// The files.
    pub(crate) files: Vec<Said<FileSource>>,
    /// What is set and has no effect, or looks like a mistake without being one.
    pub(crate) notices: Vec<String>,
    /// Where short-lived directories go.
    pub(crate) temp_dir: PathBuf,
    job: Job,
}

impl Settings {
    /// Reads everything; all mistakes are reported together.
    pub(crate) fn load(
        environment: &Environment,
        config: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut notices = Vec::new();
        let file = find_file(environment, config);
        let document = match &file {
            Some(path) => read(path, &mut problems, &mut notices),
            None => Document::default(),
        };
        let mut found = resolve::resolve(environment, &document, &mut problems);
        settle_defaults(environment, &mut found);
        let windows = scope::windows(&document, &mut problems);
        let config_dir = PathBuf::from(text(&found, "config_dir"));
        let files = scope::files(&document, &config_dir, &mut problems);
        refuse_unsealed(&found, &mut problems);
        let job = job(&found, &windows, &files, &mut problems);
        notices.extend(later(&found, &document));
        notices.extend(environment.misspelt());
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let found = KEYS
            .iter()
            .filter_map(|key| found.remove(key.name))
            .collect();
        let temp_dir = environment.temp_dir();
        Ok(Self {
            file,
            found,
            windows,
            files,
            notices,
            temp_dir,
            job,
        })
    }

    /// The job that they make.
    pub(crate) fn job(&self) -> Job {
        self.job.clone()
    }

    /// A server that a connection string names; what it does not say is the configuration's, but
    /// never a password for another host.
    pub(crate) fn target(&self, url: &str) -> Result<ConnectSettings, ConfigError> {
        let origin = "--to";
        let mut problems = Vec::new();
        let mut target = self.job.database.clone();
        let parts = url::parse(url).unwrap_or_else(|what| {
            problems.push(Problem::new(origin, "", what));
            Vec::new()
        });
        if parts
            .iter()
            .any(|(key, _)| *key == "database.host" || *key == "database.user")
        {
            target.password = None;
        }
        for (key, value) in parts {
            let text = value.expose_secret();
            if let Some(known) = KEYS.iter().find(|known| known.name == key)
                && let Err(what) = known.kind.check(text)
            {
                problems.push(Problem::new(origin, key, what));
                continue;
            }
            match key {
                "database.host" => text.clone_into(&mut target.host),
                "database.port" => target.port = text.parse().unwrap_or(target.port),
                "database.name" => text.clone_into(&mut target.dbname),
                "database.user" => text.clone_into(&mut target.user),
                "database.password" => target.password = Some(value),
                "database.passfile" => target.passfile = Some(PathBuf::from(text)),
                "database.sslmode" => target.sslmode = text.parse().unwrap_or_default(),
                "database.sslrootcert" => target.sslrootcert = Some(PathBuf::from(text)),
                _ => {
                    target.connect_timeout = keys::duration(text).unwrap_or(target.connect_timeout);
                }
            }
        }
        if problems.is_empty() {
            Ok(target)
        } else {
            Err(ConfigError { problems })
        }
    }

    /// The text of a plain value.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.found
            .iter()
            .find(|found| found.key.name == key)
            .map_or("", Found::text)
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

fn read(path: &Path, problems: &mut Vec<Problem>, notices: &mut Vec<String>) -> Document {
    use std::os::unix::fs::PermissionsExt;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let origin = path.display().to_string();
            problems.push(Problem::new(origin, "", format!("reading it: {error}")));
            return Document::default();
        }
    };
    let document = Document::parse(path, &text, problems);
    let holds_secret = KEYS
        .iter()
        .any(|key| key.secret && document.value(key.name).is_some());
    let mode = path.metadata().map_or(0, |meta| meta.permissions().mode());
    if holds_secret && mode & 0o077 != 0 {
        let path = path.display();
        notices.push(format!(
            "{path} holds a secret and others may read it; run chmod 600 {path}, or name a file \
             with password_file"
        ));
    }
    document
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

/// Somebody who names recipients expects that nobody else can read the archive.
fn refuse_unsealed(found: &BTreeMap<&'static str, Found>, problems: &mut Vec<Problem>) {
    if let Some(seal) = found.get("seal.recipients").filter(|seal| seal.is_given()) {
        let what = "this version does not seal archives, and writing one in the clear would not be \
                    what you asked for; remove this setting to do so";
        problems.push(Problem::new(&seal.origin, "seal.recipients", what));
    }
}

fn text<'a>(found: &'a BTreeMap<&'static str, Found>, key: &str) -> &'a str {
    found.get(key).map_or("", Found::text)
}

/// What is set and this version does not act upon.
fn later(found: &BTreeMap<&'static str, Found>, document: &Document) -> Vec<String> {
    let keys = KEYS.iter().filter_map(|key| {
        let given = found.get(key.name).filter(|found| found.is_given())?;
        Some(format!(
            "{} is set ({}), but this version does not {}",
            key.name, given.origin, key.later?
        ))
    });
    let arrays = ARRAYS.iter().filter_map(|(name, later)| {
        let first = document.array(name)?.first()?;
        let origin = document.origin(first.line);
        Some(format!(
            "[[{name}]] is set ({origin}), but this version does not {}",
            (*later)?
        ))
    });
    keys.chain(arrays).collect()
}

fn job(
    found: &BTreeMap<&'static str, Found>,
    windows: &[Said<Window>],
    files: &[Said<FileSource>],
    problems: &mut Vec<Problem>,
) -> Job {
    let codec = match text(found, "archive.codec") {
        "zstd" => Codec::Zstd,
        _ => Codec::Gzip,
    };
    let level = text(found, "archive.level")
        .parse()
        .unwrap_or_else(|_| Compression::default_level(codec));
    let reported = problems
        .iter()
        .any(|problem| problem.key.starts_with("archive."));
    if let Err(error) = (Compression { codec, level }).check_level()
        && let Some(found) = found.get("archive.level").filter(|_| !reported)
    {
        problems.push(Problem::new(
            &found.origin,
            "archive.level",
            error.to_string(),
        ));
    }
    let mib = |key| {
        text(found, key)
            .parse()
            .ok()
            .filter(|mib| *mib > 0)
            .map(ByteSize::from_mib)
    };
    let limits = SizeLimits {
        min: mib("archive.min_size_mb"),
        max: mib("archive.max_size_mb"),
    };
    if let (Some(min), Some(max)) = (limits.min, limits.max)
        && min > max
    {
        let what = "is larger than archive.max_size_mb, so that no archive would do";
        problems.push(Problem::new("archive limits", "archive.min_size_mb", what));
    }
    let mut patterns = |key: &'static str| match found.get(key) {
        Some(Found {
            value: Value::List(texts),
            origin,
            ..
        }) => scope::patterns(texts, |what| {
            problems.push(Problem::new(origin, key, what));
        }),
        _ => Vec::new(),
    };
    let (tables, exclude) = (patterns("scope.tables"), patterns("scope.exclude"));
    let missing = match text(found, "scope.missing") {
        "fail" => MissingPolicy::Fail,
        _ => MissingPolicy::Warn,
    };
    let windows = windows.iter().map(|said| said.value.clone()).collect();
    let workers = text(found, "archive.workers").parse().unwrap_or_else(|_| {
        std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(4)
    });
    let database = database(found);
    let count = |key| text(found, key).parse().unwrap_or_default();
    let retention = RetentionRules {
        days: count("retention.days"),
        keep_last: count("retention.keep_last"),
        daily: count("retention.daily"),
        weekly: count("retention.weekly"),
        monthly: count("retention.monthly"),
        yearly: count("retention.yearly"),
        max_total: mib("retention.max_total_mb"),
    };
    Job {
        retention,
        name: database.dbname.clone(),
        database,
        scope: Scope {
            tables,
            exclude,
            missing,
            windows,
        },
        files: files.iter().map(|said| said.value.clone()).collect(),
        archive: ArchiveOptions { codec, level },
        directory: PathBuf::from(text(found, "archive.directory")),
        limits,
        workers,
        proof: ProofOptions {
            when: match text(found, "proof.when") {
                "daily" => ProofWhen::Daily,
                "weekly" => ProofWhen::Weekly,
                "off" => ProofWhen::Off,
                _ => ProofWhen::Always,
            },
            directory: PathBuf::from(text(found, "proof.directory")),
            time_limit: keys::duration(text(found, "proof.time_limit")).unwrap_or_default(),
        },
        lock_timeout: keys::duration(text(found, "database.lock_timeout")).unwrap_or_default(),
    }
}

/// A mistake in one of these was reported when it was found; what it falls back to is never used.
fn database(found: &BTreeMap<&'static str, Found>) -> ConnectSettings {
    let path = |key| {
        Some(text(found, key))
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    };
    let password = match found.get("database.password").map(|found| &found.value) {
        Some(Value::Secret(password)) => Some(password.clone()),
        _ => None,
    };
    ConnectSettings {
        host: text(found, "database.host").to_owned(),
        port: text(found, "database.port").parse().unwrap_or_default(),
        user: text(found, "database.user").to_owned(),
        dbname: text(found, "database.name").to_owned(),
        password,
        passfile: path("database.passfile"),
        sslmode: text(found, "database.sslmode").parse().unwrap_or_default(),
        sslrootcert: path("database.sslrootcert"),
        connect_timeout: keys::duration(text(found, "database.connect_timeout"))
            .unwrap_or_default(),
        application_name: "hubvault".to_owned(),
    }
}

#[cfg(test)]
mod tests;
