//! Every setting that is one value: its name in TOML, its variables, its kind, its default.
//!
//! `config show`, the search for the nearest key and the tests all go by this one list.

use super::kind::Kind::{
    self, Address, Choice, Cron, Database, Duration, Host, Integer, IpAddress, List, Listen,
    PublicUrl, Secret, Text, Zone,
};
use super::kind::YES_NO;
use hubvault_engine::state::link::MOST_HOURS;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `table.key` in TOML.
    pub name: &'static str,
    /// The variables that set it, the strongest first.
    pub variables: &'static [&'static str],
    /// What its value may be.
    pub kind: Kind,
    /// The value where nothing is set; empty for none.
    pub default: &'static str,
}

impl Key {
    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Secret)
    }

    /// The key of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

const SSL_MODES: Kind = Choice(&[
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
]);
const LOG_LEVELS: Kind = Choice(&["error", "warn", "info", "debug", "trace"]);
const PORT: Kind = Integer(1, 65_535);
const MEGABYTES: Kind = Integer(0, 1 << 30);
const COUNT: Kind = Integer(0, 36_500);
const HOURS: Kind = Integer(1, 87_600);

/// `"table.key" [VARIABLES] kind => default;`
macro_rules! keys {
    ($($name:literal [$($variable:ident)*] $kind:expr $(=> $default:literal)?;)*) => {
        &[$(Key {
            name: $name,
            variables: &[$(stringify!($variable)),*],
            kind: $kind,
            default: concat!($($default)?),
        }),*]
    };
}

