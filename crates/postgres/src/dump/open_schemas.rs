//! Schemas that are open to everybody while tables get their owners.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{quote_ident, quote_literal};

/// Schemas that everybody may make objects in, while tables get their owners: an owner must be able to.
#[derive(Debug, Default)]
pub(crate) struct OpenSchemas {
    /// Each with its former privileges.
    were: Option<Vec<(u32, Option<String>)>>,
}

impl OpenSchemas {
    /// Opens them, once.
    pub(crate) fn open(&mut self, session: &mut Session) -> Result<(), PgError> {
        if self.were.is_some() {
            return Ok(());
        }
        let doing = "opening the schemas";
        let rows = session.rows(
            doing,
            "SELECT oid, nspname::text, nspacl::text FROM pg_catalog.pg_namespace
             WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
        )?;
        let grant = |row: &postgres::Row| {
            let name = quote_ident(row.get(1));
            format!("GRANT CREATE, USAGE ON SCHEMA {name} TO PUBLIC;\n")
        };
        session.simple(doing, &rows.iter().map(grant).collect::<Vec<_>>().concat())?;
        self.were = Some(rows.iter().map(|row| (row.get(0), row.get(2))).collect());
        Ok(())
    }

    /// Restores their privileges.
    pub(crate) fn close(self, session: &mut Session) -> Result<(), PgError> {
        let literal =
            |acl: Option<String>| acl.map_or_else(|| "NULL".to_owned(), |acl| quote_literal(&acl));
        let schemas = self.were.into_iter().flatten();
        let statements: Vec<String> = schemas
            .map(|(oid, acl)| {
                let acl = literal(acl);
                format!("UPDATE pg_catalog.pg_namespace SET nspacl = {acl}::pg_catalog.aclitem[] WHERE oid = {oid};\n")
            })
            .collect();
        session.simple("closing the schemas", &statements.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ThrowawayOptions, ThrowawayServer};
    use hubvault_model::Cancel;

    fn server() -> ThrowawayServer {
        let options = ThrowawayOptions::plain("/tmp");
        ThrowawayServer::start(&options, &Cancel::new()).unwrap()
    }

    #[test]
    fn schemas_that_were_opened_get_their_privileges_back() {
        let server = server();
        let mut session = Session::connect(&server.settings("postgres"), &Cancel::new()).unwrap();
        let made = "CREATE ROLE \"a, b\"; CREATE SCHEMA \"My \"\"s\"; CREATE SCHEMA plain;
            GRANT USAGE ON SCHEMA \"My \"\"s\" TO \"a, b\"";
        session.simple("preparing", made).unwrap();
        let privileges = |session: &mut Session| {
            let sql = "SELECT nspname::text, nspacl::text FROM pg_catalog.pg_namespace ORDER BY 1";
            let rows = session.rows("asking", sql).unwrap();
            let each = |row: &postgres::Row| (row.get(0), row.get(1));
            rows.iter()
                .map(each)
                .collect::<Vec<(String, Option<String>)>>()
        };
        let before = privileges(&mut session);
        let mut schemas = OpenSchemas::default();
        schemas.open(&mut session).unwrap();
        schemas.open(&mut session).unwrap();
        assert_ne!(privileges(&mut session), before);
        schemas.close(&mut session).unwrap();
        assert_eq!(privileges(&mut session), before);
    }
}
