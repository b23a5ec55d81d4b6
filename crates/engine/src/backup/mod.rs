//! One backup, from the snapshot to the published archive.

mod progress;

pub use progress::{Progress, Silent, Stage};
