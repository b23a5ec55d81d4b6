//! What a server must offer for everything of an archive to be built.

use serde::{Deserialize, Serialize};

/// What the source's server has beyond a fresh server of the same version. Archives of earlier versions say nothing
/// of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostNeeds {
    /// Tablespaces that tables, indexes and materialized views name.
    pub tablespaces: Vec<String>,
    /// Libraries that the server loads before a session asks for them, as far as the role may see them.
    pub preloaded: Vec<String>,
    /// Collations whose locale the host must have.
    pub collations: Vec<NeededCollation>,
    /// Roles that rows name, as values of `regrole` or `aclitem`; the list of roles has them, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_roles: Vec<String>,
}

/// A collation of a locale that not every host has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededCollation {
    /// Its oid at the source, by which the list of the definitions names it.
    pub oid: u32,
    /// Its schema; `pg_catalog` for those that the server found on its host.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// The locale, as the provider names it.
    pub locale: String,
    /// Whether strings of different bytes are always different.
    pub deterministic: bool,
}
