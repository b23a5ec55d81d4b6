//! Roles that rows name: values of `regrole` and `aclitem` are written as names, and no server takes such a row without
//! the role.

use super::Relation;
use crate::connect::open::{LIMIT_CATALOGS, UNLIMIT_STATEMENTS};
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::quote_ident;
use std::collections::HashMap;

/// A column that names roles.
struct RoleColumn {
    name: String,
    /// Its type, that of the base where it is a domain.
    base: String,
}

/// Reads the columns of the tables that may name roles; gives the names of roles that are there, in order. Each table
/// comes with the condition of the rows that are taken.
///
/// Only tables with such columns are read. One whose planning would run functions of others is left out: its rows are
/// named by a restore then.
pub fn row_roles(
    session: &mut Session,
    tables: &[(&Relation, Option<&String>)],
) -> Result<Vec<String>, PgError> {
    let columns = columns(session)?;
    let mut found = Vec::new();
    for (relation, condition) in tables {
        let Some(columns) = columns.get(&relation.oid) else {
            continue;
        };
        if !relation.is_readable() || relation.rls_filters || relation.planning_runs_code {
            continue;
        }
        let doing = format!("looking for roles in the rows of {}", relation.name);
        session.simple(&doing, UNLIMIT_STATEMENTS)?;
        let rows = session.rows(&doing, &query(relation, columns, *condition))?;
        session.simple(&doing, LIMIT_CATALOGS)?;
        found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The roles of one table, in one reading of it. Arrays may have any bounds and holes.
fn query(relation: &Relation, columns: &[RoleColumn], condition: Option<&String>) -> String {
    let names: Vec<String> = columns.iter().map(|it| quote_ident(&it.name)).collect();
    let oids = columns.iter().zip(&names).map(|(column, name)| {
        let base = &column.base;
        let value = format!("CAST(q.{name} AS pg_catalog.{base})");
        let (element, from) = if base.ends_with("[]") {
            (
                "e".to_owned(),
                format!(" FROM pg_catalog.unnest({value}) e"),
            )
        } else {
            (value, String::new())
        };
        if base.starts_with("regrole") {
            return format!("SELECT CAST({element} AS pg_catalog.oid){from}");
        }
        let from = if from.is_empty() {
            " FROM ".to_owned()
        } else {
            format!("{from}, ")
        };
        format!(
            "SELECT pg_catalog.unnest(ARRAY[a.grantor, a.grantee]){from}
             pg_catalog.aclexplode(CASE WHEN {element} IS NOT NULL THEN ARRAY[{element}] END) a"
        )
    });
    let oids: Vec<String> = oids.collect();
    let condition = condition.map(|it| format!(" WHERE ({it})"));
    format!(
        "SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r
         WHERE r.rolname !~ '^pg_' AND r.oid IN (
             SELECT o.role FROM (SELECT {} FROM ONLY {}{}) q CROSS JOIN LATERAL ({}) o (role))",
        names.join(", "),
        relation.name.sql(),
        condition.unwrap_or_default(),
        oids.join(" UNION ALL ")
    )
}

/// Columns of these types, and of domains over them, by table.
fn columns(session: &mut Session) -> Result<HashMap<u32, Vec<RoleColumn>>, PgError> {
    let rows = session.rows(
        "looking for columns that name roles",
        "WITH RECURSIVE naming (type, base) AS (
             SELECT t.oid, t.oid FROM pg_type t
             WHERE t.oid IN ('regrole'::regtype, 'regrole[]'::regtype, 'aclitem'::regtype, 'aclitem[]'::regtype)
             UNION ALL
             SELECT t.oid, n.base FROM pg_type t JOIN naming n ON t.typbasetype = n.type)
         SELECT a.attrelid, a.attname::text, format_type(n.base, NULL)
         FROM pg_attribute a JOIN naming n ON n.type = a.atttypid
         WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         ORDER BY a.attrelid, a.attnum",
    )?;
    let mut columns: HashMap<u32, Vec<RoleColumn>> = HashMap::new();
    for row in &rows {
        columns.entry(row.get(0)).or_default().push(RoleColumn {
            name: row.get(1),
            base: row.get(2),
        });
    }
    Ok(columns)
}
