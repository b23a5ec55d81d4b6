//! How long things take, by what the last runs measured.

use crate::catalog::{BackupRecord, State};

/// So many of the last runs are the measure.
const LAST: usize = 15;

/// Measured durations of a job, in seconds. Each is the median of the last runs; `None` before the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    backups: Vec<f64>,
    drills: Vec<f64>,
    restores: Vec<f64>,
}

impl Durations {
    /// Takes a run into account; the newest comes first.
    pub(super) fn add(&mut self, record: &BackupRecord) {
        if !matches!(record.state, State::Proven | State::Unproven) {
            return;
        }
        let drill = record.proof.drill.as_ref().map(|drill| drill.seconds);
        push(&mut self.backups, record.seconds());
        push(&mut self.drills, drill);
        // Without its stages a drill is the nearest measure: a restore and starting a server for it.
        push(&mut self.restores, restore_seconds(record).or(drill));
    }

    /// From the start of a run to its end.
    pub fn backup(&self) -> Option<f64> {
        median(&self.backups)
    }

    /// A drill with its throwaway server.
    pub fn drill(&self) -> Option<f64> {
        median(&self.drills)
    }

    /// A whole restore, the comparison included.
    pub fn restore(&self) -> Option<f64> {
        median(&self.restores)
    }
}

fn restore_seconds(record: &BackupRecord) -> Option<f64> {
    let times = record.stages.iter();
    let times = times.filter(|time| time.stage.is_of_restore());
    times.map(|time| time.seconds).reduce(|sum, one| sum + one)
}

fn push(to: &mut Vec<f64>, seconds: Option<f64>) {
    if to.len() < LAST {
        to.extend(seconds);
    }
}

fn median(seconds: &[f64]) -> Option<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
