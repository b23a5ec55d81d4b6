//! How the columns of a live table differ from those that an archive has of it.

use crate::connect::session::Session;
use crate::error::PgError;
use crate::plain_types::PlainTypes;
use hubvault_model::{TableName, one_line, quote_ident, quote_literal};
use serde::Serialize;
use std::collections::BTreeSet;

/// The differences in columns. The archive knows their names; that a type is another shows when it does not take a value
/// as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Columns that only the archive has.
    #[serde(rename = "only_in_backup")]
    pub removed: Vec<String>,
    /// Columns that only the database has.
    #[serde(rename = "only_in_database")]
    pub added: Vec<String>,
    /// Columns whose type does not take the archive's values, or changes them: they are compared as texts.
    pub retyped: Vec<String>,
    /// Columns that the database computes and the archive has as values.
    pub computed: Vec<String>,
    /// The columns of the live primary key, where the archive does not have all of them.
    #[serde(rename = "key_not_in_backup")]
    pub key: Vec<String>,
    /// The columns of the primary key in the archive, where the live table has none, or one of other columns.
    #[serde(rename = "key_in_backup")]
    pub former_key: Vec<String>,
    /// The columns of the live primary key, where the table had none in the archive.
    #[serde(rename = "key_only_in_database")]
    pub new_key: Vec<String>,
}

/// A column of a live table.
pub(crate) struct LiveColumn {
    pub(crate) name: String,
    /// Whether it is GENERATED ALWAYS AS IDENTITY.
    pub(crate) always: bool,
    pub(crate) in_key: bool,
    pub(crate) computed: bool,
}

pub(crate) fn looking_at(table: &TableName) -> String {
    format!("looking at {table} in the target")
}

/// Those of the primary key first, in its order; columns that its index only includes are not of it.
pub(crate) fn live_columns(
    session: &mut Session,
    table: &TableName,
) -> Result<Vec<LiveColumn>, PgError> {
    let literal = quote_literal(&table.sql());
    let rows = session.rows(
        &looking_at(table),
        &format!(
            "SELECT a.attname::text, a.attidentity = 'a', coalesce(a.attnum = ANY (i.key), false), a.attgenerated <> ''
             FROM pg_catalog.pg_attribute a
             LEFT JOIN (SELECT indrelid, (indkey::int2[])[0:indnkeyatts - 1] AS key
                        FROM pg_catalog.pg_index WHERE indisprimary) i ON i.indrelid = a.attrelid
             WHERE a.attrelid = {literal}::regclass AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY array_position(i.key, a.attnum), a.attnum"
        ),
    )?;
    let column = |row: &postgres::Row| LiveColumn {
        name: row.get(0),
        always: row.get(1),
        in_key: row.get(2),
        computed: row.get(3),
    };
    Ok(rows.iter().map(column).collect())
}

impl Drift {
    pub(crate) fn between(archive: &[String], live: &[LiveColumn], as_text: &[String]) -> Self {
        let find = |name: &String| live.iter().find(|column| column.name == *name);
        let in_archive = |is: &dyn Fn(Option<&LiveColumn>) -> bool| {
            let columns = archive.iter().filter(|name| is(find(name)));
            columns.cloned().collect::<Vec<_>>()
        };
        let computed = in_archive(&|live| live.is_some_and(|column| column.computed));
        let retyped = as_text
            .iter()
            .filter(|name| find(name).is_some() && !computed.contains(name));
        let in_live = |is: &dyn Fn(&LiveColumn) -> bool| {
            let columns = live.iter().filter(|column| is(column));
            columns
                .map(|column| column.name.clone())
                .collect::<Vec<_>>()
        };
        let mut key = in_live(&|column| column.in_key);
        if key.iter().all(|name| archive.contains(name)) {
            key.clear();
        }
        Self {
            removed: in_archive(&|live| live.is_none()),
            added: in_live(&|column| !column.computed && !archive.contains(&column.name)),
            retyped: retyped.cloned().collect(),
            computed,
            key,
            ..Self::default()
        }
    }

