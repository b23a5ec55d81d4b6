//! Databases in the manner of real ones: each is filled, backed up by two roles with two codecs, drilled, restored by
//! `hubvault restore` and by the archive's own script, and judged by `pg_dump` and `psql` alone. `make test-databases`
//! runs them in full; what is not installed is skipped, with a word.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../shared/mod.rs"]
#[expect(dead_code, reason = "the suite needs more of it")]
mod shared;
use shared::hub;

#[path = "../shared/fetched.rs"]
mod fetched;
mod form;
mod real_server;
mod definitions;
mod facts;
mod trial;
mod ways;

mod products;
mod kinds;
mod more_variations;
mod extensions;
mod cases;
mod variations;
