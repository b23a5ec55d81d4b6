//! Tables of extensions: which of their rows are the user's and so belong into a backup, and which are left out.
//!
//! An extension says itself which tables hold a user's rows and which of them (`pg_extension_config_dump`); `pg_dump`
//! takes the same rows. All others come back with CREATE EXTENSION.

use super::extent::PlannedTable;
use super::scope::{Choice, Resolved};
use hubvault_archive::LeftOut;
use hubvault_model::{TableName, Warning, quote_ident, quote_literal};
use hubvault_postgres::{ForeignKey, PgError, Relation, RelationKind, Session, inspect};
use std::collections::BTreeMap;

impl Resolved {
    /// Chooses a table of an extension when it holds rows of the user's; `named` when the scope names it alone.
    pub(super) fn take_of_extension(
        &mut self,
        relation: &Relation,
        extension: &str,
        choice: Choice,
        named: bool,
    ) {
        let name = &relation.name;
        let message = match (&relation.config_rows, choice) {
            (None, _) if named => format!(
                "{name} belongs to the extension {extension}, which does not mark its rows as the user's: they are not \
                 backed up; CREATE EXTENSION creates the table again"
            ),
            // A window's column or condition is one of the user's tables.
            (None, _) => return,
            (Some(_), Choice::Window(_)) if !named => return,
            (Some(_), Choice::Window(_)) => format!(
                "{name} belongs to the extension {extension}: all rows that the extension marks as the user's are \
                 taken, not only those of the window"
            ),
            (Some(_), _) => String::new(),
        };
        if !message.is_empty() {
            self.warn_once("extension-table", relation, message);
        }
        if relation.config_rows.is_some() {
            self.chosen.entry(relation.oid).or_insert(Choice::Whole);
        }
    }
}

/// The conditions of the chosen tables of extensions, by oid. Tables whose rows cannot be taken are removed from what is
/// chosen, with a warning: an extension that its users cannot change must not keep everything else from being backed up.
pub(super) fn conditions(
    session: &mut Session,
    relations: &[Relation],
    found: &mut Resolved,
) -> Result<BTreeMap<u32, String>, PgError> {
    let mut conditions = BTreeMap::new();
    for relation in relations {
        let (Some(rows), true) = (
            &relation.config_rows,
            found.chosen.contains_key(&relation.oid),
        ) else {
            continue;
        };
        let why = if !relation.is_readable() {
            Some(not_readable(relation))
        } else if relation.rls_filters {
            Some("row-level security would hide rows; ALTER ROLE ... BYPASSRLS".to_owned())
        } else if rows.condition.trim().is_empty() {
            None
        } else if !rows.may_run {
            let owner = "is written by a role that is no superuser";
            Some(format!(
                "its condition {owner}, and this role is one; back up over a role that can only read"
            ))
        } else {
            match usable(session, relation, &rows.condition)? {
                Ok(condition) => {
                    conditions.insert(relation.oid, condition);
                    None
                }
                Err(why) => Some(format!("its condition does not work here: {why}")),
            }
        };
        if let Some(why) = why {
            found.chosen.remove(&relation.oid);
            let (name, extension) = (&relation.name, relation.extension_member.as_deref());
            let message = format!(
                "the rows of {name}, of the extension {}, are not in the archive: {why}",
                extension.unwrap_or("?")
            );
            found.warn_once("extension-rows", relation, message);
        }
    }
    Ok(conditions)
}

fn not_readable(relation: &Relation) -> String {
    let schema = quote_ident(&relation.name.schema);
    format!(
        "this role may not read it; GRANT USAGE ON SCHEMA {schema} TO ...; GRANT SELECT ON {} TO ...",
        relation.name.sql()
    )
}

/// The condition as an expression, as `pg_dump` understands it: it may end in ORDER BY or LIMIT. The planner is asked
/// about one statement alone, so that a condition cannot be more than one.
fn usable(
    session: &mut Session,
    relation: &Relation,
    condition: &str,
) -> Result<Result<String, String>, PgError> {
    let table = relation.name.sql();
    let keyword = condition.trim_start().split_at_checked(5);
    let plain = keyword.filter(|(word, _)| word.eq_ignore_ascii_case("where"));
    let forms = plain
        .map(|(_, rest)| rest.trim().to_owned())
        .into_iter()
        .chain([format!(
            "ctid = ANY (ARRAY(SELECT ctid FROM ONLY {table} {condition}))"
        )]);
    let mut first = None;
    for form in forms {
        let query = format!("SELECT FROM ONLY {table} WHERE ({form})");
        match inspect::works(session, &query)? {
            None => return Ok(Ok(form)),
            Some(why) => first = first.or(Some(why)),
        }
    }
    Ok(Err(first.unwrap_or_default()))
}

/// Tables of extensions with rows that are not in the archive, and why.
pub(super) fn left_out(
    relations: &[Relation],
    chosen: &BTreeMap<u32, Choice>,
    warnings: &[Warning],
) -> Vec<LeftOut> {
    let reason = |relation: &Relation| {
        let extension = relation.extension_member.as_deref()?;
        let is_warned = warnings
            .iter()
            .any(|it| it.code == "extension-rows" && it.subject == relation.name.to_string());
        Some(match relation.config_rows {
            Some(_) if is_warned => format!("of the extension {extension}: see the warnings"),
            Some(_) => format!(
                "not in the scope; the extension {extension} marks rows of it as the user's"
            ),
            None => format!(
                "not marked as the user's by the extension {extension}, which fills it itself"
            ),
        })
    };
    relations
        .iter()
        .filter(|r| {
            r.kind == RelationKind::Table && r.heap_bytes > 0 && !chosen.contains_key(&r.oid)
        })
        .filter_map(|r| {
            Some(LeftOut {
                name: r.name.clone(),
                estimated_rows: r.estimated_rows,
                reason: reason(r)?,
            })
        })
        .collect()
}

/// What psql does before it loads rows of an extension's table: rows that CREATE EXTENSION put in their place are
/// deleted. The condition is the extension's, so that psql passes it on without reading it. A table of several entries
/// has none: they are loaded in any order.
pub(super) fn replacing(table: &PlannedTable) -> Option<String> {
    table.extension.as_ref()?;
    let condition = table.filter.as_deref().unwrap_or("true");
    let delete = format!("DELETE FROM ONLY {} WHERE ({condition})", table.name.sql());
    (table.estimated_bytes < ONE_ENTRY)
        .then(|| format!("SELECT {} \\gexec\n", quote_literal(&delete).trim()))
}

/// Rows of fewer bytes than these are one entry.
const ONE_ENTRY: u64 = 8 << 20;

/// The chosen tables of extensions, by oid, each after those that its foreign keys refer to.
pub(super) fn parents_first(
    relations: &[Relation],
    chosen: &BTreeMap<u32, Choice>,
    keys: &[ForeignKey],
) -> Vec<TableName> {
    let of_extension = |r: &&Relation| r.extension_member.is_some() && chosen.contains_key(&r.oid);
    let mut left: Vec<&Relation> = relations.iter().filter(of_extension).collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |r: &Relation| {
            let mut parents = keys
                .iter()
                .filter(|key| key.table == r.oid && key.references != r.oid);
            parents.any(|key| left.iter().any(|other| other.oid == key.references))
        };
        let next = left.iter().position(|r| !waits(r)).unwrap_or(0);
        ordered.push(left.remove(next).name.clone());
    }
    ordered
}
