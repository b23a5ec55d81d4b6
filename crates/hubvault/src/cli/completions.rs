//! `hubvault completions`: a completion script, printed or put where the user's shell finds it.

use super::{Cli, Exit};
use crate::answer;
use crate::text::print;
use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use hubvault_config::Environment;
use hubvault_engine::state::file::{self, Durability};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The last line of what `--install` wrote.
const MARK: &str = "# Written by `hubvault completions --install`.";

/// `hubvault completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
    /// Write the script into the directory where bash, zsh or fish looks for those of this user
    #[arg(long)]
    pub(super) install: bool,
    /// With --install: replace a file that hubvault did not write
    #[arg(long, requires = "install")]
    force: bool,
}

/// Prints the script, or installs it and says where.
pub(crate) fn run(environment: &Environment, args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hubvault", &mut script);
    let script = String::from_utf8_lossy(&script);
    if !args.install {
        print(&script)?;
        return Ok(Exit::Done);
    }
    let path = place(environment, args.shell)?;
    if !args.force {
        check_own(&path)?;
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let text = format!("{}\n{MARK}\n", script.trim_end());
    file::replace(&path, text.as_bytes(), 0o644, Durability::Durable)
        .with_context(|| format!("writing {}", path.display()))?;
    if answer::is_json() {
        answer::json(&json!({ "shell": args.shell.to_string(), "file": path }))?;
    } else {
        let next = match args.shell {
            Shell::Zsh => format!(
                "; if ~/.zshrc does not have it yet, add before compinit: fpath=({} $fpath)",
                directory.display()
            ),
            _ => String::new(),
        };
        print(&format!(
            "wrote {}; a new shell reads it{next}\n",
            path.display()
        ))?;
    }
    Ok(Exit::Done)
}

/// Where a shell looks for the completions of a user.
fn place(environment: &Environment, shell: Shell) -> Result<PathBuf> {
    let home = || {
        let home = environment.home();
        home.context("HOME is not set, so the shell's directory is not known; print the script and write it yourself")
    };
    let of = |name: &str, below: &str| match environment.text(name) {
        Some(directory) => Ok(PathBuf::from(directory)),
        None => home().map(|home| home.join(below)),
    };
    Ok(match shell {
        Shell::Bash => match environment.text("BASH_COMPLETION_USER_DIR") {
            Some(directory) => PathBuf::from(directory).join("completions/hubvault"),
            None => {
                of("XDG_DATA_HOME", ".local/share")?.join("bash-completion/completions/hubvault")
            }
        },
        Shell::Fish => of("XDG_CONFIG_HOME", ".config")?.join("fish/completions/hubvault.fish"),
        Shell::Zsh => of("ZDOTDIR", "")?.join(".zfunc/_hubvault"),
        other => bail!(
            "{other} has no directory for completions of a user; `hubvault completions SHELL` prints the script"
        ),
    })
}

/// A file that hubvault did not write, and a link of whatever, stays.
fn check_own(path: &Path) -> Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        meta => meta.with_context(|| format!("looking at {}", path.display()))?,
    };
    let is_ours = || fs::read_to_string(path).is_ok_and(|text| text.trim_end().ends_with(MARK));
    if meta.is_file() && is_ours() {
        return Ok(());
    }
    bail!(
        "{} is there and was not written by hubvault; add --force to replace it",
        path.display()
    )
}
