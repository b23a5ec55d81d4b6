//! Every setting that is one value: its name in TOML, its variables, its kind, its default.
//!
//! `config show`, the search for the nearest key and the tests all go by this one list.

use hubvault_engine::schedule::Schedule;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

/// Where configuration files are, unless `CONFIG_DIR` says otherwise.
pub(crate) const CONFIG_DIR: &str = "/config";

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `300 ms`, `5 s`, `2 min`, or a number of seconds.
    Duration,
    /// Several texts: an array in TOML, commas in a variable.
    List,
    /// One mail address, with or without a name before it.
    Address,
    /// Several mail addresses.
    Addresses,
    /// Five fields of cron.
    Cron,
    /// Where to listen: a port, or a host and a port.
    Listen,
    /// An address that people reach the service by.
    PublicUrl,
    /// A time zone: a name of the IANA database, or a POSIX string.
    Zone,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `table.key` in TOML.
    pub name: &'static str,
    /// The variables that set it, the strongest first.
    pub variables: &'static [&'static str],
    pub kind: Kind,
    /// What holds when nobody says; empty for nothing.
    pub default: &'static str,
    /// Never shown.
    pub secret: bool,
}

const fn key(
    name: &'static str,
    variables: &'static [&'static str],
    kind: Kind,
    default: &'static str,
) -> Key {
    Key {
        name,
        variables,
        kind,
        default,
        secret: false,
    }
}

