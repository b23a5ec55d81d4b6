//! Opens connections: retries, final errors, and the settings that every session pins.

use crate::connect::pgpass;
use crate::connect::settings::{ConnectSettings, SslMode};
use crate::error::PgError;
use hubvault_model::{Cancel, quote_ident};
use secrecy::SecretString;
use std::time::{Duration, Instant};

/// Before the second attempt to connect and those that follow, in seconds; the last one is that of all further attempts.
/// Six attempts are spread over 30 s: a server that is restarted, or promoted, is back by then.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 15];

/// Keepalive probes start after this much silence on a TCP connection; unacknowledged data may
/// wait as long.
pub(crate) const TCP_SILENCE: Duration = Duration::from_mins(1);
/// The time between two probes,
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// and their number before the connection is given up.
pub(crate) const KEEPALIVE_RETRIES: u32 = 3;

/// Settings that change what COPY writes, whether it ends or what is evaluated beside it, each set for every session
/// (`PostgreSQL` manual, "Client Connection Defaults"). The limits at the end came with 14 and 17. The last, of 14, ends
/// a statement whose client is gone, where the server's system can tell. Listing all settings to find these took a server
/// longer than all else here.
pub(crate) const PINNED: &str = "
    SET search_path = '';
    SET row_security = off;
    SET TimeZone = 'UTC';
    SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres';
    SET extra_float_digits = 3;
    SET bytea_output = 'hex';
    SET lc_monetary = 'C';
    SET client_encoding = 'UTF8';
    SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET synchronize_seqscans = off;
    SET xmloption = 'content';
    SET quote_all_identifiers = off;
    SET client_min_messages = 'warning';
    SET standard_conforming_strings = on;
    SET constraint_exclusion = off;
    SELECT pg_catalog.set_config(name, value, false)
    FROM (VALUES ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('client_connection_check_interval', '2s'))
        AS pinned (name, value)
    WHERE pg_catalog.current_setting(name, true) IS NOT NULL AND (value = '0' OR pg_catalog.version() ~ 'linux');
";

/// What a session at the source pins besides: it changes nothing, and a view that somebody puts in the place of a table
/// or a sequence is not read, as its functions would run with the backup's rights. The second came with the minor
/// releases of August 2024 (13.16, 14.13, 15.8, 16.4).
pub(crate) const SOURCE: &str = "
    SET default_transaction_read_only = on;
    SELECT pg_catalog.set_config('restrict_nonsystem_relation_kind', 'view, foreign-table', false)
    WHERE pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL;
";

/// What the catalogs are asked is answered within this time, whatever the schema: a query that takes longer could take
/// the living database down with it. Statements that read rows or wait for locks have limits of their own.
pub const LIMIT_CATALOGS: &str = "SET statement_timeout = '5min'";

/// Ends [`LIMIT_CATALOGS`] for statements that read rows: the run's own limit stops them.
pub const UNLIMIT_STATEMENTS: &str = "SET statement_timeout = 0";

/// Has a session at the source read views for a while, as a condition that the configuration gives may name them.
pub const PERMIT_VIEWS: &str = "
    SELECT pg_catalog.set_config('restrict_nonsystem_relation_kind', '', false)
    WHERE pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL;
";

/// Ends [`PERMIT_VIEWS`].
pub const REFUSE_VIEWS: &str = "
    SELECT pg_catalog.set_config('restrict_nonsystem_relation_kind', 'view, foreign-table', false)
    WHERE pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL;
";

/// Why a connection attempt failed.
pub(crate) enum Failure {
    /// A retry would not help.
    Final(PgError),
    /// The server does not answer, starts up or is full.
    Again(String),
}

impl Failure {
    /// The server took the connection, and its time is up.
    pub(crate) fn no_answer(limit: Duration) -> Self {
        let seconds = limit.as_secs_f64();
        Self::Again(format!(
            "the server did not answer the login within {seconds} s"
        ))
    }
}

