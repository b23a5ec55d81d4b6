//! The planner's estimate of a query.

use crate::connect::session::Session;
use crate::error::PgError;

/// The planner's estimate of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Rows that it expects.
    pub rows: u64,
    /// Whether it would use an index.
    pub uses_index: bool,
}

/// Asks the planner about a query without running it.
pub fn estimate(session: &mut Session, query: &str) -> Result<Estimate, PgError> {
    let rows = session.rows(
        "asking the planner about a window",
        &format!("EXPLAIN {query}"),
    )?;
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(Estimate {
        rows: lines
            .first()
            .and_then(|line| expected_rows(line))
            .unwrap_or(0),
        uses_index: lines.iter().any(|line| line.contains("Index")),
    })
}

/// Whether the planner accepts a query in this transaction, which goes on in any case: `None`, or why not.
pub fn works(session: &mut Session, query: &str) -> Result<Option<String>, PgError> {
    let doing = "asking the planner about a condition";
    session.simple(doing, "SAVEPOINT condition")?;
    match session.rows(doing, &format!("EXPLAIN {query}")) {
        Ok(_) => session
            .simple(doing, "RELEASE SAVEPOINT condition")
            .map(|()| None),
        Err(PgError::Query { why, .. }) => {
            let undo = "ROLLBACK TO SAVEPOINT condition; RELEASE SAVEPOINT condition";
            session.simple(doing, undo).map(|()| Some(why))
        }
        Err(error) => Err(error),
    }
}

/// `Seq Scan on t  (cost=0.00..18.50 rows=850 width=36)`.
fn expected_rows(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(" rows=")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planner_s_rows_are_found() {
        let line = "Seq Scan on t  (cost=0.00..18.50 rows=850 width=36)";
        assert_eq!(expected_rows(line), Some(850));
        assert_eq!(expected_rows("nothing"), None);
    }
}
