//! Where the sequences stand.

use super::{NOT_GONE, USER_SCHEMA};
use crate::error::PgError;
use crate::session::Session;
use hubvault_model::TableName;

/// One sequence and where it stands.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its name.
    pub name: TableName,
    /// Its value; `None` when the role may not read it.
    pub last_value: Option<i64>,
    /// Whether that value was given out.
    pub is_called: bool,
    /// Whether the role may read it.
    pub can_read: bool,
    /// Whether an extension made it.
    pub extension_member: bool,
    /// Its owner.
    pub owner: String,
}

/// Every sequence with its value. Values are not part of a snapshot: they are at least as far as
/// the rows of the moment need.
pub fn sequences(session: &mut Session) -> Result<Vec<Sequence>, PgError> {
    let doing = "reading the sequences";
    let rows = session.rows(
        doing,
        &format!(
            "SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text,
                    has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
                    EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                              AND d.deptype = 'e')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {USER_SCHEMA} AND {NOT_GONE}
             ORDER BY 1, 2"
        ),
    )?;
    let mut sequences: Vec<Sequence> = rows
        .iter()
        .map(|row| Sequence {
            name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            last_value: None,
            is_called: false,
            can_read: row.get(3),
            extension_member: row.get(4),
            owner: row.get(2),
        })
        .collect();
    for batch in sequences.chunks_mut(200) {
        let selects: Vec<String> = batch
            .iter()
            .enumerate()
            .filter(|(_, sequence)| sequence.can_read)
            .map(|(i, s)| {
                let said_twice = format!("concat_ws(' ', {i}, last_value, is_called)");
                format!(
                    "SELECT {i}, last_value, is_called, {said_twice} FROM {}",
                    s.name.sql()
                )
            })
            .collect();
        if selects.is_empty() {
            continue;
        }
        for row in session.rows(doing, &selects.join(" UNION ALL "))? {
            let at: i32 = row.get(0);
            let (value, is_called): (i64, bool) = (row.get(1), row.get(2));
            let flag = if is_called { "t" } else { "f" };
            PgError::unless_said_twice(doing, row.get(3), &format!("{at} {value} {flag}"))?;
            if let Some(sequence) = usize::try_from(at).ok().and_then(|at| batch.get_mut(at)) {
                sequence.last_value = Some(value);
                sequence.is_called = is_called;
            }
        }
    }
    Ok(sequences)
}
