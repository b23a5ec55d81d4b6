//! Runs the archive's own `restore.sh` in a drill, as a person without hubvault would: over a login that is no superuser,
//! as the code of the owners runs over it, into a second database, whose rows are compared.

use super::drill_server::DrillServer;
use super::script_outcome::Ran;
use crate::command::{CommandLine, Ended};
use crate::restore::{self, Compared, Comparison, RestoreError};
use hubvault_archive::{AnyArchive, Manifest, TableSummary};
use hubvault_model::{
    BackupId, Cancel, RowFormat, TableName, list_field, quote_ident, quote_literal,
};
use hubvault_postgres::{Access, ConnectSettings, SchemaOptions, Session, inspect, target};
use secrecy::ExposeSecret;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variables of `psql` that the script gets are these and no others.
const RUN: &str = r#"for name in $(env | sed -n 's/^\(PG[A-Z_]*\)=.*/\1/p'); do
    case $name in PGHOST | PGPORT | PGUSER | PGPASSWORD | PGDATABASE) ;; *) unset "$name" ;; esac
done
PATH=${3:+$3:}$PATH
cd "$1" && exec sh restore.sh --no-owner --force --jobs "$2""#;

/// One run of the script.
pub(super) struct ScriptDrill<'a> {
    pub(super) archive: &'a AnyArchive,
    pub(super) server: &'a DrillServer,
    /// Where the archive is unpacked.
    pub(super) directory: &'a Path,
    pub(super) workers: usize,
    /// How long the script may take.
    pub(super) limit: Duration,
    pub(super) cancel: &'a Cancel,
}

