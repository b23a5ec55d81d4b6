//! The stages of a backup, as its log and its records name them.

/// In their order, without those of the drill's restore.
pub(crate) const STAGES: [&str; 7] = [
    "snapshot",
    "plan",
    "files",
    "export",
    "integrity",
    "drill",
    "publish",
];
