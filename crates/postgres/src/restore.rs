//! The definitions of a database put back by `pg_restore`, section by section.

use crate::error::PgError;
use crate::settings::ConnectSettings;
use crate::tools::{self, Tool, in_memory};
use hubvault_model::Cancel;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

/// What `pg_restore` may do on its own.
#[derive(Clone, Copy, Debug)]
pub struct SchemaOptions {
    /// Connections that build indexes at once.
    pub jobs: usize,
    /// Everything belongs to who restores, and nothing is granted.
    pub no_owner: bool,
    /// Go on after an error; what went wrong is returned as messages.
    pub keep_going: bool,
}

/// What `pg_restore` said.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// It succeeded all the same.
    pub warnings: Vec<String>,
    /// What it could not make, where the options said to go on.
    pub errors: Vec<String>,
}

impl Said {
    /// Takes over what was said in another step.
    pub fn extend(&mut self, other: Self) {
        self.warnings.extend(other.warnings);
        self.errors.extend(other.errors);
    }
}

/// Definitions in memory, ready to be put back.
#[derive(Debug)]
pub struct SchemaRestore {
    tool: Tool,
    dump: File,
    list: Vec<u8>,
}

/// A step of building what comes after the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Indexes, and the constraints that are indexes.
    Indexes,
    /// Partitions' indexes become parts of the index above. One after the other: two at once, on two
    /// levels, do not see each other, and the index above stays invalid.
    Attach,
    /// All else. A foreign key to a partitioned table needs the index that only the step before
    /// makes valid, which `pg_restore` does not know when it works in parallel.
    Rest,
}

impl SchemaRestore {
    /// Takes a custom-format dump and the list of what is built after the rows, both as the
    /// archive holds them; finds a `pg_restore` that reads a dump of `major`.
    pub fn new(dump: &[u8], post_data_list: Vec<u8>, major: u32) -> Result<Self, PgError> {
        Ok(Self {
            tool: tools::find("pg_restore", major)?,
            dump: in_memory("hubvault-schema", dump)?,
            list: post_data_list,
        })
    }

    /// Makes types, tables, functions: everything that comes before the rows. Returns what
    /// `pg_restore` said.
    pub fn pre_data(
        &self,
        target: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<Said, PgError> {
        self.section("pre-data", None, target, options, cancel)
    }

    /// Builds indexes, constraints, triggers and all else that the list names.
    pub fn post_data(
        &self,
        target: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<Said, PgError> {
        let mut said = Said::default();
        for step in [Step::Indexes, Step::Attach, Step::Rest] {
            let jobs = if step == Step::Attach {
                1
            } else {
                options.jobs
            };
            let options = SchemaOptions { jobs, ..options };
            let list = lines_of(&self.list, step);
            said.extend(self.section("post-data", Some(&list), target, options, cancel)?);
        }
        Ok(said)
    }

    /// The DROP statements for everything that the definitions make, but for indexes and keys,
    /// which go with their tables (a partition's cannot be dropped by itself).
    pub fn drop_statements(&self, cancel: &Cancel) -> Result<String, PgError> {
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.arg("--list").arg(self.dump_path());
        let all = tools::run(command, &[], cancel)?.stdout;
        let list = in_memory("hubvault-list", &lines_of(&all, Step::Rest))?;
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.args(["--clean", "--if-exists", "--file=-"]);
        command.arg(format!("--use-list=/proc/self/fd/{}", list.as_raw_fd()));
        command.arg(self.dump_path());
        let sql = tools::run(command, &[], cancel)?.stdout;
        let sql = String::from_utf8_lossy(&sql);
        // They come before the first object; \restrict is for psql ("psql", Meta-Commands).
        let drops = sql.split("\n-- Name: ").next().unwrap_or_default();
        let statements = drops
            .lines()
            .filter(|line| !line.starts_with("\\restrict "));
        Ok(statements.collect::<Vec<_>>().join("\n"))
    }

    /// The names of the extensions that the definitions make.
    pub fn extensions(&self, cancel: &Cancel) -> Result<Vec<String>, PgError> {
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.arg("--list").arg(self.dump_path());
        let list = tools::run(command, &[], cancel)?.stdout;
        let text = String::from_utf8_lossy(&list);
        // `2; 3079 16386 EXTENSION - citext`
        let name = |line: &str| {
            let (_, name) = line.split_once(" EXTENSION - ")?;
            (!line.starts_with(';') && !line.contains(" COMMENT - "))
                .then(|| name.trim().to_owned())
        };
        Ok(text.lines().filter_map(name).collect())
    }

    fn dump_path(&self) -> String {
        format!("/proc/self/fd/{}", self.dump.as_raw_fd())
    }

    fn section(
        &self,
        section: &str,
        list: Option<&[u8]>,
        target: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<Said, PgError> {
        let mut command = Command::new(&self.tool.path);
        tools::connection(&mut command, target);
        command
            .arg(format!("--section={section}"))
            .arg("--no-password");
        // A name with an equals sign would be read as a connection string.
        let name = target.dbname.replace('\\', "\\\\").replace('\'', "\\'");
        command.arg(format!("--dbname=dbname='{name}'"));
        if options.no_owner {
            command.args(["--no-owner", "--no-privileges"]);
        }
        if !options.keep_going {
            command.arg("--exit-on-error");
        }
        let list = list
            .map(|list| in_memory("hubvault-list", list))
            .transpose()?;
        if let Some(list) = &list {
            command.arg(format!("--use-list=/proc/self/fd/{}", list.as_raw_fd()));
            command.arg(format!("--jobs={}", options.jobs.max(1)));
        }
        command.arg(self.dump_path());
        match tools::run(command, &[], cancel) {
            Ok(finished) => Ok(Said {
                warnings: finished.stderr,
                ..Said::default()
            }),
            Err(PgError::Tool { why, .. }) if options.keep_going => Ok(Said {
                errors: vec![why],
                ..Said::default()
            }),
            Err(error) => Err(error),
        }
    }
}

/// The lines of a list that belong to a step.
fn lines_of(list: &[u8], step: Step) -> Vec<u8> {
    let text = String::from_utf8_lossy(list);
    let mut lines: String = text
        .lines()
        .filter(|line| !line.starts_with(';') && step_of(line) == step)
        .fold(String::new(), |lines, line| lines + line + "\n");
    // An empty list would mean everything.
    lines.push_str("; the end\n");
    lines.into_bytes()
}

/// `3456; 1259 16412 INDEX public users_idx postgres` ("`pg_restore`", `-l`).
fn step_of(line: &str) -> Step {
    let kind = line.splitn(4, ' ').nth(3).unwrap_or_default();
    if kind.starts_with("INDEX ATTACH ") {
        Step::Attach
    } else if kind.starts_with("INDEX ") || kind.starts_with("CONSTRAINT ") {
        Step::Indexes
    } else {
        Step::Rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_told_from_what_needs_them() {
        for (line, step) in [
            (
                "3456; 1259 16412 INDEX public users_idx postgres",
                Step::Indexes,
            ),
            (
                "3458; 2606 16412 CONSTRAINT public users users_pkey postgres",
                Step::Indexes,
            ),
            (
                "3457; 0 0 INDEX ATTACH public parts_pkey postgres",
                Step::Attach,
            ),
            (
                "3459; 2606 16413 FK CONSTRAINT public a a_b_fkey postgres",
                Step::Rest,
            ),
            (
                "3460; 2620 16414 TRIGGER public a INDEX postgres",
                Step::Rest,
            ),
        ] {
            assert_eq!(step_of(line), step, "{line}");
        }
    }
}
