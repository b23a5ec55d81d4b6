//! Policies while a drill fills materialized views.

use crate::connect::session::Session;
use crate::dump::access::Access;
use crate::error::PgError;
use hubvault_model::{Cancel, quote_ident, quote_literal};

impl Access {
    /// Runs `work` while policies bind these roles as at the source: otherwise a drill would fill views that a restore
    /// cannot fill. The owners' logins pass policies at all other times, as they load and read all rows.
    pub fn bound_by_policies<T, E: From<PgError>>(
        &self,
        roles: &[String],
        cancel: &Cancel,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if !self.is_split() || roles.is_empty() {
            return work();
        }
        let doing = "binding the owners of views by policies";
        let mut session = Session::connect(self.definer(), cancel)?;
        let names: Vec<String> = roles.iter().map(|role| quote_literal(role)).collect();
        let sql = format!(
            "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolbypassrls AND NOT rolsuper AND rolname IN ({})",
            names.join(", ")
        );
        let there = session.rows(doing, &sql)?;
        let alter = |attribute: &str| {
            let statement = |row: &postgres::Row| {
                let role = quote_ident(&row.get::<_, String>(0));
                format!("ALTER ROLE {role} {attribute};\n")
            };
            there.iter().map(statement).collect::<Vec<_>>().concat()
        };
        session.simple(doing, &alter("NOBYPASSRLS"))?;
        let done = work();
        session.simple(doing, &alter("BYPASSRLS"))?;
        done
    }
}
