//! What a new database must be created with to hold the same text in the same order.

use serde::{Deserialize, Serialize};

/// The encoding, the locale and the connection limit of a database ("CREATE DATABASE").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// The encoding, by PostgreSQL's name.
    pub encoding: String,
    /// Who provides the locale: `libc`, `icu` or `builtin`.
    pub provider: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale of a provider other than libc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// ICU's own rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// Sessions at once; -1 is no limit.
    pub connection_limit: i32,
    /// Where its tables are that name no tablespace; `None` is the default one of every server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<String>,
}

impl DatabaseFacts {
    /// The locale, for people.
    pub fn locale_shown(&self) -> String {
        let name = self.locale.as_ref().unwrap_or(&self.collate);
        if self.locale.is_none() && self.collate != self.ctype {
            return format!("{name} (LC_CTYPE {})", self.ctype);
        }
        match self.provider.as_str() {
            "libc" => name.clone(),
            provider => format!("{name} of {provider}"),
        }
    }
}
