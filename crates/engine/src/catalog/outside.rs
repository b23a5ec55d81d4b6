//! What a backup does not hold, in short: the record keeps the number, the archive's manifest the list.

use hubvault_archive::{Coverage, LeftOut, Manifest};
use hubvault_model::{BackupId, counted};
use serde::{Deserialize, Serialize};

/// Tables whose rows are not in the archive, or not all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideRecord {
    /// Tables without any row in the archive.
    pub tables: u64,
    /// Their rows, as far as the planner knew them.
    pub estimated_rows: u64,
    /// Those of them that refer to tables inside, or that tables inside refer to, with the reason.
    pub related: Vec<String>,
    /// Tables of which only some rows are in the archive.
    pub in_part: u64,
}

/// So many tables are named; the others are in the list.
const NAMED: usize = 3;

impl OutsideRecord {
    /// What a manifest says; `None` where every row of every table is inside.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        // The other rows of an extension's table are its own: CREATE EXTENSION makes them.
        let in_part = manifest
            .tables
            .iter()
            .filter(|table| table.coverage != Coverage::Whole && table.extension.is_none());
        let related = manifest
            .left_out
            .iter()
            .filter(|left| left.reason != LeftOut::NOT_IN_SCOPE);
        let rows = manifest
            .left_out
            .iter()
            .filter_map(|left| left.estimated_rows);
        let outside = Self {
            tables: manifest.left_out.len() as u64,
            estimated_rows: rows.sum(),
            related: related
                .map(|left| format!("{} {}", left.name, left.reason))
                .collect(),
            in_part: in_part.count() as u64,
        };
        (outside != Self::default()).then_some(outside)
    }

    /// In a line.
    pub fn text(&self, id: BackupId) -> String {
        let mut parts = Vec::new();
        if self.tables > 0 {
            let rows = counted(self.estimated_rows, "row");
            parts.push(format!(
                "{} with about {rows}",
                counted(self.tables, "table")
            ));
        }
        if self.in_part > 0 {
            parts.push(format!("some rows of {}", counted(self.in_part, "table")));
        }
        let mut text = parts.join(", and ");
        let is_unreadable = |it: &&String| it.ends_with(LeftOut::NOT_READABLE);
        let (unreadable, related): (Vec<_>, Vec<_>) = self.related.iter().partition(is_unreadable);
        if !related.is_empty() {
            text += &format!(" ({})", some(&related, "; "));
        }
        // The reason is the same for all of them.
        if !unreadable.is_empty() {
            let names = unreadable
                .into_iter()
                .map(|it| it.trim_end_matches(LeftOut::NOT_READABLE).trim_end());
            let names: Vec<&str> = names.collect();
            text += &format!(" ({}: {})", LeftOut::NOT_READABLE_MANY, some(&names, ", "));
        }
        format!("{text}; `hubvault show {}` lists them", id.short())
    }
}

/// The first of them, and how many more there are.
fn some<S: AsRef<str>>(all: &[S], between: &str) -> String {
    let named: Vec<&str> = all.iter().take(NAMED).map(AsRef::as_ref).collect();
    let named = named.join(between);
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}{between}{more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_is_said_in_a_line_with_related_tables_first() {
        let outside = OutsideRecord {
            tables: 5,
            estimated_rows: 1,
            related: (1..=4).map(|n| format!("t{n} refers to users")).collect(),
            in_part: 1,
        };
        assert_eq!(
            outside.text(BackupId::from_u128(0)),
            "5 tables with about 1 row, and some rows of 1 table (t1 refers to users; t2 refers to users; \
             t3 refers to users; 1 more); `hubvault show 00000000` lists them"
        );
    }
}
