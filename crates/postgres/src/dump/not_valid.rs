//! Constraints that today's rows break: made `NOT VALID`, with the rows counted and the first keys named.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{TableName, counted, one_line, quote_ident, quote_literal};
use postgres::error::{DbError, SqlState};

/// A constraint that was made `NOT VALID`.
pub(crate) struct Made {
    /// What the rows break, for people.
    pub(crate) problem: String,
    /// Whether only the partitions of its table have it: those that are added later do not get it.
    pub(crate) is_on_partitions: bool,
}

/// Makes the one constraint that `text` adds `NOT VALID`, if rows break it. `None` when the error is another one, or it
/// cannot be made like that.
pub(crate) fn make(
    session: &mut Session,
    text: &str,
    error: &DbError,
) -> Result<Option<Made>, PgError> {
    let broken = [SqlState::FOREIGN_KEY_VIOLATION, SqlState::CHECK_VIOLATION];
    if !broken.contains(error.code()) {
        return Ok(None);
    }
    let Some(constraint) = Constraint::read(text) else {
        return Ok(None);
    };
    let Constraint {
        table,
        name,
        definition,
    } = constraint;
    let is_on_partitions = bearers(session, &table, &definition)? != [table.clone()];
    let problem = add(session, &table, &name, &definition)?;
    Ok(problem.map(|problem| Made {
        problem,
        is_on_partitions,
    }))
}

/// Adds a constraint `NOT VALID` to a table, or to the partitions of one that cannot have it, and says which rows break it:
/// `1 row refers to a missing row of p: p = 42`. `None` when it cannot be made.
pub fn add(
    session: &mut Session,
    table: &TableName,
    name: &str,
    definition: &str,
) -> Result<Option<String>, PgError> {
    let constraint = quote_ident(name);
    let mut problems = Vec::new();
    let bearers = session.with_empty_path(|session| bearers(session, table, definition))?;
    for bearer in bearers {
        let alter = format!("ALTER TABLE {}{}", only(definition), bearer.sql());
        let sql = format!("{alter} ADD CONSTRAINT {constraint} {definition} NOT VALID");
        if !done(session, &sql)? {
            return Ok(None);
        }
        let validate = format!("{alter} VALIDATE CONSTRAINT {constraint}");
        if !done(session, &validate)? {
            problems.push(broken_rows(session, &bearer, name)?);
        }
    }
    let said = problems.join("; ");
    Ok(Some(if said.is_empty() {
        "rows break it".to_owned()
    } else {
        said
    }))
}

/// A CHECK is inherited, a foreign key is not.
fn only(definition: &str) -> &'static str {
    if definition.starts_with("FOREIGN KEY") {
        "ONLY "
    } else {
        ""
    }
}

/// Whether the server did it. An error of the connection is one.
fn done(session: &mut Session, sql: &str) -> Result<bool, PgError> {
    match session.simple("making a constraint NOT VALID", sql) {
        Ok(()) => Ok(true),
        Err(PgError::Query { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The tables that get it: a partitioned table cannot have a foreign key `NOT VALID` before `PostgreSQL` 18, its leaves can.
fn bearers(
    session: &mut Session,
    table: &TableName,
    definition: &str,
) -> Result<Vec<TableName>, PgError> {
    if only(definition).is_empty() {
        return Ok(vec![table.clone()]);
    }
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text
         FROM pg_catalog.pg_partition_tree({0}::pg_catalog.regclass) t
         JOIN pg_catalog.pg_class c ON c.oid = t.relid AND c.relkind = 'r'
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE {0}::pg_catalog.regclass IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'p')
         ORDER BY 1, 2",
        quote_literal(&table.sql())
    );
    let rows = session.rows("looking for partitions", &sql)?;
    let leaves: Vec<TableName> = rows
        .iter()
        .map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)))
        .collect();
    Ok(if leaves.is_empty() {
        vec![table.clone()]
    } else {
        leaves
    })
}

/// How many keys are named.
const NAMED: usize = 3;

/// What the rows that break a constraint of `table` are, counted, with the first keys.
fn broken_rows(session: &mut Session, table: &TableName, name: &str) -> Result<String, PgError> {
    let query = session.with_empty_path(|session| Broken::of(session, table, name))?;
    let Some(query) = query else {
        return Ok(format!("rows of {table} break it"));
    };
    let (keys, from) = (query.keys.join(", "), &query.from);
    let counts = session.rows(
        "counting rows",
        &format!("SELECT pg_catalog.count(*) {from}"),
    );
    let count = match counts {
        Ok(rows) => rows.first().map_or(0, |row| row.get::<_, i64>(0)).max(0) as u64,
        // Its own expression may fail: the rows cannot be counted then.
        Err(PgError::Query { .. }) => return Ok(format!("rows of {table} break it")),
        Err(error) => return Err(error),
    };
    let ending = if count == 1 { query.one } else { query.many };
    let mut said = format!("{} of {table} {ending}", counted(count, "row"));
    if !keys.is_empty() {
        let sql = format!("SELECT DISTINCT {keys} {from} ORDER BY 1 LIMIT {NAMED}");
        // A key may have no form in the session's encoding. Not naming it costs nothing else.
        let Ok(rows) = session.rows("naming rows", &sql) else {
            return Ok(said);
        };
        let named: Vec<String> = rows
            .iter()
            .map(|row| {
                let value = |at| row.get::<_, Option<String>>(at);
                let values = (0..row.len()).map(|at| value(at).unwrap_or_else(|| "NULL".into()));
                values.collect::<Vec<_>>().join(", ")
            })
            .collect();
        let more = if count as usize > named.len() {
            ", …"
        } else {
            ""
        };
        let columns = query.columns.join(", ");
        said += &format!(": {columns} = {}{more}", one_line(&named.join("; ")));
    }
    Ok(said)
}

