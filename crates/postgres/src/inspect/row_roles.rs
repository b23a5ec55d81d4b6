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
    of_type: u32,
}

/// A part of a type that names roles.
struct Part {
    /// `d`: of a domain; `a`, `m`: the elements of an array and of a multirange; `c`: an attribute; `r`: the bounds of a range.
    kind: String,
    of_type: u32,
    /// The type of a domain, the name of an attribute.
    name: String,
}

/// Types that name roles somewhere in them, by oid.
type Parts = HashMap<u32, Vec<Part>>;

/// The oids of the types `regrole` and `aclitem`, which are the same on every server.
const ROLE: u32 = 4096;
const GRANT: u32 = 1033;

/// How deep types may be within each other, and how many values of a row are looked at. Whoever may create types can nest
/// them without end, and a type that has another twice, at each of thirty levels, names a thousand million roles.
const DEPTH: usize = 32;
const MOST: usize = 1_000;

/// Reads the columns of the tables that may name roles; gives the names of roles that are there, in order. Each table
/// comes with the condition of the rows that are taken.
///
/// Only tables with such columns are read. One whose planning would run functions of others is left out: its rows are
/// named by a restore then. So are columns of types that are too deep or have too many parts.
pub fn row_roles(
    session: &mut Session,
    tables: &[(&Relation, Option<&String>)],
) -> Result<Vec<String>, PgError> {
    let (columns, parts) = (columns(session)?, parts(session)?);
    let sizes = sizes(&parts);
    let mut found = Vec::new();
    for (relation, condition) in tables {
        let Some(columns) = columns.get(&relation.oid) else {
            continue;
        };
        let columns = few(columns, &sizes);
        if columns.is_empty() {
            continue;
        }
        if !relation.is_readable() || relation.rls_filters || relation.planning_runs_code {
            continue;
        }
        let doing = format!("looking for roles in the rows of {}", relation.name);
        session.simple(&doing, UNLIMIT_STATEMENTS)?;
        let rows = session.rows(&doing, &query(relation, &columns, &parts, *condition))?;
        session.simple(&doing, LIMIT_CATALOGS)?;
        found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// How many roles a value of each type names, an array or multirange counted as one element. Types that are too deep are
/// not among them.
fn sizes(parts: &Parts) -> HashMap<u32, usize> {
    let mut sizes: HashMap<u32, usize> = HashMap::from([(ROLE, 1), (GRANT, 1)]);
    for _ in 0..DEPTH {
        let unknown = parts.iter().filter(|(it, _)| !sizes.contains_key(it));
        let known = unknown.filter_map(|(of_type, parts)| {
            let size = |sum: usize, part: &Part| {
                let times = if part.kind == "r" { 2 } else { 1 };
                let size = sizes.get(&part.of_type)?;
                Some(sum.saturating_add(size.saturating_mul(times)))
            };
            Some((*of_type, parts.iter().try_fold(0, size)?))
        });
        let known: Vec<(u32, usize)> = known.collect();
        sizes.extend(known);
    }
    sizes
}

/// The first columns that together name no more than [`MOST`] roles.
fn few<'a>(columns: &'a [RoleColumn], sizes: &HashMap<u32, usize>) -> Vec<&'a RoleColumn> {
    let mut left = MOST;
    let fits = |column: &&RoleColumn| {
        let size = sizes.get(&column.of_type).copied().unwrap_or(usize::MAX);
        let rest = left.checked_sub(size);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    columns.iter().filter(fits).collect()
}

/// The roles of one table, in one reading of it.
fn query(
    relation: &Relation,
    columns: &[&RoleColumn],
    parts: &Parts,
    condition: Option<&String>,
) -> String {
    let names: Vec<String> = columns.iter().map(|it| quote_ident(&it.name)).collect();
    let oids = columns.iter().zip(&names);
    let oids = oids.map(|(column, name)| oids_in(&format!("q.{name}"), column.of_type, parts, 0));
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

/// A query of the oids of the roles that a value names. Arrays may have any bounds and holes.
fn oids_in(value: &str, of_type: u32, parts: &Parts, depth: usize) -> String {
    let within = |value: &str, part: &Part| oids_in(value, part.of_type, parts, depth + 1);
    match of_type {
        ROLE => format!("SELECT CAST({value} AS pg_catalog.oid)"),
        GRANT => format!(
            "SELECT pg_catalog.unnest(ARRAY[a.grantor, a.grantee]) FROM
             pg_catalog.aclexplode(CASE WHEN {value} IS NOT NULL THEN ARRAY[{value}] END) a"
        ),
        _ => {
            let oids = parts.get(&of_type).into_iter().flatten().map(|part| {
                match (part.kind.as_str(), &part.name) {
                    ("d", base) => within(&format!("CAST({value} AS {base})"), part),
                    ("c", attribute) => within(&format!("({value}).{attribute}"), part),
                    ("r", _) => ["lower", "upper"]
                        .map(|bound| within(&format!("pg_catalog.{bound}({value})"), part))
                        .join(" UNION ALL "),
                    _ => format!(
                        "SELECT x{depth}.o FROM (SELECT pg_catalog.unnest({value})) e{depth} (v)
                         CROSS JOIN LATERAL ({}) x{depth} (o)",
                        within(&format!("e{depth}.v"), part)
                    ),
                }
            });
            oids.collect::<Vec<_>>().join(" UNION ALL ")
        }
    }
}

/// `naming`: the types that name roles, and those that have such a type in them. Types with implicit casts of their own are
/// left out: `lower` of such a range could be that of text, over a cast that its owner wrote.
const NAMING: &str = "WITH RECURSIVE part (type, kind, part, name) AS MATERIALIZED (
         SELECT oid, 'd', typbasetype, format_type(typbasetype, NULL) FROM pg_type WHERE typtype = 'd'
         UNION ALL
         SELECT oid, 'a', typelem, '' FROM pg_type WHERE typelem <> 0 AND typlen = -1
         UNION ALL
         SELECT c.reltype, 'c', a.atttypid, quote_ident(a.attname) FROM pg_attribute a
         JOIN pg_class c ON c.oid = a.attrelid AND c.reltype <> 0
         WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped
         UNION ALL
         SELECT rngtypid, 'r', rngsubtype, '' FROM pg_range
         UNION ALL
         -- Servers before 14 have no multiranges.
         SELECT (to_jsonb(r) ->> 'rngmultitypid')::oid, 'm', rngtypid, '' FROM pg_range r),
     naming (type) AS (
         SELECT t.oid FROM pg_type t WHERE t.oid IN ('regrole'::regtype, 'aclitem'::regtype)
         UNION
         SELECT p.type FROM part p JOIN naming n ON n.type = p.part
         WHERE NOT EXISTS (SELECT FROM pg_cast k WHERE k.castsource = p.type AND k.castcontext = 'i' AND k.oid >= 16384))";

fn parts(session: &mut Session) -> Result<Parts, PgError> {
    let sql = format!(
        "{NAMING} SELECT p.type, p.kind, p.part, p.name FROM part p
         JOIN naming n ON n.type = p.part JOIN naming t ON t.type = p.type"
    );
    let mut parts = Parts::new();
    for row in &session.rows("looking for types that name roles", &sql)? {
        parts.entry(row.get(0)).or_default().push(Part {
            kind: row.get(1),
            of_type: row.get(2),
            name: row.get(3),
        });
    }
    Ok(parts)
}

/// Columns of these types, by table.
fn columns(session: &mut Session) -> Result<HashMap<u32, Vec<RoleColumn>>, PgError> {
    let sql = format!(
        "{NAMING} SELECT a.attrelid, a.attname::text, a.atttypid
         FROM pg_attribute a JOIN naming n ON n.type = a.atttypid
         WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         ORDER BY a.attrelid, a.attnum"
    );
    let mut columns: HashMap<u32, Vec<RoleColumn>> = HashMap::new();
    for row in &session.rows("looking for columns that name roles", &sql)? {
        columns.entry(row.get(0)).or_default().push(RoleColumn {
            name: row.get(1),
            of_type: row.get(2),
        });
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composite(of_type: u32, fields: u32) -> (u32, Vec<Part>) {
        let field = |number| Part {
            kind: "c".to_owned(),
            of_type: of_type - 1,
            name: format!("f{number}"),
        };
        (of_type, (0..fields).map(field).collect())
    }

    /// Types 4097, 4098 ..., each with so many fields of the one before, beginning with `regrole`.
    fn nested(levels: u32, fields: u32) -> Parts {
        let types = ROLE + 1..=ROLE + levels;
        types.map(|of_type| composite(of_type, fields)).collect()
    }

    fn column(of_type: u32) -> RoleColumn {
        RoleColumn {
            name: "c".to_owned(),
            of_type,
        }
    }

    #[test]
    fn types_that_grow_at_each_level_and_those_that_are_too_deep_are_left_out() {
        let chosen = |parts: &Parts, levels: &[u32]| {
            let columns: Vec<RoleColumn> = levels.iter().map(|it| column(ROLE + it)).collect();
            let found = few(&columns, &sizes(parts));
            let found = found.iter().map(|it| it.of_type - ROLE);
            found.collect::<Vec<_>>()
        };
        let doubling = nested(31, 2);
        assert_eq!(sizes(&doubling)[&(ROLE + 31)], 1 << 31);
        assert_eq!(chosen(&doubling, &[9, 31, 9, 0, 8]), [9, 0, 8]);
        let deep = nested(5_000, 1);
        assert_eq!(chosen(&deep, &[1, 32, 33, 5_000]), [1, 32]);
    }
}
