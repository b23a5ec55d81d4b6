//! What is watched between two runs: checks that say what is wrong and what to do about it.

mod rows;

pub use rows::{Change, RowChange, compare_rows, proven_before};

/// The built-in checks, in the order of their reports.
pub const NAMES: &[&str] = &[
    "time", "size", "files", "disk", "database", "rows", "proof", "delivery", "schedule", "seal",
    "clock",
];
