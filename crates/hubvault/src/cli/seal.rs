//! `hubvault seal check`, and `--identity` of the commands that open archives.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, in_zone, local, print};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use hubvault_archive::{Identities, Recipient};
use hubvault_config::{Administrator, Settings};
use hubvault_engine::catalog::{Answered, Catalog, Standing, standing};
use hubvault_engine::state::StateDir;
use hubvault_engine::state::file::{self, Durability};
use hubvault_model::counted;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Private keys for sealed archives.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// The file of a private key that opens a sealed archive: an age identity, or an SSH key, without
    /// a passphrase; may be given more than once
    #[arg(long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
}

impl IdentityArgs {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// All of them.
    pub(crate) fn read(&self) -> Result<Identities> {
        let mut identities = Identities::none();
        for file in &self.identities {
            identities.add(Identities::read(file)?);
        }
        Ok(identities)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum SealCommand {
    /// List which recipients have shown that they hold their private key
    ///
    /// A recipient is confirmed when an archive is opened with --identity beside this catalog, or by the
    /// answer to a challenge that only that recipient can read.
    #[command(after_long_help = "Examples:
  hubvault seal check
  hubvault show latest --identity key.txt        # confirms the owner of this key
  hubvault seal check --challenge /tmp/challenges
  age -d -i key.txt challenge-1-alice.txt.age    # what the administrator does with it
  hubvault seal check --answer 4f0d...

Exit codes: 0 every recipient is confirmed; 1 failed, or a wrong answer; 2 bad usage or \
configuration; 3 a recipient was never confirmed, or archives are not sealed.")]
    Check(CheckArgs),
}

/// `hubvault seal check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Write a file for each recipient into this directory, with an answer that only they can read
    #[arg(long, value_name = "DIR", conflicts_with = "answer")]
    challenge: Option<PathBuf>,
    /// What a recipient read in such a file, at most 7 days ago
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
}

/// Runs what is asked for.
pub(crate) fn run(settings: &Settings, command: &SealCommand) -> Result<Exit> {
    let SealCommand::Check(args) = command;
    let people: Vec<&Administrator> = settings.administrators().collect();
    let job = settings.job();
    let directory = job.local_directory();
    if !directory.is_dir() {
        bail!(
            "there is no backup directory {}; set BACKUP_DIR",
            directory.display()
        );
    }
    let catalog = Catalog::open(&StateDir::open(directory)?)?;
    let mut said = String::new();
    if let Some(answer) = &args.answer {
        said = take(&catalog, &people, answer)?;
    }
    let mut files = Vec::new();
    if let Some(directory) = &args.challenge {
        files = challenge(&catalog, &people, directory)?;
        for file in &files {
            said += &format!("wrote {}\n", file.display());
        }
        said += "each recipient opens theirs with `age -d -i KEY FILE`; the answer in it goes to \
                 `hubvault seal check --answer TEXT`, within 7 days\n";
    }
    let recipients = &settings.job().seal;
    let table = standing(recipients, &catalog.shown_recipients()?);
    if answer::is_json() {
        let all: Vec<_> = people
            .iter()
            .zip(&table)
            .enumerate()
            .map(|(i, (person, row))| {
                json!({
                    "name": person.name, "key": row.recipient.to_string(),
                    "kind": row.recipient.kind(), "shown_at": row.shown_at,
                    "challenge": files.get(i),
                })
            })
            .collect();
        answer::json(&all)?;
    } else if people.is_empty() {
        print("archives are in the clear: no recipients are configured ([seal] recipients)\n")?;
    } else {
        print(&(said + &check_text(&people, &table, &settings.zone)))?;
    }
    let all_shown = !table.is_empty() && table.iter().all(|row| row.shown_at.is_some());
    Ok(if all_shown {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn check_text(people: &[&Administrator], table: &[Standing], zone: &TimeZone) -> String {
    let rows: Vec<Vec<String>> = people
        .iter()
        .zip(table)
        .map(|(person, row)| {
            vec![
                person.name.clone().unwrap_or_else(|| "-".to_owned()),
                row.recipient.short(),
                row.recipient.kind().to_owned(),
                row.shown_at
                    .map_or_else(|| "never".to_owned(), |at| local(at, zone)),
            ]
        })
        .collect();
    let confirmed = in_zone("confirmed", zone);
    let header = [
        ("recipient", Align::Left),
        ("key", Align::Left),
        ("kind", Align::Left),
        (confirmed.as_str(), Align::Left),
    ];
    columns(&header, &rows)
}

fn take(catalog: &Catalog, people: &[&Administrator], answer: &str) -> Result<String> {
    match catalog.answer(answer, Timestamp::now())? {
        Answered::Shown(key) => {
            let person = people
                .iter()
                .find(|person| person.recipient.to_string() == key);
            Ok(match person {
                Some(person) => format!("{} can open archives\n", person.label()),
                None => format!("{key} can open archives, but is no longer a recipient\n"),
            })
        }
        Answered::Late => bail!(
            "the challenge is more than 7 days old; make a new one with `hubvault seal check \
             --challenge DIR`"
        ),
        Answered::Unknown => bail!(
            "no challenge has this answer, or it was used before; make a new one with `hubvault seal check \
             --challenge DIR`"
        ),
    }
}

/// Writes a file for each recipient, and only that recipient can read it.
fn challenge(
    catalog: &Catalog,
    people: &[&Administrator],
    directory: &Path,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("creating {}", directory.display()))?;
    let mut files = Vec::new();
    for (i, person) in people.iter().enumerate() {
        let answer = catalog.challenge(&person.recipient, Timestamp::now())?;
        let text = format!(
            "You can open the backups that hubvault seals to you. To confirm this, run this command on the \
             machine where hubvault runs, or send the last line to its administrator:\n\n  \
             hubvault seal check --answer {answer}\n\n{answer}\n"
        );
        let name = format!("challenge-{}-{}.txt.age", i + 1, in_name(&person.label()));
        let path = directory.join(name);
        let sealed = person.recipient.seal_text(&text)?;
        file::replace(&path, sealed.as_ref(), 0o644, Durability::Durable)
            .with_context(|| format!("writing {}", path.display()))?;
        files.push(path);
    }
    Ok(files)
}

/// A part of a file's name that is safe in shells and mail programs.
fn in_name(label: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "@._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    label.chars().take(60).map(plain).collect()
}

/// Records whose private keys opened an archive, if this configuration has a catalog. A failure to record is a warning.
pub(crate) fn witness(settings: &Settings, opened_by: &[Recipient]) {
    let job = settings.job();
    let known = opened_by.iter().filter(|key| job.seal.contains(key));
    let known: Vec<String> = known.map(ToString::to_string).collect();
    if known.is_empty() || !StateDir::of(job.state_root()).path().is_dir() {
        return;
    }
    let record = || -> Result<()> {
        let catalog = Catalog::open(&StateDir::open(job.state_root())?)?;
        for key in &known {
            catalog.record_shown(key, Timestamp::now())?;
        }
        Ok(())
    };
    if let Err(error) = record() {
        tracing::warn!("could not record the key check: {error:#}");
    }
}

/// To whom an archive is sealed; empty text for one in the clear.
pub(crate) fn sealed_text(sealed_to: &[String], opened: bool) -> String {
    let recipients = match sealed_to.len() {
        0 => return String::new(),
        many => counted(many as u64, "recipient"),
    };
    let keys: Vec<String> = sealed_to
        .iter()
        .map(|key| {
            key.parse::<Recipient>()
                .map_or_else(|_| key.clone(), |key| key.short())
        })
        .collect();
    let how = if opened {
        ""
    } else {
        "\nnot opened: read from the sidecar (open it with --identity FILE)"
    };
    format!("sealed to {recipients}: {}{how}\n", keys.join(", "))
}
