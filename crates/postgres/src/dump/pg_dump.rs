//! The definitions of a database, from `pg_dump`: hubvault never generates DDL.

use crate::connect::settings::ConnectSettings;
use crate::dump::contents;
use crate::dump::definitions::shown;
use crate::dump::dump_file::first_reader;
use crate::dump::masked::without_secrets;
use crate::dump::program_version;
use crate::dump::properties::DatabaseProperties;
use crate::dump::restored::read_definitions;
use crate::dump::toc;
use crate::dump::tools::{self, Finished, Tool};
use crate::error::PgError;
use crate::memory_file::in_memory;
use crate::snapshot::SnapshotFacts;
use hubvault_model::{Cancel, TableName, one_line};
use std::os::fd::AsRawFd;
use std::process::Command;

/// What `pg_dump` wrote besides the definitions.
#[derive(Debug)]
pub struct SchemaDump {
    /// Statements for psql that give a database the owner, grants, comment and settings of the source's.
    pub properties: String,
    /// Objects whose passwords were taken out, for people.
    pub masked: Vec<String>,
    /// Everything that the programs wrote to standard error.
    pub messages: Vec<String>,
    /// The version of `pg_dump`.
    pub pg_dump_version: String,
}

/// The definitions as `pg_dump` wrote them.
#[derive(Debug)]
pub struct Definitions {
    custom: Vec<u8>,
    messages: Vec<String>,
    pg_dump_version: String,
    pg_restore: Tool,
    masked: Vec<String>,
}

impl Definitions {
    /// Checks that the programs are installed; the error names what to install. Returns warnings about them.
    pub fn can_be_taken(
        settings: &ConnectSettings,
        snapshot: &SnapshotFacts,
    ) -> Result<Vec<String>, PgError> {
        let server = snapshot.server_version_num;
        let mut warnings = Vec::new();
        for program in ["pg_dump", "pg_restore"] {
            let tool = tools::find_client(program, server / 10_000, settings.old_programs)?;
            warnings.extend(tool.warnings(program, server));
        }
        Ok(warnings)
    }

    /// Takes them as of the snapshot, which must be held until this returns; not those of `without`.
    pub fn dump(
        settings: &ConnectSettings,
        snapshot: &SnapshotFacts,
        without: &[TableName],
        cancel: &Cancel,
    ) -> Result<Self, PgError> {
        let major = snapshot.server_version_num / 10_000;
        let pg_dump = tools::find_client("pg_dump", major, settings.old_programs)?;
        let mut command = Command::new(&pg_dump.path);
        tools::connection(&mut command, settings);
        command.args([
            "--schema-only",
            "--format=custom",
            "--no-password",
            program_version::encoding(&snapshot.encoding),
        ]);
        command.args([
            "--lock-wait-timeout=60000",
            &format!("--snapshot={}", snapshot.id),
        ]);
        command.args(without.iter().map(excluded));
        let Finished { stdout, stderr } =
            tools::run(command, &[], cancel).map_err(|error| match error {
                PgError::Tool { program, why } if why.contains("conflict with recovery") => {
                    let doing = format!("taking the definitions with {program}");
                    PgError::StandbyConflict { doing, why }
                }
                other => other,
            })?;
        let reader = major.max(first_reader(&stdout));
        let pg_restore = tools::find_client("pg_restore", reader, settings.old_programs)?;
        let mut messages = stderr;
        for (program, tool) in [("pg_dump", &pg_dump), ("pg_restore", &pg_restore)] {
            messages.extend(tool.warnings(program, snapshot.server_version_num));
        }
        Ok(Self {
            custom: stdout,
            messages,
            pg_dump_version: pg_dump.version,
            pg_restore,
            masked: Vec::new(),
        })
    }

    /// Takes the passwords of user mappings, subscriptions, foreign servers and foreign tables out.
    pub fn mask(&mut self) -> Result<(), PgError> {
        let (custom, objects) =
            toc::rewritten(&self.custom, without_secrets).map_err(|error| PgError::Tool {
                program: "pg_dump".to_owned(),
                why: format!("its dump cannot be read, to take the passwords out: {error}"),
            })?;
        self.custom = custom;
        self.masked = objects.iter().map(shown).collect();
        Ok(())
    }

