//! Rows that a CHECK refuses: loaded without it. It is added after all rows, `NOT VALID` if they break it.

use super::error::RestoreError;
use super::rows::NotLoaded;
use hubvault_model::Cancel;
use hubvault_postgres::{Access, LateChecks, Session, inspect};

/// Drops the CHECKs that refused rows, and loads these rows again with `again`, which gets the names of their entries;
/// what is still not loaded. The CHECKs go to `late`. Each round drops one at least, or is the last.
pub(crate) fn without_checks(
    refused: Vec<NotLoaded>,
    late: &mut LateChecks,
    (access, cancel): (&Access, &Cancel),
    again: impl Fn(&[String]) -> Result<Vec<NotLoaded>, RestoreError>,
) -> Result<Vec<NotLoaded>, RestoreError> {
    let (mut broken, mut others): (Vec<_>, Vec<_>) =
        refused.into_iter().partition(|one| by_check(one).is_some());
    while !broken.is_empty() {
        let mut session = Session::connect(access.definer(), cancel)?;
        let mut is_any_dropped = false;
        for one in &broken {
            let Some(why) = by_check(one) else { continue };
            if let Some(check) = inspect::refusing_check(&mut session, &one.table, &why)? {
                is_any_dropped |= late.extend(LateChecks::drop(&mut session, &[check])?);
            }
        }
        if !is_any_dropped {
            break;
        }
        let entries: Vec<String> = broken.into_iter().flat_map(|one| one.entries).collect();
        let rest = again(&entries)?;
        let (by_checks, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|one| by_check(one).is_some());
        broken = by_checks;
        others.extend(rest);
    }
    others.extend(broken);
    Ok(others)
}

/// The message of a CHECK.
fn by_check(refused: &NotLoaded) -> Option<String> {
    match &refused.error {
        RestoreError::Postgres(error) if error.is_of_check() => Some(error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::TableName;
    use hubvault_postgres::PgError;
    use hubvault_testkit::database_with;
    use std::cell::Cell;

    fn refused(why: &str) -> NotLoaded {
        let (doing, why) = ("restoring t".to_owned(), why.to_owned());
        NotLoaded {
            table: TableName::new("public", "t"),
            error: RestoreError::Postgres(PgError::Query { doing, why }),
            entries: vec!["database/t.sql".to_owned()],
        }
    }

    #[test]
    fn what_is_not_loaded_without_its_checks_is_said() {
        let database = database_with("CREATE TABLE t (id int CONSTRAINT c CHECK (id > 0))");
        let access = Access::single(database.settings());
        let by = |check: &str| {
            let why = format!("new row for relation \"t\" violates check constraint \"{check}\"");
            refused(&format!("{why} (SQLSTATE 23514)"))
        };
        let other = || refused("null value in column \"id\" (SQLSTATE 23502)");
        let mut late = LateChecks::default();
        let rounds = Cell::new(0);
        let left = without_checks(
            vec![other(), by("c")],
            &mut late,
            (&access, &Cancel::new()),
            |names| {
                rounds.set(rounds.get() + 1);
                assert_eq!(names, ["database/t.sql"]);
                Ok(vec![other(), by("of no table")])
            },
        );
        let left = left.unwrap();
        // One that was refused at first, one again, and one by a CHECK that cannot be dropped.
        assert_eq!((left.len(), rounds.get()), (3, 1), "{left:?}");
        assert!(by_check(&left[2]).is_some());
        let checks = "SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass";
        assert_eq!(database.value(checks), "0");
    }
}
