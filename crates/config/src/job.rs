//! Builds the job of the settings. A wrong value was reported when it was resolved, or is reported here.

use super::command_secrets;
use super::commands;
use super::database::{connect_to, database};
use super::default_scope::DefaultScope;
use super::delivery::{channel, delivery};
use super::destination_options;
use super::destinations;
use super::document::Document;
use super::environment::Environment;
use super::files::files;
use super::lease::lease;
use super::problem::Problem;
use super::recipients::{Administrator, recipients};
use super::setting::{Setting, Values};
use super::shown::{self, TableEntry};
use super::table::patterns;
use super::windows::windows;
use hubvault_archive::{Codec, Compression};
use hubvault_engine::command::CommandLine;
use hubvault_engine::job::{
    ArchiveOptions, Destinations, Gentleness, Job, MEMORY, MissingPolicy, MonitorOptions,
    ProofOptions, ProofWhen, RetentionRules, RowLimits, Scope, SizeLimits, SourceDigest,
    UserCommand, Window,
};
use hubvault_engine::schedule::{CatchUp, Schedule};
use hubvault_engine::state::StateDir;
use hubvault_model::{ByteSize, Masks};
use hubvault_notify::ChannelKind;
use hubvault_postgres::ConnectSettings;
use secrecy::{ExposeSecret, SecretString};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

/// A job, and what only reports say of it.
pub(crate) struct Built {
    pub(crate) job: Job,
    pub(crate) administrators: Vec<Administrator>,
    pub(crate) tables: Vec<TableEntry>,
}

/// Builds it of all that is set; `None` where `problems` are known.
pub(crate) fn build(
    environment: &Environment,
    document: &Document,
    values: &Values,
    problems: &mut Vec<Problem>,
) -> Option<Built> {
    let config_dir = PathBuf::from(values.text("config_dir"));
    let defaults = DefaultScope::of(environment, document);
    let files = files(document, &config_dir, defaults, problems);
    let sources = commands::sources(document, &files, problems);
    let hooks = commands::hooks(document, problems);
    let checks = commands::checks(document, problems);
    let recipients = recipients(values, document, &config_dir, problems);
    let mut tables = Vec::new();
    let all = &mut tables;
    let windows = windows(document, defaults, &values.zone(), problems);
    let windows = shown::values(all, "scope.window", shown::window, windows);
    let files = shown::values(all, "file", shown::file, files);
    let sources = shown::values(all, "source", shown::source, sources);
    let hooks = shown::values(all, "hook", shown::hook, hooks);
    let checks = shown::values(all, "check", shown::check, checks);
    let notify = commands::notify(document, problems);
    let notify = shown::values(all, "notify", shown::check, notify);
    let administrators = shown::values(all, "seal.recipient", shown::recipient, recipients);

    let is_sealed = !administrators.is_empty();
    let (destinations, in_options) =
        destinations(environment, document, values, is_sealed, all, problems);

    let database = database(values);
    let proof = proof(environment, values, &database, problems);
    let commands = (sources.iter().map(|source| &source.command))
        .chain(hooks.iter().map(|hook| &hook.command))
        .chain(checks.iter().chain(&notify).map(|own| &own.command));
    let servers = std::iter::once(&database).chain(&proof.server);
    let masks = masks(values, servers, commands, in_options);
    let job = Job {
        name: document.job.clone().unwrap_or(database.dbname.clone()),
        scope: scope(values, windows, defaults, problems),
        files,
        sources,
        hooks,
        archive: archive(values, problems),
        seal: administrators
            .iter()
            .map(|it| it.recipient.clone())
            .collect(),
        lease: lease(values, &destinations, problems),
        destinations,
        limits: limits(values, problems),
        monitor: monitor(values, checks, proof.when),
        proof,
        delivery: delivery(values, notify, masks, problems),
        retention: retention(values),
        workers: workers(values),
        gentleness: gentleness(values),
        time_limit: values.duration("archive.time_limit"),
        lock_timeout: values.duration("database.lock_timeout"),
        database,
        // Last: every mistake is reported by now.
        schedule: schedule(values)?,
    };
    let built = Built {
        job,
        administrators,
        tables,
    };
    problems.is_empty().then_some(built)
}

