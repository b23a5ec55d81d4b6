//! `hubvault token`: API tokens.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, complain, in_zone, local, print};
use anyhow::Result;
use clap::Subcommand;
use hubvault_config::Settings;
use hubvault_engine::state::StateDir;
use hubvault_service::token::{Role, Tokens};
use jiff::tz::TimeZone;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print it; it is not stored and cannot be shown again
    #[command(after_long_help = "Examples:
  hubvault token create prometheus --role read
  hubvault token create deploy --role operate > /run/secrets/hubvault_token

Exit codes: 0 made; 1 not; 2 bad usage or configuration.")]
    Create {
        /// Its name: letters, digits and . _ - @
        name: String,
        /// Its role: read (everything but secrets), operate (start runs, make links), admin (configure)
        #[arg(long, value_enum)]
        role: Role,
    },
    /// List the tokens, without their text
    List,
    /// Revoke a token, effective at once
    Revoke {
        /// Its name
        name: String,
    },
}

/// Creates, lists or revokes tokens.
pub(crate) fn run(settings: &Settings, command: &TokenCommand) -> Result<Exit> {
    let tokens = Tokens::of(&StateDir::open(&settings.service.directory)?);
    match command {
        TokenCommand::Create { name, role } => {
            let text = tokens.create(name, *role)?;
            if answer::is_json() {
                answer::json(&json!({ "name": name, "role": role, "token": text }))?;
            } else {
                print(&format!("{text}\n"))?;
            }
            // Not on standard output, which may go into a file.
            complain(
                "The token is shown only this once. Use it like this:\n  curl -H \"Authorization: Bearer $TOKEN\" \
                 http://127.0.0.1:PORT/backup/status",
            );
        }
        TokenCommand::List if answer::is_json() => {
            let all: Vec<_> = tokens
                .list()?
                .iter()
                .map(|token| json!({"name": token.name, "role": token.role, "created_at": token.created_at}))
                .collect();
            answer::json(&all)?;
        }
        TokenCommand::List => print(&table(&tokens, &settings.zone)?)?,
        TokenCommand::Revoke { name } => {
            tokens.revoke(name)?;
            if answer::is_json() {
                answer::json(&json!({ "name": name, "revoked": true }))?;
            } else {
                print(&format!("revoked the token {name}\n"))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn table(tokens: &Tokens, zone: &TimeZone) -> Result<String> {
    let rows: Vec<Vec<String>> = tokens
        .list()?
        .into_iter()
        .map(|token| {
            let at = local(token.created_at, zone);
            vec![token.name, token.role.as_str().to_owned(), at]
        })
        .collect();
    if rows.is_empty() {
        return Ok(
            "no tokens; create one with hubvault token create NAME --role read\n".to_owned(),
        );
    }
    let created = in_zone("created", zone);
    let header = [
        ("name", Align::Left),
        ("role", Align::Left),
        (created.as_str(), Align::Left),
    ];
    Ok(columns(&header, &rows))
}