/// Calls `open` until it succeeds, as often as the settings allow and with growing pauses, which a stop request ends; a
/// refused login or an unknown database is final at once.
pub(crate) fn persistently<T>(
    settings: &ConnectSettings,
    cancel: &Cancel,
    mut open: impl FnMut() -> Result<T, Failure>,
) -> Result<T, PgError> {
    let begun = Instant::now();
    let attempts = settings.attempts.max(1);
    let mut attempt = 1;
    loop {
        if cancel.is_requested() {
            return Err(PgError::Cancelled);
        }
        let why = match open() {
            Ok(connected) => return Ok(connected),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(why)) => why,
        };
        if attempt >= attempts {
            return Err(PgError::Unreachable {
                target: settings.to_string(),
                why,
                tried: tried(attempt, begun.elapsed()),
            });
        }
        let pause = pause_after(attempt);
        attempt += 1;
        tracing::warn!(
            "connecting to {settings} failed: {why}; attempt {attempt} of {attempts} in {} s",
            pause.as_secs()
        );
        if cancel.wait(pause) {
            return Err(PgError::Cancelled);
        }
    }
}

fn pause_after(attempt: u32) -> Duration {
    let at = (attempt.max(1) as usize - 1).min(PAUSES.len() - 1);
    Duration::from_secs(PAUSES[at])
}

/// What an error says of its attempts; nothing of a single one.
fn tried(attempts: u32, took: Duration) -> String {
    match attempts {
        0 | 1 => String::new(),
        many => format!("; tried {many} times within {} s", took.as_secs()),
    }
}

/// Classifies the error of a connection attempt; `code` is the server's SQLSTATE, if any.
pub(crate) fn classify(settings: &ConnectSettings, code: Option<&str>, why: String) -> Failure {
    let target = settings.to_string();
    match code {
        // Also a server that wants a certificate of the client.
        None if ["TLS", "certificate", "fatal alert"]
            .iter()
            .any(|word| why.contains(word)) =>
        {
            Failure::Final(PgError::Tls { target, why })
        }
        Some("28000") if why.contains("certificate") => {
            Failure::Final(PgError::Tls { target, why })
        }
        None if why.contains("password") => Failure::Final(PgError::Login { target, why }),
        // It starts up, is full, or is shutting down (appendix A: 57P03, 53300, 57P01, 57P02).
        None | Some("57P03" | "53300" | "57P01" | "57P02") => Failure::Again(why),
        Some("42501") if why.contains("CONNECT") || why.contains("for database") => {
            let (role, database) = (quote_ident(&settings.user), quote_ident(&settings.dbname));
            Failure::Final(PgError::MayNotConnect {
                target,
                why,
                statement: format!("GRANT CONNECT ON DATABASE {database} TO {role};"),
                read_all: read_all(&settings.user),
            })
        }
        Some("3D000") => Failure::Final(PgError::NoSuchDatabase { target, why }),
        Some(_) => Failure::Final(PgError::Login { target, why }),
    }
}

/// With this a role may read every table and sequence, also those to come (`PostgreSQL` 14 and newer).
pub(crate) fn read_all(role: &str) -> String {
    format!("GRANT pg_read_all_data TO {};", quote_ident(role))
}

/// The password for these settings: their own, or the password file's.
pub(crate) fn password(settings: &ConnectSettings) -> Option<SecretString> {
    let from_file = || {
        settings
            .passfile
            .as_ref()
            .and_then(|path| pgpass::look_up(path, settings))
    };
    settings.password.clone().or_else(from_file)
}

/// A Unix socket never has TLS.
pub(crate) fn tls_mode(settings: &ConnectSettings) -> SslMode {
    if settings.is_local() {
        SslMode::Disable
    } else {
        settings.sslmode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_attempts_are_spread_over_half_a_minute() {
        let pauses = (1..6).map(pause_after);
        assert_eq!(pauses.sum::<Duration>(), Duration::from_secs(30));
        assert_eq!(pause_after(0), Duration::from_secs(1));
        assert_eq!(pause_after(u32::MAX), Duration::from_secs(15));
    }

    #[test]
    fn a_stop_request_ends_the_pause_between_two_attempts() {
        let settings = ConnectSettings {
            attempts: u32::MAX,
            ..ConnectSettings::default()
        };
        let cancel = Cancel::new();
        let mut attempts = 0;
        let result = persistently(&settings, &cancel, || -> Result<(), Failure> {
            attempts += 1;
            // Longer pauses would follow.
            cancel.request();
            Err(Failure::Again("starting up".to_owned()))
        });
        assert!(matches!(result, Err(PgError::Cancelled)));
        assert_eq!(attempts, 1);
    }
}
