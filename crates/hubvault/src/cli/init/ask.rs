//! Questions on a terminal. Where there is none, the answer is the default.

use crate::answer;
use crate::signals;
use crate::text::print;
use anyhow::{Result, anyhow};
use dialoguer::{Confirm, Input, MultiSelect, Password};
use secrecy::SecretString;
use std::io::{self, IsTerminal};

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Whether somebody is there to answer.
    pub(super) is_interactive: bool,
}

/// Ctrl-C, or a terminal that was closed. Nothing is written before the last answer.
fn stopped(error: dialoguer::Error) -> anyhow::Error {
    let dialoguer::Error::IO(error) = error;
    match error.kind() {
        io::ErrorKind::Interrupted => {
            signals::interrupted_a_question();
            anyhow!("stopped; nothing was written")
        }
        _ => anyhow!(error)
            .context("reading an answer from the terminal (with --yes nothing is asked)"),
    }
}

impl Ask {
    /// A person, if this is a terminal and `yes` does not mean that all is agreed.
    pub(super) fn new(yes: bool) -> Self {
        let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self {
            is_interactive: is_terminal && !yes && !answer::is_json(),
        }
    }

    /// Shows what was found, unless a program reads.
    pub(super) fn say(text: &str) -> Result<()> {
        if !answer::is_json() {
            print(text)?;
        }
        Ok(())
    }

    /// A line of text; the default is shown.
    pub(super) fn text(self, question: &str, default: &str) -> Result<String> {
        if !self.is_interactive {
            return Ok(default.to_owned());
        }
        let mut input = Input::<String>::new()
            .with_prompt(question)
            .allow_empty(true);
        if !default.is_empty() {
            input = input.default(default.to_owned());
        }
        let text = input.interact_text().map_err(stopped)?;
        Ok(text.trim().to_owned())
    }

    /// A password, which is not shown; `None` for none.
    pub(super) fn password(self, question: &str) -> Result<Option<SecretString>> {
        if !self.is_interactive {
            return Ok(None);
        }
        let input = Password::new().with_prompt(question);
        let text = input
            .allow_empty_password(true)
            .interact()
            .map_err(stopped)?;
        Ok(Some(text)
            .filter(|text| !text.is_empty())
            .map(SecretString::from))
    }

    /// Yes or no.
    pub(super) fn confirm(self, question: &str, default: bool) -> Result<bool> {
        if !self.is_interactive {
            return Ok(default);
        }
        let input = Confirm::new().with_prompt(question).default(default);
        input.interact().map_err(stopped)
    }

    /// Which of these; none by default.
    pub(super) fn pick(self, question: &str, items: &[String]) -> Result<Vec<usize>> {
        if !self.is_interactive || items.is_empty() {
            return Ok(Vec::new());
        }
        let input = MultiSelect::new().with_prompt(question).items(items);
        input.interact().map_err(stopped)
    }
}
