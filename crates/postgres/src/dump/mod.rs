//! Definitions: `pg_dump` takes them, `pg_restore` makes them again, over the logins that they may be made over.

pub(crate) mod program_version;
pub(crate) mod hidden_options;
mod search_path;
pub(crate) mod tools;
pub(crate) mod installed;
pub(crate) mod contents;
pub(crate) mod toc;
mod secret_values;
mod masked_connection;
pub(crate) mod masked;
pub(crate) mod definitions;
pub(crate) mod properties;
pub(crate) mod portions;
pub(crate) mod open_schemas;
pub(crate) mod access;
pub(crate) mod privileged;
pub(crate) mod hints;
pub(crate) mod failures;
pub(crate) mod dump_file;
pub(crate) mod not_valid;
pub(crate) mod primary_keys;
pub(crate) mod cure;
pub(crate) mod late_checks;
pub(crate) mod restored;
pub(crate) mod pg_restore;
pub(crate) mod collations;
pub(crate) mod pg_dump;
