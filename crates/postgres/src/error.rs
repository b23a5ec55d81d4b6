//! Errors of a server or its programs. Every message says what to do next.

use crate::message::full_text;
use postgres::error::SqlState;
use std::io;
use std::path::PathBuf;

/// Something about `PostgreSQL`.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// No connection.
    #[error(
        "connecting to {target} failed: {why}; check that the server runs and that host and port are right{tried}"
    )]
    Unreachable {
        /// `user@host:port/database`.
        target: String,
        /// The last cause.
        why: String,
        /// How often it was tried, if more than once; after everything else that is said.
        tried: String,
    },
    /// The server refuses this role or password.
    #[error("{target} refuses the login: {why}; check POSTGRES_USER and POSTGRES_PASSWORD")]
    Login {
        /// `user@host:port/database`.
        target: String,
        /// The server's message.
        why: String,
    },
    /// The database is not there.
    #[error("{target}: {why}; check POSTGRES_DB (psql -l lists the databases)")]
    NoSuchDatabase {
        /// `user@host:port/database`.
        target: String,
        /// The server's message.
        why: String,
    },
    /// A pooler that shares sessions between clients.
    #[error(
        "{target} is a connection pooler that cannot be used: {why}; give the host and port of the \
         server itself (POSTGRES_HOST, POSTGRES_PORT), or of a pool with pool_mode = session"
    )]
    Pooler {
        /// `user@host:port/database`.
        target: String,
        /// The evidence.
        why: String,
    },
    /// A standby cancelled the query.
    #[error(
        "{doing}: the standby gave up the rows or the lock that the backup needs, to follow its \
         primary: {why}; set hot_standby_feedback = on there, or max_standby_streaming_delay longer \
         than a backup takes (-1: no limit), or back up the primary"
    )]
    StandbyConflict {
        /// The operation.
        doing: String,
        /// The server's message.
        why: String,
    },
    /// TLS is required and failed.
    #[error(
        "{target}: TLS failed: {why}; check sslmode and sslrootcert, and sslcert and sslkey where the server asks for a \
         certificate"
    )]
    Tls {
        /// `user@host:port/database`.
        target: String,
        /// What went wrong.
        why: String,
    },
    /// The role may not connect to the database.
    #[error(
        "{target}: {why}; run as a superuser or the owner:\n  {statement}\nand on PostgreSQL 14 and newer, so that it may \
         read everything:\n  {read_all}"
    )]
    MayNotConnect {
        /// `user@host:port/database`.
        target: String,
        /// The server's message.
        why: String,
        /// The statement that lets it connect.
        statement: String,
        /// The statement that lets it read.
        read_all: String,
    },
    /// Another session holds a lock on a table.
    #[error(
        "a table is locked by another session and was not released in time:\n{}\nlet it end, \
         or end it with SELECT pg_terminate_backend(<process>)", .blockers.join("\n")
    )]
    LockTimeout {
        /// One line for each blocking session.
        blockers: Vec<String>,
    },
    /// The server refused a statement.
    #[error("{doing}: {why}")]
    Query {
        /// The operation.
        doing: String,
        /// The server's message.
        why: String,
    },
    /// The server is out of disk space or memory (appendix A, class 53), or a file is closed to it (class 58).
    #[error(
        "{doing}: the server is out of disk space or memory, or cannot use a file: {why}; free some, or give it the file"
    )]
    Exhausted {
        /// The operation.
        doing: String,
        /// The server's message.
        why: String,
    },
    /// The connection broke.
    #[error("{doing}: the connection to the server was lost: {why}; see the server's log")]
    ConnectionLost {
        /// The operation.
        doing: String,
        /// The cause.
        why: String,
    },
    /// What is to be sent to the server could not be read.
    #[error("{doing}: {why}")]
    Input {
        /// The operation.
        doing: String,
        /// The cause.
        why: String,
    },
    /// The number of rows that arrived differs from the server's count.
    #[error(
        "{doing}: the server sent {sent} rows and {arrived} arrived: data was changed on the \
         connection; use TLS (sslmode = verify-full), and check the network"
    )]
    RowCountMismatch {
        /// The operation.
        doing: String,
        /// The server's count.
        sent: u64,
        /// The count on arrival.
        arrived: u64,
    },
    /// Stopped on request.
    #[error("stopped on request")]
    Cancelled,
    /// A program of `PostgreSQL`.
    #[error("{program}: {why}")]
    Tool {
        /// Its path or name.
        program: String,
        /// The problem and what to do.
        why: String,
    },
    /// The throwaway server.
    #[error("the throwaway server: {doing}: {why}")]
    Throwaway {
        /// The operation.
        doing: String,
        /// The cause, with the end of the server's log.
        why: String,
    },
    /// A file.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl PgError {
    /// The error of a statement or a COPY.
    pub(crate) fn query(doing: &str, error: &postgres::Error, cancelled: bool) -> Self {
        let code = error.code().map(SqlState::code);
        Self::classify(doing, code, full_text(error), cancelled)
    }

    /// The same from a SQLSTATE and a message; without a SQLSTATE the connection was lost.
    pub(crate) fn classify(doing: &str, code: Option<&str>, why: String, cancelled: bool) -> Self {
        let doing = doing.to_owned();
        match code {
            _ if cancelled => Self::Cancelled,
            // The code is that of a serialization failure or of a deadlock ("Handling Query Conflicts").
            Some("40001" | "40P01") if why.contains("conflict with recovery") => {
                Self::StandbyConflict { doing, why }
            }
            // The server shuts down or ended this session (appendix A, class 57 and 25P03).
            None | Some("57P01" | "57P02" | "25P03") => Self::ConnectionLost { doing, why },
            // Class 53: resources; class 58: what lies outside of PostgreSQL itself.
            Some(code)
                if code.starts_with("53") || code.starts_with("58") || is_of_disk(code, &why) =>
            {
                Self::Exhausted { doing, why }
            }
            Some(_) => Self::Query { doing, why },
        }
    }
}

