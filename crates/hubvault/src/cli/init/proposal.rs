//! What the configuration is to say, of what was found and what is answered.

use super::ask::Ask;
use super::{InitArgs, found, place};
use crate::screen::{Align, columns};
use crate::text::{complain, plain};
use anyhow::{Context, Result};
use hubvault_config::{Draft, DraftFile, DraftWindow, Environment, Inputs, Settings};
use hubvault_model::{ByteSize, TableName, counted};
use hubvault_postgres::inspect::{GrowingTable, Survey, SurveyedTable, growing};
use hubvault_postgres::{Advice, Session, advice};
use secrecy::ExposeSecret;
use std::path::{Path, PathBuf};

/// How much of a large table is proposed.
const LENGTH: &str = "3 months";
/// How many tables the survey shows.
const SHOWN: usize = 8;

pub(super) struct Proposal {
    pub(super) ask: Ask,
    pub(super) survey: Survey,
    /// The variables, with what was answered.
    pub(super) environment: Environment,
    pub(super) draft: Draft,
    /// Where archives go.
    pub(super) directory: PathBuf,
    /// What may be intended, and may be a mistake.
    pub(super) doubts: Vec<String>,
    /// Rights of the role that a backup does not need.
    pub(super) advice: Option<Advice>,
}

/// Which database it is, in a line.
pub(super) fn survey_line(survey: &Survey) -> String {
    let size = survey
        .bytes
        .map_or_else(String::new, |bytes| format!(", {}", ByteSize(bytes)));
    format!(
        "{} on PostgreSQL {}, seen as {}: {}{size}",
        plain(&survey.database),
        plain(&survey.server_version),
        plain(&survey.role),
        counted(survey.tables.len() as u64, "table"),
    )
}

