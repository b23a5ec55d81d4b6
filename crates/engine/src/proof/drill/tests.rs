//! What an error makes of an archive.

use super::*;

fn query(why: &str) -> RestoreError {
    let (doing, why) = ("making a role".to_owned(), why.to_owned());
    RestoreError::Postgres(PgError::Query { doing, why })
}

fn different() -> RestoreError {
    let tables = vec!["t: 1 row".to_owned()];
    RestoreError::Different { tables }
}

#[test]
fn only_what_is_wrong_with_the_archive_rejects_it() {
    let reason = |error, is_lost: bool| match failed(error, true, || {
        is_lost.then_some(PgError::Cancelled)
    }) {
        Ok(Verdict::Unproven { reason, drill }) if drill.is_none() => Ok(reason),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let refused = reason(query("role name \"pg_x\" is reserved"), false).unwrap();
    assert!(
        refused.starts_with("the drill's server refused a step: making a role"),
        "{refused}"
    );
    let rejected = reason(different(), false).unwrap_err();
    assert!(rejected.contains("t: 1 row"), "{rejected}");
    // Without its server nothing is known of the archive.
    for error in [different(), query("no such table")] {
        let lost = reason(error, true).unwrap();
        assert!(lost.starts_with("the drill's server was lost: "), "{lost}");
    }
}
