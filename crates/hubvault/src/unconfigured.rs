//! Errors on a host on which nothing is configured yet.

use crate::cli::Cli;
use hubvault_config::{Environment, Inputs, is_nothing_configured};
use hubvault_engine::catalog::CatalogError;
use hubvault_postgres::PgError;

/// An error with the cause that nothing is configured, where the defaults led to it.
pub(crate) fn explained(error: anyhow::Error, cli: &Cli) -> anyhow::Error {
    let is_of_defaults = error.chain().any(|it| {
        matches!(it.downcast_ref(), Some(CatalogError::NoDirectory { .. }))
            || matches!(it.downcast_ref(), Some(PgError::Unreachable { .. }))
    });
    let inputs = Inputs::new(Environment::of_process(), cli.config.clone());
    if is_of_defaults && is_nothing_configured(&inputs) {
        return error.context(
            "nothing is configured: there is no configuration file, and no variable names a database; \
             hubvault init writes a configuration",
        );
    }
    error
}
