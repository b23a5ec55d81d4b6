//! What a restore would do, without doing it.

use super::error::RestoreError;
use super::previewed::{PreviewTable, other_partitions};
use super::properties::{contents, relations};
use super::{extension_rows, lacking, schema};
use crate::disk::free_bytes;
use hubvault_archive::{Archive, Manifest, Source, TableSummary};
use hubvault_model::{Cancel, TableName, quote_ident};
use hubvault_postgres::{
    ConnectSettings, Definition, Session, WAIT_SHORTLY, lock_timeout, target_facts,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a restore would make, drop and overwrite.
#[derive(Debug, Default, Serialize)]
pub struct Preview {
    /// The database that would be created.
    pub created_database: Option<String>,
    /// Roles that would be made.
    pub roles: Vec<String>,
    /// Schemas that would be made.
    pub schemas: Vec<String>,
    /// Tables, with what would be done with their rows.
    pub tables: Vec<PreviewTable>,
    /// Tables that would be dropped first, with all rows.
    pub dropped: Vec<String>,
    /// How many rows each of them has now.
    pub lost: BTreeMap<String, u64>,
    /// How many statements would drop them and all else that the archive defines.
    pub drop_statements: usize,
    /// Definitions besides tables that would be made.
    pub definitions: usize,
    /// Files, directories and links that would be made.
    pub files: Vec<PathBuf>,
    /// About so many bytes are needed.
    pub needed_bytes: u64,
    /// So many are free, where that can be known.
    pub free_bytes: Option<u64>,
    /// What is good to know and ends nothing.
    pub notes: Vec<String>,
    /// What would end the restore, or rows that it could not bring back.
    pub obstacles: Vec<String>,
}

/// How a whole restore was asked for.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer that a user gives"
)]
pub struct Asked {
    /// Create the database.
    pub create: bool,
    /// Drop what is there.
    pub clean: bool,
    /// Create missing roles.
    pub create_roles: bool,
    /// Without owners.
    pub no_owner: bool,
    /// Also on an older server.
    pub force: bool,
}

/// Rows in a table and its indexes take about twice the bytes of their text, by the products that were measured.
const GROWTH: u64 = 2;

impl Preview {
    /// Of a whole restore.
    pub fn whole<S: Source>(
        archive: &Archive<S>,
        to: &ConnectSettings,
        asked: Asked,
        cancel: &Cancel,
    ) -> Result<Self, RestoreError> {
        let manifest = archive.manifest();
        let mut found = Self::default();
        let mut session = found.session(to, asked, cancel)?;
        found.compare_versions(&mut session, manifest, asked);
        found.find_roles(&mut session, manifest, asked)?;
        let definitions = contents(archive, |_| true)?.definitions;
        let schemas = definitions.iter().filter(|it| it.kind == "SCHEMA");
        let mut schemas: Vec<String> = schemas.map(|it| it.name.clone()).collect();
        let made = |it: &&Definition| it.kind != "SCHEMA" && !it.is_of_database();
        let tables = manifest.tables.iter().filter(|it| it.extension.is_none());
        let made = definitions.iter().filter(made).count();
        found.definitions = made.saturating_sub(tables.count());
        if !asked.create {
            let there = target_facts::all_schemas(&mut session)?;
            schemas.retain(|schema| !there.contains(schema));
            let present = extension_rows::present(&mut session, manifest)?;
            let names: Vec<String> = present.iter().map(ToString::to_string).collect();
            if asked.clean && !names.is_empty() {
                let drops = schema(archive, to)?.drop_statements(cancel)?;
                found.drop_statements = drops.lines().filter(|it| it.ends_with(';')).count();
                found.dropped = names;
                found.count_lost(&mut session, &present)?;
                found.find_dependents(&mut session, &definitions)?;
            } else if !names.is_empty() {
                let refused = RestoreError::NotEmpty { names };
                found.obstacles.push(refused.to_string());
            }
        }
        found.schemas = schemas;
        let tables = manifest.tables.iter();
        found.tables = tables.map(|table| made_table(&table.name, table)).collect();
        found.room(&mut session, to, manifest.tables.iter())?;
        Ok(found)
    }

