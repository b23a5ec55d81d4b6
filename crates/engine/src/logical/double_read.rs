//! Without TLS the network may change data: the definitions and the plan's input are therefore read twice and
//! compared. A flipped bit is unlikely to flip the same way twice.

use super::plan::Plan;
use super::spared::Spared;
use crate::job::{Job, ProofWhen, SourceDigest};
use crate::run::BackupError;
use hubvault_postgres::{PgError, Snapshot};
use std::fmt::Write as _;

/// Whether to read twice, by the setting that also requests the server's digests of the rows.
pub(crate) fn is_wanted(job: &Job, snapshot: &Snapshot) -> Result<bool, BackupError> {
    if job.proof.when == ProofWhen::Off {
        return Ok(false);
    }
    Ok(match job.proof.source_digest {
        SourceDigest::Never => false,
        SourceDigest::Always => true,
        SourceDigest::Auto if job.database.host.starts_with('/') => false,
        // Only a connection knows whether it uses TLS.
        SourceDigest::Auto => !snapshot.invitation().join()?.is_guarded(),
    })
}

/// Makes the plan again from the same snapshot; an error when it differs.
pub(crate) fn confirm(
    plan: &Plan,
    snapshot: &mut Snapshot,
    job: &Job,
    spared: &Spared,
) -> Result<(), BackupError> {
    let again = Plan::make(snapshot, job, spared)?;
    PgError::check_same_answer(
        "asking the catalogs again",
        &comparable(plan),
        &comparable(&again),
    )?;
    Ok(())
}

/// The parts of a plan that cannot change within a snapshot; sizes, estimates and sequence values can.
fn comparable(plan: &Plan) -> String {
    let mut text = String::new();
    for table in &plan.tables {
        let _ = writeln!(
            text,
            "{} {:?} {:?} {:?} {:?} {}",
            table.name, table.coverage, table.filter, table.columns, table.format, table.added_rows
        );
    }
    for sequence in &plan.sequences {
        let _ = writeln!(text, "{}", sequence.name);
    }
    let _ = writeln!(
        text,
        "{:?} {:?} {:?}",
        plan.outside
            .iter()
            .map(|left| &left.name)
            .collect::<Vec<_>>(),
        plan.refresh,
        plan.roles
    );
    let references = &plan.references;
    let _ = writeln!(text, "{:?} {:?}", references.skipped, references.not_valid);
    let _ = writeln!(
        text,
        "{:?} {:?}",
        references.late_keys, references.statements
    );
    text
}
