//! The variables of libpq ("Environment Variables" in its manual) that are no settings of hubvault: psql obeys them, so
//! none is passed over in silence.

use super::environment::Environment;
use super::problem::Problem;

/// What hubvault makes of a variable.
enum Rule {
    /// These values change nothing. Any other would, and is refused with what to do instead.
    Refused(&'static [&'static str], &'static str),
    /// It cannot change where hubvault connects, as whom, or how safely; the reason.
    WithoutEffect(&'static str),
}

use Rule::{Refused, WithoutEffect};

const PINNED: &str = "hubvault sets this itself, so that the same rows give the same bytes";
const NO_GSSAPI: &str = "hubvault does not use GSSAPI";
const ONE_HOST: &str = "hubvault connects to one host; name the server that is to be backed up in POSTGRES_HOST, and \
                        unset it";

/// All but those that are settings, `PGSERVICE`, `PGSERVICEFILE` and `PGSYSCONFDIR`.
const VARIABLES: &[(&str, Rule)] = &[
    (
        "PGTARGETSESSIONATTRS",
        Refused(&["any", "prefer-standby"], ONE_HOST),
    ),
    (
        "PGOPTIONS",
        WithoutEffect("hubvault passes no options to the server; use ALTER ROLE ... SET"),
    ),
    (
        "PGREQUIRESSL",
        Refused(&["0"], "set PGSSLMODE=require instead"),
    ),
    (
        "PGCHANNELBINDING",
        Refused(
            &["prefer", "disable"],
            "hubvault cannot require channel binding; use PGSSLMODE=verify-full, and unset it",
        ),
    ),
    (
        "PGREQUIREAUTH",
        Refused(
            &[],
            "hubvault cannot require a method; use PGSSLMODE=verify-full, and unset it",
        ),
    ),
    (
        "PGREQUIREPEER",
        Refused(
            &[],
            "hubvault does not check who owns the server's process; unset it",
        ),
    ),
    (
        "PGSSLCRL",
        Refused(
            &[],
            "hubvault does not check lists of revoked certificates; remove the authority from PGSSLROOTCERT, and unset it",
        ),
    ),
    (
        "PGSSLCRLDIR",
        Refused(
            &[],
            "hubvault does not check lists of revoked certificates; remove the authority from PGSSLROOTCERT, and unset it",
        ),
    ),
    (
        "PGSSLCERTMODE",
        Refused(
            &["allow"],
            "hubvault sends a certificate where the server asks for one and PGSSLCERT names one; unset it",
        ),
    ),
    (
        "PGSSLNEGOTIATION",
        Refused(
            &["postgres"],
            "hubvault asks for TLS in PostgreSQL's own way; unset it",
        ),
    ),
    (
        "PGSSLSNI",
        Refused(&["1"], "hubvault always sends the server's name; unset it"),
    ),
    (
        "PGSSLMINPROTOCOLVERSION",
        Refused(
            &["TLSv1", "TLSv1.1", "TLSv1.2"],
            "hubvault uses TLS 1.2 and 1.3; unset it",
        ),
    ),
    (
        "PGSSLMAXPROTOCOLVERSION",
        Refused(&["TLSv1.3"], "hubvault uses TLS 1.2 and 1.3; unset it"),
    ),
    (
        "PGMINPROTOCOLVERSION",
        Refused(
            &["3.0"],
            "hubvault uses version 3.0 of the protocol; unset it",
        ),
    ),
    (
        "PGMAXPROTOCOLVERSION",
        Refused(
            &["3.0", "3.2", "latest"],
            "hubvault uses version 3.0 of the protocol; unset it",
        ),
    ),
    (
        "PGGSSENCMODE",
        Refused(
            &["disable", "prefer"],
            "hubvault does not use GSSAPI; use PGSSLMODE=verify-full, and unset it",
        ),
    ),
    (
        "PGSSLCOMPRESSION",
        WithoutEffect("hubvault does not compress TLS"),
    ),
    (
        "PGLOADBALANCEHOSTS",
        WithoutEffect("hubvault connects to one host"),
    ),
    ("PGKRBSRVNAME", WithoutEffect(NO_GSSAPI)),
    ("PGGSSLIB", WithoutEffect(NO_GSSAPI)),
    ("PGGSSDELEGATION", WithoutEffect(NO_GSSAPI)),
    ("PGREALM", WithoutEffect(NO_GSSAPI)),
    ("PGOAUTHDEBUG", WithoutEffect("hubvault does not use OAuth")),
    (
        "PGOAUTHCAFILE",
        WithoutEffect("hubvault does not use OAuth"),
    ),
    (
        "PGAPPNAME",
        WithoutEffect("hubvault's sessions bear its own name and the run's id"),
    ),
    ("PGCLIENTENCODING", WithoutEffect(PINNED)),
    ("PGDATESTYLE", WithoutEffect(PINNED)),
    ("PGTZ", WithoutEffect(PINNED)),
    (
        "PGGEQO",
        WithoutEffect("hubvault leaves the planner as the role has it"),
    ),
    (
        "PGLOCALEDIR",
        WithoutEffect("hubvault's messages are in English"),
    ),
];

/// Mistakes for the variables that hubvault cannot obey, notices for those that change nothing.
pub(crate) fn check(
    environment: &Environment,
    problems: &mut Vec<Problem>,
    notices: &mut Vec<String>,
) {
    for (name, rule) in VARIABLES {
        let Some(value) = environment.text(name) else {
            continue;
        };
        match rule {
            Refused(same, instead) => {
                if !same.iter().any(|known| known.eq_ignore_ascii_case(value)) {
                    problems.push(Problem::new(format!("variable {name}"), "", *instead));
                }
            }
            WithoutEffect(why) => notices.push(format!("variable {name} has no effect: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{load, refused};

    #[test]
    fn a_variable_that_psql_obeys_is_obeyed_refused_or_reported() {
        for (name, value) in [
            ("PGTARGETSESSIONATTRS", "read-write"),
            ("PGREQUIRESSL", "1"),
            ("PGCHANNELBINDING", "require"),
            ("PGSSLCRL", "/etc/crl.pem"),
            ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
            ("PGGSSENCMODE", "require"),
        ] {
            refused(&[(name, value)], "", &[&format!("variable {name}: ")]);
        }
        let harmless = [
            ("PGTARGETSESSIONATTRS", "any"),
            ("PGCHANNELBINDING", "prefer"),
            ("PGTZ", "UTC"),
        ];
        let notices = load(&harmless, "").unwrap().notices;
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("PGTZ has no effect"), "{notices:?}");
    }
}
