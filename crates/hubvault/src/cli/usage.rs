//! The arguments read, and what is wrong with them.

use super::Cli;
use anyhow::Result;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use hubvault_config::nearest;

/// Reads the arguments. The nearest command is named only where it is near: three letters of four are not.
pub(crate) fn parse() -> Result<Cli> {
    Cli::try_parse().map_err(|mut error| {
        let written = error.get(ContextKind::InvalidSubcommand).cloned();
        if let Some(ContextValue::String(written)) = written {
            let is_near = |name: &String| !nearest(&written, [name.as_str()]).is_empty();
            let named = error.remove(ContextKind::SuggestedSubcommand);
            if let Some(ContextValue::Strings(mut near)) = named {
                near.retain(is_near);
                if !near.is_empty() {
                    let near = ContextValue::Strings(near);
                    error.insert(ContextKind::SuggestedSubcommand, near);
                }
            }
        }
        error.into()
    })
}

/// Arguments that do not go together.
pub(super) fn wrong<T>(what: &str) -> Result<T> {
    Err(Cli::command()
        .error(ErrorKind::ArgumentConflict, what)
        .into())
}
