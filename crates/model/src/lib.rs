//! Types that every part of hubvault shares: names of tables, row digests, sizes, ids.
//!
//! No I/O, so that every other crate can depend on it.
//!
//! ```
//! use hubvault_model::{RowDigester, RowFormat};
//!
//! let mut rows = RowDigester::new(RowFormat::Text);
//! rows.update(b"1\tAda\n2\tGrace\n");
//! assert_eq!(rows.finish().unwrap().rows, 2);
//! ```

mod cancel;
mod database;
mod digest;
mod display;
mod csv;
mod id;
mod mask;
mod name;
mod needs;
mod pattern;
mod remedy;
mod size;
mod warning;

pub use cancel::{Cancel, CancelGuard};
pub use csv::CsvToText;
pub use database::DatabaseFacts;
pub use digest::{RowDigest, RowDigester, RowFormat, UnfinishedRow};
pub use display::{excerpt, indented, is_unseen, one_line, printable};
pub use id::BackupId;
pub use mask::Masks;
pub use name::{TableName, list_field, quote_ident, quote_literal};
pub use needs::{HostNeeds, NeededCollation};
pub use pattern::{PatternError, TablePattern};
pub use remedy::remedy;
pub use size::{ByteSize, SizeError, counted, grouped};
pub use warning::Warning;
