//! The primary keys that the definitions of an archive give its tables.

use crate::dump::not_valid::{Constraint, identifier};
use crate::dump::toc::Definition;
use hubvault_model::TableName;
use std::collections::BTreeMap;

/// The columns of the primary key of every table that is defined; none for a table without one.
#[derive(Debug, Default)]
pub struct PrimaryKeys(BTreeMap<TableName, Vec<String>>);

impl PrimaryKeys {
    /// Reads them.
    pub fn of(definitions: &[Definition]) -> Self {
        let tables = definitions.iter().filter(|it| it.kind == "TABLE");
        let name = |it: &Definition| TableName::new(it.schema.clone(), it.name.clone());
        let mut keys: BTreeMap<_, _> = tables.map(|it| (name(it), Vec::new())).collect();
        let constraints = definitions.iter().filter(|it| it.kind == "CONSTRAINT");
        for (table, key) in constraints.filter_map(|it| read(&it.sql)) {
            keys.insert(table, key);
        }
        Self(keys)
    }

    /// That of a table; `None` where the table is not defined.
    pub fn of_table(&self, table: &TableName) -> Option<&[String]> {
        self.0.get(table).map(Vec::as_slice)
    }
}

/// `ALTER TABLE ONLY schema.table ADD CONSTRAINT name PRIMARY KEY (columns) ...;`
fn read(sql: &str) -> Option<(TableName, Vec<String>)> {
    let constraint = Constraint::read(&format!("\n{sql}"))?;
    let mut rest = constraint.definition.strip_prefix("PRIMARY KEY (")?;
    let mut key = Vec::new();
    loop {
        let (column, after) = identifier(rest)?;
        key.push(column);
        // Since 18 the last may be `WITHOUT OVERLAPS`.
        rest = &after[after.find([',', ')'])?..];
        let Some(next) = rest.strip_prefix(", ") else {
            return Some((constraint.table, key));
        };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: &str, name: &str, sql: &str) -> Definition {
        Definition {
            kind: kind.to_owned(),
            schema: "public".to_owned(),
            name: name.to_owned(),
            sql: sql.to_owned(),
            ..Definition::default()
        }
    }

    #[test]
    fn the_columns_of_a_key_are_read_whatever_their_names() {
        let add = |what: &str| {
            format!("ALTER TABLE ONLY public.\"t, (1)\"\n    ADD CONSTRAINT \"p k\" {what};\n\n\n")
        };
        let of = |what: &str| {
            let definitions = [
                definition("TABLE", "t, (1)", "CREATE TABLE public.\"t, (1)\" ();"),
                definition("CONSTRAINT", "t, (1) p k", &add(what)),
            ];
            let keys = PrimaryKeys::of(&definitions);
            assert_eq!(keys.of_table(&TableName::new("public", "u")), None);
            let key = keys.of_table(&TableName::new("public", "t, (1)")).unwrap();
            key.join("|")
        };
        assert_eq!(of("PRIMARY KEY (id)"), "id");
        assert_eq!(
            of("PRIMARY KEY (\"a, b)\", \"c\"\"d\", ä) INCLUDE (e)"),
            "a, b)|c\"d|ä"
        );
        assert_eq!(of("PRIMARY KEY (id, at WITHOUT OVERLAPS)"), "id|at");
        assert_eq!(
            of(
                "PRIMARY KEY (id) WITH (fillfactor='70');\n\nALTER TABLE public.\"t, (1)\" CLUSTER ON \"p k\""
            ),
            "id"
        );
        assert_eq!(of("UNIQUE (id)"), "");
    }
}
