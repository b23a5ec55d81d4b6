//! What hubvault promises, tested through its binary against a real `PostgreSQL`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../shared/mod.rs"]
mod shared;
use shared::{clock, hub, keys, mailing, service_process, stages};

mod round_trip;
mod consistent_snapshot;
mod connection;
mod configuration;
mod bad_input;
mod interrupted;
mod damaged_archives;
mod catalog;
mod earlier_version;
mod files;
mod file_trees;
mod drill;
mod forged;
mod drill_failures;
mod drill_host;
mod drift;
mod drill_differences;
mod not_rebuilt;
mod restore;
mod load_order;
mod script_drill;
mod restore_shells;
mod missing_rows;
mod unreadable_tables;
mod window_cut;
mod definitions;
mod references;
mod encodings;
mod extension_rows;
mod retention;
mod overview;
mod monitor;
mod alerts;
mod seal;
mod seal_check;
mod mail;
mod mail_failures;
mod mail_content;
mod mail_errors;
mod process_observer;
mod secrets;
mod output;
mod json;
mod hints;
mod logs;
mod http;
mod http_clients;
mod links;
mod service;
mod jobs;
mod commands;
mod extending;
mod operations;
mod documentation;
mod drop_in;
mod examples;
mod permissions;
mod mount_modes;
mod schema_cost;
mod libpq_variables;
mod coverage;