/// The destinations, and what of their settings no message may hold.
fn destinations(
    environment: &Environment,
    document: &Document,
    values: &Values,
    is_sealed: bool,
    entries: &mut Vec<TableEntry>,
    problems: &mut Vec<Problem>,
) -> (Destinations, Vec<SecretString>) {
    let found = destinations::configured(environment, document, values, is_sealed, problems);
    let found = shown::values(entries, "destination", shown::destination, found);
    let secrets = (found.iter()).flat_map(|it| destination_options::secrets(&it.options));
    let secrets = secrets.collect();
    (destinations::destinations(values, found, problems), secrets)
}

/// Every secret that is set, in a key of its own, in the URL of a server, in a command or for a destination.
fn masks<'a>(
    values: &Values,
    servers: impl Iterator<Item = &'a ConnectSettings>,
    commands: impl Iterator<Item = &'a CommandLine>,
    in_options: Vec<SecretString>,
) -> Masks {
    let passwords = servers.filter_map(|server| server.password.clone());
    let in_commands = commands.flat_map(command_secrets::secrets);
    let secrets = values.secrets().cloned();
    Masks::new(
        secrets
            .chain(passwords)
            .chain(in_commands)
            .chain(in_options),
    )
}

/// The schedule; `None` where a mistake in it was reported when it was resolved.
pub(crate) fn schedule(values: &Values) -> Option<Schedule> {
    let mut schedule = Schedule::new(values.text("schedule.cron"), values.zone()).ok()?;
    schedule.jitter = values.duration("schedule.jitter");
    schedule.catch_up = match values.text("schedule.catch_up") {
        "none" => CatchUp::None,
        _ => CatchUp::Once,
    };
    schedule.tries = values.number("schedule.tries").unwrap_or(1);
    schedule.pause = values.duration("schedule.pause");
    Some(schedule)
}

fn scope(
    values: &Values,
    windows: Vec<Window>,
    defaults: DefaultScope,
    problems: &mut Vec<Problem>,
) -> Scope {
    let mut patterns = |key| {
        let texts = values.list(key).iter().map(String::as_str);
        patterns(texts, |what| problems.push(values.problem(key, what)))
    };
    Scope {
        tables: patterns("scope.tables"),
        exclude: patterns("scope.exclude"),
        missing: match values.text("scope.missing") {
            "fail" => MissingPolicy::Fail,
            _ => MissingPolicy::Warn,
        },
        windows,
        by_default: defaults == DefaultScope::BashSystem,
    }
}

fn archive(values: &Values, problems: &mut Vec<Problem>) -> ArchiveOptions {
    let codec = match values.text("archive.codec") {
        "zstd" => Codec::Zstd,
        _ => Codec::Gzip,
    };
    let level = values.number("archive.level");
    let level = level.unwrap_or_else(|| Compression::default_level(codec));
    let is_reported = problems.iter().any(|it| it.key.starts_with("archive."));
    if let Err(error) = (Compression { codec, level }).check_level()
        && !is_reported
    {
        problems.push(values.problem("archive.level", error.to_string()));
    }
    ArchiveOptions {
        codec,
        level,
        mask_passwords: values.flag("archive.mask_passwords"),
    }
}

fn gentleness(values: &Values) -> Gentleness {
    Gentleness {
        pause: values.duration("archive.pause"),
        bytes_per_second: values.mib("archive.max_mb_per_second"),
    }
}

fn workers(values: &Values) -> usize {
    let default = || available_parallelism().map_or(1, NonZero::get).min(4);
    values.number("archive.workers").unwrap_or_else(default)
}