/// All of them, as `config show` lists them.
pub(crate) const KEYS: &[Key] = keys! {
    "database.url" [DATABASE_URL] Secret;
    // The shell scripts ran beside a container called `postgres`; anywhere else that name leads
    // nowhere, so the default is libpq's.
    "database.host" [POSTGRES_HOST PGHOST] Host => "localhost";
    "database.hostaddr" [PGHOSTADDR] IpAddress;
    "database.port" [POSTGRES_PORT PGPORT] PORT => "5432";
    "database.name" [POSTGRES_DB PGDATABASE] Database;
    "database.user" [POSTGRES_USER PGUSER] Text => "postgres";
    "database.password" [POSTGRES_PASSWORD PGPASSWORD] Secret;
    "database.passfile" [PGPASSFILE] Text;
    "database.sslmode" [PGSSLMODE] SSL_MODES => "prefer";
    "database.sslrootcert" [PGSSLROOTCERT] Text;
    "database.sslcert" [PGSSLCERT] Text;
    "database.sslkey" [PGSSLKEY] Text;
    "database.connect_timeout" [PGCONNECT_TIMEOUT] Duration => "10 s";
    "database.lock_timeout" [] Duration => "5 s";
    "database.old_programs" [POSTGRES_OLD_PROGRAMS] YES_NO => "false";
    "scope.tables" [] List => "*";
    "scope.exclude" [] List;
    "scope.missing" [] Choice(&["warn", "fail"]) => "warn";
    "config_dir" [CONFIG_DIR] Text => "/config";
    "archive.directory" [BACKUP_DIR] Text => "/backups";
    "archive.destinations" [BACKUP_DESTINATIONS] List;
    "archive.keep_local" [BACKUP_KEEP_LOCAL] YES_NO;
    "archive.codec" [] Choice(&["gzip", "zstd"]) => "gzip";
    "archive.level" [] Integer(1, 19);
    "archive.min_size_mb" [BACKUP_MIN_SIZE_MB] MEGABYTES;
    "archive.max_size_mb" [BACKUP_MAX_SIZE_MB] MEGABYTES;
    "archive.permissions" [BACKUP_PERMISSIONS] Choice(&["closed", "as-mounted"]) => "closed";
    "archive.mask_passwords" [BACKUP_MASK_PASSWORDS] YES_NO => "false";
    "archive.workers" [BACKUP_WORKERS] Integer(1, 64);
    "archive.connect_attempts" [BACKUP_CONNECT_ATTEMPTS] Integer(1, 100) => "6";
    "archive.time_limit" [BACKUP_TIME_LIMIT] Duration => "12 h";
    "archive.pause" [BACKUP_PAUSE] Duration;
    "archive.max_mb_per_second" [BACKUP_MAX_MB_PER_SECOND] MEGABYTES;
    "lease.destination" [BACKUP_LEASE] Text;
    "lease.length" [BACKUP_LEASE_LENGTH] Duration => "60 s";
    "log.level" [LOG_LEVEL] LOG_LEVELS => "info";
    "log.format" [LOG_FORMAT] Choice(&["auto", "text", "json"]) => "auto";
    "log.file" [LOG_FILE] Text;
    "log.max_size_mb" [] Integer(1, 10_240) => "10";
    "proof.when" [PROOF] Choice(&["always", "daily", "weekly", "off"]) => "always";
    "proof.script" [PROOF_SCRIPT] Choice(&["always", "weekly", "off"]) => "weekly";
    "proof.directory" [] Text;
    "proof.memory" [PROOF_MEMORY] Text;
    "proof.empty_clusters" [PROOF_EMPTY_CLUSTERS] Text;
    "proof.server" [PROOF_SERVER] Secret;
    "proof.source_digest" [PROOF_SOURCE_DIGEST] Choice(&["auto", "always", "never"]) => "auto";
    "proof.time_limit" [] Duration => "30 min";
    "retention.days" [BACKUP_RETENTION_DAYS] COUNT => "30";
    "retention.keep_last" [] COUNT => "3";
    "retention.daily" [] COUNT => "0";
    "retention.weekly" [] COUNT => "0";
    "retention.monthly" [] COUNT => "0";
    "retention.yearly" [] COUNT => "0";
    "retention.max_total_mb" [] MEGABYTES;
    "schedule.cron" [BACKUP_SCHEDULE] Cron => "0 2 * * *";
    "schedule.timezone" [TZ] Zone;
    "schedule.jitter" [] Duration;
    "schedule.catch_up" [] Choice(&["once", "none"]) => "once";
    "schedule.tries" [] Integer(1, 20) => "3";
    "schedule.pause" [] Duration => "5 min";
    "service.stop_grace" [] Duration => "7 s";
    "email.enabled" [EMAIL_ENABLED] YES_NO => "true";
    "email.host" [SMTP_HOST] Host;
    "email.port" [SMTP_PORT] PORT => "587";
    "email.security" [SMTP_SECURITY] Choice(&["starttls", "tls", "none"]);
    "email.ca_file" [SMTP_CA_FILE] Text;
    "email.insecure" [SMTP_INSECURE] YES_NO => "false";
    "email.allow_plain" [SMTP_ALLOW_PLAIN] YES_NO => "false";
    "email.user" [SMTP_USER] Text;
    "email.password" [SMTP_PASS] Secret;
    "email.from" [SMTP_FROM] Address;
    "email.to" [ADMIN_EMAILS] List;
    "email.attach" [EMAIL_ATTACH] Choice(&["always", "sealed", "never"]) => "always";
    "email.max_message_mb" [EMAIL_MAX_MESSAGE_MB] Integer(1, 1_024) => "25";
    "email.split" [EMAIL_SPLIT] YES_NO => "false";
    "email.templates_dir" [EMAIL_TEMPLATES_DIR] Text;
    "email.digest" [] Cron;
    "email.timeout" [] Duration => "30 s";
    "email.time_limit" [] Duration => "10 min";
    "delivery.tries" [] Integer(1, 20) => "3";
    "delivery.pause" [] Duration => "30 s";
    "delivery.ca_file" [] Text;
    "webhook.url" [WEBHOOK_URL] Secret;
    "webhook.secret" [WEBHOOK_SECRET] Secret;
    "slack.url" [SLACK_WEBHOOK_URL] Secret;
    "ntfy.url" [NTFY_URL] Secret;
    "ntfy.token" [NTFY_TOKEN] Secret;
    "telegram.token" [TELEGRAM_BOT_TOKEN] Secret;
    "telegram.chat" [TELEGRAM_CHAT_ID] Text;
    "telegram.url" [] Text => "https://api.telegram.org";
    "discord.url" [DISCORD_WEBHOOK_URL] Secret;
    "teams.url" [TEAMS_WEBHOOK_URL] Secret;
    "pagerduty.key" [PAGERDUTY_ROUTING_KEY] Secret;
    "pagerduty.url" [] Text => "https://events.pagerduty.com";
    "ping.url" [PING_URL HEALTHCHECKS_URL] Secret;
    "seal.recipients" [BACKUP_RECIPIENTS] List;
    "http.address" [HTTP_ADDR] Listen;
    "http.public_url" [HTTP_PUBLIC_URL] PublicUrl;
    "http.link_hours" [] Integer(1, MOST_HOURS) => "72";
    "http.page" [HTTP_PAGE] YES_NO => "true";
    "http.restore" [HTTP_RESTORE] YES_NO => "true";
    "http.restore_living" [HTTP_RESTORE_LIVING] YES_NO => "false";
    "http.first_token_file" [HTTP_FIRST_TOKEN_FILE] Text;
    "http.oidc_issuer" [HTTP_OIDC_ISSUER] PublicUrl;
    "http.oidc_ca_file" [HTTP_OIDC_CA_FILE] Text;
    "http.oidc_client_id" [HTTP_OIDC_CLIENT_ID] Text;
    "http.oidc_client_secret" [HTTP_OIDC_CLIENT_SECRET] Secret;
    "http.oidc_scopes" [HTTP_OIDC_SCOPES] List => "profile,email";
    "http.oidc_groups_claim" [HTTP_OIDC_GROUPS_CLAIM] Text => "groups";
    "http.oidc_read_groups" [HTTP_OIDC_READ_GROUPS] List;
    "http.oidc_operate_groups" [HTTP_OIDC_OPERATE_GROUPS] List;
    "http.oidc_admin_groups" [HTTP_OIDC_ADMIN_GROUPS] List;
    "monitor.max_age_hours" [BACKUP_MAX_AGE_HOURS] HOURS => "25";
    "monitor.max_drill_age_hours" [] HOURS => "192";
    "monitor.min_free_mb" [] MEGABYTES;
    "monitor.read_back_mb_per_day" [] MEGABYTES => "1024";
    "monitor.rows_fell_percent" [] Integer(1, 100) => "50";
    "monitor.rows_grew_percent" [] Integer(0, 1_000_000) => "100";
    "monitor.reminder_hours" [] Integer(0, 8_760) => "24";
    "monitor.interval" [] Duration => "5 min";
    "monitor.ping_url" [MONITOR_PING_URL] Secret;
    "monitor.test_mode" [TEST_MODE] YES_NO => "false";
};

/// Tables and keys that a service has once, whatever its jobs are.
pub(crate) const OF_SERVICE: &[&str] = &["config_dir", "http", "log", "service"];

/// Arrays of tables.
pub(crate) const ARRAYS: &[&str] = &[
    "scope.window",
    "file",
    "destination",
    "seal.recipient",
    "check",
    "notify",
    "hook",
    "source",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
        }
    }
}