/// What the system says of a disk, and of nothing else, in the C locale.
const OF_DISK: [&str; 5] = [
    "No space left on device",
    "Disk quota exceeded",
    "Input/output error",
    "Read-only file system",
    "Permission denied",
];

/// For some errors of the disk the server has codes that mean something else, too: a missing privilege, or a bug.
fn is_of_disk(code: &str, why: &str) -> bool {
    ["42501", "XX000"].contains(&code)
        && why.contains("could not")
        && OF_DISK.iter().any(|words| why.contains(words))
}

impl PgError {
    /// An error when the number of rows that arrived differs from the server's count.
    pub fn check_row_count(doing: &str, sent: u64, arrived: u64) -> Result<(), Self> {
        if sent == arrived {
            return Ok(());
        }
        let doing = doing.to_owned();
        Err(Self::RowCountMismatch {
            doing,
            sent,
            arrived,
        })
    }

    /// An error when two answers about the same snapshot differ: a bit hardly flips the same way twice.
    pub fn check_same_answer(doing: &str, once: &str, twice: &str) -> Result<(), Self> {
        if once == twice {
            return Ok(());
        }
        Err(Self::Query {
            doing: doing.to_owned(),
            why: "the server gave two answers about the same snapshot: data was changed on the connection; use \
                  TLS (sslmode = verify-full), and check the network"
                .to_owned(),
        })
    }

