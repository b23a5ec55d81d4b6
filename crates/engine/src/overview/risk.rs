//! What is at risk, in sentences.

use super::copies::{LostCopy, StrayCopy};
use super::disproved::Disproved;
use super::moments::age;
use crate::catalog::BackupRecord;
use crate::job::{AttachWhen, Job};
use hubvault_model::{Warning, counted};
use jiff::{SignedDuration, Timestamp};
use std::fmt;

/// One thing that is at risk. Its text is the same wherever it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Risk {
    /// No archive that is there was proven.
    NeverProven,
    /// The newest proven backup is too old.
    TooOld {
        /// How old, `3 days`.
        age: String,
        /// How old it may be, in hours.
        max_age_hours: u32,
    },
    /// The newest run that ended failed, because of this.
    Failed(String),
    /// The newest backup is not proven, because of this.
    Unproven(String),
    /// A drill did not prove a backup after it was stored.
    Disproved(Disproved),
    /// The run of the newest backup warned.
    Warned(Warning),
    /// A copy should be there and is not as it was stored.
    Missing(LostCopy),
    /// The newest proven backup is only where no destination is configured any more.
    Unconfigured(StrayCopy),
    /// Archives are mailed, and not sealed.
    MailedUnsealed,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverProven => f.write_str("there is no proven backup"),
            Self::TooOld { age, max_age_hours } => write!(
                f,
                "the newest proven backup is {age} old, more than the {} that \
                 BACKUP_MAX_AGE_HOURS and PROOF allow",
                counted(u64::from(*max_age_hours), "hour")
            ),
            Self::Failed(why) => write!(f, "the last run failed: {why}"),
            Self::Unproven(why) => write!(f, "the last backup is unproven: {why}"),
            Self::Disproved(disproved) => disproved.fmt(f),
            Self::Warned(warning) => write!(f, "the last backup has a warning: {warning}"),
            Self::Missing(lost) => lost.fmt(f),
            Self::Unconfigured(stray) => stray.fmt(f),
            Self::MailedUnsealed => f.write_str(
                "archives are mailed unsealed, with the secrets and password hashes in them",
            ),
        }
    }
}

/// What to do about [`Risk::MailedUnsealed`].
pub const SEAL_REMEDY: &str =
    "set BACKUP_RECIPIENTS to an age or SSH public key of each administrator";

/// The risk in mailing archives that anybody can read.
pub fn mail_risk(job: &Job) -> Option<Risk> {
    let mail = job.delivery.mail.as_ref()?;
    let is_unsealed = job.seal.is_empty() && mail.attach == AttachWhen::Always;
    is_unsealed.then_some(Risk::MailedUnsealed)
}

/// The risk in the age of the newest proven backup. Its age is by this host's clock, from when its run began.
pub fn age_risk(
    newest_proven: Option<&BackupRecord>,
    max_age_hours: u32,
    now: Timestamp,
) -> Option<Risk> {
    let Some(newest) = newest_proven else {
        return Some(Risk::NeverProven);
    };
    let limit = SignedDuration::from_hours(i64::from(max_age_hours));
    (now.duration_since(newest.started_at) > limit).then(|| Risk::TooOld {
        age: age(newest.started_at, now),
        max_age_hours,
    })
}
