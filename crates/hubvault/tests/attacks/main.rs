//! Attacks on hubvault by the owner of a database, a local user, the author of an archive or of a name, and the holder
//! of a token with few rights. `make test-attacks` runs them; SECURITY.md lists what they prove.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../shared/mod.rs"]
#[expect(dead_code, reason = "the suite needs more of it")]
mod shared;
use shared::{browser, hub, mailing, service_process};

#[path = "../shared/fetched.rs"]
mod fetched;
#[path = "../versions/servers.rs"]
#[expect(dead_code, reason = "the test of all versions needs more of it")]
mod servers;

mod attacker;
mod drill_code;
mod drill_versions;
mod wired_code;
mod drill_host;
mod forger;
mod foreign_archives;
mod foreign_archives_bombs;
mod foreign_archives_files;
mod names_and_sources;
mod source_code;
mod old_programs;
mod local_users;
mod local_users_output;
mod local_users_directories;
mod http;
mod page;
mod service_memory;
