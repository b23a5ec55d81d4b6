//! Compares a live table with a copy of it from an archive, and restores the rows that differ.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::differences::{AsText, Changes, Difference, DifferentRow, checksum, differs, value};
use crate::drift::{Drift, live_columns, looking_at, made_like};
use crate::error::PgError;
use crate::inspect;
use crate::plain_types::PlainTypes;
use crate::target;
use crate::unplanned::copy_unplanned;
use hubvault_model::{Cancel, TableName, quote_ident, quote_literal};

/// A temporary table that holds an archive's rows in the session that made it.
#[derive(Debug)]
pub struct StagedTable {
    pub(super) table: TableName,
    /// The columns that both have.
    pub(super) columns: Vec<String>,
    /// Those of the live primary key; none where the archive does not have all of them.
    key: Vec<String>,
    live_key: Vec<String>,
    /// Columns that an UPDATE may set.
    pub(super) settable: Vec<String>,
    /// Those that it may not set: GENERATED ALWAYS AS IDENTITY.
    fixed: Vec<String>,
    /// The archive's columns.
    loaded: Vec<String>,
    drift: Drift,
    pub(super) copy: TableName,
    /// A copy of the live rows, where a query of the table itself would run code of others.
    living: Option<TableName>,
}

impl StagedTable {
    /// Makes an empty copy of the columns of a live table, as far as it has those of the archive. Those in `as_text`, of
    /// which the live type does not take the archive's values, are texts. Domains are the types below them. `name` tells the copies of one session apart.
    pub fn prepare(
        session: &mut Session,
        table: &TableName,
        columns: &[String],
        as_text: &[String],
        name: &str,
    ) -> Result<Self, PgError> {
        let live = live_columns(session, table)?;
        let plain = PlainTypes::of(session, table)?;
        let drift = Drift::between(columns, &live, &plain.with_texts(as_text));
        let is_compared = |column: &&String| !drift.is_left_out(column);
        let compared: Vec<String> = columns.iter().filter(is_compared).cloned().collect();
        let (mut key, mut settable, mut fixed) = (Vec::new(), Vec::new(), Vec::new());
        for column in live {
            if column.in_key {
                key.push(column.name);
            } else if compared.contains(&column.name) {
                let list = if column.always {
                    &mut fixed
                } else {
                    &mut settable
                };
                list.push(column.name);
            }
        }
        let live_key = key.clone();
        if !key.iter().all(|column| compared.contains(column)) {
            key.clear();
        }
        let copy = TableName::new("pg_temp", format!("hubvault_{name}"));
        let made = made_like(table, columns, &drift, &plain);
        let sql = format!(
            "DROP TABLE IF EXISTS {}; CREATE TEMP TABLE {} AS {made}",
            copy.sql(),
            quote_ident(&copy.name)
        );
        session.simple(&looking_at(table), &sql)?;
        PlainTypes::none_in(session, &copy)?;
        Ok(Self {
            table: table.clone(),
            columns: compared,
            key,
            live_key,
            settable,
            fixed,
            loaded: columns.to_vec(),
            drift,
            copy,
            living: None,
        })
    }

    /// Compares the live primary key with the one that the archive has; `None` where that is not known.
    #[must_use]
    pub fn with_former_key(mut self, archive: Option<&[String]>) -> Self {
        if let Some(archive) = archive {
            self.drift.compare_keys(archive, &self.live_key);
        }
        self
    }

    /// How the live table's columns differ from the archive's.
    pub fn drift(&self) -> &Drift {
        &self.drift
    }

    /// The temporary table.
    pub fn copy(&self) -> &TableName {
        &self.copy
    }

    /// The COPY that fills it.
    pub fn copy_sql(&self) -> String {
        target::copy_into(&self.copy, &self.loaded)
    }

    /// Copies the live rows, which `login` reads without a query, where planning one would run functions of others. Only
    /// [`StagedTable::differences`] reads the copy.
    pub fn copy_living(
        &mut self,
        session: &mut Session,
        login: &ConnectSettings,
        cancel: &Cancel,
    ) -> Result<(), PgError> {
        if inspect::planning_runs_code(session, &self.table)? {
            let copy = TableName::new("pg_temp", "hubvault_living");
            let names = (&self.table, &self.copy, &copy);
            copy_unplanned(session, login, names, &self.columns, cancel)?;
            self.living = Some(copy);
        }
        Ok(())
    }

    /// What is read as the live table.
    fn living(&self) -> String {
        self.living.as_ref().unwrap_or(&self.table).sql()
    }