    /// How many rows are lost with the tables that are dropped.
    fn count_lost(
        &mut self,
        session: &mut Session,
        tables: &[TableName],
    ) -> Result<(), RestoreError> {
        let doing = "counting the rows that would be dropped";
        session.simple(doing, &format!("BEGIN READ ONLY; {WAIT_SHORTLY}"))?;
        match target_facts::row_counts(session, tables) {
            Ok(lost) => self.lost = lost,
            // Who may not read them may not drop them either.
            Err(error) if error.is_refusal() => self.obstacles.push(error.to_string()),
            Err(error) if error.is_of_locks() => {
                session.simple(doing, "ROLLBACK")?;
                return Err(lock_timeout(session, tables).into());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(session.simple(doing, "ROLLBACK")?)
    }

    /// What keeps the archive's relations from being dropped.
    fn find_dependents(
        &mut self,
        session: &mut Session,
        definitions: &[Definition],
    ) -> Result<(), RestoreError> {
        let relations = relations(definitions);
        let other = other_partitions(session, &relations)?;
        let refused = other.map(|it| it.to_string());
        self.obstacles.extend(refused);
        let names = target_facts::dependents(session, &relations)?;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        if names.is_empty() {
            let note = "--clean: views, foreign keys, defaults and inheriting tables that are not in the archive were \
                        looked for; another object that depends on what is dropped would stop it";
            self.notes.push(note.to_owned());
        } else {
            self.obstacles.push(format!(
                "--clean cannot drop what others depend on that are not in the archive: {}; drop them or their foreign \
                 keys first",
                names.join(", ")
            ));
        }
        Ok(())
    }

    /// A session at the target, or at the server where the database is still to be made.
    fn session(
        &mut self,
        to: &ConnectSettings,
        asked: Asked,
        cancel: &Cancel,
    ) -> Result<Session, RestoreError> {
        if !asked.create {
            let mut session = Session::connect(to, cancel)?;
            if !target_facts::may_make(&mut session)?.schemas {
                self.may_not_create_schemas(to);
            }
            return Ok(session);
        }
        let server = ConnectSettings {
            dbname: "postgres".to_owned(),
            ..to.clone()
        };
        let mut session = Session::connect(&server, cancel)?;
        if target_facts::has_database(&mut session, &to.dbname)? {
            let what = format!(
                "the database {} exists; leave --create out, or name another",
                to.dbname
            );
            self.obstacles.push(what);
        } else {
            self.created_database = Some(to.dbname.clone());
        }
        if !target_facts::may_make(&mut session)?.databases {
            let role = quote_ident(&to.user);
            let fix = format!("ALTER ROLE {role} CREATEDB");
            self.may_not(to, "create databases", &fix);
        }
        Ok(session)
    }

    pub(super) fn may_not_create_schemas(&mut self, to: &ConnectSettings) {
        let (database, role) = (quote_ident(&to.dbname), quote_ident(&to.user));
        let fix = format!("GRANT CREATE ON DATABASE {database} TO {role}");
        self.may_not(to, "create schemas in this database", &fix);
    }

    fn may_not(&mut self, to: &ConnectSettings, what: &str, fix: &str) {
        let role = &to.user;
        let what = format!("the role {role} may not {what}; a superuser permits it: {fix}");
        self.obstacles.push(what);
    }

    fn compare_versions(&mut self, session: &mut Session, manifest: &Manifest, asked: Asked) {
        let archive = manifest.snapshot.server_version_num / 10_000;
        let target = session.server_version_num() / 10_000;
        if target < archive && !asked.force {
            let refused = RestoreError::OlderServer { archive, target };
            self.obstacles.push(refused.to_string());
        }
    }

    fn find_roles(
        &mut self,
        session: &mut Session,
        manifest: &Manifest,
        asked: Asked,
    ) -> Result<(), RestoreError> {
        let names = lacking::roles(session, manifest, asked.no_owner)?;
        if names.is_empty() {
            return Ok(());
        }
        if !asked.create_roles {
            self.obstacles
                .push(lacking::refused_roles(names, asked.no_owner).to_string());
            return Ok(());
        }
        if !target_facts::may_make(session)?.roles {
            let what =
                "this role may not create roles (CREATEROLE); create them first, or use --no-owner";
            self.obstacles.push(what.to_owned());
        }
        self.roles = names;
        Ok(())
    }

    /// How much room the rows need and the server's disk has, where it is on this host.
    pub(super) fn room<'a>(
        &mut self,
        session: &mut Session,
        to: &ConnectSettings,
        tables: impl Iterator<Item = &'a TableSummary>,
    ) -> Result<(), RestoreError> {
        self.needed_bytes = tables
            .map(|table| table.bytes)
            .fold(0, u64::saturating_add)
            .saturating_mul(GROWTH);
        let directory = target_facts::data_directory(session, to)?;
        self.free_bytes = directory.and_then(|directory| free_bytes(&directory).ok());
        self.compare_room();
        Ok(())
    }

    pub(super) fn compare_room(&mut self) {
        if self.free_bytes.is_some_and(|free| free < self.needed_bytes) {
            let what =
                "there is not enough room on the disk; free some space, or restore elsewhere";
            self.obstacles.push(what.to_owned());
        }
    }
}

pub(super) fn made_table(name: &TableName, table: &TableSummary) -> PreviewTable {
    PreviewTable {
        table: name.to_string(),
        is_made: true,
        inserted: table.digest.rows,
        overwritten: 0,
        checksum: 0,
    }
}
