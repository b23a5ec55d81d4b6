//! The sentence that the product must always be able to say truthfully.

use hubvault_model::{BackupId, counted};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What can be restored, and how. It does not say "everything": a backup may have windows and warnings. All of it was measured or read from the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct Assurance {
    /// The backup that it is about.
    pub backup: BackupId,
    /// The moment of the snapshot, by the server's clock: what the backup holds is restored as of then.
    pub up_to: Timestamp,
    /// When that was proven.
    pub proven_at: Option<Timestamp>,
    /// How long a restore takes, in seconds.
    pub restore_seconds: Option<f64>,
    /// Copies that are there.
    pub copies: usize,
    /// In so many places.
    pub places: usize,
}

impl Assurance {
    /// In words, for people. Moments of another day than `now` have their date.
    pub fn text(&self, now: Timestamp, zone: &TimeZone) -> String {
        let up_to = moment(self.up_to, "%H:%M:%S", now, zone);
        let mut sentences = vec![format!("The backup of {up_to} can be restored.")];
        if let Some(at) = self.proven_at {
            sentences.push(format!("Proven at {}.", moment(at, "%H:%M", now, zone)));
        }
        if let Some(seconds) = self.restore_seconds {
            sentences.push(format!("A restore takes about {}.", span(seconds)));
        }
        let copies = counted(self.copies as u64, "copy");
        let places = counted(self.places as u64, "place");
        sentences.push(format!("{copies} in {places}."));
        sentences.join(" ")
    }
}

fn moment(at: Timestamp, time: &str, now: Timestamp, zone: &TimeZone) -> String {
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let date = if at.date() == now.date() {
        ""
    } else {
        "%Y-%m-%d "
    };
    at.strftime(&format!("{date}{time}")).to_string()
}

/// Rounded up: a restore that is done early disappoints nobody.
fn span(seconds: f64) -> String {
    let (count, unit) = match seconds {
        seconds if seconds < 60.0 => (seconds, "second"),
        seconds if seconds < 7_200.0 => (seconds / 60.0, "minute"),
        seconds => (seconds / 3_600.0, "hour"),
    };
    counted((count.ceil() as u64).max(1), unit)
}
