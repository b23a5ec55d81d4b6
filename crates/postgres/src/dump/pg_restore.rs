//! Restores the definitions of a database with `pg_restore`, section by section.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::connect::unknown_setting::{
    UNKNOWN_SETTING, first_error, is_affected, is_error, without_setting_error,
};
use crate::dump::access::Access;
use crate::dump::contents::{self, Step, lines_of};
use crate::dump::open_schemas::OpenSchemas;
use crate::dump::portions::portions;
use crate::dump::privileged::{self, Privileged};
use crate::dump::tools::{self, Tool};
use crate::error::PgError;
use crate::memory_file::in_memory;
use hubvault_model::Cancel;
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
    /// Go on after an error; what went wrong is returned as messages.
    pub keep_going: bool,
    /// The target's major version.
    pub server: u32,
}

/// Messages of `pg_restore`.
#[derive(Clone, Debug, Default)]
pub struct ToolMessages {
    /// Warnings.
    pub warnings: Vec<String>,
    /// Errors that were passed over, as the options allow.
    pub errors: Vec<String>,
}

impl ToolMessages {
    /// Adds the messages of another step.
    pub fn extend(&mut self, other: Self) {
        self.warnings.extend(other.warnings);
        self.errors.extend(other.errors);
    }
}

/// What is made before all else where a superuser makes the extensions.
const MADE_BEFORE: [&str; 2] = ["SCHEMA ", privileged::KINDS[0]];

/// Definitions in memory, ready to be put back.
#[derive(Debug)]
pub struct SchemaRestore {
    tool: Tool,
    dump: File,
    list: Vec<u8>,
    /// The list of all that the dump holds, once it was asked for.
    contents: OnceLock<Vec<u8>>,
    /// Whether schemas and extensions are there already, made over other logins.
    has_extensions: bool,
}

impl SchemaRestore {
    /// Takes a custom-format dump and the list of what is built after the rows, both as the
    /// archive holds them; finds a `pg_restore` that reads a dump of a server of `major`, by
    /// whichever `pg_dump` it was written. The file needs no name: `pg_restore` gets its descriptor. `target` says
    /// whether programs that lack security fixes are permitted.
    pub fn new(
        dump: File,
        post_data_list: Vec<u8>,
        major: u32,
        target: &ConnectSettings,
    ) -> Result<Self, PgError> {
        let mut start = [0; 7];
        // What is shorter than this `pg_restore` refuses.
        let read = dump.read_at(&mut start, 0).unwrap_or(0);
        let reader = major.max(first_reader(&start[..read]));
        Ok(Self {
            tool: tools::find_client("pg_restore", reader, target.old_programs)?,
            dump,
            list: post_data_list,
            contents: OnceLock::new(),
            has_extensions: false,
        })
    }

    /// Makes types, tables, functions: everything that comes before the rows. Returns what
    /// `pg_restore` said.
    ///
    /// Where owners have logins, what may run their code is made over the login that is a member of all of them. Every
    /// schema is open to it meanwhile, by `session`, which is the definer's.
    pub fn pre_data(
        &self,
        access: &Access,
        session: &mut Session,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let definer = access.definer();
        if !access.is_split() {
            return self.all_pre_data(definer, options, cancel);
        }
        let mut said = ToolMessages::default();
        let (before_rows, privileges) = portions(self.contents(cancel)?);
        let mut schemas = OpenSchemas::default();
        for portion in before_rows {
            access.raise(session, !portion.lesser)?;
            let login = if portion.lesser {
                // Schemas come before all that is in them.
                schemas.open(session)?;
                access.checker()
            } else {
                definer
            };
            said.extend(self.section("pre-data", Some(&portion.list), login, options, cancel)?);
        }
        access.raise(session, false)?;
        schemas.close(session)?;
        // Privileges have no section of their own: pg_restore counts them to that of the object before them.
        said.extend(self.section("", Some(&privileges), definer, options, cancel)?);
        Ok(said)
    }

