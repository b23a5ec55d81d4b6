//! Indexes that can be built once the rows of their table are in, while other tables are loaded.

use crate::connect::session::Session;
use crate::dump::contents::{Step, id_of, indexes_of_views, is_about_another, kind_of, lines_of};
use crate::dump::not_valid::{Constraint, identifier};
use crate::dump::pg_restore::SchemaRestore;
use crate::dump::toc::{self, Definition};
use crate::error::PgError;
use hubvault_model::{Cancel, TableName};
use std::collections::BTreeSet;
use std::io::Read;

/// An index, or a constraint that is one, over columns alone: no function of an owner runs for it, which could read tables
/// whose rows are not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlyIndex {
    /// Its number in the dump.
    pub id: u32,
    /// Its table.
    pub table: TableName,
    /// A constraint locks its table, so that nothing else is built there meanwhile.
    pub is_constraint: bool,
    sql: String,
}

/// What `pg_restore` sets, whatever the role or the database has. It holds for the statement after it.
const AS_PG_RESTORE: &str = "SET LOCAL default_tablespace = ''; SET LOCAL lock_timeout = 0; ";

impl EarlyIndex {
    /// Builds it; `false` where the server refused, which then happens again in its usual place, and is told there.
    pub fn build(&self, session: &mut Session) -> Result<bool, PgError> {
        let doing = format!("building an index of {}", self.table);
        match session.simple(&doing, &format!("{AS_PG_RESTORE}{}", self.sql)) {
            Ok(()) => Ok(true),
            Err(error @ PgError::Query { .. }) if !error.is_environment() => {
                tracing::debug!("it is tried again after all rows: {error}");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl SchemaRestore {
    /// Those of some tables, in the order of the dump. `dump` is read from its start. There are none where operator classes, or
    /// differences of ranges, are no extension's: an index over columns alone may run functions of an owner then.
    pub fn early_indexes(
        &self,
        dump: impl Read,
        is_wanted: impl Fn(&TableName) -> bool,
        cancel: &Cancel,
    ) -> Result<Vec<EarlyIndex>, PgError> {
        let ids = self.without_comments(cancel)?;
        let (mut indexes, mut runs_functions) = (Vec::new(), false);
        let see = |id, definition: Definition| {
            runs_functions |= definition.kind == "OPERATOR CLASS"
                || (definition.kind == "TYPE" && definition.sql.contains("subtype_diff = "));
            let index = ids.contains(&id).then(|| read(id, definition)).flatten();
            indexes.extend(index.filter(|index| is_wanted(&index.table)));
        };
        match toc::each(dump, see) {
            Ok(_) if !runs_functions => Ok(indexes),
            Ok(_) => Ok(Vec::new()),
            // pg_restore knows more formats.
            Err(error) => {
                tracing::debug!("all indexes are built after all rows: {error}");
                Ok(Vec::new())
            }
        }
    }

    /// The numbers of the indexes that nothing is said about: `pg_restore` takes a comment without its object for a part of
    /// another section.
    fn without_comments(&self, cancel: &Cancel) -> Result<BTreeSet<u32>, PgError> {
        let contents = String::from_utf8_lossy(self.contents(cancel)?);
        let list = lines_of(&self.list, &[Step::Indexes], &indexes_of_views(&contents));
        let list = String::from_utf8_lossy(&list);
        let mut lines = list.lines().peekable();
        let mut ids = BTreeSet::new();
        while let Some(line) = lines.next() {
            let is_commented = (lines.peek()).is_some_and(|next| is_about_another(kind_of(next)));
            if !is_commented && !is_about_another(kind_of(line)) {
                ids.extend(id_of(line).parse::<u32>());
            }
        }
        Ok(ids)
    }

    /// Takes what is built already out of what is built after the rows.
    pub fn leave_out(&mut self, built: &BTreeSet<u32>) {
        if built.is_empty() {
            return;
        }
        let list = String::from_utf8_lossy(&self.list);
        let is_built = |line: &str| id_of(line).parse().is_ok_and(|id| built.contains(&id));
        let lines = list.split_inclusive('\n').filter(|line| !is_built(line));
        self.list = lines.collect::<String>().into_bytes();
    }
}

/// An index over columns of a table, in the default tablespace; `None` for anything else.
fn read(id: u32, definition: Definition) -> Option<EarlyIndex> {
    let sql = definition.sql;
    // What is no UTF-8 is read as other characters, and every table of the archive has its index all the same.
    let is_one_statement =
        sql.is_ascii() && sql.trim_end().ends_with(';') && sql.matches(';').count() == 1;
    let is_here = definition.storage[0].is_empty();
    let table = match definition.kind.as_str() {
        "CONSTRAINT" => table_of_constraint(&sql),
        "INDEX" => table_of_index(&sql),
        _ => None,
    };
    (table.filter(|_| is_one_statement && is_here)).map(|table| EarlyIndex {
        id,
        table,
        is_constraint: definition.kind == "CONSTRAINT",
        sql,
    })
}

/// `ALTER TABLE ONLY schema.table ADD CONSTRAINT name PRIMARY KEY (columns) ...;`
fn table_of_constraint(sql: &str) -> Option<TableName> {
    let constraint = Constraint::read(&format!("\n{sql}"))?;
    let is_key = |word| constraint.definition.starts_with(word);
    (is_key("PRIMARY KEY (") || is_key("UNIQUE (")).then_some(constraint.table)
}

/// `CREATE INDEX name ON schema.table USING method (columns);` Expressions have parentheses of their own.
fn table_of_index(sql: &str) -> Option<TableName> {
    let rest = sql.strip_prefix("CREATE ")?;
    let rest = rest.strip_prefix("UNIQUE ").unwrap_or(rest);
    let (_, rest) = identifier(rest.strip_prefix("INDEX ")?)?;
    let (schema, rest) = identifier(rest.strip_prefix(" ON ")?)?;
    let (table, rest) = identifier(rest.strip_prefix('.')?)?;
    let (_, rest) = identifier(rest.strip_prefix(" USING ")?)?;
    let columns = rest.strip_prefix(" (")?.trim_end().strip_suffix(");")?;
    (!columns.contains(['(', ')'])).then(|| TableName::new(schema, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(kind: &str, sql: &str) -> Option<String> {
        let definition = Definition {
            kind: kind.to_owned(),
            sql: sql.to_owned(),
            ..Definition::default()
        };
        read(7, definition).map(|index| index.table.sql())
    }

    #[test]
    fn what_is_over_columns_alone_is_early() {
        for sql in [
            "CREATE INDEX i ON public.t USING btree (at);\n\n\n",
            "CREATE UNIQUE INDEX \"odd ( name\" ON public.t USING btree (a DESC NULLS LAST, \"b, c\");\n",
            "CREATE INDEX i ON public.t USING gin (name public.gin_trgm_ops);\n",
        ] {
            assert_eq!(table("INDEX", sql).as_deref(), Some("public.t"), "{sql}");
        }
        let key = |what| format!("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k {what};\n\n\n");
        for what in ["PRIMARY KEY (id)", "UNIQUE (a, b) DEFERRABLE"] {
            let found = table("CONSTRAINT", &key(what));
            assert_eq!(found.as_deref(), Some("public.t"), "{what}");
        }
    }

    #[test]
    fn whatever_may_run_a_function_or_is_more_than_one_statement_is_not() {
        for sql in [
            "CREATE INDEX i ON public.t USING btree (lower(name));\n",
            "CREATE INDEX i ON public.t USING btree (((a + b)));\n",
            "CREATE INDEX i ON public.t USING btree (a) WHERE public.f(a);\n",
            "CREATE INDEX i ON public.t USING btree (a) WHERE a;\n",
            "CREATE INDEX i ON ONLY public.t USING btree (a);\n",
            "CREATE INDEX i ON public.t USING btree (a);\nALTER TABLE public.t CLUSTER ON i;\n",
        ] {
            assert_eq!(table("INDEX", sql), None, "{sql}");
        }
        let key = |what| format!("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k {what};\n\n\n");
        let cluster = "PRIMARY KEY (id);\n\nALTER TABLE public.t CLUSTER ON k";
        for what in ["EXCLUDE USING gist (f(a) WITH &&)", cluster] {
            assert_eq!(table("CONSTRAINT", &key(what)), None, "{what}");
        }
        assert_eq!(table("FK CONSTRAINT", &key("PRIMARY KEY (id)")), None);
        let elsewhere = Definition {
            kind: "INDEX".to_owned(),
            sql: "CREATE INDEX i ON public.t USING btree (at);\n".to_owned(),
            storage: ["fast".to_owned(), String::new()],
            ..Definition::default()
        };
        assert_eq!(read(7, elsewhere), None);
    }
}