impl ScriptDrill<'_> {
    /// Runs the script.
    pub(super) fn run(&self) -> Result<Ran, RestoreError> {
        let Some((superuser, login)) = self.server.second(self.archive.manifest(), self.cancel)?
        else {
            return Ok(Ran::default());
        };
        self.make_extensions(&superuser, &login)?;
        let failed = |source| io_error("running restore.sh below", self.directory, source);
        let unpacked = Unpacked::new(self.directory).map_err(failed)?;
        self.unpack(&unpacked.0)?;
        let ended = self.script(&unpacked.0, &login).map_err(failed)?;
        let mut ran = Ran::of(&ended);
        if ended.code == Some(0) || ended.code == Some(3) {
            ran.problems.extend(self.different(&login)?);
        }
        Ok(ran)
    }

    /// Extensions need a superuser, and their tables are his; rows of the archive may belong into them.
    fn make_extensions(
        &self,
        superuser: &ConnectSettings,
        login: &ConnectSettings,
    ) -> Result<(), RestoreError> {
        let mut schema = restore::schema(self.archive, superuser)?;
        let mut session = Session::connect(superuser, self.cancel)?;
        let options = SchemaOptions {
            jobs: self.workers,
            no_owner: true,
            no_tablespaces: true,
            server: session.server_version_num() / 10_000,
        };
        schema.make_extensions(&mut session, login, options, self.cancel)?;
        let tables = self.tables_of_extensions(&mut session)?;
        let tables = restore::parents_first(&mut session, &tables)?;
        for table in &tables {
            // The script does this, too, which the login may not.
            target::disable_triggers(&mut session, &table.name)?;
        }
        let to = quote_ident(&login.user);
        for name in inspect::schemas(&mut session)? {
            let schema = quote_ident(&name);
            let grant = format!(
                "GRANT ALL ON SCHEMA {schema} TO {to}; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {to};
                 GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {to}"
            );
            session.simple("granting what extensions made", &grant)?;
        }
        self.empty(&tables, login)?;
        // The servers and foreign tables of the archive are the login's, and nothing is read from them.
        let wrappers = format!(
            "DO $$ DECLARE wrapper name; BEGIN
                 FOR wrapper IN SELECT fdwname FROM pg_catalog.pg_foreign_data_wrapper LOOP
                     EXECUTE pg_catalog.format('GRANT USAGE ON FOREIGN DATA WRAPPER %I TO %I', wrapper, {});
                 END LOOP; END $$",
            quote_literal(&login.user)
        );
        session.simple("granting foreign data wrappers", &wrappers)?;
        Ok(())
    }

    /// Those that the archive has rows of, and the extensions there mark themselves.
    fn tables_of_extensions(
        &self,
        superuser: &mut Session,
    ) -> Result<Vec<&TableSummary>, RestoreError> {
        let there = target::config_tables(superuser)?;
        let tables = self.archive.manifest().tables.iter();
        Ok(tables
            .filter(|it| {
                it.extension.is_some()
                    && there.get(&it.name).map(|of| &of.extension) == it.extension.as_ref()
            })
            .collect())
    }

    /// The script refuses rows where those of the archive come, and CREATE EXTENSION may have put some there. All others
    /// stay: definitions may need them. What fails here the script says.
    fn empty(&self, tables: &[&TableSummary], login: &ConnectSettings) -> Result<(), RestoreError> {
        let mut session = Session::connect(login, self.cancel)?;
        for table in tables.iter().rev() {
            // It is the archive's SQL: never over the superuser's session.
            let sql = restore::delete_users_rows(table);
            if let Err(error) = session.simple("emptying a table of an extension", &sql) {
                tracing::info!("{error}");
            }
        }
        Ok(())
    }

    /// Names of entries stay inside of the directory: an archive with others is not opened.
    fn unpack(&self, directory: &Path) -> Result<(), RestoreError> {
        let mut session = Session::connect(&self.server.settings(), self.cancel)?;
        let filled = inspect::materialized_views(&mut session)?;
        for entry in &self.archive.manifest().entries {
            if entry.is_bare()
                || !(entry.name.starts_with("database/") || entry.name == "restore.sh")
            {
                continue;
            }
            let path = directory.join(&entry.name);
            let mut content = self.archive.content(entry)?;
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(directory))?;
                let mut file = File::create_new(&path)?;
                if entry.name != "database/restore.list" {
                    return io::copy(&mut content, &mut file).map(|_| ());
                }
                let mut list = String::new();
                content.take(LIST_LIMIT).read_to_string(&mut list)?;
                file.write_all(only_filled(&list, &filled).as_bytes())
            };
            write().map_err(|source| io_error("unpacking", &path, source))?;
            if self.cancel.is_requested() {
                break;
            }
        }
        Ok(())
    }

    fn script(&self, unpacked: &Path, login: &ConnectSettings) -> io::Result<Ended> {
        let password = login.password.as_ref().map_or("", |it| it.expose_secret());
        let temp = unpacked.display().to_string();
        // Programs of the server's version read what it reads.
        let bin = self.server.bin_dir();
        let bin = bin.map_or_else(String::new, |bin| bin.display().to_string());
        let environment = [
            ("PGHOST", login.host.clone()),
            ("PGPORT", login.port.to_string()),
            ("PGUSER", login.user.clone()),
            ("PGPASSWORD", password.to_owned()),
            ("PGDATABASE", login.dbname.clone()),
            ("TMPDIR", temp.clone()),
            ("LC_ALL", "C".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        let jobs = self.workers.max(1).to_string();
        CommandLine::of(["sh", "-c", RUN, "sh", &temp, &jobs, &bin]).run(
            &environment,
            self.limit,
            self.cancel,
        )
    }

    /// Tables whose rows differ from the archive's.
    fn different(&self, login: &ConnectSettings) -> Result<Vec<String>, RestoreError> {
        let manifest = self.archive.manifest();
        let access =
            Access::single(login.clone()).with_search_path(&manifest.load_order.search_path);
        let mut session = Session::connect(login, self.cancel)?;
        let logins = access.of_tables(&mut session)?;
        let units = restore::units(manifest);
        let how = (Comparison::Rows, self.workers);
        let compared = restore::compare(&units, login, &logins, how, self.cancel)?;
        Ok(compared.iter().filter_map(Compared::problem).collect())
    }
}

/// The largest list of an archive, in bytes.
const LIST_LIMIT: u64 = 64 << 20;

/// Takes the views out of `restore.list` that were not filled the first time: they rest on other servers.
fn only_filled(list: &str, filled: &[TableName]) -> String {
    let records: HashSet<String> = filled
        .iter()
        .map(|view| {
            let (schema, name) = (list_field(&view.schema), list_field(&view.name));
            format!("refresh\t{schema}\t{name}")
        })
        .collect();
    let lines = list.split_inclusive('\n');
    lines
        .filter(|line| {
            !line.starts_with("refresh\t") || records.contains(line.trim_end_matches('\n'))
        })
        .collect()
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> RestoreError {
    let path = path.to_owned();
    RestoreError::Io {
        doing,
        path,
        source,
    }
}

/// What a change of would make another run due: the script, and which kinds of records its list has.
pub(crate) fn shape(manifest: &Manifest) -> String {
    let script = manifest
        .entries
        .iter()
        .find(|entry| entry.name == "restore.sh");
    let text = script.map_or("", |entry| entry.sha256.as_str());
    let order = &manifest.load_order;
    let kinds = [
        (
            "csv",
            manifest
                .tables
                .iter()
                .any(|table| table.format == RowFormat::Csv),
        ),
        ("check", !order.late_checks.is_empty()),
        ("tree", !order.through.is_empty()),
        ("after-tables", !order.after_tables.is_empty()),
        ("after-indexes", !order.after_indexes.is_empty()),
        ("key", !manifest.not_valid.is_empty()),
        ("refresh", !manifest.refresh.is_empty()),
        ("tablespace", !manifest.needs.tablespaces.is_empty()),
    ];
    let kinds = kinds.iter().filter(|(_, has)| *has).map(|(kind, _)| *kind);
    std::iter::once(text)
        .chain(kinds)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A private directory, removed at the end. What a crash leaves is removed with the leftovers of throwaway servers.
struct Unpacked(PathBuf);

impl Unpacked {
    fn new(parent: &Path) -> io::Result<Self> {
        let name = format!(
            "hubvault-throwaway-{}-{}",
            std::process::id(),
            BackupId::random().short()
        );
        let path = parent.join(name);
        std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("could not remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_were_not_filled_are_left_out() {
        let list = "role\ta\nrefresh\tpublic\tseen\nrefresh\tpublic\ta%09b\nend\n";
        let filled = [TableName::new("public", "a\tb")];
        assert_eq!(
            only_filled(list, &filled),
            "role\ta\nrefresh\tpublic\ta%09b\nend\n"
        );
    }
}
