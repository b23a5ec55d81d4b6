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
