//! What functions of users computed: stored generated columns, which are not inside, and which a restore compares.

use super::extent::{Extent, PlannedTable};
use crate::restore::{NOT_COMPARED, computed_columns};
use crate::run::BackupError;
use hubvault_model::{RowDigest, RowDigester, Warning, one_line};
use hubvault_postgres::{CopySession, PgError};

/// Reads them of an extent's rows, in the same snapshot. What the server cannot read, or write as text, costs their
/// comparison and not the backup: `Err` inside says why.
pub(super) fn read(
    session: &mut CopySession,
    (extent, table): (&Extent, &PlannedTable),
    mut each: impl FnMut(usize) -> Result<(), BackupError>,
) -> Result<Result<RowDigest, String>, BackupError> {
    let Some(sql) = extent.computed_sql(table) else {
        return Ok(Ok(RowDigest::default()));
    };
    let doing = format!("reading {}", computed_columns(&table.name, &table.computed));
    let mut rows = RowDigester::new(table.format);
    // Without it an error would end the transaction, and with it the snapshot.
    session.simple(&doing, "SAVEPOINT computed")?;
    let read = session.copy_out(&doing, &sql, |piece| {
        rows.update(piece);
        each(piece.len())
    });
    match read {
        Ok(sent) => {
            session.simple(&doing, "RELEASE SAVEPOINT computed")?;
            let digest = rows.finish().map_err(|error| PgError::Query {
                doing: doing.clone(),
                why: error.to_string(),
            })?;
            PgError::check_row_count(&doing, sent, digest.rows)?;
            Ok(Ok(digest))
        }
        Err(BackupError::Postgres(error)) if error.is_of_values() => {
            let undo = "ROLLBACK TO SAVEPOINT computed; RELEASE SAVEPOINT computed";
            session.simple(&doing, undo)?;
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// That those of a table are not compared.
pub(super) fn warning(table: &PlannedTable, why: &str) -> Warning {
    let what = computed_columns(&table.name, &table.computed);
    let text = format!(
        "not compared: {what}, which the server of the source cannot read: {why}; a restore computes them again"
    );
    Warning::new(NOT_COMPARED, &table.name, one_line(&text))
}
