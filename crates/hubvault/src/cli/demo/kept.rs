//! The page of the demonstration, for as long as somebody looks at it.

use super::tools::Key;
use super::{CONFIGURATION, SOURCE, say, tools};
use crate::text::print;
use anyhow::{Context, Result, bail};
use hubvault_model::{BackupId, Cancel};
use hubvault_postgres::ThrowawayServer;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked at.
const TICK: Duration = Duration::from_millis(100);

/// The service that the page comes from.
pub(super) struct Kept<'a> {
    /// The archive directory.
    pub(super) directory: &'a Path,
    pub(super) server: &'a ThrowawayServer,
    /// The administrator's key.
    pub(super) key: &'a Key,
    pub(super) temp_dir: &'a Path,
    /// Where programs are.
    pub(super) path: &'a str,
}

impl Kept<'_> {
    /// Starts the service, says where its page is, and waits until the demonstration is to end.
    pub(super) fn serve(&self, cancel: &Cancel) -> Result<()> {
        let home = self.server.directory().join("page");
        fs::create_dir(&home)?;
        let configuration = format!(
            "{CONFIGURATION}[seal]\nrecipients = [\"{}\"]\n",
            self.key.public
        );
        fs::write(home.join("hubvault.toml"), configuration)?;
        // Shows that the administrator can open what is sealed to them.
        let key = self.key.file.display().to_string();
        let verify = ["verify", "latest", "--identity", &key];
        tools::finished("hubvault", &mut self.command(&home, &verify)?)?;
        let name = format!("demo-{}", BackupId::random().short());
        let create = ["token", "create", &name, "--role", "admin"];
        let token = tools::finished("hubvault", &mut self.command(&home, &create)?)?;
        let token = String::from_utf8_lossy(&token.stdout).trim().to_owned();
        let served = self.served(&home, &token, cancel);
        let revoke = ["token", "revoke", &name];
        tools::finished("hubvault", &mut self.command(&home, &revoke)?)?;
        served
    }

    fn served(&self, home: &Path, token: &str, cancel: &Cancel) -> Result<()> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = free.local_addr()?;
        drop(free);
        let log = home.join("service.log");
        let file = File::create(&log)?;
        let mut command = self.command(home, &["serve"])?;
        command.env("HTTP_ADDR", address.to_string());
        command.stdout(file.try_clone()?).stderr(file);
        // SAFETY: prctl(2) is safe between fork and exec.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        let mut service = command.spawn().context("starting hubvault serve")?;
        let answered = wait_for(&mut service, address, &log, cancel);
        if answered.is_ok() && !cancel.is_requested() {
            say("The page of this hub (hubvault serve)")?;
            print(&format!(
                "http://{address}/\n\nLog in with the token\n{token}\n\nCtrl-C ends the demonstration.\n"
            ))?;
            while !cancel.wait(TICK) && service.try_wait()?.is_none() {}
        }
        if let Some(pid) = i32::try_from(service.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = service.wait()?;
        answered?;
        if !cancel.is_requested() {
            bail!("hubvault serve ended with {ended}: {}", tail(&log));
        }
        Ok(())
    }

    fn command(&self, home: &Path, arguments: &[&str]) -> Result<Command> {
        let program = std::env::current_exe().context("finding the program hubvault")?;
        let mut command = Command::new(program);
        let to = self.server.settings(SOURCE);
        command.args(arguments).current_dir(home).env_clear();
        command.env("PATH", self.path).env("HOME", home);
        command.env("TMPDIR", self.temp_dir);
        command.env("HUBVAULT_CONFIG", home.join("hubvault.toml"));
        command.env("CONFIG_DIR", self.server.directory().join("config"));
        command.env("BACKUP_DIR", self.directory);
        command.env("EMAIL_ENABLED", "false");
        command.env("POSTGRES_HOST", &to.host);
        command.env("POSTGRES_PORT", to.port.to_string());
        command.env("POSTGRES_USER", &to.user);
        command.env("POSTGRES_DB", &to.dbname);
        Ok(command)
    }
}

/// Waits until the service takes connections.
fn wait_for(
    service: &mut Child,
    address: SocketAddr,
    log: &PathBuf,
    cancel: &Cancel,
) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(ended) = service.try_wait()? {
            bail!("hubvault serve ended with {ended}: {}", tail(log));
        }
        if begun.elapsed() > PATIENCE {
            bail!("hubvault serve does not answer at {address}: {}", tail(log));
        }
        if cancel.wait(TICK) {
            break;
        }
    }
    Ok(())
}

/// The end of what it logged.
fn tail(log: &PathBuf) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
