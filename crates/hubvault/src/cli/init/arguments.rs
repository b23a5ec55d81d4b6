//! The arguments of `hubvault init`.

use clap::Args;
use hubvault_config::Environment;
use std::path::PathBuf;

/// `hubvault init`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  hubvault init                               # asks
  hubvault init --yes --owner-url postgres://postgres@localhost/shop --backup-dir /srv/backups \\
    --admin-email ada@example.com --smtp-host smtp.example.com --mail-from backup@example.com
  hubvault init --yes --url postgres://reader@db/shop --windows '3 months' --file docker-compose.yml

The connection may also come from variables (DATABASE_URL, POSTGRES_HOST, PGHOST ...) and its password from ~/.pgpass; \
other variables of hubvault are taken over, too. Secrets go into files of their own beside the configuration, for its \
owner alone. Nothing is changed in the database, unless --owner-url is given or a question says so.

Exit codes: 0 written, and nothing to warn about; 1 failed; 2 bad usage or settings; 3 written, with warnings; 130 \
interrupted.")]
pub(crate) struct InitArgs {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "hubvault.toml")]
    pub(super) output: PathBuf,
    /// Replace the file, and the files of secrets beside it
    #[arg(long)]
    pub(super) force: bool,
    /// Ask nothing; take the defaults for what no option says
    #[arg(long, short)]
    pub(super) yes: bool,
    /// The database and the role that reads it: `postgres://reader@db/shop`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A superuser's connection, over which a role that can only read is made
    #[arg(long, value_name = "URL")]
    pub(super) owner_url: Option<String>,
    /// The name of that role; without --owner-url its statements are printed
    #[arg(long, value_name = "NAME")]
    pub(super) role: Option<String>,
    /// Tables that are backed up, as patterns
    #[arg(
        long,
        value_name = "PATTERN",
        value_delimiter = ',',
        default_value = "*"
    )]
    pub(super) scope: Vec<String>,
    /// Tables that are left out
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(super) exclude: Vec<String>,
    /// Of large tables that only grow, take only the rows of this length: '3 months'
    #[arg(long, value_name = "LENGTH")]
    pub(super) windows: Option<String>,
    /// From which size on a table is large, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(super) large_mb: u64,
    /// A file or directory of this host that is backed up, too
    #[arg(long, value_name = "PATH")]
    pub(super) file: Vec<PathBuf>,
    /// The directory for archives
    #[arg(long, value_name = "DIR")]
    pub(super) backup_dir: Option<PathBuf>,
    /// Who can open archives: a public key of age or SSH; without one they are not encrypted
    #[arg(long, value_name = "KEY")]
    pub(super) recipient: Vec<String>,
    /// Who is notified by mail
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(super) admin_email: Vec<String>,
    /// The mail server
    #[arg(long, value_name = "HOST")]
    pub(super) smtp_host: Option<String>,
    /// Its port
    #[arg(long, value_name = "PORT")]
    smtp_port: Option<u16>,
    /// starttls, tls or none
    #[arg(long, value_name = "WORD")]
    smtp_security: Option<String>,
    /// The login of the mail server
    #[arg(long, value_name = "NAME")]
    smtp_user: Option<String>,
    /// The file that holds its password
    #[arg(long, value_name = "FILE")]
    smtp_password_file: Option<PathBuf>,
    /// Who the mail is from
    #[arg(long, value_name = "ADDRESS")]
    pub(super) mail_from: Option<String>,
    /// How many days archives are kept
    #[arg(long, value_name = "N")]
    retention_days: Option<u32>,
    /// When `hubvault serve` takes a backup, as five fields of cron
    #[arg(long, value_name = "CRON")]
    schedule: Option<String>,
}

impl InitArgs {
    /// The variables, and in their place what the options say.
    pub(super) fn environment(&self, variables: &Environment) -> Environment {
        let text = |it: &Option<String>| it.clone();
        let path = |it: &Option<PathBuf>| it.as_ref().map(|path| path.display().to_string());
        let list = |items: &[String]| Some(items.join(",")).filter(|text| !text.is_empty());
        let settings = [
            (
                "DATABASE_URL",
                self.url.clone().or_else(|| self.owner_url.clone()),
            ),
            ("BACKUP_DIR", path(&self.backup_dir)),
            ("BACKUP_RECIPIENTS", list(&self.recipient)),
            ("ADMIN_EMAILS", list(&self.admin_email)),
            ("SMTP_HOST", text(&self.smtp_host)),
            ("SMTP_PORT", self.smtp_port.map(|port| port.to_string())),
            ("SMTP_SECURITY", text(&self.smtp_security)),
            ("SMTP_USER", text(&self.smtp_user)),
            ("SMTP_FROM", text(&self.mail_from)),
            (
                "BACKUP_RETENTION_DAYS",
                self.retention_days.map(|days| days.to_string()),
            ),
            ("BACKUP_SCHEDULE", text(&self.schedule)),
        ];
        let mut all = variables.clone();
        for (name, value) in settings {
            if let Some(value) = value {
                all = all.with_setting(name, value);
            }
        }
        match path(&self.smtp_password_file) {
            Some(path) => all
                .with_setting("SMTP_PASS", "")
                .with("SMTP_PASS_FILE", path),
            None => all,
        }
    }
}
