//! Restores the definitions of a database with `pg_restore`, section by section.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::connect::unknown_setting::{is_affected, is_error, without_setting_error};
use crate::dump::access::Access;
use crate::dump::contents::{self, Step, indexes_of_views, lines_of};
use crate::dump::cure::cure;
use crate::dump::dump_file::{DumpFile, SchemaOptions};
use crate::dump::failures::{Failure, Parsed, ToolMessages, roots};
use crate::dump::open_schemas::OpenSchemas;
use crate::dump::portions::portions;
use crate::dump::privileged;
use crate::dump::tools;
use crate::dump::validators::without_validators;
use crate::error::PgError;
use crate::memory_file::in_memory;
use hubvault_model::Cancel;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

/// What is made before all else where a superuser makes the extensions.
pub(crate) const MADE_BEFORE: [&str; 2] = ["SCHEMA ", privileged::KINDS[0]];

/// Definitions in memory, ready to be put back.
#[derive(Debug)]
pub struct SchemaRestore {
    pub(crate) dump: DumpFile,
    pub(crate) list: Vec<u8>,
    /// Whether schemas and extensions are there already, made over other logins.
    pub(crate) has_extensions: bool,
    /// Whether the list of all lacks what is there already.
    pub(crate) is_cut: bool,
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
        Ok(Self {
            dump: DumpFile::new(dump, major, target)?,
            list: post_data_list,
            has_extensions: false,
            is_cut: false,
        })
    }

    /// Keeps only the objects of these numbers.
    pub fn keep(&mut self, ids: &BTreeSet<u32>, cancel: &Cancel) -> Result<(), PgError> {
        let id = |line: &str| line.split(';').next().and_then(|id| id.parse().ok());
        let is_kept = |line: &str| id(line).is_some_and(|id| ids.contains(&id));
        self.dump.leave_out(|line| !is_kept(line), cancel)?;
        let list = String::from_utf8_lossy(&self.list);
        let lines = list.split_inclusive('\n').filter(|line| is_kept(line));
        self.list = lines.collect::<String>().into_bytes();
        self.is_cut = true;
        Ok(())
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
            return self.all_pre_data(access, options, cancel);
        }
        let mut said = ToolMessages::default();
        let after_rows = self.dump.after_rows(cancel)?;
        let (before_rows, privileges) = portions(self.contents(cancel)?, after_rows);
        let mut schemas = OpenSchemas::default();
        for mut portion in before_rows {
            access.raise(session, !portion.lesser)?;
            let login = if portion.lesser {
                // Schemas come before all that is in them.
                schemas.open(session)?;
                access.checker()
            } else {
                (said.failures).extend(without_validators(&mut portion.list, session)?);
                definer
            };
            said.extend(self.section(
                ("pre-data", Some(&portion.list)),
                access,
                login,
                options,
                cancel,
            )?);
        }
        access.raise(session, false)?;
        schemas.close(session)?;
        // Privileges have no section of their own: pg_restore counts them to that of the object before them.
        said.extend(self.section(("", Some(&privileges)), access, definer, options, cancel)?);
        Ok(said)
    }

    fn all_pre_data(
        &self,
        access: &Access,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let made: &[&str] = if self.has_extensions {
            &MADE_BEFORE
        } else {
            &[]
        };
        let list = contents::lines_of_kinds(self.contents(cancel)?, made, true);
        let list = (self.has_extensions || self.is_cut).then_some(&list[..]);
        self.section(
            ("pre-data", list),
            access,
            access.definer(),
            options,
            cancel,
        )
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
        let mut said = self.made(("pre-data", Some(&schemas)), login, options, cancel)?;
        said.extend(self.privileged(superuser, privileged::KINDS[0], cancel)?);
        self.has_extensions = true;
        Ok(said)
    }

    /// Makes the event triggers over a superuser's session.
    pub fn make_event_triggers(
        &self,
        superuser: &mut Session,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        self.privileged(superuser, privileged::KINDS[1], cancel)
    }

    /// Makes what the dump holds of one kind that only a superuser can make.
    fn privileged(
        &self,
        superuser: &mut Session,
        kind: &str,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let lines = contents::lines_of_kinds(self.contents(cancel)?, &[kind], false);
        let sql = self.dump.text(&lines, |_| (), cancel)?;
        let kind = kind.trim().to_lowercase();
        let parts = privileged::read(&sql).ok_or_else(|| PgError::Tool {
            program: self.dump.tool.path.to_string_lossy().into_owned(),
            why: format!("its text of {kind} cannot be read"),
        })?;
        let mut made = ToolMessages::default();
        for part in parts {
            let doing = format!("making an {kind}");
            match superuser.simple(&doing, &part.sql()) {
                Err(error @ PgError::Query { .. }) => {
                    let object = format!("{kind} {}", part.name());
                    made.failures.push(Failure::of_statement(object, &error));
                }
                result => result?,
            }
        }
        Ok(made)
    }

    /// Builds indexes, constraints, triggers and all else that the list names, over the same logins as
    /// [`SchemaRestore::pre_data`]; `after_indexes` comes between the indexes and what else there is. Event triggers are
    /// left to [`SchemaRestore::event_triggers`].
    pub fn post_data<E: From<PgError>>(
        &self,
        access: &Access,
        session: &mut Session,
        options: SchemaOptions,
        cancel: &Cancel,
        after_indexes: impl FnOnce(&mut ToolMessages) -> Result<(), E>,
    ) -> Result<ToolMessages, E> {
        let mut said = ToolMessages::default();
        let mut schemas = OpenSchemas::default();
        if access.is_split() {
            schemas.open(session)?;
            access.admit_to_tables(session)?;
        }
        for step in [Step::Indexes, Step::Attach] {
            said.extend(self.step(step, access, access.checker(), options, cancel)?);
        }
        after_indexes(&mut said)?;
        for step in [Step::Checks, Step::IndexesOfViews] {
            said.extend(self.step(step, access, access.checker(), options, cancel)?);
        }
        schemas.close(session)?;
        access.raise(session, true)?;
        said.extend(self.step(Step::Rest, access, access.definer(), options, cancel)?);
        access.raise(session, false)?;
        Ok(said)
    }

    /// Makes the event triggers, which fire for definitions: after all else.
    pub fn event_triggers(
        &self,
        access: &Access,
        session: &mut Session,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        access.raise(session, true)?;
        let said = self.step(Step::Events, access, access.definer(), options, cancel)?;
        access.raise(session, false)?;
        Ok(said)
    }

    fn step(
        &self,
        step: Step,
        access: &Access,
        login: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let jobs = if step.is_parallel() { options.jobs } else { 1 };
        let options = SchemaOptions { jobs, ..options };
        let contents = String::from_utf8_lossy(self.contents(cancel)?);
        let mut list = lines_of(&self.list, &[step], &indexes_of_views(&contents));
        if self.has_extensions {
            list = contents::lines_of_kinds(&list, &[privileged::KINDS[1]], true);
        }
        // The list has what comes before the rows, too. A pg_restore that has nothing to do takes time.
        let after_rows = self.dump.after_rows(cancel)?;
        let text = String::from_utf8_lossy(&list);
        // The list of what comes after the rows has nothing that would show a lost end.
        let is_after = |line: &str| {
            after_rows.contains(contents::id_of(line)) || contents::is_surely_after_rows(line)
        };
        if !text.lines().any(is_after) {
            return Ok(ToolMessages::default());
        }
        self.section(("post-data", Some(&list)), access, login, options, cancel)
    }

    /// The DROP statements for everything that the definitions make.
    pub fn drop_statements(&self, cancel: &Cancel) -> Result<String, PgError> {
        self.dump.drop_statements(cancel)
    }

    /// Describes what failed, and counts what failed only because another failed before under that one.
    pub fn roots(&self, failures: Vec<Failure>, cancel: &Cancel) -> Result<Vec<Failure>, PgError> {
        if failures.is_empty() {
            return Ok(failures);
        }
        Ok(roots(failures, self.contents(cancel)?))
    }

    pub(crate) fn contents(&self, cancel: &Cancel) -> Result<&[u8], PgError> {
        self.dump.contents(cancel)
    }

    /// Makes a section over a login and goes on after errors. What failed over [`Access::checker`] is made again
    /// ([`cure`]); over a superuser's login nothing is made with a `search_path` that names schemas of the owners.
    pub(crate) fn section(
        &self,
        (section, list): (&str, Option<&[u8]>),
        access: &Access,
        login: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let mut said = self.made((section, list), login, options, cancel)?;
        if login.user == access.checker().user {
            let failed = std::mem::take(&mut said.failures);
            said.extend(cure(&self.dump, access, failed, options, cancel)?);
        }
        Ok(said)
    }

    fn made(
        &self,
        (section, list): (&str, Option<&[u8]>),
        login: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        if list.is_some_and(contents::names_nothing) {
            return Ok(ToolMessages::default());
        }
        // Only what comes after the rows is made by several. They would write into each other's words, and those count
        // where an error is to be ignored.
        let is_affected = is_affected(self.dump.tool.major, options.server);
        let jobs = if is_affected || section != "post-data" {
            1
        } else {
            options.jobs.max(1)
        };
        let several = jobs > 1;
        let first = self.run((section, list), jobs, login, options, cancel)?;
        if first.counted.is_none() || first.is_whole(several) {
            return Ok(first.into());
        }
        let mut again = if several {
            self.run((section, list), 1, login, options, cancel)?
        } else {
            first.clone()
        };
        if !again.is_whole(false) {
            again.failures.push(Failure::unknown());
        }
        // What was made the first time is there already.
        let known = |one: &Failure| first.failures.iter().any(|other| other.id == one.id);
        again.failures.retain(|one| !one.is_there() || known(one));
        Ok(ToolMessages::from(again))
    }

    /// Runs `pg_restore` once.
    fn run(
        &self,
        (section, list): (&str, Option<&[u8]>),
        jobs: usize,
        login: &ConnectSettings,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<Parsed, PgError> {
        let tool = &self.dump.tool;
        let mut command = Command::new(&tool.path);
        tools::connection(&mut command, login);
        command.args(["--no-password", "--verbose"]);
        if !section.is_empty() {
            command.arg(format!("--section={section}"));
        }
        // A name with an equals sign would be read as a connection string.
        let name = login.dbname.replace('\\', "\\\\").replace('\'', "\\'");
        command.arg(format!("--dbname=dbname='{name}'"));
        options.apply(&mut command);
        let list = list
            .map(|list| in_memory("hubvault-list", list))
            .transpose()?;
        if let Some(list) = &list {
            command.arg(format!("--use-list=/proc/self/fd/{}", list.as_raw_fd()));
            command.arg(format!("--jobs={jobs}"));
        }
        command.arg(self.dump.path());
        let program = tool.path.to_string_lossy().into_owned();
        let (status, mut said) = tools::run_to_end(command, &[], cancel)?;
        let is_affected = is_affected(tool.major, options.server);
        let was_counted = Parsed::of(&said.stderr).counted.is_some();
        if is_affected {
            said.stderr = without_setting_error(said.stderr);
        }
        let mut parsed = Parsed::of(&said.stderr);
        if status.success() || (is_affected && !said.stderr.iter().any(|line| is_error(line))) {
            (parsed.failures, parsed.counted) = (Vec::new(), None);
            return Ok(parsed);
        }
        // Without what it did.
        let is_kept = |line: &String| !line.starts_with("pg_restore: ") || is_error(line);
        said.stderr.retain(is_kept);
        let error = tools::ended(program, status, &said.stderr);
        // It goes on after errors of definitions and counts them; what it does not count ended it.
        if status.code() != Some(1) || !was_counted || error.is_environment() {
            return Err(error);
        }
        if is_affected {
            parsed.counted = Some(parsed.failures.len());
        }
        Ok(parsed)
    }
}
