//! What a drill showed, in words for every command.

use crate::text::grouped;
use hubvault_engine::catalog::{DrillRecord, ProofRecord};
use hubvault_model::indented;

/// What was proven, in a line.
pub(crate) fn proof_text(proof: &ProofRecord) -> String {
    let shown = proof.drill.as_ref().map(|drill| {
        format!(
            "{} tables, {} rows restored and equal on PostgreSQL {} in {:.1} s",
            drill.tables,
            grouped(drill.rows),
            drill.server_version,
            drill.seconds
        )
    });
    let confinement = proof
        .drill
        .as_ref()
        .map_or_else(String::new, confinement_text);
    let proven = match (&proof.reason, shown) {
        (None, Some(shown)) => format!("proven: {shown}\n"),
        (reason, shown) => {
            let reason = indented(reason.as_deref().unwrap_or("not drilled"));
            let read = if proof.read_back {
                "read back whole"
            } else {
                "not read back"
            };
            let shown = shown.map_or_else(String::new, |shown| format!("; {shown}"));
            format!("unproven: {reason}; {read}{shown}\n")
        }
    };
    proven + &confinement
}

/// How far the drill's server was not confined, and what was found in it; empty where all is well.
pub(crate) fn confinement_text(drill: &DrillRecord) -> String {
    let Some(confinement) = &drill.confinement else {
        return String::new();
    };
    let mut out = String::new();
    if !confinement.missing.is_empty() {
        out += &format!(
            "drill not fully confined: {}\n",
            indented(&confinement.missing.join("; "))
        );
    }
    match confinement.processes_left {
        0 => {}
        1 => out += "1 process left behind by code of the database was killed\n",
        many => {
            out += &format!("{many} processes left behind by code of the database were killed\n");
        }
    }
    out
}
