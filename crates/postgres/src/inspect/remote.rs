//! Materialized views that cannot be filled without reaching another server, and statistics that can be gathered without.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::TableName;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A materialized view that rests on another server, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteView {
    /// The view.
    pub name: TableName,
    /// The foreign table or function: `foreign table public.r`.
    pub rests_on: String,
}

/// What lies outside: foreign tables, functions of extensions that connect to other servers, and those in a language
/// that does.
const OUTSIDE: &str = "
    SELECT 'r', c.oid, pg_catalog.format('foreign table %s.%s', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f'
    UNION ALL
    SELECT 'p', p.oid, pg_catalog.format('function %s of extension %s', p.proname, e.extname)
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
    WHERE e.extname IN ('aws_lambda', 'aws_s3', 'azure_storage', 'dblink', 'http', 'mysql_fdw', 'ogr_fdw', 'oracle_fdw',
                        'pg_curl', 'pg_net', 'postgres_fdw', 'redis_fdw', 'tds_fdw', 'wrappers')
    UNION ALL
    SELECT 'p', p.oid, pg_catalog.format('function %s in language plproxy', p.proname)
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'plproxy'";

/// Who reads whom: views their relations and functions, parents their partitions and heirs, functions what they name.
const READS: &str = "
    SELECT 'r', r.ev_class, CASE d.refclassid WHEN 'pg_proc'::regclass THEN 'p' ELSE 'r' END, d.refobjid
    FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass) AND r.ev_class >= 16384
    UNION ALL
    SELECT 'r', inhparent, 'r', inhrelid FROM pg_inherits
    UNION ALL
    SELECT 'p', objid, CASE refclassid WHEN 'pg_proc'::regclass THEN 'p' ELSE 'r' END, refobjid
    FROM pg_depend WHERE classid = 'pg_proc'::regclass AND refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass)
      AND objid >= 16384";

/// A relation or a function.
type Node = (String, u32);

/// The materialized views that rest on another server, directly, through views, partitions, or functions whose body is
/// SQL that the server parsed. What another function does cannot be seen.
pub fn remote_views(session: &mut Session) -> Result<Vec<RemoteView>, PgError> {
    let doing = "looking for what rests on other servers";
    let outside: BTreeMap<Node, String> = (session.rows(doing, OUTSIDE)?.iter())
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect();
    if outside.is_empty() {
        return Ok(Vec::new());
    }
    let mut read_by: HashMap<Node, Vec<Node>> = HashMap::new();
    for row in session.rows(doing, READS)? {
        let (reader, read) = ((row.get(0), row.get(1)), (row.get(2), row.get(3)));
        read_by.entry(read).or_default().push(reader);
    }
    let views = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'm' AND {USER_SCHEMA} ORDER BY 2, 3"
    );
    let reached = resting_on(outside, &read_by);
    let view = |row: &postgres::Row| {
        let rests_on = reached.get(&("r".to_owned(), row.get(0)))?.clone();
        let name = TableName::new(row.get::<_, String>(1), row.get::<_, String>(2));
        Some(RemoteView { name, rests_on })
    };
    Ok(session
        .rows(doing, &views)?
        .iter()
        .filter_map(view)
        .collect())
}

/// Everything that reads one of `outside`, through others, too, with what it is. Every edge is followed once.
fn resting_on(
    outside: BTreeMap<Node, String>,
    read_by: &HashMap<Node, Vec<Node>>,
) -> HashMap<Node, String> {
    let mut next: VecDeque<(Node, String)> = outside.into_iter().collect();
    let mut reached = HashMap::new();
    while let Some((node, what)) = next.pop_front() {
        if reached.contains_key(&node) {
            continue;
        }
        for reader in read_by.get(&node).into_iter().flatten() {
            next.push_back((reader.clone(), what.clone()));
        }
        reached.insert(node, what);
    }
    reached
}

/// Gathers statistics of the user's tables, of each once, without reaching another server: ANALYZE of a table samples its
/// foreign partitions and heirs, too. `None` where there is no such table.
pub fn analyze_statement(session: &mut Session) -> Result<Option<String>, PgError> {
    // Partitions are analyzed with a table that is named, since PostgreSQL 18 other heirs, too.
    let with_parent = if session.server_version_num() < 180_000 {
        "c.relispartition AND "
    } else {
        ""
    };
    let sql = format!(
        "WITH RECURSIVE above AS (
             SELECT i.inhparent AS oid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind = 'f'
             UNION SELECT i.inhparent FROM above JOIN pg_inherits i ON i.inhrelid = above.oid)
         SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'm', 'p') AND {USER_SCHEMA} AND c.oid NOT IN (SELECT oid FROM above)
           AND NOT ({with_parent}EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid
                                         AND i.inhparent NOT IN (SELECT oid FROM above)))
         ORDER BY 1"
    );
    let rows = session.rows("looking for tables to analyze", &sql)?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // Without a name it would be all tables, with the foreign ones that were left out.
    Ok((!names.is_empty()).then(|| format!("ANALYZE {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_on_another_server_is_found_through_circles_and_diamonds() {
        let node = |id: u32| ("r".to_owned(), id);
        let read_by = HashMap::from([
            (node(1), vec![node(2), node(3)]),
            (node(2), vec![node(4)]),
            (node(3), vec![node(4), node(2)]),
            (node(4), vec![node(2)]),
            (node(8), vec![node(9)]),
        ]);
        let outside = BTreeMap::from([(node(1), "foreign table r".to_owned())]);
        let mut reached: Vec<u32> = resting_on(outside, &read_by)
            .into_keys()
            .map(|(_, id)| id)
            .collect();
        reached.sort_unstable();
        assert_eq!(reached, [1, 2, 3, 4]);
    }
}