/// What the database holds, in a few lines.
pub(super) fn survey_text(survey: &Survey) -> String {
    let mut out = survey_line(survey) + "\n";
    let unreadable = survey
        .tables
        .iter()
        .filter(|table| !table.is_readable)
        .count();
    if unreadable > 0 {
        let tables = counted(unreadable as u64, "table");
        out += &format!(
            "{tables} cannot be read by {}; what to grant is said below\n",
            plain(&survey.role)
        );
    }
    let largest = survey.tables.iter().take(SHOWN);
    let rows: Vec<Vec<String>> = largest
        .map(|table| {
            let of = table
                .extension
                .as_ref()
                .map(|name| format!(" (of the extension {name})"));
            vec![
                table.name.to_string() + &of.unwrap_or_default(),
                ByteSize(table.bytes).to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out += &columns(
            &[("largest tables", Align::Left), ("size", Align::Right)],
            &rows,
        );
    }
    out
}

impl Proposal {
    pub(super) fn make(
        session: &mut Session,
        survey: Survey,
        environment: Environment,
        args: &InitArgs,
        ask: Ask,
        output: &Path,
    ) -> Result<Self> {
        let here = std::env::current_dir().context("asking for the working directory")?;
        let beside = output.parent().unwrap_or(&here).to_owned();
        let advice = advice(session)?;
        let tables = patterns(
            ask,
            "Tables to back up, as patterns (* is all)",
            &args.scope,
        )?;
        let exclude = patterns(ask, "Tables to leave out (empty: none)", &args.exclude)?;
        let windows = windows(session, &survey, args, ask)?;
        let wanted: Vec<PathBuf> = args.file.iter().map(|path| here.join(path)).collect();
        let files = files(found::files(&[here.clone(), beside.clone()], &wanted), ask)?;
        let mut doubts = Vec::new();
        let (environment, directory) =
            directory(environment, &survey, ask, &here, &beside, &mut doubts)?;
        let (environment, settings) = people(&environment, ask)?;
        let mut draft = Draft::of(&settings, &environment, &here);
        let is_sealed = !settings.job().seal.is_empty();
        if settings.job().delivery.mail.is_some() && !is_sealed && !draft.says("email.attach") {
            draft.set("email.attach", "sealed");
        }
        for file in files
            .iter()
            .filter(|file| file.is_wanted && file.has_secrets && !is_sealed)
        {
            doubts.push(format!(
                "{} probably holds passwords, and archives are not encrypted; name who can open them with --recipient",
                file.source.display()
            ));
        }
        draft.tables = tables;
        draft.exclude = exclude;
        draft.windows = windows;
        draft.files = files;
        Ok(Self {
            ask,
            survey,
            environment,
            draft,
            directory,
            doubts,
            advice,
        })
    }
}

fn patterns(ask: Ask, question: &str, default: &[String]) -> Result<Vec<String>> {
    if !ask.is_interactive {
        return Ok(default.to_vec());
    }
    let text = ask.text(question, &default.join(","))?;
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    Ok(items.map(str::to_owned).collect())
}

/// Proposes windows, and never takes one unasked: what is outside of a window is not in the archive.
fn windows(
    session: &mut Session,
    survey: &Survey,
    args: &InitArgs,
    ask: Ask,
) -> Result<Vec<DraftWindow>> {
    let large = args.large_mb.saturating_mul(1 << 20);
    let is_large = |table: &&SurveyedTable| {
        table.bytes >= large && table.is_readable && table.extension.is_none()
    };
    let large: Vec<&SurveyedTable> = survey.tables.iter().filter(is_large).collect();
    let names: Vec<TableName> = large.iter().map(|table| table.name.clone()).collect();
    let mut windows = Vec::new();
    for GrowingTable {
        name,
        column,
        reason,
    } in growing(session, &names)?
    {
        let bytes = large
            .iter()
            .find(|table| table.name == name)
            .map_or(0, |table| table.bytes);
        let reason = format!(
            "{name}, {}, seems only to grow; {column} {reason}",
            ByteSize(bytes)
        );
        let question = format!("{}. Take only its recent rows?", plain(&reason));
        let is_wanted = args.windows.is_some() || ask.confirm(&question, false)?;
        let default = args.windows.as_deref().unwrap_or(LENGTH);
        let length = if is_wanted && args.windows.is_none() {
            ask.text("How far back", default)?
        } else {
            default.to_owned()
        };
        windows.push(DraftWindow {
            table: name,
            column,
            length,
            reason,
            is_wanted,
        });
    }
    Ok(windows)
}

fn files(mut found: Vec<DraftFile>, ask: Ask) -> Result<Vec<DraftFile>> {
    let open: Vec<usize> = (0..found.len())
        .filter(|at| !found[*at].is_wanted)
        .collect();
    let items: Vec<String> = open
        .iter()
        .map(|at| {
            let note = if found[*at].has_secrets {
                " (probably holds passwords)"
            } else {
                ""
            };
            format!("{}{note}", plain(found[*at].source.display()))
        })
        .collect();
    let question = "Files to back up, too (space selects, enter ends)";
    for picked in ask.pick(question, &items)? {
        found[open[picked]].is_wanted = true;
    }
    Ok(found)
}

fn directory(
    environment: Environment,
    survey: &Survey,
    ask: Ask,
    here: &Path,
    beside: &Path,
    doubts: &mut Vec<String>,
) -> Result<(Environment, PathBuf)> {
    let given = environment.text("BACKUP_DIR").map(PathBuf::from);
    let default = given.unwrap_or_else(|| place::default_directory(beside));
    loop {
        let text = ask.text("Directory for archives", &default.display().to_string())?;
        let directory = here.join(text);
        match place::check(&directory, survey.bytes) {
            Ok(found) => {
                doubts.extend(found);
                let text = directory.display().to_string();
                return Ok((environment.with_setting("BACKUP_DIR", text), directory));
            }
            Err(error) if ask.is_interactive => complain(&format!("error: {error:#}")),
            Err(error) => return Err(error),
        }
    }
}

/// Asks who is notified and who can open archives, until what is answered is right.
fn people(environment: &Environment, ask: Ask) -> Result<(Environment, Settings)> {
    loop {
        let answered = if ask.is_interactive {
            ask_for_people(environment.clone(), ask)?
        } else {
            environment.clone()
        };
        let inputs = Inputs::new(answered.clone(), Some(PathBuf::from("/dev/null")));
        match Settings::load(&inputs, None) {
            Ok(settings) => return Ok((answered, settings)),
            Err(error) if ask.is_interactive => complain(&format!("error: {error}")),
            Err(error) => return Err(error.into()),
        }
    }
}

fn ask_for_people(mut environment: Environment, ask: Ask) -> Result<Environment> {
    let questions = [
        (
            "Who can open archives: public keys of age or SSH, with commas (empty: not encrypted)",
            "BACKUP_RECIPIENTS",
            "",
        ),
        (
            "How many days archives are kept",
            "BACKUP_RETENTION_DAYS",
            "30",
        ),
        (
            "When `hubvault serve` takes a backup (cron)",
            "BACKUP_SCHEDULE",
            "0 2 * * *",
        ),
        (
            "Mail addresses of who is notified, with commas (empty: none)",
            "ADMIN_EMAILS",
            "",
        ),
    ];
    let mail = [
        ("Mail server", "SMTP_HOST", "localhost"),
        ("Its port", "SMTP_PORT", "587"),
        (
            "Its security: starttls, tls or none",
            "SMTP_SECURITY",
            "starttls",
        ),
        ("The mail is from", "SMTP_FROM", ""),
        ("Its login (empty: none)", "SMTP_USER", ""),
    ];
    for (question, name, default) in questions {
        environment = answer(environment, ask, question, name, default)?;
    }
    if environment.text("ADMIN_EMAILS").is_none() {
        return Ok(environment);
    }
    for (question, name, default) in mail {
        environment = answer(environment, ask, question, name, default)?;
    }
    let has_password = environment
        .text("SMTP_PASS")
        .or(environment.text("SMTP_PASS_FILE"))
        .is_some();
    if environment.text("SMTP_USER").is_some()
        && !has_password
        && let Some(password) = ask.password("Its password")?
    {
        environment = environment.with_setting("SMTP_PASS", password.expose_secret());
    }
    Ok(environment)
}

fn answer(
    environment: Environment,
    ask: Ask,
    question: &str,
    name: &str,
    default: &str,
) -> Result<Environment> {
    let known = environment.text(name).unwrap_or(default).to_owned();
    let text = ask.text(question, &known)?;
    Ok(environment.with_setting(name, text))
}
