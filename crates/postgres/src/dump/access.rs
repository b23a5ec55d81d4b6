//! The logins of a restore: one for everything, or, in a drill, the owners' logins for whatever may run
//! code that they wrote.
//!
//! CHECK constraints, domains, generated columns, index expressions and foreign keys run functions of their owners with
//! the rights of whoever loads, reads or merely plans. SET ROLE in a superuser's session does not protect: such code
//! resets it. A session that logged in with fewer rights cannot.

use crate::connect::settings::ConnectSettings;
use crate::connect::{random_secret::random_secret, session::Session};
use crate::error::PgError;
use hubvault_model::{BackupId, Cancel, TableName, quote_ident, quote_literal};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The logins of a restore.
#[derive(Debug)]
pub struct Access {
    definer: ConnectSettings,
    owners: Option<OwnerLogins>,
    /// The `search_path` of the source; definitions and rows that fail with the empty one are tried with it.
    pub(super) search_path: Vec<String>,
    /// Statements that set what ordinary sessions of the source have; empty text where that is not known.
    pub(super) settings: String,
}

/// Logins on a server that is nobody else's. None of them is a superuser while code of the owners may run.
#[derive(Debug)]
struct OwnerLogins {
    /// A member of every role of the archive, for what concerns several owners' tables.
    joint: ConnectSettings,
    /// Roles that own what only superusers may own; superusers while definitions are made, and not otherwise.
    raised: Vec<String>,
    /// Two GRANTs on one schema at once fail ("tuple concurrently updated").
    admitting: Mutex<()>,
}

impl Access {
    /// One login for everything.
    pub fn single(login: ConnectSettings) -> Self {
        Self {
            definer: login,
            owners: None,
            search_path: Vec::new(),
            settings: String::new(),
        }
    }

    /// Logins of the owners beside `definer`, a superuser whom no role of the archive has the name of, and whose session
    /// makes them. The roles must be there and be no superusers; `raised` are those that own what only superusers may own.
    pub fn of_owners(
        definer: &ConnectSettings,
        session: &mut Session,
        roles: &[String],
        raised: Vec<String>,
    ) -> Result<Self, PgError> {
        let secret = BackupId::random().to_string();
        let joint = format!("hubvault_joint_{}", BackupId::random().short());
        let mut sql = format!(
            "CREATE ROLE {} LOGIN BYPASSRLS NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD {};\n",
            quote_ident(&joint),
            random_secret(&secret)
        );
        let predefined = session.server_version_num() >= 140_000;
        sql += &grants(&joint, roles, predefined);
        // Its owner is a member of pg_database_owner, to which no role can be granted.
        sql += &format!(
            "ALTER DATABASE {} OWNER TO {};\n",
            quote_ident(&definer.dbname),
            quote_ident(&joint)
        );
        session.simple("making the drill's logins", &sql)?;
        Ok(Self {
            definer: definer.clone(),
            owners: Some(OwnerLogins {
                joint: ConnectSettings {
                    user: joint,
                    password: Some(SecretString::from(secret)),
                    ..definer.clone()
                },
                raised,
                admitting: Mutex::new(()),
            }),
            search_path: Vec::new(),
            settings: String::new(),
        })
    }

    /// The login that creates definitions.
    pub fn definer(&self) -> &ConnectSettings {
        &self.definer
    }

    /// The login that checks constraints, which may read tables of several owners.
    pub fn checker(&self) -> &ConnectSettings {
        self.owners
            .as_ref()
            .map_or(&self.definer, |owners| &owners.joint)
    }

    /// Whether definitions are made over another login than that which may run code of the owners.
    pub(crate) fn is_split(&self) -> bool {
        self.owners.is_some()
    }

    /// Lets the owners of what only superusers may own be superusers, while definitions are made and nothing else
    /// happens, or no longer.
    pub(crate) fn raise(&self, session: &mut Session, superusers: bool) -> Result<(), PgError> {
        let attribute = if superusers {
            "SUPERUSER"
        } else {
            "NOSUPERUSER"
        };
        let raised = self.owners.iter().flat_map(|owners| &owners.raised);
        let statements: Vec<String> = raised
            .map(|role| format!("ALTER ROLE {} {attribute};\n", quote_ident(role)))
            .collect();
        if statements.is_empty() {
            return Ok(());
        }
        session.simple(
            "changing what owners of definitions may do",
            &statements.concat(),
        )
    }

