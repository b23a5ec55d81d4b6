//! Decides whether a checked archive may be published as proven, or with the reason why it is unproven.

use super::drill;
use super::drill_result::{DrillError, Verdict};
use super::integrity::CheckedArchive;
use crate::catalog::ProofRecord;
use crate::job::{ProofOptions, ProofWhen};
use crate::progress::Progress;
use hubvault_model::Cancel;
use jiff::{SignedDuration, Timestamp};

/// An archive with its proof. Only [`judge`] makes one.
#[derive(Debug)]
pub struct JudgedArchive {
    checked: CheckedArchive,
    proof: ProofRecord,
}

impl JudgedArchive {
    /// The archive, and what was proven about it.
    pub(crate) fn into_parts(self) -> (CheckedArchive, ProofRecord) {
        (self.checked, self.proof)
    }
}

/// What is due for an archive.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// A drill.
    pub drill: bool,
    /// Its own `restore.sh` in that drill.
    pub script: bool,
}

/// Drills the archive where that is due ([`is_due`]).
pub fn judge(
    checked: CheckedArchive,
    options: &ProofOptions,
    workers: usize,
    due: Due,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<JudgedArchive, DrillError> {
    let mut proof = ProofRecord {
        read_back: true,
        ..ProofRecord::default()
    };
    if due.drill {
        let archive = &checked.archive;
        proof.judged(drill::drill_open(
            archive, options, workers, due.script, progress, cancel,
        )?);
    } else {
        proof.reason = Some(match options.when {
            ProofWhen::Off => "the drill is switched off".to_owned(),
            other => format!(
                "drilled {}, and the last drill is not that old",
                other.as_str()
            ),
        });
    }
    Ok(JudgedArchive { checked, proof })
}

/// Whether a drill is due, with an hour of tolerance: runs of different length still drill once a day.
pub fn is_due(when: ProofWhen, last: Option<Timestamp>, now: Timestamp) -> bool {
    let hours = match when {
        ProofWhen::Always => return true,
        ProofWhen::Off => return false,
        ProofWhen::Daily => 23,
        ProofWhen::Weekly => 7 * 24 - 1,
    };
    // A clock that was set back makes it due: better one drill too many.
    last.is_none_or(|last| {
        last > now || now.duration_since(last) >= SignedDuration::from_hours(hours)
    })
}

impl ProofRecord {
    /// Takes over what a drill showed.
    pub fn judged(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Proven(drill) => {
                self.proven = true;
                self.reason = None;
                self.drill = Some(drill);
            }
            Verdict::Unproven { reason, drill } => {
                self.reason = Some(reason);
                self.drill = drill;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_is_due_by_the_clock_and_whenever_the_clock_lies() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let ago = |hours| Some(now - SignedDuration::from_hours(hours));
        assert!(is_due(ProofWhen::Always, ago(0), now));
        assert!(!is_due(ProofWhen::Off, None, now));
        assert!(is_due(ProofWhen::Daily, None, now));
        assert!(!is_due(ProofWhen::Daily, ago(22), now));
        assert!(is_due(ProofWhen::Daily, ago(23), now));
        assert!(!is_due(ProofWhen::Weekly, ago(24), now));
        assert!(is_due(ProofWhen::Weekly, ago(24 * 7), now));
        assert!(is_due(ProofWhen::Weekly, ago(-5), now));
    }
}
