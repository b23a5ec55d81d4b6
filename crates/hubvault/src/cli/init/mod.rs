//! `hubvault init`: looks at a database, proposes what to back up, and writes a first `hubvault.toml`.

mod ask;
mod found;
mod place;
mod secret_file;
mod arguments;
mod role;
mod proposal;
mod outcome;
mod set_up;

pub(crate) use arguments::InitArgs;
pub(crate) use set_up::set_up;

use super::Exit;
use crate::signals;
use crate::text::complain;
use anyhow::{Context, Result, bail};
use ask::Ask;
use hubvault_config::{Environment, Inputs, Settings};
use hubvault_engine::state::ownership::{ReadOnlyMount, check_trusted};
use hubvault_model::{Cancel, Masks};
use hubvault_postgres::inspect::role_exists;
use hubvault_postgres::{ConnectSettings, Session, inspect};
use hubvault_service::logging;
use outcome::Outcome;
use proposal::Proposal;
use role::{NewRole, owner_settings};
use secrecy::ExposeSecret;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Asks, looks, writes, checks. Nothing is written before the last question is answered.
pub(crate) fn run(variables: &Environment, args: &InitArgs) -> Result<Exit> {
    logging::start_lines(
        tracing::Level::WARN,
        hubvault_config::LogFormat::Text,
        Masks::default(),
    );
    let ask = Ask::new(args.yes);
    let output = std::path::absolute(&args.output).context("asking for the working directory")?;
    refuse_unwritable(&output, args.force)?;
    let cancel = Cancel::new();
    signals::while_asking()?;
    let environment = args.environment(variables);
    let (environment, database, mut session) = connect(environment, ask, &cancel)?;
    let survey = inspect::survey(&mut session)?;
    Ask::say(&proposal::survey_text(&survey))?;
    let mut proposal = Proposal::make(&mut session, survey, environment, args, ask, &output)?;
    let named_owner = named_owner(&proposal, args)?;
    if let Some(owner) = &named_owner {
        // Only a superuser sees whose a role is; and it may be another server's than that of --url.
        session = Session::connect(owner, &cancel)?;
    }
    let role = new_role(&mut session, &proposal, args, ask, &output)?;
    drop(session);
    let owner = owner(&proposal, named_owner, &database, role.as_ref())?;
    if let Some(role) = &role {
        proposal.draft.set("database.user", &role.name);
        proposal.draft.forget_password();
        proposal
            .draft
            .name_secret_file("database.password", &role.password_file);
    }
    Ask::say(&format!("\n{}\n", proposal.draft.text()))?;
    if !ask.confirm(&format!("Write this to {}?", output.display()), true)? {
        bail!("nothing was written");
    }
    let _signals = signals::watch(cancel.clone(), || {})?;
    let mut outcome = Outcome::new(&output, &proposal.survey, proposal.doubts.clone());
    if let Some(role) = role {
        outcome.make_role(
            role,
            owner.as_ref(),
            &database,
            &mut proposal.draft,
            &cancel,
        )?;
    }
    outcome.write(&mut proposal.draft, &proposal.directory, args.force)?;
    outcome.report(variables, &cancel)
}

fn exists(output: &Path) -> String {
    format!(
        "{} exists; `hubvault config check` checks it, --force replaces it, --output names another file",
        output.display()
    )
}

/// Refuses before the first question what would fail after the last one.
fn refuse_unwritable(output: &Path, force: bool) -> Result<()> {
    if output.symlink_metadata().is_ok() && !force {
        bail!(exists(output));
    }
    let directory = output.parent().context("the file is in no directory")?;
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).with_context(|| {
        format!(
            "cannot write to {}; name another file with --output",
            directory.display()
        )
    })?;
    // Every later command would refuse it.
    match check_trusted(output, ReadOnlyMount::Untrusted) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("checking who may write {}", output.display()))
        }
        _ => Ok(()),
    }
}

