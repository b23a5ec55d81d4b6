//! What the role that backs up may do and does not need, as the newest run found it.

use super::{Catalog, CatalogError};
use rusqlite::{OptionalExtension, params};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS role_advice (
        job TEXT PRIMARY KEY,
        problem TEXT NOT NULL
    ) STRICT;
";

impl Catalog {
    /// Records it; an empty text says that the role can only read. Writes nothing where that is known.
    pub fn remember_role(&self, job: &str, problem: &str) -> Result<(), CatalogError> {
        if self.role_advice(job)?.as_deref() == Some(problem) {
            return Ok(());
        }
        self.db
            .execute(
                "INSERT INTO role_advice VALUES (?1, ?2)
                 ON CONFLICT (job) DO UPDATE SET problem = excluded.problem",
                params![job, problem],
            )
            .map(|_| ())
            .map_err(self.failed("writing to"))
    }

    /// What the newest run recorded; `None` before there was one.
    pub fn role_advice(&self, job: &str) -> Result<Option<String>, CatalogError> {
        // A catalog that can only be read may be of an older version.
        if self.is_read_only {
            return Ok(None);
        }
        self.db
            .query_row(
                "SELECT problem FROM role_advice WHERE job = ?1",
                params![job],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.failed("reading"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    #[test]
    fn the_newest_run_says_what_the_role_may_do() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(directory.path())).unwrap();
        assert_eq!(catalog.role_advice("hub").unwrap(), None);
        catalog.remember_role("hub", "is a superuser").unwrap();
        catalog.remember_role("hub", "").unwrap();
        assert_eq!(catalog.role_advice("hub").unwrap().as_deref(), Some(""));
        assert_eq!(catalog.role_advice("other").unwrap(), None);
    }
}
