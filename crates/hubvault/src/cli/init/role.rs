//! A role that can only read, for the backups.

use super::secret_file;
use anyhow::{Context, Result, bail};
use hubvault_config::{Environment, Inputs, Settings};
use hubvault_model::Cancel;
use hubvault_postgres::inspect::{
    is_password_of_a_role, password_literal, reader_role, role_exists, why_not_ours,
};
use hubvault_postgres::{ConnectSettings, PgError, Session};
use secrecy::{ExposeSecret, SecretString};
use std::path::{Path, PathBuf};

/// A role that is to be made, or only to get its rights.
pub(super) struct NewRole {
    /// Its name.
    pub(super) name: String,
    /// Whether it exists already.
    pub(super) exists: bool,
    /// Its password, which goes into
    password: SecretString,
    /// this file.
    pub(super) password_file: PathBuf,
    force: bool,
    /// The statements that make it, for a superuser.
    pub(super) statements: Vec<String>,
}

impl NewRole {
    /// The role `name` of the session's database, which is that of a superuser where it is made. Its password is in a
    /// file beside the configuration, and is that of an earlier call if that one was interrupted. A role that exists
    /// gets no rights unless it is provably of such a call.
    pub(super) fn plan(
        session: &mut Session,
        name: &str,
        configuration: &Path,
        force: bool,
    ) -> Result<Self> {
        let password_file = secret_file::path(configuration, "database.password");
        let exists = role_exists(session, name)?;
        let mut made = secret_file::made_before(&password_file)?;
        if let Some(password) = &made
            && !exists
            && is_password_of_a_role(session, password.expose_secret())?
        {
            // Somebody else's, which only looks as if it had been made here.
            made = None;
        }
        let password = match made {
            Some(made) => made,
            None if exists => bail!(refusal(
                name,
                &format!(
                    "a password that was made for it is not in {}",
                    password_file.display()
                )
            )),
            None => secret_file::new_password(&password_file, force)?,
        };
        let literal = password_literal(password.expose_secret());
        let literal = Some(literal.as_str()).filter(|_| !exists);
        let role = Self {
            statements: reader_role(session, name, literal)?,
            name: name.to_owned(),
            exists,
            password,
            password_file,
            force,
        };
        role.refuse_of_others(session)?;
        Ok(role)
    }

    /// Refuses a role that exists and is not provably ours.
    fn refuse_of_others(&self, session: &mut Session) -> Result<()> {
        if !self.exists {
            return Ok(());
        }
        match why_not_ours(session, &self.name, self.password.expose_secret())? {
            Some(why) => bail!(refusal(&self.name, why)),
            None => Ok(()),
        }
    }

    /// Writes its password, then makes it, all at once. It is there before the role is: nobody has to set it again.
    pub(super) fn make(&self, owner: &mut Session) -> Result<()> {
        // Since it was planned, somebody was asked.
        self.refuse_of_others(owner)?;
        self.keep_password()?;
        let sql = self.statements.join("\n");
        owner.simple("making the role", &sql).with_context(|| {
            format!(
                "the role {:?} was not made; run its statements as a superuser",
                self.name
            )
        })
    }

    /// Writes its password.
    pub(super) fn keep_password(&self) -> Result<()> {
        secret_file::write(&self.password_file, &self.password, self.force)
    }

    /// Whether it can log in where `as_owner` says; else the host where it can: over a Unix socket most servers want the
    /// user of the system to have the role's name.
    pub(super) fn reachable_host(
        &self,
        as_owner: &ConnectSettings,
        cancel: &Cancel,
    ) -> Result<String, PgError> {
        let mut settings = ConnectSettings {
            user: self.name.clone(),
            password: Some(self.password.clone()),
            passfile: None,
            ..as_owner.clone()
        };
        let Err(first) = Session::connect(&settings, cancel) else {
            return Ok(settings.host);
        };
        if settings.is_local() {
            "localhost".clone_into(&mut settings.host);
            if Session::connect(&settings, cancel).is_ok() {
                return Ok(settings.host);
            }
        }
        Err(first)
    }
}

fn refusal(name: &str, why: &str) -> String {
    format!(
        "the role {name:?} exists and gets no rights: {why}; name another one with --role, or give its connection with \
         --url"
    )
}

/// A superuser's connection to the same database.
pub(super) fn owner_settings(
    url: &str,
    database: &str,
    environment: &Environment,
) -> Result<ConnectSettings> {
    let owner = environment
        .only_database()
        .with_setting("DATABASE_URL", url);
    let settings = Settings::load(&Inputs::new(owner, Some("/dev/null".into())), None)
        .context("reading --owner-url")?;
    Ok(ConnectSettings {
        dbname: database.to_owned(),
        attempts: 1,
        ..settings.job().database.clone()
    })
}
