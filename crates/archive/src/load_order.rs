//! In which order a restore loads rows, and what it adds after them.

use hubvault_model::TableName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the drill, `hubvault restore` and `restore.sh` follow alike. Absent in archives of earlier versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadOrder {
    /// The schemas that ordinary sessions of the source search, in this order: for code that names things without
    /// their schema, which nothing can rebuild with an empty `search_path`.
    pub search_path: Vec<String>,
    /// What ordinary sessions of the source have for settings that generated columns and materialized views may depend on,
    /// such as `TimeZone`: they are computed again with these.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// CHECK constraints that are dropped before the rows and added after all of them, in this order.
    pub late_checks: Vec<LateCheck>,
    /// Tables that are loaded after all others.
    pub after_tables: Vec<TableName>,
    /// Tables that are loaded after the indexes were built.
    pub after_indexes: Vec<TableName>,
    /// Partitions whose rows are loaded through a table above them: a new database chooses another partition for a row,
    /// as the hash of its key depends on numbers of the old one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<Through>,
    /// Owners of views and functions whom policies bind at the source: neither superusers nor `BYPASSRLS`. Only where
    /// materialized views and tables with policies are there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bound_by_policies: Vec<String>,
}

/// A partition, and the table through which its rows are loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Through {
    /// The partition.
    pub partition: TableName,
    /// The table above it.
    pub table: TableName,
}

/// When the rows of a table are loaded, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadGroup {
    /// At once.
    First,
    /// After the rows of all those.
    AfterTables,
    /// After the indexes.
    AfterIndexes,
}

impl LoadGroup {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::First, Self::AfterTables, Self::AfterIndexes];

    /// Its word in `database/restore.list`.
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::AfterTables => "after-tables",
            Self::AfterIndexes => "after-indexes",
        }
    }
}

impl LoadOrder {
    /// Where the rows of a table are loaded.
    pub fn place_of<'a>(&'a self, table: &'a TableName) -> &'a TableName {
        let through = self.through.iter().find(|it| it.partition == *table);
        through.map_or(table, |it| &it.table)
    }

    /// When a table is loaded.
    pub fn group_of(&self, table: &TableName) -> LoadGroup {
        if self.after_indexes.contains(table) {
            LoadGroup::AfterIndexes
        } else if self.after_tables.contains(table) {
            LoadGroup::AfterTables
        } else {
            LoadGroup::First
        }
    }
}

/// A CHECK constraint whose result may depend on more than the row: on other rows, the time or the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateCheck {
    /// What it belongs to.
    pub on: CheckedKind,
    /// The table or domain.
    #[serde(flatten)]
    pub owner: TableName,
    /// The constraint.
    pub constraint: String,
}

/// What a CHECK constraint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckedKind {
    /// A table; tables that inherit the constraint are not listed.
    Table,
    /// A domain.
    Domain,
}
