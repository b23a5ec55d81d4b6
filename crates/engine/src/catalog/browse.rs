//! Parts of the history, for whoever looks at it a page at a time. What is not asked for is not read.

use super::{Catalog, CatalogError, RunSummary, State};
use jiff::Timestamp;
use std::ops::ControlFlow;

/// What runs are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// When they began.
    #[default]
    Began,
    /// How long they took.
    Took,
    /// The size of their archives.
    Size,
    /// The rows in them.
    Rows,
}

/// Which runs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those that began then or later.
    pub from: Option<Timestamp>,
    /// Only those that began before that.
    pub until: Option<Timestamp>,
    /// Only pinned ones.
    pub pinned: bool,
    /// Their order.
    pub order: Order,
    /// The smallest or oldest first.
    pub ascending: bool,
    /// So many are passed over.
    pub offset: u64,
    /// At most so many.
    pub limit: u64,
}

impl Selection {
    /// The conditions, and their values; `pinned` is the SQL of what a summary says of that.
    fn conditions(&self, pinned: &str) -> (String, Vec<String>) {
        let is_pinned = format!("coalesce({pinned}, json_extract(record, '$.pinned')) = 1");
        let mut all = vec!["true"];
        let mut values = Vec::new();
        if let Some(state) = self.state {
            all.push("state = ?");
            values.push(state.as_str().to_owned());
        }
        if let Some(from) = self.from {
            all.push("started_at >= ?");
            values.push(second(from));
        }
        if let Some(until) = self.until {
            all.push("started_at < ?");
            values.push(second(until));
        }
        if self.pinned {
            all.push(&is_pinned);
        }
        (all.join(" AND "), values)
    }

    fn order(&self, rows: &str) -> String {
        let by = match self.order {
            Order::Began => "started_at",
            Order::Took => "julianday(finished_at) - julianday(started_at)",
            Order::Size => "bytes",
            Order::Rows => rows,
        };
        let way = if self.ascending { "ASC" } else { "DESC" };
        format!("{by} {way} NULLS LAST, started_at DESC, rowid DESC")
    }
}

/// A moment as the catalog has it, without the letter at the end: parts of a second, which only some have, sort after it.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

impl Catalog {
    /// The newest backups of a job that began before a moment, the newest first.
    pub fn published_before(
        &self,
        job: &str,
        before: Timestamp,
        count: u32,
    ) -> Result<Vec<RunSummary>, CatalogError> {
        let (table, summary) = if self.has_summaries {
            ("summaries", "summary")
        } else {
            ("backups", "NULL")
        };
        let sql = format!(
            "SELECT id, {summary} FROM {table} WHERE job = ?1 AND started_at < ?2 AND state IN ('proven', 'unproven')
             ORDER BY started_at DESC, rowid DESC LIMIT ?3"
        );
        let mut found = Vec::new();
        let values = rusqlite::params![job, second(before), count];
        self.visit_summaries(&sql, values, |run| {
            found.push(run);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// How many runs are wanted, and those of the page.
    pub fn select(&self, wanted: &Selection) -> Result<(u64, Vec<RunSummary>), CatalogError> {
        let pinned = self.column("json_extract(summary, '$.run.pinned')");
        let (conditions, values) = wanted.conditions(&pinned);
        let values = || values.iter().map(String::as_str);
        let sql = format!("SELECT count(*) FROM backups WHERE {conditions}");
        let total: i64 = self
            .db
            .prepare_cached(&sql)
            .and_then(|mut count| {
                count.query_row(rusqlite::params_from_iter(values()), |row| row.get(0))
            })
            .map_err(self.failed("reading"))?;
        let order = wanted.order(&self.column("json_extract(summary, '$.rows')"));
        let (limit, offset) = (wanted.limit, wanted.offset);
        let summary = self.column("summary");
        // Sorting takes no record with it.
        let sql = format!(
            "SELECT id, {summary} FROM backups WHERE {conditions} ORDER BY {order} LIMIT {limit} OFFSET {offset}"
        );
        let mut page = Vec::new();
        let values = rusqlite::params_from_iter(values());
        self.visit_summaries(&sql, values, |run| {
            page.push(run);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((total.unsigned_abs(), page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::BackupRecord;
    use crate::state::StateDir;
    use hubvault_model::BackupId;

    #[test]
    fn a_page_has_what_is_wanted_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        let put = |at: &str, state, bytes: Option<u64>, pinned| {
            let at: Timestamp = at.parse().unwrap();
            let record = BackupRecord {
                state,
                bytes,
                pinned,
                finished_at: bytes.map(|bytes| at + jiff::SignedDuration::from_secs(bytes as i64)),
                ..BackupRecord::begun(BackupId::random(), "hub", at)
            };
            catalog.finish(&record).unwrap();
        };
        put("2026-01-01T00:00:00.5Z", State::Proven, Some(30), false);
        put("2026-01-02T00:00:00Z", State::Proven, Some(10), true);
        put("2026-01-03T23:59:59.9Z", State::Failed, None, false);
        let wanted = Selection {
            limit: 10,
            ..Selection::default()
        };
        let days = |wanted: &Selection| {
            let (total, page) = catalog.select(wanted).unwrap();
            let days: Vec<i8> = page
                .iter()
                .map(|it| it.run.started_at.to_zoned(jiff::tz::TimeZone::UTC).day())
                .collect();
            (total, days)
        };
        assert_eq!(days(&wanted), (3, vec![3, 2, 1]));
        let state = Some(State::Proven);
        assert_eq!(
            days(&Selection {
                state,
                ..wanted.clone()
            }),
            (2, vec![2, 1])
        );
        for order in [Order::Size, Order::Took] {
            assert_eq!(
                days(&Selection {
                    order,
                    ..wanted.clone()
                }),
                (3, vec![1, 2, 3])
            );
            let ascending = Selection {
                order,
                ascending: true,
                ..wanted.clone()
            };
            assert_eq!(
                days(&ascending),
                (3, vec![2, 1, 3]),
                "what has none comes last"
            );
        }
        let before = catalog.published_before("hub", "2026-01-04T00:00:00Z".parse().unwrap(), 1);
        let before = before.unwrap();
        assert_eq!(
            (before.len(), before[0].run.bytes),
            (1, Some(10)),
            "a failed run is no backup"
        );
        assert_eq!(
            days(&Selection {
                pinned: true,
                ..wanted.clone()
            }),
            (1, vec![2])
        );
        assert_eq!(
            days(&Selection {
                offset: 1,
                limit: 1,
                ..wanted.clone()
            }),
            (3, vec![2])
        );
        // Midnight belongs to its own day, with parts of a second and without.
        let at = |text: &str| Some(text.parse().unwrap());
        let first = Selection {
            from: at("2026-01-01T00:00:00Z"),
            until: at("2026-01-02T00:00:00Z"),
            ..wanted
        };
        assert_eq!(days(&first), (1, vec![1]));
    }
}
