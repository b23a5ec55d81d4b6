//! Foreign keys.

use crate::connect::session::Session;
use crate::error::PgError;

/// One foreign key.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// `pg_constraint.oid`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// The referencing table.
    pub table: u32,
    /// The referenced table.
    pub references: u32,
    /// Its columns.
    pub columns: Vec<String>,
    /// The referenced columns, in the same order.
    pub referenced_columns: Vec<String>,
    /// How they are compared, as SQL that needs no search path; the referenced column on the left.
    pub operators: Vec<String>,
    /// Whether comparing its columns runs a cast of somebody who is neither a superuser nor this role, with the rights of
    /// a superuser: an implicit cast can be made by whoever owns a type.
    pub runs_cast: bool,
    /// As `pg_get_constraintdef` writes it.
    pub definition: String,
    /// Whether it is validated.
    pub validated: bool,
    /// The partitioned table's constraint that it was made for.
    pub parent: Option<u32>,
    /// Whether the referencing table is partitioned.
    pub table_is_partitioned: bool,
    /// The comment on it.
    pub comment: Option<String>,
}

/// Every foreign key.
pub fn foreign_keys(session: &mut Session) -> Result<Vec<ForeignKey>, PgError> {
    let names = |key: &str, relation: &str| {
        format!(
            "ARRAY(SELECT a.attname::text FROM unnest(k.{key}) WITH ORDINALITY u (attnum, at)
                   JOIN pg_attribute a ON a.attrelid = k.{relation} AND a.attnum = u.attnum
                   ORDER BY u.at)"
        )
    };
    let rows = session.rows(
        "listing the foreign keys",
        &format!(
            "SELECT k.oid, k.conname::text, k.conrelid, k.confrelid, {}, {},
                    pg_get_constraintdef(k.oid), k.convalidated, nullif(k.conparentid, 0),
                    c.relkind = 'p',
                    ARRAY(SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                          FROM unnest(k.conpfeqop) WITH ORDINALITY u (operator, at)
                          JOIN pg_operator o ON o.oid = u.operator
                          JOIN pg_namespace n ON n.oid = o.oprnamespace ORDER BY u.at),
                    EXISTS (SELECT FROM unnest(k.conkey, k.confkey, k.conpfeqop) u (own, other, operator)
                            JOIN pg_operator o ON o.oid = u.operator
                            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.own
                                                   AND a.atttypid <> o.oprright
                                                OR a.attrelid = k.confrelid AND a.attnum = u.other
                                                   AND a.atttypid <> o.oprleft
                            JOIN pg_cast x ON x.casttarget IN (o.oprleft, o.oprright) AND x.castcontext = 'i'
                            JOIN pg_proc p ON p.oid = x.castfunc
                            JOIN pg_roles r ON r.oid = p.proowner
                            WHERE NOT r.rolsuper AND r.rolname <> current_user)
                    AND (SELECT me.rolsuper FROM pg_roles me WHERE me.rolname = current_user),
                    obj_description(k.oid, 'pg_constraint')
             FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
             WHERE k.contype = 'f' ORDER BY k.conrelid, k.conname",
            names("conkey", "conrelid"),
            names("confkey", "confrelid")
        ),
    )?;
    Ok(rows
        .iter()
        .map(|row| ForeignKey {
            oid: row.get(0),
            name: row.get(1),
            table: row.get(2),
            references: row.get(3),
            columns: row.get(4),
            referenced_columns: row.get(5),
            definition: row.get(6),
            validated: row.get(7),
            parent: row.get(8),
            table_is_partitioned: row.get(9),
            operators: row.get(10),
            runs_cast: row.get(11),
            comment: row.get(12),
        })
        .collect())
}
