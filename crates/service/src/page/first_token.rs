//! The first token of an installation: nobody could open the page without one.

use crate::token::{FIRST, Tokens};
use anyhow::{Context, Result, bail};
use hubvault_config::Service;
use hubvault_engine::state::StateDir;
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// As long as 128 random bits in hexadecimal digits.
const SHORTEST: usize = 32;
const LONGEST: usize = 512;

/// Makes it where no token was ever made. Without it the service works as before, so that a failure is only logged.
pub(super) fn make(service: &Service) {
    if let Err(error) = try_make(service) {
        tracing::error!(
            "http: could not make the first token: {error:#}; hubvault token create makes one"
        );
    }
}

fn try_make(service: &Service) -> Result<()> {
    let tokens = Tokens::of(&StateDir::open(&service.directory)?);
    let file = service.first_token_file.as_deref();
    if !tokens.is_new()? {
        return Ok(());
    }
    let given = file.map(read).transpose()?;
    if let Some(text) = tokens.create_first(given.as_ref())? {
        say(file, &text);
    }
    Ok(())
}

/// The tokens of a service that is not set up: those that were made before, or one that is stored once there is a
/// configuration, with its text.
pub(super) fn for_set_up(service: &Service) -> Result<(Tokens, Option<SecretString>)> {
    let known = Tokens::of(&StateDir::of(&service.directory));
    if !known.is_new()? {
        return Ok((known, None));
    }
    let file = service.first_token_file.as_deref();
    let (tokens, text) = Tokens::unstored(file.map(read).transpose()?)?;
    say(file, &text);
    Ok((tokens, Some(text)))
}

fn say(file: Option<&Path>, text: &SecretString) {
    if let Some(file) = file {
        let file = file.display();
        tracing::info!("http: created the token `{FIRST}` (role admin) with the text in {file}");
    } else {
        tracing::warn!(
            "http: no token was ever made, so created the token `{FIRST}` (role admin) to log in with: {}; it is not stored and not \
             shown again. Whoever reads this log can use it: create your own (hubvault token create), then \
             hubvault token revoke {FIRST}",
            text.expose_secret()
        );
    }
}

fn read(path: &Path) -> Result<SecretString> {
    let doing = || format!("reading the first token from {}", path.display());
    let file = File::open(path).with_context(doing)?;
    let mut text = String::new();
    let most = LONGEST as u64 + 2;
    file.take(most)
        .read_to_string(&mut text)
        .with_context(doing)?;
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !(SHORTEST..=LONGEST).contains(&text.len()) || !is_plain {
        bail!(
            "{} does not hold a token: {SHORTEST} to {LONGEST} letters, digits and signs in one line; \
             `openssl rand -hex 32` makes one",
            path.display()
        );
    }
    Ok(text.to_owned().into())
}