fn limits(values: &Values, problems: &mut Vec<Problem>) -> SizeLimits {
    let limits = SizeLimits {
        min: values.mib("archive.min_size_mb"),
        max: values.mib("archive.max_size_mb"),
    };
    if limits.max.is_some_and(|max| limits.min > Some(max)) {
        let what = "is larger than archive.max_size_mb, so that every archive would be rejected";
        problems.push(Problem::new("archive limits", "archive.min_size_mb", what));
    }
    limits
}

fn proof(
    environment: &Environment,
    values: &Values,
    database: &ConnectSettings,
    problems: &mut Vec<Problem>,
) -> ProofOptions {
    let url = values.get("proof.server");
    let url = url.and_then(|setting| Some((setting.secret()?, &setting.origin)));
    let server =
        url.map(|(url, origin)| connect_to(database, url.expose_secret(), origin, problems));
    ProofOptions {
        when: match values.text("proof.when") {
            "daily" => ProofWhen::Daily,
            "weekly" => ProofWhen::Weekly,
            "off" => ProofWhen::Off,
            _ => ProofWhen::Always,
        },
        script: match values.text("proof.script") {
            "always" => ProofWhen::Always,
            "off" => ProofWhen::Off,
            _ => ProofWhen::Weekly,
        },
        directory: PathBuf::from(values.text("proof.directory")),
        memory: match values.text("proof.memory") {
            "" => in_memory(environment, values),
            "off" => None,
            path => Some(PathBuf::from(path)),
        },
        empty_clusters: match values.text("proof.empty_clusters") {
            "" => Some(StateDir::of(Path::new(values.text("archive.directory"))).empty_clusters()),
            "off" => None,
            path => Some(PathBuf::from(path)),
        },
        server,
        source_digest: match values.text("proof.source_digest") {
            "always" => SourceDigest::Always,
            "never" => SourceDigest::Never,
            _ => SourceDigest::Auto,
        },
        time_limit: values.duration("proof.time_limit"),
        environment: environment.of_drills(),
    }
}

/// Where small drills run, unless somebody said where drills do.
fn in_memory(environment: &Environment, values: &Values) -> Option<PathBuf> {
    let is_said = values.get("proof.directory").is_some_and(Setting::is_given)
        || environment.text("TMPDIR").is_some();
    (!is_said).then(|| PathBuf::from(MEMORY))
}

fn retention(values: &Values) -> RetentionRules {
    RetentionRules {
        days: values.parsed("retention.days"),
        keep_last: values.parsed("retention.keep_last"),
        daily: values.parsed("retention.daily"),
        weekly: values.parsed("retention.weekly"),
        monthly: values.parsed("retention.monthly"),
        yearly: values.parsed("retention.yearly"),
        max_total: values.mib("retention.max_total_mb"),
    }
}

fn monitor(values: &Values, checks: Vec<UserCommand>, when: ProofWhen) -> MonitorOptions {
    let max_age_hours = values.parsed("monitor.max_age_hours");
    let reminder_hours: u32 = values.parsed("monitor.reminder_hours");
    MonitorOptions {
        interval: values.duration("monitor.interval"),
        max_age_hours: when.max_age_of_proven(max_age_hours),
        max_archive_age_hours: max_age_hours,
        max_drill_age_hours: values.parsed("monitor.max_drill_age_hours"),
        min_free: values.mib("monitor.min_free_mb"),
        read_back: ByteSize::from_mib(values.parsed("monitor.read_back_mb_per_day")),
        rows: RowLimits {
            fell_percent: values.parsed("monitor.rows_fell_percent"),
            grew_percent: values.parsed("monitor.rows_grew_percent"),
        },
        reminder: Duration::from_hours(reminder_hours.into()),
        ping: channel(values, ChannelKind::Ping, "monitor.ping_url", ""),
        test_mode: values.flag("monitor.test_mode"),
        checks,
    }
}
