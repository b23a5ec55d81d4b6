//! Writes what was decided, and shows that it works: the check of the configuration, and a dry run.

use super::super::config::check_text;
use super::super::consequences::consequences;
use super::super::plan::{plan_json, plan_text};
use super::role::NewRole;
use super::{Exit, exists, place, secret_file};
use crate::answer;
use crate::screen::bullets;
use crate::text::{plain, print};
use anyhow::{Context, Result, bail};
use hubvault_config::{Draft, Environment, Inputs, Settings};
use hubvault_engine::backup;
use hubvault_engine::state::file::{Durability, create, replace};
use hubvault_model::Cancel;
use hubvault_postgres::inspect::Survey;
use hubvault_postgres::{ConnectSettings, Session};
use serde_json::json;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) struct Outcome {
    output: PathBuf,
    secret_files: Vec<PathBuf>,
    /// The role, and whether its statements were run.
    role: Option<(NewRole, bool)>,
    warnings: Vec<String>,
    data_directory: Option<PathBuf>,
}

impl Outcome {
    pub(super) fn new(output: &Path, survey: &Survey, warnings: Vec<String>) -> Self {
        Self {
            output: output.to_owned(),
            secret_files: Vec::new(),
            role: None,
            warnings,
            data_directory: survey.data_directory.as_ref().map(PathBuf::from),
        }
    }

    /// Makes the role over the owner's connection; without one its statements are shown at the end.
    pub(super) fn make_role(
        &mut self,
        role: NewRole,
        owner: Option<&ConnectSettings>,
        database: &ConnectSettings,
        draft: &mut Draft,
        cancel: &Cancel,
    ) -> Result<()> {
        match owner {
            Some(owner) => {
                role.make(&mut Session::connect(owner, cancel)?)?;
                let host = role.reachable_host(database, cancel).with_context(|| {
                    format!(
                        "the role {:?} {}, and cannot log in; allow it in pg_hba.conf and run this command again",
                        role.name,
                        if role.exists { "has its rights" } else { "was made" }
                    )
                })?;
                draft.set("database.host", &host);
            }
            None => role.keep_password()?,
        }
        self.secret_files.push(role.password_file.clone());
        self.role = Some((role, owner.is_some()));
        Ok(())
    }

    /// Writes the secrets, then the file that names them, and makes the directory for archives.
    pub(super) fn write(&mut self, draft: &mut Draft, directory: &Path, force: bool) -> Result<()> {
        for (key, secret) in draft.take_secrets() {
            let path = secret_file::path(&self.output, key);
            secret_file::write(&path, &secret, force)?;
            draft.name_secret_file(key, &path);
            self.secret_files.push(path);
        }
        place::make(directory)?;
        let (output, text) = (&self.output, draft.text());
        let written = if force {
            replace(output, text.as_bytes(), 0o600, Durability::Durable)
        } else {
            create(output, text.as_bytes(), 0o600)
        };
        match written {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(exists(output)),
            done => done.with_context(|| format!("writing {}", output.display())),
        }
    }

    /// What `config check` and a dry run say of the file, read as any later command reads it.
    pub(super) fn report(mut self, variables: &Environment, cancel: &Cancel) -> Result<Exit> {
        let alone = variables.clone().without_settings();
        let settings = Settings::load(&Inputs::new(alone, Some(self.output.clone())), None)
            .with_context(|| format!("{} was written and is not right", self.output.display()))?;
        let job = settings.job();
        let in_force = variables.of_database();
        if !in_force.is_empty() {
            self.warnings.push(format!(
                "{} set in this shell, and win over the file: unset them",
                in_force.join(", ") + if in_force.len() == 1 { " is" } else { " are" }
            ));
        }
        let to_run = match &self.role {
            Some((role, false)) => role.statements.clone(),
            _ => Vec::new(),
        };
        let planned = match to_run.is_empty().then(|| backup::plan(job, cancel)) {
            Some(Ok(planned)) => Some(planned),
            Some(Err(error)) if cancel.is_requested() => return Err(error.into()),
            // Such as an empty database. The file is right all the same.
            Some(Err(error)) => {
                self.warnings.push(format!("the dry run failed: {error}"));
                None
            }
            None => None,
        };
        let said = consequences(job, self.data_directory.as_deref());
        let is_doubtful = planned.as_ref().is_some_and(|(plan, warnings)| {
            !warnings.is_empty() || !plan.privileges.is_empty() || plan.advice.is_some()
        });
        let is_fine = self.warnings.is_empty() && said.is_empty() && settings.notices.is_empty();
        if answer::is_json() {
            let role = self.role.as_ref();
            answer::json(&json!({
                "file": self.output,
                "secret_files": self.secret_files,
                "role": role.map(|(role, done)| json!({
                    "name": role.name,
                    "made": *done && !role.exists,
                    "rights_given": done,
                })),
                "statements": to_run,
                "warnings": self.warnings.iter().chain(&settings.notices).chain(&said).collect::<Vec<_>>(),
                "plan": planned.as_ref().map(|(plan, warnings)| plan_json(job, plan, warnings)),
            }))?;
        } else {
            let takes_rows = (planned.as_ref()).is_some_and(|(plan, _)| !plan.tables.is_empty());
            let plan = planned
                .as_ref()
                .map(|(plan, warnings)| plan_text(job, plan, warnings));
            print(&self.text(
                &check_text(&settings, &said),
                &to_run,
                plan.as_deref(),
                takes_rows,
            ))?;
        }
        let is_done = to_run.is_empty() && !is_doubtful && is_fine;
        Ok(if is_done { Exit::Done } else { Exit::Warnings })
    }

    /// What was written, in lines.
    pub(super) fn written(&self) -> Vec<String> {
        let secrets = self.secret_files.iter();
        let secrets =
            secrets.map(|path| format!("wrote {}, for its owner alone", plain(path.display())));
        let file = format!("wrote {}", plain(self.output.display()));
        std::iter::once(file).chain(secrets).collect()
    }

    fn text(&self, check: &str, to_run: &[String], plan: Option<&str>, takes_rows: bool) -> String {
        let mut out = self.written().join("\n") + "\n";
        if let Some((role, true)) = &self.role {
            let what = if role.exists {
                "gave rights to"
            } else {
                "made"
            };
            out += &format!(
                "{what} the role {}, which can only read\n",
                plain(&role.name)
            );
        }
        out += &format!("\n{check}");
        out += &bullets(self.warnings.iter().cloned());
        if let Some(plan) = plan {
            out += &format!("\n{plan}");
        }
        let config = match self.output.file_name().and_then(|name| name.to_str()) {
            Some("hubvault.toml") => String::new(),
            _ => format!(" --config {}", plain(self.output.display())),
        };
        if to_run.is_empty() && !takes_rows {
            return out
                + &format!(
                    "\nNo rows of any table would be taken. Change that, then: hubvault{config} backup --dry-run\n"
                );
        }
        if to_run.is_empty() {
            return out + &format!("\nNext: hubvault{config} backup\n");
        }
        out += "\nRun this in the database as a superuser (the password is given as its hash):\n";
        for statement in to_run {
            out += &format!("  {}\n", plain(statement));
        }
        out + &format!("\nThen: hubvault{config} backup --dry-run\n")
    }
}
