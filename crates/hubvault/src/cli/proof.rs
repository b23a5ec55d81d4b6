//! The result of a drill, as every command prints it.

use crate::text::{Meaning, paint, paragraph};
use hubvault_engine::catalog::{DrillRecord, ProofRecord};
use hubvault_model::{counted, indented};

/// The proof, in a line, and the constraints that came back `NOT VALID`, which a run has among its warnings.
pub(crate) fn proof_text(proof: &ProofRecord) -> String {
    let mut out = proof_lines(proof);
    for constraint in proof.drill.iter().flat_map(|drill| &drill.not_valid) {
        out += &format!("came back NOT VALID: {}\n", indented(constraint));
    }
    out
}

/// The proof, in a line, and what the drill did another way than the source's server.
pub(crate) fn proof_lines(proof: &ProofRecord) -> String {
    let shown = proof.drill.as_ref().map(|drill| {
        format!(
            "{}, {} restored and equal on PostgreSQL {} in {:.1} s",
            counted(drill.tables as u64, "table"),
            counted(drill.rows, "row"),
            drill.server_version,
            drill.seconds
        )
    });
    let confinement = proof
        .drill
        .as_ref()
        .map_or_else(String::new, confinement_text);
    let proven = match (&proof.reason, shown) {
        (None, Some(shown)) => format!("{}: {shown}\n", paint(Meaning::Good, "proven")),
        (reason, shown) => {
            let reason = indented(reason.as_deref().unwrap_or("not drilled"));
            let read = if proof.read_back {
                "read back whole"
            } else {
                "not read back"
            };
            let shown = shown.map_or_else(String::new, |shown| format!("; {shown}"));
            format!(
                "{}: {reason}; {read}{shown}\n",
                paint(Meaning::Warning, "unproven")
            )
        }
    };
    let mut out = proven + &confinement;
    for object in proof.also_not_rebuilt() {
        out += &format!("not rebuilt: {}\n", indented(object));
    }
    for note in proof.drill.iter().flat_map(|drill| &drill.notes) {
        out += &format!("note: {}\n", indented(note));
    }
    paragraph(&out)
}

/// What was missing to confine the drill's server, and which processes were left in it; empty text for nothing.
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
    let left = confinement.processes_left;
    if left > 0 {
        let verb = if left == 1 { "was" } else { "were" };
        let what = counted(left as u64, "process");
        out += &format!("{what} left behind by code of the database {verb} killed\n");
    }
    out
}
