//! Puts rows of an archive, which are in a temporary table, back into the live one.

use crate::connect::session::Session;
use crate::differences::{checksum, differs};
use crate::error::PgError;
use crate::staging::StagedTable;
use crate::target::{self, list};
use hubvault_model::quote_ident;

impl StagedTable {
    /// Keeps others from writing until the transaction ends, and returns the sum of the checksums of the living rows that
    /// differ, which [`StagedTable::differences`] gives, too.
    pub fn lock_changed(&self, session: &mut Session) -> Result<i64, PgError> {
        let doing = format!("comparing {} with the preview", self.table);
        let living = self.table.sql();
        let lock = format!("LOCK TABLE ONLY {living} IN SHARE ROW EXCLUSIVE MODE");
        session.simple(&doing, &lock)?;
        if !self.has_key() {
            return Ok(0);
        }
        let sql = format!(
            "SELECT {} FROM {} b JOIN ONLY {living} a ON {} WHERE {}",
            checksum(&self.columns),
            self.copy.sql(),
            self.joined(),
            differs(&self.columns)
        );
        let mut sum = 0_i64;
        session.for_each(&doing, &sql, |row| {
            sum = sum.wrapping_add(row.get(0));
            Ok::<_, PgError>(())
        })?;
        Ok(sum)
    }

    /// Puts back the rows that are only in the archive; how many there were. Foreign keys and
    /// constraints hold as ever; the table's own triggers do not fire.
    pub fn insert_missing(&self, session: &mut Session) -> Result<u64, PgError> {
        let (living, list) = (self.table.sql(), list(&self.columns));
        // A table without columns has rows all the same.
        let into = match list.as_str() {
            "" => living.clone(),
            list => format!("{living} ({list})"),
        };
        let sql = if self.has_key() {
            format!(
                "INSERT INTO {into} OVERRIDING SYSTEM VALUE SELECT {list} FROM {} b \
                 WHERE NOT EXISTS (SELECT FROM ONLY {living} a WHERE {})",
                self.copy.sql(),
                self.joined()
            )
        } else {
            let columns = self.columns.iter();
            let columns: Vec<String> = columns.map(|c| format!("p.{}", quote_ident(c))).collect();
            format!(
                "INSERT INTO {into} OVERRIDING SYSTEM VALUE SELECT {} FROM \
                 (SELECT to_jsonb(r.*) FROM (SELECT {list} FROM {}) r EXCEPT ALL \
                  SELECT to_jsonb(r.*) FROM (SELECT {list} FROM ONLY {living}) r) m (r), \
                 LATERAL jsonb_populate_record(NULL::{living}, m.r) p",
                columns.join(", "),
                self.copy.sql()
            )
        };
        self.without_triggers(
            session,
            &format!("putting rows back into {}", self.table),
            &sql,
        )
    }

    /// Gives rows that differ in columns that can be set the archive's values there; how many there were. Needs a primary
    /// key.
    pub fn update_changed(&self, session: &mut Session) -> Result<u64, PgError> {
        if !self.has_key() || self.settable.is_empty() {
            return Ok(0);
        }
        let set: Vec<String> = self
            .settable
            .iter()
            .map(|column| format!("{0} = b.{0}", quote_ident(column)))
            .collect();
        let sql = format!(
            "UPDATE ONLY {} a SET {} FROM {} b WHERE {} AND ({})",
            self.table.sql(),
            set.join(", "),
            self.copy.sql(),
            self.joined(),
            differs(&self.settable)
        );
        self.without_triggers(
            session,
            &format!("putting values back into {}", self.table),
            &sql,
        )
    }

    fn without_triggers(
        &self,
        session: &mut Session,
        doing: &str,
        sql: &str,
    ) -> Result<u64, PgError> {
        let silenced = target::disable_triggers(session, &self.table)?;
        let rows = session.execute(doing, sql)?;
        target::enable_triggers(session, &self.table, &silenced)?;
        Ok(rows)
    }
}
