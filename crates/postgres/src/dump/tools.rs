//! Finds the programs of `PostgreSQL` by version and runs them.

use crate::connect::settings::ConnectSettings;
use crate::dump::ending::end;
use crate::dump::hidden_options::without_passwords;
use crate::dump::program_version::{fixed_in, older_than_server};
use crate::dump::search_path::{on_path, package_directories, started_as};
use crate::dump::streams::talk;
use crate::error::PgError;
use hubvault_model::{Cancel, one_line};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use secrecy::ExposeSecret;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A program and its version.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) path: PathBuf,
    pub(crate) major: u32,
    pub(crate) version: String,
}

impl Tool {
    /// What there is to warn about it, beside a server of this version (150018).
    pub(crate) fn warnings(&self, program: &str, server: u32) -> Vec<String> {
        let unfixed = fixed_in(&self.version).map(|fixed| {
            format!(
                "{program} {} lacks the security fixes of August 2025 and is permitted by database.old_programs; \
                 install {fixed} or newer",
                self.version
            )
        });
        let older = older_than_server(program, &self.version, server);
        unfixed.into_iter().chain(older).collect()
    }
}

/// `pg_dump` or `pg_restore`; one that lacks security fixes is an error unless `old_programs` permits it.
pub(crate) fn find_client(
    program: &str,
    min_major: u32,
    old_programs: bool,
) -> Result<Tool, PgError> {
    let tool = find(program, min_major)?;
    match fixed_in(&tool.version) {
        Some(fixed) if !old_programs => Err(lacks_fixes(program, &tool, &fixed)),
        _ => Ok(tool),
    }
}

/// The program on the PATH if it is at least of major version `min_major`, else the oldest that
/// is, of those that packages installed.
fn find(program: &str, min_major: u32) -> Result<Tool, PgError> {
    let on_path = version_of(&started_as(program));
    if let Some(tool) = on_path.clone().filter(|tool| tool.major >= min_major) {
        return Ok(tool);
    }
    let mut others: Vec<Tool> = package_directories()
        .iter()
        .filter_map(|directory| version_of(&directory.join(program)))
        .collect();
    others.sort_by_key(|tool| tool.major);
    if let Some(tool) = others.iter().find(|tool| tool.major >= min_major) {
        return Ok(tool.clone());
    }
    let found: Vec<&str> = on_path
        .iter()
        .chain(&others)
        .map(|t| t.version.as_str())
        .collect();
    let found = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    Err(PgError::Tool {
        program: program.to_owned(),
        why: format!(
            "version {min_major} or newer is needed and was not found (found: {found}); install \
             it, on Debian with: apt-get install postgresql-client-{min_major}"
        ),
    })
}

fn lacks_fixes(program: &str, tool: &Tool, fixed: &str) -> PgError {
    let (version, major) = (&tool.version, tool.major);
    PgError::Tool {
        program: program.to_owned(),
        why: format!(
            "version {version} lacks the security fixes of August 2025 (CVE-2025-8714, CVE-2025-8715: a name in the \
             database can run commands on the machine that restores); install {fixed} or newer, on Debian with: \
             apt-get install --only-upgrade postgresql-client-{major}, or permit it with database.old_programs = true \
             (POSTGRES_OLD_PROGRAMS=true)"
        ),
    }
}

/// `postgres` of at least this major version, by the path that has `initdb` beside it: it is not on
/// the PATH on Debian, and is looked for where packages put it.
pub(crate) fn find_server(min_major: u32) -> Result<Tool, PgError> {
    let tool = find("postgres", min_major)?;
    // A bare name or a link leads to the directory that has initdb beside it.
    let path = if tool.path.is_absolute() {
        Some(tool.path.clone())
    } else {
        on_path(&tool.path)
    };
    let path = path
        .and_then(|path| path.canonicalize().ok())
        .ok_or_else(|| PgError::Tool {
            program: "postgres".into(),
            why: "was found on the PATH but its directory was not".into(),
        })?;
    Ok(Tool { path, ..tool })
}

/// `postgres` of one directory.
pub(crate) fn server_in(directory: &Path) -> Result<Tool, PgError> {
    version_of(&directory.join("postgres")).ok_or_else(|| PgError::Tool {
        program: "postgres".into(),
        why: format!("is not in {}, or does not run", directory.display()),
    })
}

fn version_of(path: &Path) -> Option<Tool> {
    let mut command = Command::new(path);
    bare(&mut command);
    let output = command
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text
        .split_once(") ")?
        .1
        .split_whitespace()
        .next()?
        .to_owned();
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some(Tool {
        path: path.to_owned(),
        major: digits.parse().ok()?,
        version,
    })
}

/// Variables that would change what a program does ("Environment Variables").
const INHERITED: &[&str] = &[
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGSSLMODE",
    "PGREQUIRESSL",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGREQUIREPEER",
    "PGTARGETSESSIONATTRS",
    "PGCLIENTENCODING",
    "PGDATESTYLE",
    "PGTZ",
    "PGGEQO",
    "PGCONNECT_TIMEOUT",
    "PGCHANNELBINDING",
    "PGKRBSRVNAME",
    "PGGSSLIB",
    "PGGSSENCMODE",
    "PGGSSDELEGATION",
    "PGREALM",
    "PGSYSCONFDIR",
    "PGREQUIREAUTH",
    "PGSSLCRLDIR",
    "PGSSLCERTMODE",
    "PGSSLNEGOTIATION",
    "PGSSLSNI",
    "PGSSLCOMPRESSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGMAXPROTOCOLVERSION",
    "PGLOADBALANCEHOSTS",
    "PGOAUTHDEBUG",
    "PGOAUTHCAFILE",
];

