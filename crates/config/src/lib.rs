//! The configuration: variables, `hubvault.toml` and `*_FILE` become finished jobs. The only place of
//! hubvault that reads the environment.
//!
//! The modules are listed in the order of the flow; each imports only from those above it.

mod problem;
mod json_object;
mod trusted_file;
mod address;
mod kind;
mod keys;
mod environment;
mod document;
mod default_scope;
mod destination_list;
mod parser;
mod input;
mod archive_directory;
mod setting;
mod change_rules;
mod change_body;
mod overlay;
mod url;
mod libpq;
mod pg_service;
mod resolve;
mod jobs;
mod table;
mod windows;
mod files;
mod commands;
mod command_secrets;
mod recipients;
mod links;
mod store_proxy;
mod aws_profile;
mod store_aws;
mod store_azure;
mod store_options;
mod destination_options;
mod destinations;
mod destination_places;
mod lease;
mod delivery;
mod database;
mod shown;
mod job;
mod oidc;
mod service;
mod settings;
mod review;
mod job_notices;
mod draft;
mod unconfigured;
mod load;

pub use change_body::{ChangeBody, SCHEDULE_ENABLED, is_number_or_yes_no, old_name};
pub use change_rules::{change_rule, is_changeable, longest_gap};
pub use draft::{Draft, DraftFile, DraftWindow};
pub use environment::Environment;
pub use input::Inputs;
pub use json_object::JsonObject;
pub use oidc::Oidc;
pub use overlay::Changes;
pub use problem::{ConfigError, Problem, nearest};
pub use recipients::Administrator;
pub use review::Difference;
pub use service::{LogFormat, LogOptions, Service};
pub use setting::{Setting, Value, Values};
pub use settings::Settings;
pub use shown::TableEntry;
pub use store_options::store_options;
pub use unconfigured::{Unconfigured, is_nothing_configured, unconfigured};

#[cfg(test)]
mod tests;