    /// Compares the live primary key with the one of the archive, in whatever order their columns are.
    pub(crate) fn compare_keys(&mut self, archive: &[String], live: &[String]) {
        let (sorted, other) = (BTreeSet::from_iter(archive), BTreeSet::from_iter(live));
        if archive.is_empty() {
            self.new_key = live.to_vec();
        } else if sorted != other {
            self.former_key = archive.to_vec();
        }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a column of the archive is not compared.
    pub(crate) fn is_left_out(&self, column: &String) -> bool {
        self.removed.contains(column) || self.computed.contains(column)
    }

    /// The columns that are in one of both only, or computed, and so were not compared.
    pub fn not_compared(&self) -> Vec<&String> {
        let all = [&self.removed, &self.computed, &self.added];
        all.into_iter().flatten().collect()
    }

    /// Why rows cannot be put back into the table; `None` where they can.
    pub fn obstacle(&self) -> Option<String> {
        if !self.key.is_empty() {
            let key = shown(&self.key);
            return Some(format!("the archive does not have its primary key ({key})"));
        }
        if !self.former_key.is_empty() {
            let key = shown(&self.former_key);
            return Some(format!(
                "its primary key was ({key}) in the backup and is not the same now, so that rows cannot be matched"
            ));
        }
        let retyped = shown(&self.retyped);
        (!self.retyped.is_empty()).then(|| {
            format!("the type of {retyped} does not take the archive's values as they are")
        })
    }

    /// In a line.
    pub fn text(&self) -> String {
        let parts = [
            ("only in the backup: ", &self.removed),
            ("only in the database: ", &self.added),
            ("of another type: ", &self.retyped),
            ("computed in the database: ", &self.computed),
            ("primary key not in the backup: ", &self.key),
            ("primary key only in the database: ", &self.new_key),
        ];
        let parts = parts.iter().filter(|(_, columns)| !columns.is_empty());
        let mut parts: Vec<String> = parts
            .map(|(what, columns)| format!("{what}{}", shown(columns)))
            .collect();
        if !self.former_key.is_empty() {
            let key = shown(&self.former_key);
            parts.push(format!("primary key was ({key}) in the backup"));
        }
        parts.join("; ")
    }
}

fn shown(columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|it| quote_ident(it)).collect();
    one_line(&names.join(", ")).into_owned()
}

/// The columns of which two copies of the same rows do not have the same values.
pub fn unlike_columns(
    session: &mut Session,
    (one, other): (&TableName, &TableName),
    columns: &[String],
) -> Result<Vec<String>, PgError> {
    let mut unlike = Vec::new();
    for column in columns {
        let values = |of: &TableName| {
            let (column, of) = (quote_ident(column), of.sql());
            format!("SELECT pg_catalog.format('%L', {column}) FROM ONLY {of}")
        };
        let (one, other) = (values(one), values(other));
        let sql = format!("SELECT EXISTS ({one} EXCEPT ALL {other})");
        let rows = session.rows("comparing the values of each column", &sql)?;
        if rows.first().is_some_and(|row| row.get(0)) {
            unlike.push(column.clone());
        }
    }
    Ok(unlike)
}

/// A query without rows, with an archive's columns: of the live type where there is one that takes the values. Columns that
/// are not compared are texts, which take every value. No type is a domain.
pub(crate) fn made_like(
    like: &TableName,
    columns: &[String],
    drift: &Drift,
    plain: &PlainTypes,
) -> String {
    let column = |column: &String| {
        let name = quote_ident(column);
        if drift.is_left_out(column) || drift.retyped.contains(column) {
            return format!("NULL::pg_catalog.text AS {name}");
        }
        match plain.instead(column) {
            Some(plain) => format!("NULL::{plain} AS {name}"),
            None => name,
        }
    };
    let columns: Vec<String> = columns.iter().map(column).collect();
    let columns = columns.join(", ");
    format!("SELECT {columns} FROM ONLY {} WITH NO DATA", like.sql())
}

impl PgError {
    /// The columns that refused a value of a COPY; all of them where the server does not say which. None where it is
    /// another error.
    pub fn refusing_columns(&self, columns: &[String]) -> Vec<String> {
        let Self::Query { why, .. } = self else {
            return Vec::new();
        };
        let why = why.strip_suffix(": null input").unwrap_or(why);
        let is_named = |column: &&String| why.ends_with(&format!(", column {}", one_line(column)));
        // A name may end like another.
        let named = columns.iter().filter(is_named).max_by_key(|it| it.len());
        named.map_or_else(|| columns.to_vec(), |column| vec![column.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_that_refused_is_known_by_the_context() {
        let columns = ["a".to_owned(), "b".to_owned(), "b, column a".to_owned()];
        let of = |why: &str| {
            let (doing, why) = (String::new(), why.to_owned());
            PgError::Query { doing, why }.refusing_columns(&columns)
        };
        assert_eq!(of("no (SQLSTATE 22P02); COPY t, line 1, column a"), ["a"]);
        assert_eq!(of("no; COPY t, line 2, column b: null input"), ["b"]);
        let odd = "no; COPY t, line 2, column b, column a";
        assert_eq!(of(odd), ["b, column a"]);
        assert_eq!(of("nein; COPY t, Zeile 1, Spalte a"), columns);
        assert!(PgError::Cancelled.refusing_columns(&columns).is_empty());
    }
}