/// What makes programs write their messages in English.
pub(crate) const LANGUAGE: (&str, &str) = ("LC_ALL", "C");

/// Variables of hubvault that hold secrets, which no program of `PostgreSQL` needs: its own user can read its environment.
pub const SECRET_VARIABLES: &[&str] = &[
    "DATABASE_URL",
    "POSTGRES_PASSWORD",
    "PROOF_SERVER",
    "SMTP_PASS",
    "WEBHOOK_URL",
    "WEBHOOK_SECRET",
    "SLACK_WEBHOOK_URL",
    "NTFY_URL",
    "NTFY_TOKEN",
    "TELEGRAM_BOT_TOKEN",
    "DISCORD_WEBHOOK_URL",
    "TEAMS_WEBHOOK_URL",
    "PAGERDUTY_ROUTING_KEY",
    "PING_URL",
    "HEALTHCHECKS_URL",
    "MONITOR_PING_URL",
    "HTTP_OIDC_CLIENT_SECRET",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
];

/// Tells a program where to connect, by its environment: the arguments of a process can be read
/// by everyone on the machine, its environment cannot.
pub(crate) fn connection(command: &mut Command, settings: &ConnectSettings) {
    bare(command);
    command
        .env("PGHOST", &settings.host)
        .env("PGPORT", settings.port.to_string())
        .env("PGUSER", &settings.user)
        .env("PGDATABASE", &settings.dbname)
        .env("PGSSLMODE", settings.sslmode.as_str())
        .env("PGAPPNAME", &settings.application_name)
        .env(
            "PGCONNECT_TIMEOUT",
            settings.connect_timeout.as_secs().max(2).to_string(),
        );
    if let Some(password) = &settings.password {
        command.env("PGPASSWORD", password.expose_secret());
    }
    if let Some(path) = &settings.passfile {
        command.env("PGPASSFILE", path);
    }
    if let Some(address) = settings.hostaddr {
        command.env("PGHOSTADDR", address.to_string());
    }
    for (name, path) in [
        ("PGSSLROOTCERT", &settings.sslrootcert),
        ("PGSSLCERT", &settings.sslcert),
        ("PGSSLKEY", &settings.sslkey),
    ] {
        if let Some(path) = path {
            command.env(name, path);
        }
    }
}

/// Takes the inherited settings and secrets away and asks for messages in English.
pub(crate) fn bare(command: &mut Command) {
    for name in INHERITED.iter().chain(SECRET_VARIABLES) {
        command.env_remove(name);
    }
    command.env(LANGUAGE.0, LANGUAGE.1);
}

/// Makes the kernel send the child `signal` when the thread that forks it ends. The child has a process group of its
/// own: SIGHUP of a terminal that is lost does not reach it, which `initdb` would end on.
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = getpid();
    command.process_group(0);
    // SAFETY: the closure makes two system calls and touches no memory of the parent.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(signal))?;
            // The parent may have exited before. A parent outside of a process namespace has no id in it.
            if getppid().is_some_and(|now| now != parent) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            Ok(())
        });
    }
}

/// What a program wrote.
pub(crate) struct Finished {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<String>,
}

/// Runs a program to its end with `input` on its standard input. An exit status other than
/// success is an error that carries what it wrote on standard error.
pub(crate) fn run(command: Command, input: &[u8], cancel: &Cancel) -> Result<Finished, PgError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (status, finished) = run_to_end(command, input, cancel)?;
    if !status.success() {
        return Err(ended(program, status, &finished.stderr));
    }
    Ok(finished)
}

/// The error of a program, from what it wrote on standard error.
pub(crate) fn ended(program: String, status: ExitStatus, said: &[String]) -> PgError {
    let why = format!("ended with {status}: {}", said.join("; "));
    PgError::Tool { program, why }
}

/// The same for a program whose exit status the caller checks.
pub(crate) fn run_to_end(
    command: Command,
    input: &[u8],
    cancel: &Cancel,
) -> Result<(ExitStatus, Finished), PgError> {
    let all = |pipe: &mut dyn Read| {
        let mut output = Vec::new();
        pipe.read_to_end(&mut output)?;
        Ok(output)
    };
    let (status, stdout, stderr) = talk_to_end(command, input, cancel, all)?;
    Ok((status, Finished { stdout, stderr }))
}

/// Runs a program to its end while `read` takes its output, which is never in memory as a whole.
pub(crate) fn run_reading<T>(
    command: Command,
    cancel: &Cancel,
    read: impl FnOnce(&mut dyn Read) -> T,
) -> Result<T, PgError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let read = |pipe: &mut dyn Read| Ok(read(pipe));
    let (status, output, stderr) = talk_to_end(command, &[], cancel, read)?;
    if !status.success() {
        return Err(ended(program, status, &stderr));
    }
    Ok(output)
}

fn talk_to_end<T>(
    mut command: Command,
    input: &[u8],
    cancel: &Cancel,
    read: impl FnOnce(&mut dyn Read) -> std::io::Result<T>,
) -> Result<(ExitStatus, T, Vec<String>), PgError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| PgError::Tool {
        program: program.clone(),
        why,
    };
    die_with_parent(&mut command, Signal::KILL);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let has_ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&has_ended);
    let wake = cancel.on_request(move || end(pid, &seen));
    let talked = talk(&mut child, input, read);
    has_ended.store(true, Ordering::Release);
    drop(wake);
    let (status, output, stderr) = talked.map_err(|error| failed(error.to_string()))?;
    if cancel.is_requested() {
        return Err(PgError::Cancelled);
    }
    let stderr: Vec<String> = String::from_utf8_lossy(&stderr)
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(|line| without_passwords(&one_line(line)))
        .collect();
    Ok((status, output, stderr))
}