    fn all_pre_data(
        &self,
        target: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        if !self.has_extensions {
            return self.section("pre-data", None, target, options, cancel);
        }
        let list = contents::lines_of_kinds(self.contents(cancel)?, &MADE_BEFORE, true);
        self.section("pre-data", Some(&list), target, options, cancel)
    }

    /// Makes the schemas over the login that makes all else, and the extensions over a superuser's session.
    pub fn make_extensions(
        &mut self,
        superuser: &mut Session,
        login: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let schemas = contents::lines_of_kinds(self.contents(cancel)?, &MADE_BEFORE[..1], false);
        let said = self.section("pre-data", Some(&schemas), login, options, cancel)?;
        let parts = self.privileged(privileged::KINDS[0], cancel)?;
        let sql: Vec<String> = parts.iter().map(Privileged::sql).collect();
        superuser.simple("making the extensions", &sql.concat())?;
        self.has_extensions = true;
        Ok(said)
    }

    /// Makes the event triggers over a superuser's session.
    pub fn make_event_triggers(
        &self,
        superuser: &mut Session,
        cancel: &Cancel,
    ) -> Result<(), PgError> {
        let parts = self.privileged(privileged::KINDS[1], cancel)?;
        let sql: Vec<String> = parts.iter().map(Privileged::sql).collect();
        superuser.simple("making the event triggers", &sql.concat())
    }

    /// What the dump holds of one kind that only a superuser can make.
    fn privileged(&self, kind: &str, cancel: &Cancel) -> Result<Vec<Privileged>, PgError> {
        let lines = contents::lines_of_kinds(self.contents(cancel)?, &[kind], false);
        let list = in_memory("hubvault-list", &lines)?;
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.arg("--file=-");
        command.arg(format!("--use-list=/proc/self/fd/{}", list.as_raw_fd()));
        command.arg(self.dump_path());
        let sql = tools::run(command, &[], cancel)?.stdout;
        privileged::read(&String::from_utf8_lossy(&sql)).ok_or_else(|| PgError::Tool {
            program: self.tool.path.to_string_lossy().into_owned(),
            why: format!("its text of {} cannot be read", kind.trim().to_lowercase()),
        })
    }

    /// Builds indexes, constraints, triggers and all else that the list names, over the same logins as
    /// [`SchemaRestore::pre_data`].
    pub fn post_data(
        &self,
        access: &Access,
        session: &mut Session,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let mut said = ToolMessages::default();
        let mut schemas = OpenSchemas::default();
        if access.is_split() {
            schemas.open(session)?;
            access.admit_to_extensions(session)?;
        }
        for step in [Step::Indexes, Step::Attach, Step::Checks] {
            said.extend(self.step(step, access.checker(), options, cancel)?);
        }
        schemas.close(session)?;
        access.raise(session, true)?;
        said.extend(self.step(Step::Rest, access.definer(), options, cancel)?);
        access.raise(session, false)?;
        Ok(said)
    }

    fn step(
        &self,
        step: Step,
        target: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let jobs = if step == Step::Attach {
            1
        } else {
            options.jobs
        };
        let options = SchemaOptions { jobs, ..options };
        let mut list = lines_of(&self.list, &[step]);
        if self.has_extensions {
            list = contents::lines_of_kinds(&list, &[privileged::KINDS[1]], true);
        }
        self.section("post-data", Some(&list), target, options, cancel)
    }

    /// Those of `roles` that own what only superusers may own.
    pub fn superusers(&self, roles: &[String], cancel: &Cancel) -> Result<Vec<String>, PgError> {
        let superusers = contents::superusers(self.contents(cancel)?, roles);
        Ok(superusers.into_iter().cloned().collect())
    }

