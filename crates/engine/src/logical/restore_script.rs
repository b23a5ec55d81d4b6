//! `restore.sh`, which is one fixed text, and what it reads: `database/restore.list` and the SQL beside it.

use super::plan::Plan;
use hubvault_archive::{CheckedKind, LoadGroup, LoadOrder, TableSummary};
use hubvault_model::{RowFormat, TableName, Warning, list_field, quote_literal};
use hubvault_postgres::{Sequence, create_options, encoding_of_rows};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The script, identical in every archive: names are data that it reads, so that none can become a command.
pub(crate) const RESTORE_SCRIPT: &str = include_str!("restore.sh");

/// The format of `database/restore.list` that the script expects.
const LIST_FORMAT: &str = "1";

/// `database/restore.list`: the script's data for one archive, one record per line.
pub(crate) fn restore_list(
    plan: &Plan,
    tables: &[TableSummary],
    pg_dump: &str,
    (masked, not_compared): (&[String], &[Warning]),
) -> String {
    let mut list = List::default();
    let server = (plan.snapshot.server_version_num / 10_000).to_string();
    list.record(&["hubvault-restore", LIST_FORMAT]);
    list.record(&["server", &server]);
    list.record(&["pg_dump", pg_dump]);
    if let Some(encoding) = encoding_of_rows(&plan.snapshot.encoding) {
        list.record(&["encoding", &encoding]);
    }
    for (option, value) in create_options(&plan.database) {
        list.record(&["database", option, value]);
    }
    if let Some(tablespace) = &plan.database.tablespace {
        list.record(&["database-tablespace", tablespace]);
    }
    list.each("role", &plan.roles);
    list.each("masked", masked);
    for warning in not_compared {
        list.record(&["not-compared", &warning.message]);
    }
    list.each("tablespace", &plan.host.tablespaces);
    list.tables(plan, tables);
    for (TableName { schema, name }, key) in &plan.references.late_keys {
        list.record(&["key", schema, name, key]);
    }
    let order = &plan.load_order;
    for (setting, value) in &order.settings {
        list.record(&["setting", setting, value]);
    }
    list.record_of("search_path", &order.search_path);
    for check in &order.late_checks {
        let on = match check.on {
            CheckedKind::Table => "table",
            CheckedKind::Domain => "domain",
        };
        let TableName { schema, name } = &check.owner;
        list.record(&["check", on, schema, name, &check.constraint]);
    }
    list.record(&["rows", "extensions"]);
    list.one_by_one(plan, tables);
    let tables: Vec<&TableSummary> = (tables.iter())
        .filter(|it| it.extension.is_none())
        .collect();
    let groups: Vec<LoadGroup> = (tables.iter().map(|table| order.group_of(&table.name))).collect();
    for group in LoadGroup::ALL {
        list.record(&["rows", group.word()]);
        for (table, _) in tables.iter().zip(&groups).filter(|(_, of)| **of == group) {
            list.entries(table, order, None);
        }
    }
    for TableName { schema, name } in &plan.refresh {
        list.record(&["refresh", schema, name]);
    }
    list.record(&["end"]);
    list.0
}

/// The tables through which the rows of their partitions are loaded, each with the number of these.
fn trees<'a>(plan: &'a Plan, tables: &'a [TableSummary]) -> BTreeMap<&'a TableName, u64> {
    let mut trees = BTreeMap::new();
    for table in tables {
        let place = plan.load_order.place_of(&table.name);
        if *place != table.name {
            *trees.entry(place).or_default() += table.digest.rows;
        }
    }
    trees
}

/// Records, each a line of fields that tabs separate.
#[derive(Default)]
struct List(String);

impl List {
    fn record(&mut self, fields: &[&str]) {
        let fields: Vec<String> = fields.iter().map(|field| list_field(field)).collect();
        self.0.push_str(&fields.join("\t"));
        self.0.push('\n');
    }

    /// The tables with the numbers of their rows; those that are loaded through another table have one number together.
    fn tables(&mut self, plan: &Plan, tables: &[TableSummary]) {
        for table in tables {
            let TableName { schema, name } = &table.name;
            let rows = table.digest.rows.to_string();
            match table.extension {
                Some(_) => {
                    let condition = table.filter.as_deref().unwrap_or("true");
                    self.record(&["extension-table", schema, name, &rows, condition]);
                }
                None if *plan.load_order.place_of(&table.name) != table.name => {
                    self.record(&["partition", schema, name]);
                }
                None => self.record(&["table", schema, name, &rows]),
            }
        }
        for (TableName { schema, name }, rows) in trees(plan, tables) {
            self.record(&["tree", schema, name, &rows.to_string()]);
        }
    }

    fn each(&mut self, kind: &str, values: &[String]) {
        for value in values {
            self.record(&[kind, value]);
        }
    }

    fn record_of(&mut self, kind: &str, fields: &[String]) {
        let fields = std::iter::once(kind).chain(fields.iter().map(String::as_str));
        self.record(&fields.collect::<Vec<_>>());
    }

    /// The entries of some tables in this order: the script loads the largest first, and these have sizes that say so.
    fn one_by_one(&mut self, plan: &Plan, tables: &[TableSummary]) {
        for (after, name) in plan.extension_tables.iter().rev().enumerate().rev() {
            for table in tables.iter().filter(|table| table.name == *name) {
                self.entries(table, &plan.load_order, Some(after as u64));
            }
        }
    }

    /// The entries of a table. Their names need no escape and get none: letters, digits, `_`, `-`, `/`, `.` and `%`.
    fn entries(&mut self, table: &TableSummary, order: &LoadOrder, size: Option<u64>) {
        let each = size.unwrap_or(table.bytes / (table.entries.len() as u64).max(1));
        for entry in &table.entries {
            match table.format {
                RowFormat::Text => {
                    let _ = writeln!(self.0, "text\t{entry}\t{each}");
                }
                RowFormat::Csv => {
                    let _ = write!(self.0, "csv\t{entry}\t{each}\t");
                    let TableName { schema, name } = order.place_of(&table.name);
                    let names = [schema, name];
                    let fields = names.into_iter().chain(&table.columns);
                    self.record(&fields.map(String::as_str).collect::<Vec<_>>());
                }
            }
        }
    }
}

/// `database/sequences.sql`: sets every sequence to its value.
pub(crate) fn sequences_sql(sequences: &[Sequence]) -> String {
    let mut sql = String::from("SET search_path = '';\n");
    for sequence in sequences {
        if let Some(value) = sequence.last_value {
            let name = quote_literal(&sequence.name.sql());
            let name = if sequence.extension_member {
                // Where the extension is missing, the others are set nevertheless.
                format!("pg_catalog.to_regclass({})", name.trim())
            } else {
                format!("{}::pg_catalog.regclass", name.trim())
            };
            let called = sequence.is_called;
            let _ = writeln!(sql, "SELECT pg_catalog.setval({name}, {value}, {called});");
        }
    }
    sql
}

/// `database/foreign-keys.sql`: the foreign keys that cannot be validated.
pub(crate) fn foreign_keys_sql(statements: &[String]) -> String {
    let mut sql = String::from(
        "-- Foreign keys that point to rows which are not in this archive: they hold for every\n\
         -- later row and are not validated for the restored ones.\n",
    );
    for statement in statements {
        sql.push_str(statement);
        sql.push('\n');
    }
    sql
}

#[cfg(test)]
mod tests;
