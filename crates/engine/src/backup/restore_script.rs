//! `restore.sh`: the fixed part with this archive's tables filled in, and the SQL beside it.

use super::plan::Plan;
use hubvault_archive::TableSummary;
use hubvault_model::{RowFormat, quote_ident, quote_literal};
use hubvault_postgres::Sequence;
use std::fmt::Write;

const SCRIPT: &str = include_str!("restore.sh");

/// The script for one archive.
pub(crate) fn restore_script(plan: &Plan, tables: &[TableSummary], pg_dump: &str) -> String {
    let lines = |calls: Vec<String>| {
        if calls.is_empty() {
            ":".to_owned()
        } else {
            calls.join("\n")
        }
    };
    let roles = plan
        .roles
        .iter()
        .map(|role| format!("role {}", word(role)))
        .collect();
    let absent = tables
        .iter()
        .map(|table| format!("expect_absent {}", word(&table.name.sql())))
        .collect();
    let counts = tables
        .iter()
        .map(|table| {
            format!(
                "expect_rows {} {}",
                word(&table.name.sql()),
                table.digest.rows
            )
        })
        .collect();
    let refresh = plan
        .refresh
        .iter()
        .map(|view| format!("refresh {}", word(&view.sql())))
        .collect();
    let keys = plan
        .references
        .late_keys
        .iter()
        .map(|(table, key)| {
            format!(
                "drop_key {} {}",
                word(&table.sql()),
                word(&quote_ident(key))
            )
        })
        .collect();
    let loads = tables.iter().flat_map(loads).collect();
    SCRIPT
        .replace(
            "@@SERVER_MAJOR@@",
            &(plan.snapshot.server_version_num / 10_000).to_string(),
        )
        .replace("@@PG_DUMP@@", pg_dump)
        .replace("@@TAKEN_AT@@", &format!("{:.0}", plan.snapshot.taken_at))
        .replace("@@DATABASE@@", &in_comment(&plan.snapshot.database))
        .replace("@@ROLES@@", &lines(roles))
        .replace("@@ABSENT@@", &lines(absent))
        .replace("@@REFRESH@@", &lines(refresh))
        .replace("@@KEYS@@", &lines(keys))
        .replace("@@COUNTS@@", &lines(counts))
        .replace("@@LOADS@@", &lines(loads))
}

fn loads(table: &TableSummary) -> Vec<String> {
    let columns: Vec<String> = table.columns.iter().map(|c| quote_ident(c)).collect();
    table
        .entries
        .iter()
        .map(|entry| match table.format {
            RowFormat::Text => format!("load_text {}", word(entry)),
            RowFormat::Csv => format!(
                "load_csv {} {} {}",
                word(entry),
                word(&table.name.sql()),
                word(&columns.join(", "))
            ),
        })
        .collect()
}

/// One word of a POSIX shell, whatever it holds.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// For the inside of a comment: one line.
fn in_comment(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// `database/sequences.sql`: every sequence set to where it stood.
pub(crate) fn sequences_sql(sequences: &[Sequence]) -> String {
    let mut sql = String::from("SET search_path = '';\n");
    for sequence in sequences {
        if let Some(value) = sequence.last_value {
            let _ = writeln!(
                sql,
                "SELECT pg_catalog.setval({}::pg_catalog.regclass, {value}, {});",
                quote_literal(&sequence.name.sql()).trim(),
                sequence.is_called
            );
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
mod tests {
    use super::*;
    use hubvault_model::TableName;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(word("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(in_comment("two\nlines"), "two lines");
    }

    #[test]
    fn a_sequence_that_was_never_called_stays_so() {
        let sequence = Sequence {
            name: TableName::new("public", "Odd seq"),
            last_value: Some(7),
            is_called: false,
            can_read: true,
            extension_member: false,
            owner: "o".into(),
        };
        assert!(
            sequences_sql(&[sequence])
                .contains("setval('public.\"Odd seq\"'::pg_catalog.regclass, 7, false)")
        );
    }
}
