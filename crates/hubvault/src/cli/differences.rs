//! The rows that a comparison found, kept on the disk until all of them are known: there may be millions.

use hubvault_engine::disk::unnamed_file;
use hubvault_engine::restore::TableDiff;
use hubvault_postgres::{Difference, DifferentRow};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// Rows that differ, in a file without a name: a letter for the difference and a JSON text in each line.
pub(super) struct Differences {
    file: BufWriter<File>,
    written: u64,
    /// Where the rows of each table begin.
    begin: Vec<u64>,
}

impl Differences {
    pub(super) fn keep(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(unnamed_file(directory)?),
            written: 0,
            begin: Vec::new(),
        })
    }

    /// Adds a row of a table; those of a table come together.
    pub(super) fn add(&mut self, table: usize, row: &DifferentRow) -> io::Result<()> {
        self.begin_of(table);
        // JSON as the server writes it has no line ends.
        let line = format!("{}{}\n", letter(row.difference), row.key);
        self.written += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }

    fn begin_of(&mut self, table: usize) {
        if self.begin.len() <= table {
            self.begin.resize(table + 1, self.written);
        }
    }

    /// Tables with the keys of their rows, as JSON.
    pub(super) fn json(mut self, tables: &[TableDiff], out: &mut dyn Write) -> io::Result<()> {
        self.file.flush()?;
        let mut between = "[";
        for (number, table) in tables.iter().enumerate() {
            write!(out, "{between}\n  {{")?;
            let is_compared = table.problem.is_none();
            let list = |difference, is_known: bool, name, out: &mut dyn Write| {
                let wanted = Some(difference).filter(|_| is_known && is_compared);
                self.list(number, wanted, name, out)
            };
            list(Difference::Changed, table.has_key, "changed", out)?;
            let columns = serde_json::to_string_pretty(&json!(table.drift))?;
            let columns = columns.replace('\n', "\n    ");
            write!(
                out,
                "\n    \"columns\": {columns},\n    \"error\": {},",
                json!(table.problem)
            )?;
            list(Difference::Extra, table.knows_extra, "extra", out)?;
            list(Difference::Missing, true, "missing", out)?;
            write!(
                out,
                "\n    \"table\": {}\n  }}",
                json!(table.name.to_string())
            )?;
            between = ",";
        }
        out.write_all(if tables.is_empty() { b"[]\n" } else { b"\n]\n" })
    }

    /// The keys of the rows that differ so; `null` where it cannot be known.
    fn list(
        &self,
        table: usize,
        wanted: Option<Difference>,
        name: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        write!(out, "\n    \"{name}\": ")?;
        let Some(wanted) = wanted else {
            return out.write_all(b"null,");
        };
        let mut between = "[";
        self.rows(table, |difference, key| {
            if difference != wanted {
                return Ok(());
            }
            let key: Value = serde_json::from_str(key).unwrap_or_else(|_| json!(key));
            // Line ends are between values only: inside of texts they are escaped.
            let text = serde_json::to_string_pretty(&key)?.replace('\n', "\n      ");
            write!(out, "{between}\n      {text}")?;
            between = ",";
            Ok(())
        })?;
        out.write_all(if between == "[" { b"[]," } else { b"\n    ]," })
    }

    /// A line for each row.
    pub(super) fn csv(mut self, tables: &[TableDiff], out: &mut dyn Write) -> io::Result<()> {
        self.file.flush()?;
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        out.write_all(b"table,difference,key\n")?;
        for (number, table) in tables.iter().enumerate() {
            let name = quoted(&table.name.to_string());
            self.rows(number, |difference, key| {
                let word = match difference {
                    Difference::Missing => "missing",
                    Difference::Changed => "changed",
                    Difference::Extra => "extra",
                };
                writeln!(out, "{name},{word},{}", quoted(key))
            })?;
        }
        Ok(())
    }

    fn rows(
        &self,
        table: usize,
        mut each: impl FnMut(Difference, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        let begin = self.begin.get(table).copied().unwrap_or(self.written);
        let end = self.begin.get(table + 1).copied().unwrap_or(self.written);
        let mut file = self.file.get_ref();
        file.seek(SeekFrom::Start(begin))?;
        let mut lines = BufReader::new(file);
        let (mut at, mut line) = (begin, String::new());
        while at < end {
            line.clear();
            at += lines.read_line(&mut line)?.max(1) as u64;
            let text = line.trim_end_matches('\n');
            let difference = match text.get(..1) {
                Some("m") => Difference::Missing,
                Some("c") => Difference::Changed,
                _ => Difference::Extra,
            };
            each(difference, text.get(1..).unwrap_or_default())?;
        }
        Ok(())
    }
}

fn letter(difference: Difference) -> char {
    match difference {
        Difference::Missing => 'm',
        Difference::Changed => 'c',
        Difference::Extra => 'e',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_model::TableName;
    use hubvault_postgres::Drift;

    fn found() -> (Vec<TableDiff>, Differences) {
        let table = |name: &str, has_key, knows_extra| {
            TableDiff::of(TableName::new("public", name), has_key, knows_extra)
        };
        let tables = vec![
            table("empty", true, true),
            table("a", true, false),
            table("B", false, true),
        ];
        let mut kept = Differences::keep(&std::env::temp_dir()).unwrap();
        for (table, difference, key) in [
            (
                1,
                Difference::Missing,
                "{\"id\": 1, \"text\": \"a\\n\\\"b\"}",
            ),
            (1, Difference::Missing, "{\"id\": 2}"),
            (1, Difference::Changed, "{\"id\": 3}"),
            (2, Difference::Extra, "{}"),
        ] {
            let key = key.to_owned();
            kept.add(
                table,
                &DifferentRow {
                    difference,
                    key,
                    living: None,
                },
            )
            .unwrap();
        }
        (tables, kept)
    }

    #[test]
    fn json_is_what_a_value_in_memory_would_be_written_as() {
        let mut out = Vec::new();
        let (tables, kept) = found();
        kept.json(&tables, &mut out).unwrap();
        let columns = json!(Drift::default());
        let expected = json!([
            { "table": "empty", "missing": [], "changed": [], "extra": [], "error": null, "columns": columns },
            {
                "error": null, "columns": columns, "table": "a", "missing": [{ "id": 1, "text": "a\n\"b" }, { "id": 2 }], "changed": [{ "id": 3 }],
                "extra": null,
            },
            {
                "error": null, "columns": columns, "table": "\"B\"", "missing": [], "changed": null, "extra": [{}],
            },
        ]);
        let expected = serde_json::to_string_pretty(&expected).unwrap() + "\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        let none = Differences::keep(&std::env::temp_dir()).unwrap();
        none.json(&[], &mut out).unwrap();
        assert_eq!(out, b"[]\n");
    }

    #[test]
    fn csv_has_a_line_for_each_row() {
        let mut out = Vec::new();
        let (tables, kept) = found();
        kept.csv(&tables, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "table,difference,key\n\"a\",missing,\"{\"\"id\"\": 1, \"\"text\"\": \"\"a\\n\\\"\"b\"\"}\"\n\
             \"a\",missing,\"{\"\"id\"\": 2}\"\n\"a\",changed,\"{\"\"id\"\": 3}\"\n\"\"\"B\"\"\",extra,\"{}\"\n"
        );
    }
}