    /// Lets [`Access::checker`] make foreign keys to tables of extensions, which the definer owns, and what belongs to tables
    /// whose own owner may not make it. No trigger of owners gets on a superuser's table.
    pub(crate) fn admit_to_tables(&self, session: &mut Session) -> Result<(), PgError> {
        let Some(owners) = &self.owners else {
            return Ok(());
        };
        let doing = "letting the drill refer to all tables";
        let joint = &owners.joint.user;
        let rows = session.rows(
            doing,
            &format!(
                "SELECT n.nspname::text, c.relname::text, r.rolsuper FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = relowner
                 WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                   AND NOT (pg_catalog.has_table_privilege({0}, c.oid, 'SELECT')
                            AND pg_catalog.has_table_privilege({0}, c.oid, 'REFERENCES')
                            AND pg_catalog.has_table_privilege({0}, c.oid, 'TRIGGER'))",
                quote_literal(joint)
            ),
        )?;
        let joint = quote_ident(joint);
        let grant = |row: &postgres::Row| {
            let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)).sql();
            let trigger = if row.get(2) { "" } else { ", TRIGGER" };
            format!("GRANT SELECT, REFERENCES{trigger} ON TABLE {table} TO {joint};\n")
        };
        session.simple(doing, &rows.iter().map(grant).collect::<Vec<_>>().concat())
    }

    /// Who loads and reads each of the tables that are there, asked over the definer's session.
    pub fn of_tables(&self, session: &mut Session) -> Result<TableLogins, PgError> {
        let mut logins = TableLogins::single(self.checker().clone());
        logins.search_path = search_path(&self.search_path);
        let Some(owners) = &self.owners else {
            return Ok(logins);
        };
        let rows = session.rows(
            "asking who owns the tables",
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper
                  AND r.rolname !~ '^pg_'
             WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_(catalog|toast)'
               AND n.nspname <> 'information_schema'",
        )?;
        // Owners are few, tables may be many.
        let mut of_owner: BTreeMap<String, Arc<ConnectSettings>> = BTreeMap::new();
        for row in &rows {
            let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            let login = of_owner
                .entry(row.get(2))
                .or_insert_with_key(|owner| Arc::new(owners.login(owner.clone())));
            logins.owners.insert(name, Arc::clone(login));
        }
        owners.allow_logins(session, of_owner.keys())?;
        Ok(logins)
    }

    /// Superusers beside the definer, on a server that is nobody else's: there are none unless code of the owners
    /// made one.
    pub fn other_superusers(&self, session: &mut Session) -> Result<Vec<String>, PgError> {
        if self.owners.is_none() {
            return Ok(Vec::new());
        }
        let definer = quote_literal(&self.definer.user);
        // Whoever is a member of a superuser, or of a predefined role that runs programs or writes files, is one, too.
        let sql = format!(
            "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolsuper AND rolname <> {definer}
             UNION
             SELECT m.rolname::text FROM pg_catalog.pg_auth_members a
             JOIN pg_catalog.pg_roles r ON r.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
             WHERE r.rolsuper OR r.rolname IN
                 ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files')"
        );
        let rows = session.rows("looking for superusers", &sql)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Lets [`Access::checker`] load a table whose owner may not do that himself.
    pub fn admit(&self, table: &TableName, cancel: &Cancel) -> Result<(), PgError> {
        let Some(owners) = &self.owners else {
            return Ok(());
        };
        let _turn = (owners.admitting.lock()).unwrap_or_else(PoisonError::into_inner);
        let joint = quote_ident(&owners.joint.user);
        let sql = format!(
            "GRANT USAGE ON SCHEMA {} TO {joint}; GRANT ALL ON TABLE {} TO {joint}",
            quote_ident(&table.schema),
            table.sql()
        );
        Session::connect(&self.definer, cancel)?
            .simple(&format!("letting the drill load {table}"), &sql)
    }
}

/// `SET search_path` to these schemas; empty text for none.
pub(super) fn search_path(schemas: &[String]) -> String {
    if schemas.is_empty() {
        return String::new();
    }
    let schemas: Vec<String> = schemas.iter().map(|name| quote_ident(name)).collect();
    format!("SET search_path = {}", schemas.join(", "))
}

/// Predefined roles that only look at what the server does ("Predefined Roles").
const LOOK_ONLY: [&str; 4] = [
    "pg_monitor",
    "pg_read_all_settings",
    "pg_read_all_stats",
    "pg_stat_scan_tables",
];

/// What makes `joint` a member of every role, and gives `postgres`, which is a superuser at the source, what it has there
/// by being one: the rows of all others. Its views and functions need that.
fn grants(joint: &str, roles: &[String], predefined: bool) -> String {
    // Predefined roles may do more than the database's own, up to running programs.
    let is_harmless = |role: &str| !role.starts_with("pg_") || LOOK_ONLY.contains(&role);
    let own = || roles.iter().filter(move |role| is_harmless(role));
    let is_superuser = |role: &String| role == "postgres";
    let mut sql = String::new();
    let mut grant = |role: &str, to: &str| {
        sql += &format!("GRANT {} TO {};\n", quote_ident(role), quote_ident(to));
    };
    for role in own() {
        grant(role, joint);
    }
    let (superusers, others): (Vec<_>, Vec<_>) = own().partition(|role| is_superuser(role));
    for superuser in &superusers {
        for role in &others {
            grant(role, superuser);
        }
    }
    for role in superusers.iter().map(|role| role.as_str()).chain([joint]) {
        grant("pg_monitor", role);
    }
    if predefined {
        for role in superusers.into_iter().map(String::as_str).chain([joint]) {
            grant("pg_read_all_data", role);
            grant("pg_write_all_data", role);
        }
    }
    sql
}