    /// The DROP statements for everything that the definitions make, but for indexes and keys,
    /// which go with their tables (a partition's cannot be dropped by itself).
    pub fn drop_statements(&self, cancel: &Cancel) -> Result<String, PgError> {
        let all = self.contents(cancel)?;
        let list = in_memory("hubvault-list", &lines_of(all, &[Step::Checks, Step::Rest]))?;
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.args(["--clean", "--if-exists", "--file=-"]);
        command.arg(format!("--use-list=/proc/self/fd/{}", list.as_raw_fd()));
        command.arg(self.dump_path());
        let sql = tools::run(command, &[], cancel)?.stdout;
        let sql = String::from_utf8_lossy(&sql);
        // They come before the first object; \restrict is for psql ("psql", Meta-Commands), and not
        // every server knows the setting.
        let drops = sql.split("\n-- Name: ").next().unwrap_or_default();
        let statements = drops
            .lines()
            .filter(|line| !line.starts_with("\\restrict ") && *line != UNKNOWN_SETTING);
        Ok(statements.collect::<Vec<_>>().join("\n"))
    }

    /// The names of the extensions that the definitions make.
    pub fn extensions(&self, cancel: &Cancel) -> Result<Vec<String>, PgError> {
        let list = self.contents(cancel)?;
        let text = String::from_utf8_lossy(list);
        // `2; 3079 16386 EXTENSION - citext`
        let name = |line: &str| {
            let (_, name) = line.split_once(" EXTENSION - ")?;
            (!line.starts_with(';') && !line.contains(" COMMENT - "))
                .then(|| name.trim().to_owned())
        };
        Ok(text.lines().filter_map(name).collect())
    }

    /// The list of all that the dump holds.
    fn contents(&self, cancel: &Cancel) -> Result<&[u8], PgError> {
        if let Some(known) = self.contents.get() {
            return Ok(known);
        }
        let mut command = Command::new(&self.tool.path);
        tools::bare(&mut command);
        command.arg(self.dump_path());
        let list = contents::list(command, &[], cancel)?.stdout;
        Ok(self.contents.get_or_init(|| list))
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
    ) -> Result<ToolMessages, PgError> {
        if list.is_some_and(contents::names_nothing) {
            return Ok(ToolMessages::default());
        }
        let mut command = Command::new(&self.tool.path);
        tools::connection(&mut command, target);
        command.arg("--no-password");
        if !section.is_empty() {
            command.arg(format!("--section={section}"));
        }
        // A name with an equals sign would be read as a connection string.
        let name = target.dbname.replace('\\', "\\\\").replace('\'', "\\'");
        command.arg(format!("--dbname=dbname='{name}'"));
        if options.no_owner {
            command.args(["--no-owner", "--no-privileges"]);
        }
        let is_affected = is_affected(self.tool.major, options.server);
        if !options.keep_going && !is_affected {
            command.arg("--exit-on-error");
        }
        let list = list
            .map(|list| in_memory("hubvault-list", list))
            .transpose()?;
        if let Some(list) = &list {
            command.arg(format!("--use-list=/proc/self/fd/{}", list.as_raw_fd()));
            // Several at once would write into each other's words, and those count then.
            let jobs = if is_affected { 1 } else { options.jobs.max(1) };
            command.arg(format!("--jobs={jobs}"));
        }
        command.arg(self.dump_path());
        let program = self.tool.path.to_string_lossy().into_owned();
        let (status, mut said) = tools::run_to_end(command, &[], cancel)?;
        let mut well = status.success();
        if is_affected {
            said.stderr = without_setting_error(said.stderr);
            well |= status.code() == Some(1) && !said.stderr.iter().any(|line| is_error(line));
        }
        if well {
            return Ok(ToolMessages {
                warnings: said.stderr,
                ..ToolMessages::default()
            });
        }
        if is_affected && !options.keep_going {
            first_error(&mut said.stderr);
        }
        match tools::ended(program, status, &said.stderr) {
            PgError::Tool { why, .. } if options.keep_going => Ok(ToolMessages {
                errors: vec![why],
                ..ToolMessages::default()
            }),
            error => Err(error),
        }
    }
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
}
