//! What a database holds, for a first configuration: sizes, large tables that only grow, and what the role may do.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::TableName;

/// What a database holds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Its name.
    pub database: String,
    /// `15.18`
    pub server_version: String,
    /// The role that looks.
    pub role: String,
    /// What `pg_database_size` says, indexes included; `None` where the role may not ask.
    pub bytes: Option<u64>,
    /// Whether the role may make roles and give them the rights that a backup needs.
    pub may_make_roles: bool,
    /// Where the server keeps its data; `None` where the role may not ask.
    pub data_directory: Option<String>,
    /// All tables, the largest first; a partitioned table once, with its partitions.
    pub tables: Vec<SurveyedTable>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct SurveyedTable {
    /// Its name.
    pub name: TableName,
    /// Its rows and their TOAST, without indexes.
    pub bytes: u64,
    /// Whether the role may read it.
    pub is_readable: bool,
    /// The extension whose table it is.
    pub extension: Option<String>,
}

/// A table that seems to get new rows and keep the old ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowingTable {
    /// Its name.
    pub name: TableName,
    /// The column that says when a row came.
    pub column: String,
    /// Why that column: `has an index, defaults to the current time`.
    pub reason: String,
}

const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text,
           coalesce(CASE c.relkind
               WHEN 'p' THEN (SELECT sum(pg_table_size(t.relid))::int8 FROM pg_partition_tree(c.oid) t WHERE t.isleaf)
               ELSE pg_table_size(c.oid) END, 0),
           coalesce(has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'), false),
           (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
              AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' LIMIT 1)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'";

/// Reads all of it, in two queries.
pub fn survey(session: &mut Session) -> Result<Survey, PgError> {
    let facts = session.rows(
        "asking for the database and the role",
        "SELECT current_database()::text, current_setting('server_version'), current_user::text,
                CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END,
                r.rolsuper,
                (SELECT setting FROM pg_catalog.pg_show_all_settings() WHERE name = 'data_directory')
         FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user",
    )?;
    let facts = facts.first().ok_or_else(|| PgError::Query {
        doing: "asking for the database and the role".to_owned(),
        why: "it was dropped or renamed meanwhile; try again".to_owned(),
    })?;
    let sql = format!("{TABLES} AND {USER_SCHEMA} ORDER BY 3 DESC, 1, 2");
    let rows = session.rows("listing the tables and their sizes", &sql)?;
    let table = |row: &postgres::Row| SurveyedTable {
        name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        bytes: row.get::<_, i64>(2).unsigned_abs(),
        is_readable: row.get(3),
        extension: row.get(4),
    };
    Ok(Survey {
        database: facts.get(0),
        server_version: facts.get(1),
        role: facts.get(2),
        bytes: facts.get::<_, Option<i64>>(3).map(i64::unsigned_abs),
        may_make_roles: facts.get(4),
        data_directory: facts.get(5),
        tables: rows.iter().map(table).collect(),
    })
}

/// Columns of a time type that have an index or default to the current time, of tables of which less than a twentieth of
/// the rows was ever changed or removed since the statistics begin. The names of columns decide between equals.
const GROWING: &str = "
    SELECT n.nspname::text, c.relname::text, a.attname::text, found.indexed, found.of_now,
           (found.indexed::int * 2 + found.of_now::int * 2 + a.attnotnull::int
            + (a.attname ~* '(creat|insert|occur|receiv|happen|record|log|event|^time|^ts$|_ts$|^at$|^date$)')::int
            - 4 * (a.attname ~* '(updat|modif|chang|delet|expir|until|valid|end|due|birth)')::int) AS score
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                       AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
    LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum,
    LATERAL (SELECT
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indkey[0] = a.attnum) AS indexed,
        coalesce(a.attgenerated = '' AND pg_get_expr(f.adbin, f.adrelid)
                     ~* '(now\\(\\)|current_timestamp|current_date|localtimestamp|clock_timestamp|statement_timestamp)',
                 false) AS of_now) AS found,
    LATERAL (SELECT coalesce(sum(s.n_tup_upd + s.n_tup_del), 0) AS changed,
                    greatest(coalesce(sum(s.n_tup_ins), 0), coalesce(sum(s.n_live_tup), 0)) AS rows
             FROM pg_stat_user_tables s
             WHERE s.relid = c.oid
                OR c.relkind = 'p' AND s.relid IN (SELECT t.relid FROM pg_partition_tree(c.oid) t)) AS activity
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND (found.indexed OR found.of_now)
      AND activity.changed * 20 <= activity.rows";

/// Those of `tables` that seem to get new rows and keep the old ones, each with its best column.
pub fn growing(session: &mut Session, tables: &[TableName]) -> Result<Vec<GrowingTable>, PgError> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let doing = "looking for tables that only grow";
    let sql = format!("{GROWING} AND {USER_SCHEMA} ORDER BY score DESC, a.attnum");
    let mut found: Vec<GrowingTable> = Vec::new();
    for row in session.rows(doing, &sql)? {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let score: i32 = row.get(5);
        let is_known = found.iter().any(|one| one.name == name);
        if score < 2 || is_known || !tables.contains(&name) {
            continue;
        }
        let reasons = [(3, "has an index"), (4, "defaults to the current time")];
        let reasons: Vec<&str> = reasons
            .into_iter()
            .filter(|(at, _)| row.get::<_, bool>(*at))
            .map(|(_, text)| text)
            .collect();
        found.push(GrowingTable {
            name,
            column: row.get(2),
            reason: reasons.join(" and "),
        });
    }
    found.sort_by_key(|one| tables.iter().position(|name| *name == one.name));
    Ok(found)
}