const fn secret(name: &'static str, variables: &'static [&'static str]) -> Key {
    Key {
        secret: true,
        ..key(name, variables, Kind::Text, "")
    }
}

const SSL_MODES: Kind = Kind::Choice(&[
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
]);
const PROOF_WHEN: Kind = Kind::Choice(&["always", "daily", "weekly", "off"]);
const PORT: Kind = Kind::Integer(1, 65_535);
const MEGABYTES: Kind = Kind::Integer(0, 1 << 30);
const COUNT: Kind = Kind::Integer(0, 36_500);
const HOURS: Kind = Kind::Integer(1, 87_600);
const YES_NO: Kind = Kind::Choice(&["true", "false"]);

/// All of them, as `config show` lists them.
pub(crate) const KEYS: &[Key] = &[
    secret("database.url", &["DATABASE_URL"]),
    // The shell scripts ran beside a container called `postgres`; anywhere else that name leads
    // nowhere, so the default is libpq's.
    key(
        "database.host",
        &["POSTGRES_HOST", "PGHOST"],
        Kind::Text,
        "localhost",
    ),
    key("database.port", &["POSTGRES_PORT", "PGPORT"], PORT, "5432"),
    key(
        "database.name",
        &["POSTGRES_DB", "PGDATABASE"],
        Kind::Text,
        "",
    ),
    key(
        "database.user",
        &["POSTGRES_USER", "PGUSER"],
        Kind::Text,
        "postgres",
    ),
    secret("database.password", &["POSTGRES_PASSWORD", "PGPASSWORD"]),
    key("database.passfile", &["PGPASSFILE"], Kind::Text, ""),
    key("database.sslmode", &["PGSSLMODE"], SSL_MODES, "prefer"),
    key("database.sslrootcert", &["PGSSLROOTCERT"], Kind::Text, ""),
    key(
        "database.connect_timeout",
        &["PGCONNECT_TIMEOUT"],
        Kind::Duration,
        "10 s",
    ),
    key("database.lock_timeout", &[], Kind::Duration, "5 s"),
    key(
        "database.old_programs",
        &["POSTGRES_OLD_PROGRAMS"],
        YES_NO,
        "false",
    ),
    key(
        "scope.tables",
        &[],
        Kind::List,
        "users,user_roles,organizations,agencies,referrals,exchange_rates,system_settings,roles,\
         permissions,role_permissions",
    ),
    key("scope.exclude", &[], Kind::List, ""),
    key(
        "scope.missing",
        &[],
        Kind::Choice(&["warn", "fail"]),
        "warn",
    ),
    key("config_dir", &["CONFIG_DIR"], Kind::Text, CONFIG_DIR),
    key("archive.directory", &["BACKUP_DIR"], Kind::Text, "/backups"),
    key(
        "archive.codec",
        &[],
        Kind::Choice(&["gzip", "zstd"]),
        "gzip",
    ),
    key("archive.level", &[], Kind::Integer(1, 19), ""),
    key(
        "archive.min_size_mb",
        &["BACKUP_MIN_SIZE_MB"],
        MEGABYTES,
        "",
    ),
    key(
        "archive.max_size_mb",
        &["BACKUP_MAX_SIZE_MB"],
        MEGABYTES,
        "",
    ),
    key(
        "archive.workers",
        &["BACKUP_WORKERS"],
        Kind::Integer(1, 64),
        "",
    ),
    key(
        "archive.time_limit",
        &["BACKUP_TIME_LIMIT"],
        Kind::Duration,
        "12 h",
    ),
    key("archive.pause", &["BACKUP_PAUSE"], Kind::Duration, ""),
    key(
        "archive.max_mb_per_second",
        &["BACKUP_MAX_MB_PER_SECOND"],
        MEGABYTES,
        "",
    ),
    key("log.level", &["LOG_LEVEL"], LOG_LEVELS, "info"),
    key(
        "log.format",
        &["LOG_FORMAT"],
        Kind::Choice(&["auto", "text", "json"]),
        "auto",
    ),
    key("log.file", &["LOG_FILE"], Kind::Text, ""),
    key("log.max_size_mb", &[], Kind::Integer(1, 10_240), "10"),
    key("proof.when", &["PROOF"], PROOF_WHEN, "always"),
    key("proof.directory", &[], Kind::Text, ""),
    secret("proof.server", &["PROOF_SERVER"]),
    key(
        "proof.source_digest",
        &["PROOF_SOURCE_DIGEST"],
        Kind::Choice(&["auto", "always", "never"]),
        "auto",
    ),
    key("proof.time_limit", &[], Kind::Duration, "30 min"),
    key("retention.days", &["BACKUP_RETENTION_DAYS"], COUNT, "30"),
    key("retention.keep_last", &[], COUNT, "3"),
    key("retention.daily", &[], COUNT, "0"),
    key("retention.weekly", &[], COUNT, "0"),
    key("retention.monthly", &[], COUNT, "0"),
    key("retention.yearly", &[], COUNT, "0"),
    key("retention.max_total_mb", &[], MEGABYTES, ""),
    key(
        "schedule.cron",
        &["BACKUP_SCHEDULE"],
        Kind::Cron,
        "0 2 * * *",
    ),
    key("schedule.timezone", &["TZ"], Kind::Zone, ""),
    key("schedule.jitter", &[], Kind::Duration, ""),
    key(
        "schedule.catch_up",
        &[],
        Kind::Choice(&["once", "none"]),
        "once",
    ),
    key("schedule.tries", &[], Kind::Integer(1, 20), "3"),
    key("schedule.pause", &[], Kind::Duration, "5 min"),
    key("service.stop_grace", &[], Kind::Duration, "7 s"),
    key("email.enabled", &["EMAIL_ENABLED"], YES_NO, "true"),
    key("email.host", &["SMTP_HOST"], Kind::Text, ""),
    key("email.port", &["SMTP_PORT"], PORT, "587"),
    key(
        "email.security",
        &["SMTP_SECURITY"],
        Kind::Choice(&["starttls", "tls", "none"]),
        "",
    ),
    key("email.ca_file", &["SMTP_CA_FILE"], Kind::Text, ""),
    key("email.insecure", &["SMTP_INSECURE"], YES_NO, "false"),
    key("email.allow_plain", &["SMTP_ALLOW_PLAIN"], YES_NO, "false"),
    key("email.user", &["SMTP_USER"], Kind::Text, ""),
    secret("email.password", &["SMTP_PASS"]),
    key("email.from", &["SMTP_FROM"], Kind::Address, ""),
    key("email.to", &["ADMIN_EMAILS"], Kind::Addresses, ""),
    key(
        "email.attach",
        &["EMAIL_ATTACH"],
        Kind::Choice(&["always", "sealed", "never"]),
        "always",
    ),
    key(
        "email.max_message_mb",
        &["EMAIL_MAX_MESSAGE_MB"],
        Kind::Integer(1, 1_024),
        "25",
    ),
    key("email.split", &["EMAIL_SPLIT"], YES_NO, "false"),
    key(
        "email.templates_dir",
        &["EMAIL_TEMPLATES_DIR"],
        Kind::Text,
        "",
    ),
    key("email.digest", &[], Kind::Cron, ""),
    key("email.timeout", &[], Kind::Duration, "30 s"),
    key("email.time_limit", &[], Kind::Duration, "10 min"),
    key("delivery.tries", &[], Kind::Integer(1, 20), "3"),
    key("delivery.pause", &[], Kind::Duration, "30 s"),
    key("delivery.ca_file", &[], Kind::Text, ""),
    secret("webhook.url", &["WEBHOOK_URL"]),
    secret("webhook.secret", &["WEBHOOK_SECRET"]),
    secret("slack.url", &["SLACK_WEBHOOK_URL"]),
    secret("ntfy.url", &["NTFY_URL"]),
    secret("ntfy.token", &["NTFY_TOKEN"]),
    secret("ping.url", &["PING_URL", "HEALTHCHECKS_URL"]),
    key("seal.recipients", &["BACKUP_RECIPIENTS"], Kind::List, ""),
    key("http.address", &["HTTP_ADDR"], Kind::Listen, ""),
    key("http.public_url", &["HTTP_PUBLIC_URL"], Kind::PublicUrl, ""),
    key(
        "http.link_hours",
        &[],
        Kind::Integer(1, hubvault_engine::state::link::MOST_HOURS),
        "72",
    ),
    key(
        "monitor.max_age_hours",
        &["BACKUP_MAX_AGE_HOURS"],
        HOURS,
        "25",
    ),
    key("monitor.max_drill_age_hours", &[], HOURS, "192"),
    key("monitor.min_free_mb", &[], MEGABYTES, ""),
    key(
        "monitor.rows_fell_percent",
        &[],
        Kind::Integer(1, 100),
        "50",
    ),
    key(
        "monitor.rows_grew_percent",
        &[],
        Kind::Integer(0, 1_000_000),
        "100",
    ),
    key("monitor.reminder_hours", &[], Kind::Integer(0, 8_760), "24"),
    key("monitor.interval", &[], Kind::Duration, "5 min"),
    secret("monitor.ping_url", &["MONITOR_PING_URL"]),
    key("monitor.test_mode", &["TEST_MODE"], YES_NO, "false"),
];

const LOG_LEVELS: Kind = Kind::Choice(&["error", "warn", "info", "debug", "trace"]);

/// Tables and keys that a service has once, whatever its jobs are.
pub(super) const OF_SERVICE: &[&str] = &["config_dir", "http", "log", "service"];

/// Arrays of tables.
pub(crate) const ARRAYS: &[&str] = &[
    "scope.window",
    "file",
    "seal.recipient",
    "check",
    "hook",
    "source",
];

impl Kind {
    /// What is wrong with a text, in words that say what was expected.
    pub fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Text => Ok(()),
            Self::List => {
                if text.split(',').any(|item| item.trim().is_empty()) {
                    Err("expected names with single commas between them".to_owned())
                } else {
                    Ok(())
                }
            }
            Self::Integer(least, most) => match text.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(format!(
                    "expected a whole number from {least} to {most}, not {text:?}"
                )),
            },
            Self::Choice(words) => {
                if words.contains(&text.to_ascii_lowercase().as_str()) {
                    return Ok(());
                }
                let hint = super::problem::nearest(text, words.iter().copied());
                Err(format!(
                    "expected one of {}, not {text:?}{hint}",
                    words.join(", ")
                ))
            }
            Self::Duration => duration(text).map(|_| ()),
            Self::Address => hubvault_notify::check_address(text)
                .map_err(|what| format!("expected a mail address, not {text:?}: {what}")),
            Self::Addresses => {
                match text.split(',').map(str::trim).find_map(|address| {
                    Some((address, hubvault_notify::check_address(address).err()?))
                }) {
                    Some((bad, what)) => {
                        Err(format!("expected mail addresses, not {bad:?}: {what}"))
                    }
                    None => Ok(()),
                }
            }
            Self::Cron => match Schedule::new(text, TimeZone::UTC) {
                Ok(_) => Ok(()),
                Err(what) => Err(format!(
                    "expected five fields of cron such as `0 2 * * *`, not {text:?}: {what}"
                )),
            },
            Self::Listen => super::address::listen_address(text).map(|_| ()),
            Self::PublicUrl => super::address::check_public_url(text),
            Self::Zone => zone(text).map(|_| ()),
        }
    }

    /// What TOML must hold, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text
            | Self::Choice(_)
            | Self::Cron
            | Self::Zone
            | Self::Listen
            | Self::PublicUrl
            | Self::Address => "text in quotes",
            Self::Integer(..) => "a whole number",
            Self::Duration => "text such as \"5 s\", or a number of seconds",
            Self::List | Self::Addresses => "an array of texts",
        }
    }
}

