//! The dump of an archive, and the `pg_restore` that reads it.

use crate::connect::settings::ConnectSettings;
use crate::connect::unknown_setting::UNKNOWN_SETTING;
use crate::dump::contents::{self, DEPENDS, Step, is_object, lines_of};
use crate::dump::failures::{Failure, described};
use crate::dump::tools::{self, Tool};
use crate::error::PgError;
use crate::memory_file::in_memory;
use hubvault_model::Cancel;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::OnceLock;

/// What `pg_restore` may do on its own.
#[derive(Clone, Copy, Debug)]
pub struct SchemaOptions {
    /// Connections that build indexes at once.
    pub jobs: usize,
    /// Everything belongs to who restores, and nothing is granted.
    pub no_owner: bool,
    /// Everything goes into the default tablespace.
    pub no_tablespaces: bool,
    /// The target's major version.
    pub server: u32,
}

impl SchemaOptions {
    /// Adds what concerns the text of definitions.
    pub(crate) fn apply(self, command: &mut Command) {
        if self.no_owner {
            command.args(["--no-owner", "--no-privileges"]);
        }
        if self.no_tablespaces {
            command.arg("--no-tablespaces");
        }
    }
}

/// Definitions in memory, with the program that reads them.
#[derive(Debug)]
pub(crate) struct DumpFile {
    pub(crate) tool: Tool,
    file: File,
    /// The list of all that the dump holds, once it was asked for.
    contents: OnceLock<Vec<u8>>,
    /// What comes after the rows, once it was asked for.
    after_rows: OnceLock<BTreeSet<String>>,
}

impl DumpFile {
    /// Finds a `pg_restore` that reads a dump of a server of `major`, by whichever `pg_dump` it was written.
    pub(crate) fn new(file: File, major: u32, target: &ConnectSettings) -> Result<Self, PgError> {
        let mut start = [0; 7];
        // What is shorter than this `pg_restore` refuses.
        let read = file.read_at(&mut start, 0).unwrap_or(0);
        let reader = major.max(first_reader(&start[..read]));
        Ok(Self {
            tool: tools::find_client("pg_restore", reader, target.old_programs)?,
            file,
            contents: OnceLock::new(),
            after_rows: OnceLock::new(),
        })
    }

    /// Its path for a child process.
    pub(crate) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    /// The list of all that the dump holds.
    pub(crate) fn contents(&self, cancel: &Cancel) -> Result<&[u8], PgError> {
        if let Some(known) = self.contents.get() {
            return Ok(known);
        }
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.arg(self.path());
        let list = contents::list(command, &[], cancel)?.stdout;
        Ok(self.contents.get_or_init(|| list))
    }

    /// The numbers of what comes after the rows, with its privileges.
    pub(crate) fn after_rows(&self, cancel: &Cancel) -> Result<&BTreeSet<String>, PgError> {
        if let Some(known) = self.after_rows.get() {
            return Ok(known);
        }
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.args(["--list", "--section=post-data"]);
        command.arg(self.path());
        let list = tools::run(command, &[], cancel)?.stdout;
        let text = String::from_utf8_lossy(&list);
        let lines = text.lines().filter(|line| is_object(line));
        let ids = lines.map(|line| contents::id_of(line).to_owned()).collect();
        Ok(self.after_rows.get_or_init(|| ids))
    }

