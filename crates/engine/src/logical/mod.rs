//! What a logical backup is: which tables, rows and files to take, and how they become an archive.

mod scope;
mod spared;
mod closure;
mod foreign_keys;
mod extent;
mod huge_rows;
mod extensions;
mod load_order;
mod window_filters;
mod needs;
mod relation_facts;
mod plan;
mod coverage;
mod file_entry;
mod file_pack;
mod file_tree;
pub(crate) mod files;
mod schema;
mod throttle;
mod output;
pub(crate) mod command_sources;
mod computed;
mod export;
mod restore_script;
mod info;
mod write;
pub(crate) mod double_read;

pub(crate) use command_sources::Sources;
pub use coverage::{TableCoverage, Taken, coverage_of_archive, coverage_of_plan};
pub use extent::{Extent, PlannedTable, describe_coverage};
pub use foreign_keys::References;
pub use plan::Plan;
pub use relation_facts::RelationFacts;
pub(crate) use schema::Dumping;
pub use spared::Spared;
pub(crate) use write::{WriteInput, write};