    /// An error when another dump of the same snapshot has different definitions.
    pub fn confirm(&self, again: &Self, cancel: &Cancel) -> Result<(), PgError> {
        let sql = |of: &Self| -> Result<Vec<String>, PgError> {
            let arguments = ["--file=-"];
            let output = restore(&of.pg_restore, &arguments, &of.custom, cancel)?.stdout;
            is_whole(&of.pg_restore, &output, &arguments)?;
            // Newer minor versions insert a random word.
            let text = String::from_utf8_lossy(&output);
            let lines = text.lines().filter(|line| !line.contains("restrict "));
            Ok(lines.map(str::to_owned).collect())
        };
        if sql(self)? == sql(again)? {
            return Ok(());
        }
        Err(PgError::Tool {
            program: "pg_dump".to_owned(),
            why: "gave different definitions the second time: data was changed on the connection, or they \
                  were changed meanwhile; use TLS (sslmode = verify-full), and check the network"
                .to_owned(),
        })
    }

    /// Gives `keep` the definitions, one file after the other, as only one of them needs to be in memory: `schema.dump`
    /// in the custom format, what comes before and after the rows as SQL, and the list for `pg_restore -L`. Foreign keys
    /// whose `pg_constraint` oid is in `skipped` stay in the dump and are left out of the list and of the SQL.
    pub fn convert<E: From<PgError>>(
        self,
        skipped: &[u32],
        cancel: &Cancel,
        mut keep: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<SchemaDump, E> {
        keep("schema.dump", &self.custom)?;
        let mut messages = self.messages;
        let list =
            contents::list(bare(&self.pg_restore), &self.custom, cancel).map_err(unreadable)?;
        messages.extend(list.stderr);
        let post_data_list = contents::without(&list.stdout, skipped);
        drop(list.stdout);
        let mut convert = |arguments: &[&str]| -> Result<Vec<u8>, PgError> {
            let Finished { stdout, stderr } =
                restore(&self.pg_restore, arguments, &self.custom, cancel)?;
            messages.extend(stderr);
            is_whole(&self.pg_restore, &stdout, arguments)?;
            Ok(stdout)
        };
        let pre_data = ["--section=pre-data", "--file=-"];
        keep("schema-pre-data.sql", &convert(&pre_data)?)?;
        let in_memory = in_memory("hubvault-list", &post_data_list)?;
        let use_list = format!("--use-list=/proc/self/fd/{}", in_memory.as_raw_fd());
        let post_data = ["--section=post-data", "--file=-", &use_list];
        keep("schema-post-data.sql", &convert(&post_data)?)?;
        keep("schema-post-data.list", &post_data_list)?;
        let about = read_definitions(&*self.custom, DatabaseProperties::are_in)?;
        let properties = DatabaseProperties::of(&about.definitions);
        messages.extend(properties.unknown.iter().map(|statement| {
            let statement = one_line(statement);
            format!("a property of the database is not in the archive: {statement}")
        }));
        Ok(SchemaDump {
            properties: properties.script(),
            masked: self.masked,
            messages,
            pg_dump_version: self.pg_dump_version,
        })
    }
}

/// In quotes nothing of a name is a pattern ("psql", Patterns).
fn excluded(name: &TableName) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!(
        "--exclude-table={}.{}",
        quoted(&name.schema),
        quoted(&name.name)
    )
}

/// What `pg_restore` writes last into SQL.
const COMPLETE: &str = "-- PostgreSQL database dump complete";

/// An exit status of success is not enough: a wrapper may lose the end of the output.
fn is_whole(tool: &Tool, output: &[u8], arguments: &[&str]) -> Result<(), PgError> {
    if String::from_utf8_lossy(output).contains(COMPLETE) {
        return Ok(());
    }
    Err(PgError::Tool {
        program: tool.path.display().to_string(),
        why: format!("its output of {} is not whole", arguments.join(" ")),
    })
}

/// `pg_restore` without a server: it converts the dump, and so also checks it.
fn restore(
    tool: &Tool,
    arguments: &[&str],
    dump: &[u8],
    cancel: &Cancel,
) -> Result<Finished, PgError> {
    let mut command = bare(tool);
    command.args(arguments);
    tools::run(command, dump, cancel).map_err(unreadable)
}

fn bare(tool: &Tool) -> Command {
    let mut command = Command::new(&tool.path);
    tools::bare(&mut command);
    command
}

fn unreadable(error: PgError) -> PgError {
    match error {
        PgError::Tool { program, why } => PgError::Tool {
            program,
            why: format!("cannot read what pg_dump wrote: {why}"),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_was_cut_is_not_taken() {
        let tool = Tool {
            path: "pg_restore".into(),
            major: 15,
            version: "15.1".into(),
        };
        let of = |output: &str, argument| is_whole(&tool, output.as_bytes(), &[argument]).is_ok();
        let sql = format!("CREATE TABLE a ();\n--\n{COMPLETE}\n--\n");
        assert!(of(&sql, "--section=pre-data"));
        assert!(!of("CREATE TABLE a ();\n", "--section=pre-data"));
    }
}
