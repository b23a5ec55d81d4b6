//! Errors on a host on which nothing is configured yet.

use crate::cli::Cli;
use hubvault_config::{Environment, Inputs, is_nothing_configured};
use hubvault_engine::catalog::CatalogError;

/// An error with the cause that nothing is configured, where the default directory led to it. A server that does not
/// answer may have been named by an argument, and what a service starts is configured by its standard input.
pub(crate) fn explained(error: anyhow::Error, cli: &Cli) -> anyhow::Error {
    let mut chain = error.chain();
    let is_of_directory =
        chain.any(|it| matches!(it.downcast_ref(), Some(CatalogError::NoDirectory { .. })));
    let inputs = Inputs::new(Environment::of_process(), cli.config.clone());
    if is_of_directory && !cli.is_of_service() && is_nothing_configured(&inputs) {
        return error.context(
            "nothing is configured: there is no configuration file, and no variable names a database; \
             hubvault init writes a configuration",
        );
    }
    error
}