/// Connects with what the variables and options say; asks for what they do not say.
fn connect(
    mut environment: Environment,
    ask: Ask,
    cancel: &Cancel,
) -> Result<(Environment, ConnectSettings, Session)> {
    let mut is_given = !environment.of_database().is_empty();
    loop {
        if !is_given && ask.is_interactive {
            environment = ask_for_database(environment, ask)?;
        }
        let inputs = Inputs::new(
            environment.only_database(),
            Some(PathBuf::from("/dev/null")),
        );
        let settings = Settings::load(&inputs, None)?;
        // Somebody waits, and may have mistyped.
        let database = ConnectSettings {
            attempts: 1,
            ..settings.job().database.clone()
        };
        match Session::at_source(&database, cancel) {
            Ok(session) => return Ok((environment, database, session)),
            Err(error) if ask.is_interactive && !cancel.is_requested() => {
                complain(&format!("error: {error}"));
                is_given = false;
                environment = environment.without_database();
            }
            Err(error) if is_given => return Err(error.into()),
            Err(error) => {
                let next = "name the database with --url, or set DATABASE_URL or POSTGRES_HOST, POSTGRES_DB and POSTGRES_USER";
                return Err(error).context(next);
            }
        }
    }
}

fn ask_for_database(environment: Environment, ask: Ask) -> Result<Environment> {
    let host = ask.text(
        "Host of the database, or directory of its Unix socket",
        "localhost",
    )?;
    let port = ask.text("Port", "5432")?;
    let name = ask.text("Database", "postgres")?;
    let user = ask.text(
        "Role (a superuser may make one that can only read)",
        "postgres",
    )?;
    let password = ask.password("Password (empty: from ~/.pgpass, or none)")?;
    let mut environment = environment
        .with_setting("POSTGRES_HOST", host)
        .with_setting("POSTGRES_PORT", port)
        .with_setting("POSTGRES_DB", name)
        .with_setting("POSTGRES_USER", user);
    if let Some(password) = password {
        environment = environment.with_setting("POSTGRES_PASSWORD", password.expose_secret());
    }
    Ok(environment)
}

/// The role that is to be made, if one is.
fn new_role(
    session: &mut Session,
    proposal: &Proposal,
    args: &InitArgs,
    ask: Ask,
    output: &Path,
) -> Result<Option<NewRole>> {
    let is_asked_for = args.role.is_some() || args.owner_url.is_some();
    let proposed = args.role.as_deref().unwrap_or(inspect::READER);
    if !is_asked_for {
        let Some(advice) = &proposal.advice else {
            return Ok(None);
        };
        Ask::say(&format!("\n{}\n", advice.problem))?;
        if !ask.is_interactive || !ask.confirm("Use a role that can only read?", true)? {
            return Ok(None);
        }
    }
    loop {
        let name = match &args.role {
            Some(name) => name.clone(),
            None => ask.text("Its name", proposed)?,
        };
        let planned = NewRole::plan(session, &name, output, args.force);
        let is_last = args.role.is_some() || !ask.is_interactive;
        match planned {
            Err(error) if !is_last && role_exists(session, &name)? => {
                Ask::say(&format!("{error:#}\n"))?;
            }
            planned => return planned.map(Some),
        }
    }
}

/// The connection of `--owner-url`.
fn named_owner(proposal: &Proposal, args: &InitArgs) -> Result<Option<ConnectSettings>> {
    let url = args.owner_url.as_deref();
    url.map(|url| owner_settings(url, &proposal.survey.database, &proposal.environment))
        .transpose()
}

/// The connection over which the role is made; `None` if its statements are only printed.
fn owner(
    proposal: &Proposal,
    named_owner: Option<ConnectSettings>,
    database: &ConnectSettings,
    role: Option<&NewRole>,
) -> Result<Option<ConnectSettings>> {
    let Some(role) = role else { return Ok(None) };
    if named_owner.is_some() {
        return Ok(named_owner);
    }
    let what = if role.exists {
        "Give its rights to"
    } else {
        "Make"
    };
    let question = format!(
        "{what} the role {} now, as {}?",
        role.name, proposal.survey.role
    );
    let may = proposal.ask.is_interactive && proposal.survey.may_make_roles;
    let agreed = may && proposal.ask.confirm(&question, true)?;
    Ok(agreed.then(|| database.clone()))
}
