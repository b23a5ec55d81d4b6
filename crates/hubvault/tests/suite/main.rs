//! The promises of hubvault, kept through its binary against a real PostgreSQL.

mod hub;

mod comes_back_equal;
mod one_moment;
mod bad_input;
mod interrupted;
mod damaged_archives;
mod catalog;
mod files;
