//! The job that the settings make. Each mistake was reported when it was found, or is here; what a
//! wrong value falls back to is never used.

use super::delivery;
use super::keys::{self, KEYS};
use super::problem::Problem;
use super::resolve::{Found, Value};
use super::schedule;
use super::scope::{self, Said};
use super::{text, url};
use hubvault_archive::{Codec, Compression};
use hubvault_engine::job::{
    ArchiveOptions, FileSource, Gentleness, Job, MissingPolicy, MonitorOptions, ProofOptions,
    ProofWhen, RetentionRules, Scope, SizeLimits, SourceDigest, Window,
};
use hubvault_model::ByteSize;
use hubvault_postgres::ConnectSettings;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) fn job(
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
    let limits = SizeLimits {
        min: mib(found, "archive.min_size_mb"),
        max: mib(found, "archive.max_size_mb"),
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
    let database_settings = database(found);
    Job {
        schedule: schedule::schedule(found),
        retention: retention(found),
        name: database_settings.dbname.clone(),
        database: database_settings.clone(),
        scope: Scope {
            tables,
            exclude,
            missing,
            windows,
        },
        files: files.iter().map(|said| said.value.clone()).collect(),
        archive: ArchiveOptions { codec, level },
        // `Settings::load` fills these in.
        sources: Vec::new(),
        hooks: Vec::new(),
        seal: Vec::new(),
        monitor: MonitorOptions::default(),
        directory: PathBuf::from(text(found, "archive.directory")),
        limits,
        workers,
        gentleness: Gentleness {
            pause: keys::duration(text(found, "archive.pause")).unwrap_or_default(),
            bytes_per_second: mib(found, "archive.max_mb_per_second"),
        },
        proof: proof(found, &database_settings, problems),
        delivery: delivery::delivery(found, problems),
        time_limit: keys::duration(text(found, "archive.time_limit")).unwrap_or_default(),
        lock_timeout: keys::duration(text(found, "database.lock_timeout")).unwrap_or_default(),
    }
}

pub(super) fn connect_to(
    base: &ConnectSettings,
    url: &str,
    origin: &str,
    problems: &mut Vec<Problem>,
) -> ConnectSettings {
    let mut target = base.clone();
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
        let known = KEYS.iter().find(|known| known.name == key);
        if let Some(Err(what)) = known.map(|known| known.kind.check(text)) {
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
            _ => target.connect_timeout = keys::duration(text).unwrap_or(target.connect_timeout),
        }
    }
    target
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
        old_programs: text(found, "database.old_programs") == "true",
    }
}

fn proof(
    found: &BTreeMap<&'static str, Found>,
    database: &ConnectSettings,
    problems: &mut Vec<Problem>,
) -> ProofOptions {
    let server = match found.get("proof.server") {
        Some(Found {
            value: Value::Secret(url),
            origin,
            ..
        }) => Some(connect_to(database, url.expose_secret(), origin, problems)),
        _ => None,
    };
    ProofOptions {
        when: match text(found, "proof.when") {
            "daily" => ProofWhen::Daily,
            "weekly" => ProofWhen::Weekly,
            "off" => ProofWhen::Off,
            _ => ProofWhen::Always,
        },
        directory: PathBuf::from(text(found, "proof.directory")),
        server,
        source_digest: match text(found, "proof.source_digest") {
            "always" => SourceDigest::Always,
            "never" => SourceDigest::Never,
            _ => SourceDigest::Auto,
        },
        time_limit: keys::duration(text(found, "proof.time_limit")).unwrap_or_default(),
        environment: Vec::new(),
    }
}

fn retention(found: &BTreeMap<&'static str, Found>) -> RetentionRules {
    let count = |key| text(found, key).parse().unwrap_or_default();
    RetentionRules {
        days: count("retention.days"),
        keep_last: count("retention.keep_last"),
        daily: count("retention.daily"),
        weekly: count("retention.weekly"),
        monthly: count("retention.monthly"),
        yearly: count("retention.yearly"),
        max_total: mib(found, "retention.max_total_mb"),
    }
}

/// Nothing and 0 both mean no bound.
pub(super) fn mib(found: &BTreeMap<&'static str, Found>, key: &str) -> Option<ByteSize> {
    text(found, key)
        .parse()
        .ok()
        .filter(|mib| *mib > 0)
        .map(ByteSize::from_mib)
}
