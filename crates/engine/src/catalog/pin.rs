//! `<archive>.pinned` beside a copy: nobody who uses the place removes that backup by rules.

use crate::state::ownership::open_regular;
use hubvault_model::{BackupId, excerpt};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;

/// What its name adds to that of the archive.
pub(crate) const ENDING: &str = ".pinned";
/// The largest one that is read, in bytes.
pub(crate) const LIMIT: u64 = 16 << 10;
const FORMAT: u32 = 1;
/// The longest name of a machine and the longest reason, in characters.
const LONGEST: usize = 200;

/// Who said that a backup stays. What a later version left out is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The name of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    format_version: u32,
    id: BackupId,
    #[serde(flatten)]
    pin: Pin,
}

impl Pin {
    /// A pin of this machine.
    pub fn now(reason: &str) -> Self {
        Self {
            at: Some(Timestamp::now()),
            machine: Some(this_machine()),
            reason: Some(reason.to_owned()),
        }
    }

    /// What is stored.
    pub(crate) fn text(&self, id: BackupId) -> io::Result<Vec<u8>> {
        let text = Text {
            format_version: FORMAT,
            id,
            pin: self.clone(),
        };
        Ok(serde_json::to_vec_pretty(&text)?)
    }

    /// What a stored one says; `None` where it is another backup's. One that cannot be read is a pin, too.
    pub(crate) fn parse(text: &[u8], id: BackupId) -> Option<Self> {
        let Ok(text) = serde_json::from_slice::<Text>(text) else {
            return Some(Self::default());
        };
        let short = |text: String| excerpt(&text, LONGEST);
        (text.id == id).then(|| Self {
            at: text.pin.at,
            machine: text.pin.machine.map(short),
            reason: text.pin.reason.map(short),
        })
    }

    /// The one beside an archive of this machine.
    pub(crate) fn beside(archive: &Path, id: BackupId) -> Option<Self> {
        let mut name = OsString::from(archive);
        name.push(ENDING);
        let mut text = Vec::new();
        let file = open_regular(Path::new(&name)).ok()?;
        file.take(LIMIT).read_to_end(&mut text).ok()?;
        Self::parse(&text, id)
    }

    /// Who pinned it, where that was another machine.
    pub(crate) fn other_machine(&self) -> Option<&str> {
        self.machine.as_deref().filter(|it| *it != this_machine())
    }

    /// Who pinned it and when, where that was another machine: `pinned by db2 on 2026-01-31`.
    pub fn in_words(&self, zone: &TimeZone) -> String {
        let by = self.other_machine().map(|machine| format!(" by {machine}"));
        let at = self.at.filter(|_| by.is_some());
        let on = at.map(|at| format!(" on {}", at.to_zoned(zone.clone()).strftime("%Y-%m-%d")));
        format!("pinned{}{}", by.unwrap_or_default(), on.unwrap_or_default())
    }
}

pub(super) fn this_machine() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}