    /// Whether the role may not do what was asked (appendix A, 42501).
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Query { why, .. } => is_of_states(why, &["42501"]),
            // The first words of what the server said: names and values come later.
            Self::Tool { why, .. } => why.split_once("ERROR:  ").is_some_and(|(_, said)| {
                [
                    "permission denied ",
                    "must be superuser",
                    "must be owner",
                    "must be member",
                    "must be able to SET ROLE",
                    "only superuser",
                ]
                .iter()
                .any(|words| said.starts_with(words))
            }),
            _ => false,
        }
    }

    /// Whether a lock was not released in time, or the wait for it was a deadlock (appendix A, 55P03 and 40P01).
    pub fn is_of_locks(&self) -> bool {
        matches!(self, Self::Query { why, .. } if is_of_states(why, &["55P03", "40P01"]))
    }

    /// Whether a name was not found, as of something that a function names without its schema (classes 42 and 3F).
    pub fn is_of_names(&self) -> bool {
        matches!(self, Self::Query { why, .. } if is_of_states(why, &["42", "3F"]))
            && !self.is_refusal()
    }

    /// Whether the text of a row is none that its columns can have: a server never writes such (appendix A, class 22).
    pub fn is_of_text(&self) -> bool {
        matches!(self, Self::Query { why, .. } if is_of_states(why, &["2200", "22021", "22P0"]))
    }

    /// Whether rows break a CHECK constraint, or those of a parent, whose constraint is `NOT VALID` then. The server
    /// validates none of a domain that is inside an array, composite or range of a table (0A000).
    pub fn is_of_check(&self) -> bool {
        matches!(self, Self::Query { why, .. } if is_of_states(why, &["23514", "42P17", "0A000"]))
    }

    /// Whether the server could not make a value's text of what is stored: class 22, a limit, or damaged data.
    pub fn is_of_values(&self) -> bool {
        matches!(self, Self::Query { why, .. } if is_of_states(why, &["22", "54", "XX"]))
    }

    /// Whether another server could not be reached (class 08, and 2F003 of `postgres_fdw` and `dblink`).
    pub fn is_of_other_server(&self) -> bool {
        matches!(self, Self::Query { why, .. } if is_of_states(why, &["08", "2F003"]))
    }

    /// Whether the cause is the server's environment and not what it was given.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::RowCountMismatch { .. }
            | Self::Exhausted { .. }
            | Self::Throwaway { .. }
            | Self::Io { .. } => true,
            Self::Query { .. } => self.is_of_other_server(),
            // What pg_restore passes on from libpq and from the server; both run with LC_MESSAGES=C.
            Self::Tool { why, .. } => [
                "out of memory",
                "server closed the connection",
                "terminating connection",
                "connection to server",
                "ended with signal",
                // hubvault's own message about a program that is missing or too old.
                "is needed and was not found",
            ]
            .iter()
            .chain(&OF_DISK)
            .any(|words| why.contains(words)),
            _ => false,
        }
    }
}

/// Whether the server's codes in a text all begin with one of these. A message may quote a value that reads like a code:
/// the server's own stands beside it.
fn is_of_states(why: &str, codes: &[&str]) -> bool {
    let mut states = why.split("(SQLSTATE ").skip(1).peekable();
    states.peek().is_some() && states.all(|state| codes.iter().any(|code| state.starts_with(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_disk_fails_says_nothing_of_what_it_was_given() {
        let classify =
            |code, why: &str| PgError::classify("copying", Some(code), why.to_owned(), false);
        for (code, why) in [
            (
                "53100",
                "could not extend file \"base/5/2619\": No space left on device",
            ),
            (
                "58030",
                "could not write block 3 of file \"base/5/2619\": Input/output error",
            ),
            (
                "42501",
                "could not open file \"base/5/2619_fsm\": Permission denied",
            ),
            (
                "42501",
                "could not create file \"base/5/1\": Read-only file system",
            ),
            (
                "XX000",
                "could not extend file \"base/5/2619\": Disk quota exceeded",
            ),
        ] {
            assert!(classify(code, why).is_environment(), "{why}");
        }
        for (code, why) in [
            ("42501", "permission denied for table users"),
            (
                "22P02",
                "invalid input syntax for type integer: \"could not: Permission denied\"",
            ),
            ("XX001", "could not read block 3 in file \"base/5/2619\""),
        ] {
            assert!(!classify(code, why).is_environment(), "{why}");
        }
    }

    #[test]
    fn a_value_that_reads_like_a_refusal_is_none() {
        let query = |why: &str| PgError::Query {
            doing: "x".into(),
            why: why.into(),
        };
        let tool = |why: &str| PgError::Tool {
            program: "pg_restore".into(),
            why: format!("ended: pg_restore: error: could not execute query: ERROR:  {why}"),
        };
        assert!(query("permission denied for table a (SQLSTATE 42501); hint").is_refusal());
        assert!(query("could not connect to server (SQLSTATE 08001)").is_environment());
        for said in ["42501", "(SQLSTATE 42501)", "(SQLSTATE 08001)"] {
            let error = query(&format!(
                "invalid input \"{said}\" (SQLSTATE 22P02); {said}"
            ));
            assert!(!error.is_refusal() && !error.is_environment(), "{said}");
        }
        assert!(tool("permission denied for language c; Command was: x").is_refusal());
        assert!(!tool("syntax error at \"permission denied\"; must be owner").is_refusal());
    }
}