impl OwnerLogins {
    fn login(&self, owner: String) -> ConnectSettings {
        ConnectSettings {
            user: owner,
            ..self.joint.clone()
        }
    }

    /// Gives the owners the password of [`OwnerLogins::joint`]: a SCRAM secret does not depend on the name (RFC 5803), so
    /// that it is derived once.
    fn allow_logins<'a>(
        &self,
        session: &mut Session,
        tables_owners: impl Iterator<Item = &'a String>,
    ) -> Result<(), PgError> {
        let doing = "letting the tables' owners log in";
        let sql = format!(
            "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = {}",
            quote_literal(&self.joint.user)
        );
        let rows = session.rows(doing, &sql)?;
        let secret = rows.first().map_or_else(String::new, |row| row.get(0));
        let secret = SecretString::from(quote_literal(&secret));
        let statements: Vec<String> = tables_owners
            .map(|owner| {
                let secret = secret.expose_secret();
                format!(
                    "ALTER ROLE {} LOGIN BYPASSRLS PASSWORD {secret};\n",
                    quote_ident(owner)
                )
            })
            .collect();
        session.simple(doing, &statements.concat())
    }
}

/// The login for each table.
#[derive(Clone, Debug)]
pub struct TableLogins {
    owners: BTreeMap<TableName, Arc<ConnectSettings>>,
    other: ConnectSettings,
    search_path: String,
}

impl TableLogins {
    /// One login for every table.
    pub fn single(login: ConnectSettings) -> Self {
        Self {
            owners: BTreeMap::new(),
            other: login,
            search_path: String::new(),
        }
    }

    /// The statement that sets the `search_path` of the source; empty text where that is not known.
    pub fn search_path(&self) -> &str {
        &self.search_path
    }

    /// The login for a table: its owner's, where owners have logins.
    pub fn of(&self, table: &TableName) -> &ConnectSettings {
        self.owners.get(table).map_or(&self.other, Arc::as_ref)
    }

    /// Another login for it that may be able to do what its owner may not do; `None` where there is no other.
    pub fn instead(&self, table: &TableName) -> Option<&ConnectSettings> {
        self.owners.contains_key(table).then_some(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ThrowawayOptions, ThrowawayServer};

    fn server() -> ThrowawayServer {
        let options = ThrowawayOptions {
            superuser: "boss".into(),
            ..ThrowawayOptions::plain("/tmp")
        };
        ThrowawayServer::start(&options, &Cancel::new()).unwrap()
    }

    #[test]
    fn owners_log_in_as_themselves_and_a_superuser_beside_the_definer_is_noticed() {
        let server = server();
        let (boss, cancel) = (server.settings("postgres"), Cancel::new());
        let mut session = Session::connect(&boss, &cancel).unwrap();
        let made = "CREATE ROLE \"Odd 'one'\"; CREATE ROLE postgres; CREATE SCHEMA s;
            CREATE TABLE s.t (x int); ALTER TABLE s.t OWNER TO \"Odd 'one'\"";
        session.simple("preparing", made).unwrap();
        let roles = ["Odd 'one'", "postgres", "pg_signal_backend"].map(str::to_owned);
        let raised = vec!["postgres".to_owned()];
        let access = Access::of_owners(&boss, &mut session, &roles, raised).unwrap();
        let logins = access.of_tables(&mut session).unwrap();
        let table = TableName::new("s", "t");
        assert_eq!(logins.of(&table).user, "Odd 'one'");
        Session::connect(logins.of(&table), &cancel).unwrap();
        let joint = access.checker();
        let mut checker = Session::connect(joint, &cancel).unwrap();
        let may = |session: &mut Session, role: &str| {
            let sql = format!("SELECT pg_has_role({}, 'USAGE')", quote_literal(role));
            session.rows("asking", &sql).unwrap()[0].get::<_, bool>(0)
        };
        assert!(may(&mut checker, "Odd 'one'"));
        assert!(may(&mut checker, "pg_monitor"));
        assert!(!may(&mut checker, "pg_signal_backend") && !may(&mut checker, "boss"));
        assert_eq!(access.other_superusers(&mut session).unwrap(), [""; 0]);
        access.raise(&mut session, true).unwrap();
        let raised = access.other_superusers(&mut session).unwrap();
        assert!(raised.contains(&"postgres".to_owned()), "{raised:?}");
        access.raise(&mut session, false).unwrap();
        assert_eq!(access.other_superusers(&mut session).unwrap(), [""; 0]);
    }
}
