//! Texts of values: moments as people read them (`3 hours ago`, and the exact one for whoever points at it), spans, parts of
//! addresses.

use hubvault_config::Settings;
use hubvault_engine::overview::{age, moment};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// A moment, for a template.
#[derive(Clone, Debug, Serialize)]
pub(super) struct When {
    iso: String,
    exact: String,
    text: String,
}

/// Now, and the zone of everything that is shown.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
}

impl Clock {
    /// Of a job, as of now.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            now: Timestamp::now(),
            zone: settings.zone.clone(),
        }
    }

    /// How a moment is shown.
    pub(super) fn when(&self, at: Timestamp) -> When {
        let is_ahead = at > self.now;
        let (from, to) = if is_ahead {
            (self.now, at)
        } else {
            (at, self.now)
        };
        let text = match (to.duration_since(from).as_secs() < 60, is_ahead) {
            (true, true) => "in a moment".to_owned(),
            (true, false) => "just now".to_owned(),
            (false, true) => format!("in {}", age(from, to)),
            (false, false) => format!("{} ago", age(from, to)),
        };
        When {
            iso: at.to_string(),
            exact: moment(at, &self.zone),
            text,
        }
    }
}

/// `42 s`, `6 min 5 s`, `2 h 3 min`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0 => format!("{seconds:.1} s"),
        1..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// A value for an address.
pub(super) fn percent_encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'-' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_said_from_now() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let clock = Clock {
            now,
            zone: TimeZone::UTC,
        };
        let text = |at: &str| clock.when(at.parse().unwrap()).text;
        assert_eq!(text("2026-11-26T09:00:00Z"), "3 hours ago");
        assert_eq!(text("2026-11-26T11:59:30Z"), "just now");
        assert_eq!(text("2026-11-29T12:00:00Z"), "in 3 days");
        assert_eq!(clock.when(now).exact, "2026-11-26 12:00 UTC");
    }

    #[test]
    fn spans_are_short() {
        let spans = [0.25, 42.0, 365.0, 7_380.0].map(span);
        assert_eq!(spans, ["0.2 s", "42 s", "6 min 5 s", "2 h 3 min"]);
    }
}
