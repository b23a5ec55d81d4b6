//! The definitions of a database, by `pg_dump`: we never write DDL ourselves.

use crate::error::PgError;
use crate::restore::first_reader;
use crate::settings::ConnectSettings;
use crate::snapshot::SnapshotFacts;
use crate::tools::{self, Finished, Tool, in_memory};
use hubvault_model::Cancel;
use std::os::fd::AsRawFd;
use std::process::Command;

/// What `pg_dump` gave.
#[derive(Debug)]
pub struct SchemaDump {
    /// The custom-format dump, for `pg_restore`.
    pub custom: Vec<u8>,
    /// What comes before the rows, as SQL.
    pub pre_data: Vec<u8>,
    /// What comes after the rows, as SQL, without the skipped foreign keys.
    pub post_data: Vec<u8>,
    /// The list for `pg_restore -L`, with the skipped foreign keys commented out.
    pub post_data_list: Vec<u8>,
    /// Everything that the programs said on standard error.
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
}

impl Definitions {
    /// Whether the programs are there that take them; the error names what to install.
    pub fn can_be_taken(snapshot: &SnapshotFacts) -> Result<(), PgError> {
        let major = snapshot.server_version_num / 10_000;
        tools::find("pg_dump", major).and_then(|_| tools::find("pg_restore", major))?;
        Ok(())
    }

    /// Takes them as of the snapshot, which must be held until this returns.
    pub fn dump(
        settings: &ConnectSettings,
        snapshot: &SnapshotFacts,
        cancel: &Cancel,
    ) -> Result<Self, PgError> {
        let major = snapshot.server_version_num / 10_000;
        let pg_dump = tools::find("pg_dump", major)?;
        let mut command = Command::new(&pg_dump.path);
        tools::connection(&mut command, settings);
        command.args([
            "--schema-only",
            "--format=custom",
            "--no-password",
            "--encoding=UTF8",
        ]);
        command.args([
            "--lock-wait-timeout=60000",
            &format!("--snapshot={}", snapshot.id),
        ]);
        let Finished { stdout, stderr } =
            tools::run(command, &[], cancel).map_err(|error| match error {
                PgError::Tool { program, why } if why.contains("conflict with recovery") => {
                    let doing = format!("taking the definitions with {program}");
                    PgError::StandbyConflict { doing, why }
                }
                other => other,
            })?;
        let pg_restore = tools::find("pg_restore", major.max(first_reader(&stdout)))?;
        Ok(Self {
            custom: stdout,
            messages: stderr,
            pg_dump_version: pg_dump.version,
            pg_restore,
        })
    }

    /// Adds what can be read without `pg_restore`. Foreign keys whose `pg_constraint` oid is in
    /// `skipped` stay in the dump and are left out of the list and of the SQL.
    pub fn convert(self, skipped: &[u32], cancel: &Cancel) -> Result<SchemaDump, PgError> {
        let mut messages = self.messages;
        let mut convert = |arguments: &[&str]| -> Result<Vec<u8>, PgError> {
            let Finished { stdout, stderr } =
                restore(&self.pg_restore, arguments, &self.custom, cancel)?;
            messages.extend(stderr);
            Ok(stdout)
        };
        let list = convert(&["--list"])?;
        let post_data_list = without(&list, skipped);
        let pre_data = convert(&["--section=pre-data", "--file=-"])?;
        let in_memory = in_memory("hubvault-list", &post_data_list)?;
        let use_list = format!("--use-list=/proc/self/fd/{}", in_memory.as_raw_fd());
        let post_data = convert(&["--section=post-data", "--file=-", &use_list])?;
        Ok(SchemaDump {
            custom: self.custom,
            pre_data,
            post_data,
            post_data_list,
            messages,
            pg_dump_version: self.pg_dump_version,
        })
    }
}

/// `pg_restore` without a server: it converts, and so also finds a dump that is none.
fn restore(
    tool: &Tool,
    arguments: &[&str],
    dump: &[u8],
    cancel: &Cancel,
) -> Result<Finished, PgError> {
    let mut command = Command::new(&tool.path);
    tools::bare(&mut command);
    command.args(arguments);
    tools::run(command, dump, cancel).map_err(|error| match error {
        PgError::Tool { program, why } => PgError::Tool {
            program,
            why: format!("cannot read what pg_dump wrote: {why}"),
        },
        other => other,
    })
}

/// Comments out the lines of a `pg_restore` list whose object is one of `oids`: such a line reads
/// `dump id; oid of the catalog table, oid of the object, description` ("`pg_restore`", `-L`).
fn without(list: &[u8], oids: &[u32]) -> Vec<u8> {
    let text = String::from_utf8_lossy(list);
    let mut out = String::with_capacity(text.len() + oids.len());
    for line in text.lines() {
        let object = line.split_once("; ").and_then(|(_, rest)| {
            let mut words = rest.split(' ');
            (
                words.next()?,
                words.next()?.parse::<u32>().ok()?,
                words.next()?,
            )
                .into()
        });
        if matches!(object, Some(("2606", oid, "FK")) if oids.contains(&oid)) {
            out.push(';');
        }
        out.push_str(line);
        out.push('\n');
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_foreign_keys_that_are_named_are_commented_out() {
        let list = b";\n; Archive\n215; 1259 16386 TABLE public users postgres\n\
            3357; 2606 16395 FK CONSTRAINT public a a_b_fkey postgres\n\
            3358; 2606 16396 FK CONSTRAINT public a a_c_fkey postgres\n";
        let text = String::from_utf8(without(list, &[16395, 16386])).unwrap();
        assert!(text.contains("\n;3357; 2606 16395 FK"));
        assert!(text.contains("\n3358; 2606 16396 FK"));
        assert!(text.contains("\n215; 1259 16386 TABLE"));
    }
}