    /// Takes objects that are there already out of the list of all.
    pub(crate) fn leave_out(
        &mut self,
        is_there: impl Fn(&str) -> bool,
        cancel: &Cancel,
    ) -> Result<(), PgError> {
        let text = String::from_utf8_lossy(self.contents(cancel)?);
        let mut lines = String::new();
        let mut is_left_out = false;
        for line in text.lines() {
            if !line.starts_with(DEPENDS) {
                is_left_out = is_object(line) && is_there(line);
            }
            if !is_left_out {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        self.contents = OnceLock::from(lines.into_bytes());
        Ok(())
    }

    /// The statements of what a list names.
    pub(crate) fn text(
        &self,
        list: &[u8],
        apply: impl FnOnce(&mut Command),
        cancel: &Cancel,
    ) -> Result<String, PgError> {
        let list = in_memory("hubvault-list", list)?;
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.arg("--file=-");
        apply(&mut command);
        command.arg(format!("--use-list=/proc/self/fd/{}", list.as_raw_fd()));
        command.arg(self.path());
        let sql = tools::run(command, &[], cancel)?.stdout;
        Ok(String::from_utf8_lossy(&sql).into_owned())
    }

    /// The statements of one object, for a session of the same settings but for its `search_path`.
    pub(crate) fn statements_of(
        &self,
        id: u32,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<String, PgError> {
        let line = self.line(id, cancel)?;
        let text = self.text(line.as_bytes(), |command| options.apply(command), cancel)?;
        Ok(without_path(&text))
    }

    /// The line of an object in the list of all.
    fn line(&self, id: u32, cancel: &Cancel) -> Result<String, PgError> {
        let text = String::from_utf8_lossy(self.contents(cancel)?);
        let start = format!("{id}; ");
        let line = text.lines().find(|line| line.starts_with(&start));
        Ok(format!("{}\n", line.unwrap_or("; the end")))
    }

    /// An object for people.
    pub(crate) fn described(&self, id: u32, cancel: &Cancel) -> Result<String, PgError> {
        Ok(described(self.line(id, cancel)?.trim_end()))
    }

    /// Puts failures into the order of the dump.
    pub(crate) fn sort(&self, failed: &mut [Failure], cancel: &Cancel) -> Result<(), PgError> {
        let text = String::from_utf8_lossy(self.contents(cancel)?);
        let ids = text.lines().filter(|line| is_object(line));
        let ids: Vec<Option<u32>> = ids
            .map(|line| line.split(';').next()?.parse().ok())
            .collect();
        failed.sort_by_key(|failure| ids.iter().position(|id| *id == failure.id));
        Ok(())
    }

    /// The DROP statements for everything that the definitions make, but for indexes and keys,
    /// which go with their tables (a partition's cannot be dropped by itself).
    pub(crate) fn drop_statements(&self, cancel: &Cancel) -> Result<String, PgError> {
        let list = lines_of(
            self.contents(cancel)?,
            &[Step::Checks, Step::Rest, Step::Events],
            &BTreeSet::new(),
        );
        let clean = |command: &mut Command| {
            command.args(["--clean", "--if-exists"]);
        };
        let sql = self.text(&list, clean, cancel)?;
        // They come before the first object; \restrict is for psql ("psql", Meta-Commands), and not
        // every server knows the setting.
        let drops = sql.split(FIRST_OBJECT).next().unwrap_or_default();
        let statements = drops.lines().filter(|line| {
            let is_setting = [UNKNOWN_SETTING, NO_LIMIT_OF_LOCKS].contains(line);
            !line.starts_with("\\restrict ") && !is_setting
        });
        Ok(statements.collect::<Vec<_>>().join("\n"))
    }
}

/// What every text begins with. Whoever drops sets limits of its own.
const NO_LIMIT_OF_LOCKS: &str = "SET lock_timeout = 0;";

/// Before the first object of a text: names begin no line of it.
const FIRST_OBJECT: &str = "\n-- Name: ";
/// After the last one.
const END: &str = "\n--\n-- PostgreSQL database dump complete\n";

/// Takes the setting of `search_path` out of a text, and what is for `psql` alone.
fn without_path(text: &str) -> String {
    let (head, objects) = text.split_once(FIRST_OBJECT).unwrap_or((text, ""));
    let objects = objects
        .rsplit_once(END)
        .map_or(objects, |(objects, _)| objects);
    let settings = head
        .lines()
        .filter(|line| line.starts_with("SET ") && *line != UNKNOWN_SETTING);
    let settings: Vec<&str> = settings.collect();
    format!("{}{FIRST_OBJECT}{objects}\n", settings.join("\n"))
}

/// The first major version whose `pg_restore` reads a dump: its format has a version of its own,
/// the sixth and seventh byte (`pg_backup_archiver.h`, `K_VERS_1_15` and on).
pub(crate) fn first_reader(dump: &[u8]) -> u32 {
    match dump.get(..7) {
        Some([b'P', b'G', b'D', b'M', b'P', 1, minor]) if *minor >= 16 => 17,
        Some([b'P', b'G', b'D', b'M', b'P', 1, 15]) => 16,
        _ => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_says_who_can_read_it() {
        assert_eq!(first_reader(b"PGDMP\x01\x10\x00"), 17);
        assert_eq!(first_reader(b"PGDMP\x01\x0f\x00"), 16);
        assert_eq!(first_reader(b"PGDMP\x01\x0e\x00"), 12);
        assert_eq!(first_reader(b"PG"), 12);
    }

    #[test]
    fn only_the_head_of_a_text_loses_its_search_path() {
        let path = "SELECT pg_catalog.set_config('search_path', '', false);\n";
        let text = format!(
            "\\restrict x\nSET a = 1;\n{path}{UNKNOWN_SETTING}\n\nSET b = '';\n\n--\n-- Name: f; Type: FUNCTION\n--\n\n\
             {path}\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n"
        );
        assert_eq!(
            without_path(&text),
            format!("SET a = 1;\nSET b = '';\n-- Name: f; Type: FUNCTION\n--\n\n{path}\n")
        );
    }
}
