//! `<archive>.<mark>.proof` beside a copy: what a drill showed after the archive was published. Each drill gets one of its
//! own, which is never changed.

use super::drill_mark::{DrillMark, NAMED, number};
use super::in_the_clear::REJECTED;
use super::record::{BackupRecord, DrillRecord, ProofRecord, State};
use hubvault_model::{BackupId, excerpt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io;

const FORMAT: u32 = 1;
/// Of each list of a drill, and of each text in it and of the reason, in characters.
const LISTED: usize = 20;
const LONGEST: usize = 300;
const LONGEST_REASON: usize = 2000;

/// A drill's result as it is beside an archive.
#[derive(Clone, Debug)]
pub(crate) struct FoundMark {
    pub(crate) mark: DrillMark,
    pub(crate) proof: ProofRecord,
}

#[derive(Serialize, Deserialize)]
struct Text {
    format_version: u32,
    id: BackupId,
    #[serde(default)]
    after: Vec<String>,
    at: Option<Timestamp>,
    machine: Option<String>,
    proof: ProofRecord,
}

impl FoundMark {
    /// That of a record; `None` where no drill was made since its archive was published.
    pub(crate) fn of(record: &BackupRecord) -> Option<Self> {
        Some(Self {
            mark: record.drill_mark.clone()?,
            proof: record.proof.clone(),
        })
    }

    /// What is stored. Beside a sealed archive, which anybody may read, nothing that may quote rows.
    pub(crate) fn text(&self, id: BackupId, is_sealed: bool) -> io::Result<Vec<u8>> {
        let proof = if is_sealed {
            short(self.proof.in_the_clear())
        } else {
            short(self.proof.clone())
        };
        let text = Text {
            format_version: FORMAT,
            id,
            after: self.mark.after.clone(),
            at: self.mark.at,
            machine: self.mark.machine.clone(),
            proof,
        };
        Ok(serde_json::to_vec_pretty(&text)?)
    }

    /// What a stored one of this name says; `None` where it cannot be read, or is another backup's.
    pub(crate) fn parse(name: &str, text: &[u8], id: BackupId) -> Option<Self> {
        let text: Text = serde_json::from_slice(text).ok()?;
        let mut proof = short(text.proof);
        // Only a drill proves.
        proof.proven &= proof.drill.is_some();
        if !proof.proven && proof.reason.is_none() {
            proof.reason = Some("a later drill did not prove it".to_owned());
        }
        let mut after = text.after;
        after.retain(|after| after.len() <= LONGEST && after != name);
        after.truncate(NAMED);
        (text.id == id).then(|| Self {
            mark: DrillMark {
                name: name.to_owned(),
                after,
                at: text.at,
                machine: text.machine.map(|it| excerpt(&it, LONGEST)),
            },
            proof,
        })
    }

    /// The proof of the archive that has this mark and this sidecar, which may say more of the same drill.
    pub(crate) fn or_same(self, sidecar: &ProofRecord) -> ProofRecord {
        self.proof.or_same(sidecar)
    }
}

/// What counts of several marks; it knows the others then.
pub(crate) fn latest(found: &[FoundMark]) -> Option<FoundMark> {
    let is_known = |it: &FoundMark| {
        let name = &it.mark.name;
        let mut others = found.iter().filter(|other| other.mark.name != *name);
        others.any(|other| other.mark.knows(name))
    };
    let rank = |it: &&FoundMark| {
        (
            !it.proof.proven,
            number(&it.mark.name),
            it.mark.name.clone(),
        )
    };
    let newest = found.iter().filter(|it| !is_known(it)).max_by_key(rank);
    // Only forged ones know each other.
    let mut counts = newest.or_else(|| found.iter().max_by_key(rank))?.clone();
    for other in found {
        counts.mark.add(&other.mark);
    }
    Some(counts)
}

/// The same without what is too long for a mark.
fn short(proof: ProofRecord) -> ProofRecord {
    let list = |mut all: Vec<String>| {
        let more = all.len().saturating_sub(LISTED);
        all.truncate(LISTED);
        let mut all: Vec<String> = all.iter().map(|text| excerpt(text, LONGEST)).collect();
        all.extend((more > 0).then(|| format!("{more} more")));
        all
    };
    let drill = |drill: DrillRecord| DrillRecord {
        server_version: excerpt(&drill.server_version, LONGEST),
        not_provable: list(drill.not_provable),
        not_rebuilt: list(drill.not_rebuilt),
        not_valid: list(drill.not_valid),
        notes: list(drill.notes),
        script: drill.script.map(|it| excerpt(&it, LONGEST)),
        // It says something of the machine that drilled, and nothing of the archive.
        confinement: None,
        ..drill
    };
    ProofRecord {
        reason: proof.reason.map(|it| excerpt(&it, LONGEST_REASON)),
        drill: proof.drill.map(drill),
        ..proof
    }
}

impl ProofRecord {
    /// Of an archive that a drill rejected.
    pub fn rejected(why: &str) -> Self {
        Self {
            reason: Some(format!("{REJECTED}: {why}")),
            ..Self::default()
        }
    }

    /// Whether a drill came so far that it says something of the archive.
    pub(crate) fn shows_something(&self) -> bool {
        self.proven || self.drill.is_some() || self.is_rejected()
    }
}

impl BackupRecord {
    /// Records what a drill of this machine showed after the archive was published. It is to be stored beside each copy.
    pub(crate) fn drilled(&mut self, proof: ProofRecord) {
        self.drill_mark = Some(DrillMark::next(self.drill_mark.as_ref()));
        self.set_proof(proof);
    }

    /// Takes the marks beside a copy into account; whether another drill counts now.
    pub(crate) fn learn_marks(&mut self, destination: &str, found: &[FoundMark]) -> bool {
        if !matches!(self.state, State::Proven | State::Unproven) {
            return false;
        }
        let known = FoundMark::of(self);
        let before = known.clone().map(|known| known.mark);
        let all: Vec<FoundMark> = known.into_iter().chain(found.to_vec()).collect();
        let Some(counts) = latest(&all) else {
            return false;
        };
        let name = counts.mark.name.clone();
        let is_there = found.iter().any(|one| one.mark.name == name);
        if let Some(copy) = self.copy_at_mut(destination).filter(|_| is_there) {
            copy.drill_mark = Some(name);
        }
        let is_known = before
            .as_ref()
            .is_some_and(|it| it.name == counts.mark.name);
        self.drill_mark = Some(counts.mark.clone());
        if !is_known {
            let proof = counts.or_same(&self.proof);
            self.set_proof(proof);
        }
        !is_known
    }

    fn set_proof(&mut self, proof: ProofRecord) {
        self.state = proof.state();
        self.proof = proof;
    }
}
