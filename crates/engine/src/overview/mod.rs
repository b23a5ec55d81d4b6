//! The one answer to "am I safe?": the newest proven backup, whether its archive is there, what is at risk, how long a
//! backup and a restore take. Terminal, HTTP, metrics and mails all say what this says.
//!
//! History and moment in, answer out. The one look at the disk is [`presence()`].

mod moments;
mod presence;
mod copies;
mod disproved;
mod durations;
mod space;
mod risk;
mod assurance;
mod history;

pub use assurance::Assurance;
pub use copies::{LostCopy, StrayCopy, copy_text, count_places, lacking, moved_text, spooled_text};
pub use disproved::{Disproved, disproved};
pub use durations::Durations;
pub use history::{Overview, Recoverable, RunMark, newest_proven};
pub use moments::{age, moment};
pub use presence::{LookFn, Presence, archive, by_record, looked_for, presence, recorded};
pub use risk::{Risk, SEAL_REMEDY, age_risk, mail_risk};
pub use space::Space;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod read_tests;
