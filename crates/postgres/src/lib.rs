//! The only part of hubvault that speaks to `PostgreSQL`: connections whose settings are pinned,
//! one snapshot for many of them, the catalogs, the definitions, and throwaway servers.

mod error;
mod settings;
mod pgpass;
mod tls;
mod connect;
mod session;
mod wire;
mod pooler;
mod copy_rows;
mod copy;
mod server_digest;
mod pages;
pub mod inspect;
pub mod target;
mod beside;
mod privileges;
mod planner;
mod snapshot;
mod program_version;
mod memory_file;
mod tools;
mod contents;
mod portions;
mod schema;
mod open_schemas;
mod access;
mod privileged;
mod unknown_setting;
mod restore;
mod cluster;

pub use access::{Access, TableLogins};
pub use beside::{Beside, Difference, DifferentRow};
pub use cluster::{
    Confinement, DrillLock, Isolation, Swept, ThrowawayOptions, ThrowawayServer, bytes_below, sweep,
};
pub use connect::{PERMIT_VIEWS, REFUSE_VIEWS};
pub use copy::CopySession;
pub use error::{MissingPrivilege, PgError};
pub use inspect::{Column, Estimate, ForeignKey, Relation, RelationKind, RowAddress, Sequence};
pub use memory_file::memory_file;
pub use pages::PageRange;
pub use privileges::{Advice, advice};
pub use restore::{Said, SchemaOptions, SchemaRestore};
pub use schema::{Definitions, SchemaDump};
pub use server_digest::ServerDigest;
pub use session::Session;
pub use settings::{ConnectSettings, SslMode};
pub use snapshot::{Invitation, Snapshot, SnapshotFacts};
pub use tools::SECRET_VARIABLES;
