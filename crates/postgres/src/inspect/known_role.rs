//! Whether a role that exists is the one that was made for the backups: its password shows it, and nothing else does.

use crate::connect::random_secret::mac;
use crate::connect::session::Session;
use crate::error::PgError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubvault_model::quote_literal;
use postgres_protocol::password::md5;
use sha2::{Digest, Sha256};

/// A verifier with more rounds is not checked: whoever owns the role decides how many there are. Ours have 4096.
const MOST_ROUNDS: u32 = 100_000;

/// Why a role that exists may get no rights; `None` if it has this password, may do nothing else, and owns nothing here.
///
/// A login shows nothing: `trust` in `pg_hba.conf` takes any password. The verifier is compared, which only a superuser
/// may read.
pub fn why_not_ours(
    session: &mut Session,
    role: &str,
    password: &str,
) -> Result<Option<&'static str>, PgError> {
    let role_literal = quote_literal(role);
    let rows = session.rows(
        "asking what the role may do",
        &format!(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication,
                    EXISTS (SELECT FROM pg_catalog.pg_shdepend d
                            WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.refobjid = r.oid
                              AND d.deptype = 'o' AND d.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database
                                                                     WHERE datname = current_database()))),
                    pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')
             FROM pg_catalog.pg_roles r WHERE rolname = {role_literal}"
        ),
    )?;
    let Some(row) = rows.first() else {
        return Ok(Some("it does not exist"));
    };
    let (may_more, owns, is_readable): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if may_more {
        return Ok(Some(
            "it is a superuser, or may create roles or databases, or may replicate",
        ));
    }
    if owns {
        return Ok(Some("it owns objects"));
    }
    if !is_readable {
        return Ok(Some(
            "whether it was made for the backups is not known, as only a superuser may read how its password is kept",
        ));
    }
    let rows = session.rows(
        "asking how the role's password is kept",
        &format!("SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = {role_literal}"),
    )?;
    let verifier: Option<String> = rows.first().and_then(|row| row.get(0));
    let is_ours = verifier.is_some_and(|verifier| verifies(&verifier, role, password));
    Ok((!is_ours).then_some("it has another password than the one in the file"))
}

/// Whether some role has this password, as far as this session may know.
pub fn is_password_of_a_role(session: &mut Session, password: &str) -> Result<bool, PgError> {
    let rows = session.rows(
        "asking whether passwords may be compared",
        "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')",
    )?;
    if !rows.first().is_some_and(|row| row.get(0)) {
        return Ok(false);
    }
    let rows = session.rows(
        "asking how passwords are kept",
        "SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL",
    )?;
    Ok(rows
        .iter()
        .any(|row| verifies(row.get(1), row.get(0), password)))
}

/// Whether a verifier of `pg_authid` is that of this password, which has ASCII alone: `SASLprep` changes nothing.
fn verifies(verifier: &str, role: &str, password: &str) -> bool {
    if verifier.starts_with("md5") {
        return verifier == md5(password.as_bytes(), role);
    }
    stored_key_of(verifier, password).is_some_and(|(kept, found)| kept == found)
}

/// The `StoredKey` of `SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey`, and that of the password (RFC 5802, 3).
fn stored_key_of(verifier: &str, password: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (rounds_and_salt, keys) = verifier.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (rounds, salt) = rounds_and_salt.split_once(':')?;
    let rounds: u32 = rounds.parse().ok()?;
    if !(1..=MOST_ROUNDS).contains(&rounds) {
        return None;
    }
    let kept = STANDARD.decode(keys.split_once(':')?.0).ok()?;
    let mut last = mac(
        password.as_bytes(),
        &[&STANDARD.decode(salt).ok()?, &[0, 0, 0, 1]],
    )?;
    let mut salted = last;
    for _ in 1..rounds {
        last = mac(password.as_bytes(), &[&last])?;
        for (byte, of_round) in salted.iter_mut().zip(last) {
            *byte ^= of_round;
        }
    }
    let client_key = mac(&salted, &[b"Client Key"])?;
    Some((kept, Sha256::digest(client_key).to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::password::scram_sha_256;

    #[test]
    fn a_verifier_is_that_of_one_password_alone() {
        for verifier in [scram_sha_256(b"0123abcd"), md5(b"0123abcd", "reader")] {
            assert!(verifies(&verifier, "reader", "0123abcd"), "{verifier}");
            assert!(!verifies(&verifier, "reader", "0123abce"), "{verifier}");
            assert!(!verifies(&verifier, "reader", ""), "{verifier}");
        }
        assert!(!verifies(&md5(b"0123abcd", "other"), "reader", "0123abcd"));
        for other in [
            "",
            "0123abcd",
            "SCRAM-SHA-256$4294967295:AAAA$AAAA:AAAA",
            "SCRAM-SHA-256$0:AAAA$AAAA:AAAA",
            "SCRAM-SHA-256$1:$:",
        ] {
            assert!(!verifies(other, "reader", "0123abcd"), "{other}");
        }
    }
}