    /// Whether rows are told apart by a primary key; else by all of their values.
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// Calls back for every row that differs. `within` limits the living rows that could be extra; `None` when no
    /// row of the database counts as extra. Nothing that it runs can write: the transaction is READ ONLY.
    pub fn differences<E: From<PgError>>(
        &self,
        session: &mut Session,
        within: Option<&str>,
        mut each: impl FnMut(DifferentRow) -> Result<(), E>,
    ) -> Result<Changes, E> {
        let doing = format!("comparing {} with the archive", self.table);
        // What a name means does not change while it is locked.
        let lock = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE ONLY {} IN ACCESS SHARE MODE",
            self.table.sql()
        );
        session.simple(&doing, &lock)?;
        if !target::is_table(session, &self.table)? {
            let why = "it is no table any more".to_owned();
            return Err(PgError::Query { doing, why }.into());
        }
        let as_text = self.columns_of_foreign_types(session, &doing)?;
        for (difference, sql) in self.queries(within, &as_text) {
            session.for_each(&doing, &sql, |row| {
                let is_changed = difference == Difference::Changed;
                each(DifferentRow {
                    difference,
                    key: row.get(0),
                    living: is_changed.then(|| row.get(1)),
                })
            })?;
        }
        let changes = self.changes(session)?;
        session.simple(&doing, "COMMIT")?;
        Ok(changes)
    }

    /// Which of the rows that are in both [`StagedTable::update_changed`] can give the archive's values.
    pub fn changes(&self, session: &mut Session) -> Result<Changes, PgError> {
        if !self.has_key() || self.fixed.is_empty() {
            return Ok(Changes::default());
        }
        let sql = format!(
            "SELECT count(*) FILTER (WHERE {}), count(*) FILTER (WHERE {}) FROM {} b JOIN ONLY {} a ON {}",
            differs(&self.settable),
            differs(&self.fixed),
            self.copy.sql(),
            self.living(),
            self.joined()
        );
        let doing = format!("comparing {} with the archive", self.table);
        let rows = session.rows(&doing, &sql)?;
        let count = |at| {
            rows.first()
                .map_or(0, |row| row.get::<_, i64>(at).max(0) as u64)
        };
        let not_settable = count(1);
        Ok(Changes {
            settable: Some(count(0)),
            not_settable,
            columns: if not_settable > 0 {
                self.fixed.clone()
            } else {
                Vec::new()
            },
        })
    }

    /// Drops the archive's rows: those of the next table need the space.
    pub fn finish(self, session: &mut Session) -> Result<(), PgError> {
        let both = [Some(&self.copy), self.living.as_ref()]
            .into_iter()
            .flatten();
        let both: Vec<String> = both.map(TableName::sql).collect();
        let sql = format!("DROP TABLE {}", both.join(", "));
        session.simple(&format!("after comparing {}", self.table), &sql)
    }

    /// Columns in whose values there is a type that no superuser owns. Its owner may have made a cast to json of a
    /// function of his own, which `to_jsonb` would call.
    fn columns_of_foreign_types(
        &self,
        session: &mut Session,
        doing: &str,
    ) -> Result<AsText, PgError> {
        let sql = format!(
            "WITH RECURSIVE inside (attname, oid) AS (
                 SELECT attname, atttypid FROM pg_catalog.pg_attribute
                 WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped
                 UNION
                 SELECT i.attname, n.oid FROM inside i JOIN pg_catalog.pg_type t ON t.oid = i.oid, LATERAL (
                     SELECT t.typbasetype WHERE t.typtype = 'd'
                     UNION ALL SELECT t.typelem WHERE t.typelem <> 0 AND t.typlen = -1
                     UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                     WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                 ) n (oid)
             )
             SELECT DISTINCT i.attname::text FROM inside i JOIN pg_catalog.pg_type t ON t.oid = i.oid
             JOIN pg_catalog.pg_roles r ON r.oid = t.typowner
             WHERE t.typtype <> 'd' AND NOT r.rolsuper",
            quote_literal(&self.table.sql())
        );
        let rows = session.rows(doing, &sql)?;
        let foreign = rows.iter().map(|row| row.get(0));
        Ok(foreign.chain(self.drift.retyped.iter().cloned()).collect())
    }

    fn queries(&self, within: Option<&str>, as_text: &AsText) -> Vec<(Difference, String)> {
        let living = self.living();
        // A condition may name the table.
        let name = quote_ident(&self.table.name);
        let within = within
            .map(|condition| format!("(SELECT * FROM ONLY {living} {name} WHERE {condition})"));
        if !self.has_key() {
            let column = |column: &String| {
                let (value, name) = (value("x", column, as_text), quote_ident(column));
                format!("{value} AS {name}")
            };
            let columns: Vec<String> = self.columns.iter().map(column).collect();
            let columns = columns.join(", ");
            let rows = |from: &str| {
                format!("SELECT to_jsonb(r.*)::text FROM (SELECT {columns} FROM {from} x) r")
            };
            let (here, there) = (rows(&format!("ONLY {living}")), rows(&self.copy.sql()));
            let mut queries = vec![(Difference::Missing, format!("{there} EXCEPT ALL {here}"))];
            if let Some(within) = within {
                let within = rows(&within);
                queries.push((Difference::Extra, format!("{within} EXCEPT ALL {there}")));
            }
            return queries;
        }
        let on = self.joined();
        let copy = self.copy.sql();
        let mut queries = vec![
            (
                Difference::Missing,
                format!(
                    "SELECT {} FROM {copy} b WHERE NOT EXISTS (SELECT FROM ONLY {living} a WHERE {on})",
                    self.key_of("b", as_text)
                ),
            ),
            (
                Difference::Changed,
                format!(
                    "SELECT {}, {} FROM {copy} b JOIN ONLY {living} a ON {on} WHERE {}",
                    self.key_of("b", as_text),
                    checksum(&self.columns),
                    differs(&self.columns)
                ),
            ),
        ];
        if let Some(within) = within {
            queries.push((
                Difference::Extra,
                format!(
                    "SELECT {} FROM {within} a WHERE NOT EXISTS (SELECT FROM {copy} b WHERE {on})",
                    self.key_of("a", as_text)
                ),
            ));
        }
        queries
    }

    /// As text, which every type has; an operator of its own not every type has. By `format` and not by a cast, which
    /// the owner of a type may have made of a function of his own.
    pub(super) fn joined(&self) -> String {
        let equal = |column: &String| {
            format!(
                "pg_catalog.format('%s', a.{0}) = pg_catalog.format('%s', b.{0})",
                quote_ident(column)
            )
        };
        self.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    fn key_of(&self, side: &str, as_text: &AsText) -> String {
        let pair = |column: &String| {
            format!(
                "{}, {}",
                quote_literal(column),
                value(side, column, as_text)
            )
        };
        let pairs: Vec<String> = self.key.iter().map(pair).collect();
        format!("jsonb_build_object({})::text", pairs.join(", "))
    }
}
