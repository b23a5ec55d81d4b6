//! Warnings: values that reach every report, never only a log line.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that is missing, filtered or doubtful in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A short stable word for programs, such as `missing-table`.
    pub code: String,
    /// What it is about: a table, a file, a setting.
    pub subject: String,
    /// A sentence to display.
    pub message: String,
}

impl Warning {
    /// A warning from its three parts.
    pub fn new(
        code: impl Into<String>,
        subject: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            subject: subject.to_string(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
