//! Sessions that have what ordinary sessions of the source have, for code of its owners.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::dump::access::{Access, search_path};
use crate::error::PgError;
use crate::inspect::WITH_SETTINGS;
use hubvault_model::{Cancel, quote_literal};
use std::collections::BTreeMap;

impl Access {
    /// With the schemas of the source's `search_path`.
    #[must_use]
    pub fn with_search_path(mut self, schemas: &[String]) -> Self {
        self.search_path = schemas.to_vec();
        self
    }

    /// With settings of the source that change no meaning of an archive's rows, but what functions make of them. One that
    /// this server does not know is left out: it has its own.
    pub fn with_settings(
        mut self,
        session: &mut Session,
        settings: &BTreeMap<String, String>,
    ) -> Result<Self, PgError> {
        let set = |name: &str, value: &String, local: bool| {
            let (name, value) = (quote_literal(name), quote_literal(value));
            format!("SELECT pg_catalog.set_config({name}, {value}, {local});\n")
        };
        for name in WITH_SETTINGS {
            let Some(value) = settings.get(name) else {
                continue;
            };
            // It ends with its statement.
            match session.simple("trying a setting of the source", &set(name, value, true)) {
                Ok(()) => self.settings += &set(name, value, false),
                Err(error @ PgError::Query { .. }) if !error.is_environment() => {
                    tracing::warn!("{error}; functions that read {name} may compute other values");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self)
    }

    /// A session of a login with the source's settings.
    pub fn session(&self, login: &ConnectSettings, cancel: &Cancel) -> Result<Session, PgError> {
        let mut session = Session::connect(login, cancel)?;
        if !self.settings.is_empty() {
            session.simple("setting what the source has", &self.settings)?;
        }
        Ok(session)
    }

    /// The same with its `search_path`, too.
    pub fn as_at_source(
        &self,
        login: &ConnectSettings,
        cancel: &Cancel,
    ) -> Result<Session, PgError> {
        let mut session = self.session(login, cancel)?;
        let set = search_path(&self.search_path);
        session.simple("setting the search_path of the source", &set)?;
        Ok(session)
    }
}
