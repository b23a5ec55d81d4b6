//! Which tables, and which of their rows.

use hubvault_model::TablePattern;

/// What is in: whole tables and windows of tables.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Tables that are taken whole.
    pub tables: Vec<TablePattern>,
    /// Tables that are left out of both lists.
    pub exclude: Vec<TablePattern>,
    /// What to do about a named table that does not exist.
    pub missing: MissingPolicy,
    /// Tables of which some rows are taken.
    pub windows: Vec<Window>,
}

/// What to do about something named that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPolicy {
    /// A warning: exit code 3, in the INFO, the manifest and every report.
    #[default]
    Warn,
    /// An error before anything is exported.
    Fail,
}

/// Some rows of some tables.
#[derive(Clone, Debug)]
pub struct Window {
    /// The tables.
    pub tables: Vec<TablePattern>,
    /// Which of their rows.
    pub rows: WindowRows,
    /// What about the rows that these refer to.
    pub references: ReferencePolicy,
}

impl Window {
    /// Whether the configuration gives its condition as SQL.
    pub(crate) fn has_own_condition(&self) -> bool {
        matches!(self.rows, WindowRows::Where(_))
    }
}

/// What to do about rows outside a window that its rows refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferencePolicy {
    /// They are taken, too, and what they refer to.
    #[default]
    Include,
    /// They stay out; the foreign keys come back `NOT VALID`, which is said.
    Warn,
}

/// Which rows a window takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowRows {
    /// Those whose `column` is not older than `length` at the moment of the snapshot.
    Recent {
        /// A date or timestamp column.
        column: String,
        /// A `PostgreSQL` interval such as `3 months`.
        length: String,
    },
    /// Those for which an SQL expression is true.
    Where(String),
}
