//! Versions: `PostgreSQL` 13 to 18 as source and as target, with client programs older and newer than the server,
//! behind pgbouncer, and as a hot standby. Run by `make test-versions`; fails where the servers are missing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../shared/mod.rs"]
#[expect(dead_code, reason = "the suite needs more of it")]
mod shared;
use shared::hub;

#[path = "../shared/fetched.rs"]
mod fetched;
mod servers;

mod every_version;
mod commands;
mod shapes;
mod client_programs;
mod pooler;
mod standby;
