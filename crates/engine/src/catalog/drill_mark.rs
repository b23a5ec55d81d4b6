//! Which drill the proof of a record is of, where that was made after the archive was published.
//!
//! No two clocks are compared: each mark names those that its machine knew before. Of marks that know each other, the
//! later one counts; of two that do not, the one that is not proven.

use super::pin::this_machine;
use hubvault_model::BackupId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the name of a mark beside an archive adds to that of the archive, after the mark's own.
pub(crate) const ENDING: &str = ".proof";
/// So many earlier marks are named.
pub(super) const NAMED: usize = 512;

/// Which drill the proof of a record is of, if that was made after the archive was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillMark {
    /// Its name: a number that is larger than those of the marks before it, and random digits.
    pub name: String,
    /// The names of the marks that it takes the place of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// When, by the clock of the machine that drilled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The name of that machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

impl DrillMark {
    /// Of a drill that this machine made now.
    pub(crate) fn next(known: Option<&Self>) -> Self {
        let before = known.map_or_else(Vec::new, Self::with_itself);
        let number = before.iter().map(|name| number(name)).max();
        let random = BackupId::random().short();
        Self {
            name: format!("{}-{random}", number.unwrap_or_default().saturating_add(1)),
            after: before,
            at: Some(Timestamp::now()),
            machine: Some(this_machine()),
        }
    }

    /// Its name, and those of the marks before it.
    pub(crate) fn with_itself(&self) -> Vec<String> {
        let mut names = vec![self.name.clone()];
        names.extend(self.after.iter().take(NAMED - 1).cloned());
        names
    }

    /// Whether a record that has this mark has taken another one into account.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.name == name || self.after.iter().any(|after| after == name)
    }

    /// Who drilled it, where that was another machine.
    pub(crate) fn other_machine(&self) -> Option<&str> {
        self.machine.as_deref().filter(|it| *it != this_machine())
    }

    /// Who drilled it, where that was another machine: ` by db2`.
    pub fn by(&self) -> String {
        let machine = self.other_machine();
        machine.map_or_else(String::new, |machine| format!(" by {machine}"))
    }

    /// Records that another one is taken into account.
    pub(super) fn add(&mut self, other: &Self) {
        for name in other.with_itself() {
            if !self.knows(&name) {
                self.after.push(name);
            }
        }
        sort(&mut self.after);
        self.after.truncate(NAMED);
    }
}

pub(super) fn number(name: &str) -> u32 {
    let number = name.split_once('-').map(|(number, _)| number.parse());
    number.and_then(Result::ok).unwrap_or_default()
}

/// The order in which marks are read: by number, then by the rest.
pub(crate) fn sort(names: &mut [String]) {
    names.sort_by(|one, other| (number(other), other).cmp(&(number(one), one)));
}

/// The archive's name and the mark's, of a mark beside an archive.
pub(crate) fn split(name: &str) -> Option<(&str, &str)> {
    let (archive, mark) = name.strip_suffix(ENDING)?.rsplit_once('.')?;
    let (number, random) = mark.split_once('-')?;
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_random = random.len() == 8 && random.bytes().all(|c| c.is_ascii_hexdigit());
    (is_digits(number) && number.len() <= 10 && is_random).then_some((archive, mark))
}
