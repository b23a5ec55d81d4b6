//! Which of PostgreSQL's programs this host has.

use super::tools::{Tool, find_client, find_server};
use crate::error::PgError;
use std::path::PathBuf;

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name, such as `pg_dump`.
    pub name: &'static str,
    /// Where it is; the name alone where it is on the PATH.
    pub path: PathBuf,
    /// `15.18`
    pub version: String,
}

/// The programs that a backup, its drill and a restore start, each with why it cannot be used; for a server of this
/// major version.
pub fn programs(server_major: u32) -> Vec<(&'static str, Result<Program, PgError>)> {
    let found = |name, tool: Result<Tool, PgError>| {
        let program = tool.map(|Tool { path, version, .. }| Program {
            name,
            path,
            version,
        });
        (name, program)
    };
    vec![
        found("pg_dump", find_client("pg_dump", server_major, false)),
        found("pg_restore", find_client("pg_restore", server_major, false)),
        found("psql", find_client("psql", server_major, true)),
        found("postgres", find_server(server_major)),
    ]
}