/// `300 ms`, `5 s`, or a number of seconds; more than nothing and at most a day.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let span = text
        .parse::<i64>()
        .map(SignedDuration::from_secs)
        .or_else(|_| text.parse::<SignedDuration>());
    span.ok()
        .and_then(|span| std::time::Duration::try_from(span).ok())
        .filter(|span| !span.is_zero() && span.as_secs() <= 86_400)
        .ok_or_else(|| {
            format!("expected a duration such as `300 ms`, `5 s` or `2 min`, not {text:?}")
        })
}

/// `Europe/Berlin`, or a POSIX string such as `CET-1CEST,M3.5.0,M10.5.0/3`; nothing means the host's.
pub(crate) fn zone(text: &str) -> Result<TimeZone, String> {
    match text.trim_start_matches(':') {
        "" => Ok(TimeZone::system()),
        name => TimeZone::get(name)
            .or_else(|_| TimeZone::posix(name))
            .map_err(|_| format!("expected a time zone such as Europe/Berlin, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
        }
    }

    #[test]
    fn durations_have_units_or_are_seconds() {
        assert_eq!(duration("300 ms").unwrap().as_millis(), 300);
        assert_eq!(duration("10").unwrap().as_secs(), 10);
        assert_eq!(duration("2 min").unwrap().as_secs(), 120);
        for bad in ["", "0", "-1", "five", "3 days 3 parsecs", "9999999"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_schedule_has_five_fields() {
        assert!(Kind::Cron.check("*/15 0-6 1,15 * MON").is_ok());
        assert!(Kind::Cron.check("0 2 * *").is_err());
        assert!(Kind::Cron.check("at two o'clock every day").is_err());
    }
}
