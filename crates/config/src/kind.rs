//! What the value of a setting may be, and how its text is read.

use super::address::{check_public_url, listen_address};
use super::problem::nearest;
use hubvault_engine::schedule::Schedule;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use std::net::IpAddr;

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// The name or address of a host, or the directory of a socket.
    Host,
    /// An IP address.
    IpAddress,
    /// The name of a database.
    Database,
    /// Any text that is never shown.
    Secret,
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
    /// Five fields of cron.
    Cron,
    /// Where to listen: a port, or a host and a port.
    Listen,
    /// An address that people reach the service by.
    PublicUrl,
    /// A time zone: a name of the IANA database, or a POSIX string.
    Zone,
}

/// `true` or `false`; TOML has a type of its own for them.
pub(crate) const YES_NO: Kind = Kind::Choice(&["true", "false"]);

impl Kind {
    /// Whether it is `true` or `false`.
    pub(crate) fn is_yes_no(self) -> bool {
        matches!(self, Self::Choice(words) if words.contains(&"true"))
    }

    /// What is wrong with a text, in words that say what was expected.
    pub fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Host => host(text),
            Self::IpAddress if text.parse::<IpAddr>().is_err() => {
                Err("expected one IP address such as 192.0.2.7".to_owned())
            }
            Self::Database if is_url_with_password(text) => {
                Err("expected a name, not a URL; set DATABASE_URL to the URL".to_owned())
            }
            Self::Text | Self::Secret | Self::Database | Self::IpAddress => Ok(()),
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
                let hint = nearest(text, words.iter().copied());
                Err(format!(
                    "expected one of {}, not {text:?}{hint}",
                    words.join(", ")
                ))
            }
            Self::Duration => duration(text).map(|_| ()),
            Self::Address => hubvault_notify::check_address(text)
                .map_err(|what| format!("expected a mail address, not {text:?}: {what}")),
            Self::Cron => match Schedule::new(text, TimeZone::UTC) {
                Ok(_) => Ok(()),
                Err(what) => Err(format!(
                    "expected five fields of cron such as `0 2 * * *`, not {text:?}: {what}"
                )),
            },
            Self::Listen => listen_address(text).map(|_| ()),
            Self::PublicUrl => check_public_url(text),
            Self::Zone => zone(text).map(|_| ()),
        }
    }

    /// What TOML must hold, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text
            | Self::Host
            | Self::IpAddress
            | Self::Database
            | Self::Secret
            | Self::Choice(_)
            | Self::Cron
            | Self::Zone
            | Self::Listen
            | Self::PublicUrl
            | Self::Address => "text in quotes",
            Self::Integer(..) => "a whole number",
            Self::Duration => "text such as \"5 s\", or a number of seconds",
            Self::List => "an array of texts",
        }
    }
}

/// Errors do not repeat the text: a URL, or a part of a password that was not percent-encoded, may be in its place.
fn host(text: &str) -> Result<(), String> {
    if text.contains(['@', '/']) && !text.starts_with('/') {
        let what = "expected the name of a host, which has no @ and no /; in a URL, percent-encode @ as %40 and / as \
                    %2F in a password";
        return Err(what.to_owned());
    }
    if text.contains(',') {
        return Err("names several hosts; name one".to_owned());
    }
    Ok(())
}

/// `postgres://user:password@host/name` in the place of a name.
fn is_url_with_password(text: &str) -> bool {
    text.split_once("://")
        .and_then(|(_, rest)| rest.split_once(':'))
        .is_some_and(|(_, rest)| rest.contains('@'))
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

/// `30 days` or `1 day`: a whole number of days from 1 to 36500.
pub(crate) fn days(text: &str) -> Option<u32> {
    let number = text.trim().strip_suffix("days");
    let number = number.or_else(|| text.trim().strip_suffix("day"))?;
    let number: u32 = number.trim().parse().ok()?;
    (1..=36_500).contains(&number).then_some(number)
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