/// A query for the rows that break a constraint.
struct Broken {
    /// Expressions of the keys to name, as text.
    keys: Vec<String>,
    /// Their columns, for people.
    columns: Vec<String>,
    from: String,
    one: String,
    many: String,
}

impl Broken {
    fn of(session: &mut Session, table: &TableName, name: &str) -> Result<Option<Self>, PgError> {
        let sql = format!(
            "SELECT k.contype::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid), k.confmatchtype::text,
                    rn.nspname::text, r.relname::text, r.relkind::text,
                    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u (n, at)
                          JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.at),
                    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u (n, at)
                          JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.at),
                    ARRAY(SELECT 'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')'
                          FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY u (op, at)
                          JOIN pg_catalog.pg_operator o ON o.oid = u.op
                          JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace ORDER BY u.at),
                    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::int2[])
                              WITH ORDINALITY u (n, at), pg_catalog.pg_attribute a
                          WHERE i.indrelid = k.conrelid AND i.indisprimary AND a.attrelid = k.conrelid
                            AND a.attnum = u.n ORDER BY u.at)
             FROM pg_catalog.pg_constraint k
             LEFT JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
             LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
             WHERE k.conrelid = {}::pg_catalog.regclass AND k.conname = {}",
            quote_literal(&table.sql()),
            quote_literal(name)
        );
        let rows = session.rows("reading a constraint", &sql)?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let child = table.sql();
        if row.get::<_, &str>(0) == "c" {
            let expression: Option<String> = row.get(1);
            let key: Vec<String> = row.get(9);
            return Ok(expression.map(|expression| Self {
                keys: key.iter().map(|column| text_of("", column)).collect(),
                columns: key,
                from: format!("FROM {child} WHERE ({expression}) IS FALSE"),
                one: "breaks it".to_owned(),
                many: "break it".to_owned(),
            }));
        }
        Ok(Some(Self::of_key(row, &child)))
    }

    fn of_key(row: &postgres::Row, child: &str) -> Self {
        let (columns, referenced): (Vec<String>, Vec<String>) = (row.get(6), row.get(7));
        let operators: Vec<String> = row.get(8);
        let parent = TableName::new(row.get::<_, String>(3), row.get::<_, String>(4));
        let only = if row.get::<_, &str>(5) == "p" {
            ""
        } else {
            "ONLY "
        };
        let pairs = referenced.iter().zip(&operators).zip(&columns);
        let equal: Vec<String> = pairs
            .map(|((there, operator), here)| {
                format!(
                    "p.{} {operator} c.{}",
                    quote_ident(there),
                    quote_ident(here)
                )
            })
            .collect();
        let set = |column: &String| format!("c.{} IS NOT NULL", quote_ident(column));
        let set: Vec<String> = columns.iter().map(set).collect();
        // MATCH FULL refuses a key of which only a part is set.
        let set = set.join(if row.get::<_, &str>(2) == "f" {
            " OR "
        } else {
            " AND "
        });
        let equal = equal.join(" AND ");
        Self {
            keys: columns.iter().map(|column| text_of("c.", column)).collect(),
            columns,
            from: format!(
                "FROM ONLY {child} c WHERE ({set}) AND NOT EXISTS (SELECT FROM {only}{} p WHERE {equal})",
                parent.sql()
            ),
            one: format!("refers to a missing row of {parent}"),
            many: format!("refer to missing rows of {parent}"),
        }
    }
}

fn text_of(of: &str, column: &str) -> String {
    format!("{of}{}::pg_catalog.text", quote_ident(column))
}

/// `ALTER TABLE [ONLY] schema.table ADD CONSTRAINT name definition;`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) table: TableName,
    name: String,
    pub(crate) definition: String,
}

impl Constraint {
    /// Reads the statement of a text of `pg_restore` that adds one constraint.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (_, statement) = text.split_once("\nALTER TABLE ")?;
        let rest = statement.strip_prefix("ONLY ").unwrap_or(statement);
        let (schema, rest) = identifier(rest)?;
        let (table, rest) = identifier(rest.strip_prefix('.')?)?;
        let rest = rest.trim_start().strip_prefix("ADD CONSTRAINT ")?;
        let (name, rest) = identifier(rest)?;
        let definition = rest.trim().strip_suffix(';')?;
        Some(Self {
            table: TableName::new(schema, table),
            name,
            definition: definition.trim_end_matches(" NOT VALID").to_owned(),
        })
    }
}

/// A name as PostgreSQL quotes it, and what follows it.
pub(crate) fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('"') {
        return crate::dump::privileged::quoted(rest, '"');
    }
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let end = text.find(|c| !is_inside(c)).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_adds_a_constraint_is_read() {
        let text = "SET x = 1;\n--\n-- Name: c; Type: FK CONSTRAINT\n--\n\nALTER TABLE ONLY public.\"C; \"\"d\"\n    \
            ADD CONSTRAINT \"a b\" FOREIGN KEY (p) REFERENCES public.p(id);\n\n\n";
        let read = Constraint::read(text).unwrap();
        assert_eq!(read.table, TableName::new("public", "C; \"d"));
        assert_eq!(
            (read.name.as_str(), read.definition.as_str()),
            ("a b", "FOREIGN KEY (p) REFERENCES public.p(id)")
        );
        assert_eq!(Constraint::read("CREATE INDEX a ON b (c);"), None);
    }
}
