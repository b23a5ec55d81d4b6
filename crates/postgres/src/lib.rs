//! The only part of hubvault that talks to `PostgreSQL`: connections whose settings are pinned,
//! one snapshot for many of them, the catalogs, the definitions, and throwaway servers.

mod message;
mod error;
mod memory_file;
mod connect;
mod copy;
pub mod inspect;
mod lock_holders;
mod restore_lock;
mod snapshot;
mod scratch;
mod new_database;
mod plain_types;
mod drift;
pub mod target;
mod live_rows;
mod differences;
pub mod unplanned;
pub mod target_facts;
mod staging;
mod staged_rows;
mod dump;
mod cluster;

pub use cluster::{
    Confinement, DrillLock, Isolation, Swept, ThrowawayOptions, ThrowawayServer, directory_bytes,
    remove_empty_clusters, sandbox_lacks, sweep,
};
pub use connect::leftovers::{end_leftovers, name_of_run};
pub use connect::open::{LIMIT_CATALOGS, PERMIT_VIEWS, REFUSE_VIEWS, UNLIMIT_STATEMENTS};
pub use connect::session::Session;
pub use connect::settings::{ConnectSettings, SYSTEM_ROOTS, SslMode};
pub use copy::encoding::{copy_option, copy_options, encoding_of_rows};
pub use copy::pages::PageRange;
pub use copy::server_digest::ServerDigest;
pub use copy::session::CopySession;
pub use differences::{Changes, Difference, DifferentRow};
pub use drift::{Drift, unlike_columns};
pub use dump::access::{Access, TableLogins};
pub use dump::definitions::{DefinitionDifferences, Fingerprint, shown as shown_definition};
pub use dump::dump_file::SchemaOptions;
pub use dump::early_indexes::EarlyIndex;
pub use dump::failures::{Failure, ToolMessages};
pub use dump::installed::{Program, programs};
pub use dump::late_checks::LateChecks;
pub use dump::not_valid::add as add_not_valid;
pub use dump::pg_dump::{Definitions, SchemaDump};
pub use dump::pg_restore::SchemaRestore;
pub use dump::primary_keys::PrimaryKeys;
pub use dump::properties::DatabaseProperties;
pub use dump::restored::{needed_definitions, read_definitions, take_definitions, withdraw_grants};
pub use dump::toc::{Contents as DefinitionContents, Definition};
pub use dump::tools::SECRET_VARIABLES;
pub use error::PgError;
pub use inspect::privileges::{Advice, advice};
pub use inspect::{
    Check, Column, ConfigRows, Estimate, ForeignKey, MissingPrivilege, Relation, RelationKind,
    Requirements, RowAddress, Rules, Sequence, WritableRows,
};
pub use live_rows::{LiveRows, live_rows};
pub use lock_holders::{WAIT_SHORTLY, lock_timeout};
pub use memory_file::memory_file;
pub use new_database::create_options;
pub use restore_lock::RestoreLock;
pub use snapshot::{
    DatabaseIdentity, Invitation, Snapshot, SnapshotFacts, database_identity, system_identifier,
};
pub use staging::StagedTable;
