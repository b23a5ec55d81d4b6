//! A real mail server on loopback with faults on request, and the mail that it received.

use crate::certificates::Certificates;
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The server's program.
const PROGRAM: &str = include_str!("mail_server.py");

/// How the server protects its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailTls {
    /// It offers STARTTLS, and a login only after it.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// None.
    Plain,
}

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFault {
    /// Accepts connections and never says a word.
    Stall,
    /// Sends a byte now and then and never a whole reply.
    Dribble,
    /// Greets with 421.
    Closing,
    /// Takes no more of a message after it said that it would.
    StallInData,
    /// Cuts the connection after a message's first line.
    CutInData,
    /// Refuses with 552 after a message's first line.
    RefuseInData,
    /// Refuses every message with 554 when it has it.
    RefuseData,
    /// Keeps the message and cuts the connection instead of saying so.
    CutAfterData,
    /// Keeps the message and never says so.
    StallAfterData,
    /// None, but takes messages in large blocks; for those of hundreds of megabytes. Doubled dots stay doubled.
    Blocks,
}

impl MailFault {
    fn word(self) -> &'static str {
        match self {
            Self::Stall => "stall",
            Self::Dribble => "dribble",
            Self::Closing => "closing",
            Self::StallInData => "stall-in-data",
            Self::CutInData => "cut-in-data",
            Self::RefuseInData => "refuse-in-data",
            Self::RefuseData => "refuse-data",
            Self::CutAfterData => "cut-after-data",
            Self::StallAfterData => "stall-after-data",
            Self::Blocks => "blocks",
        }
    }
}

/// What kind of server it is; without more said, one with STARTTLS for `localhost` that takes everything.
#[derive(Clone, Debug, Default)]
pub struct MailServerOptions {
    /// How it protects its connections.
    pub tls: MailTls,
    /// Whom its certificate is for; `localhost` when empty.
    pub certificate_name: String,
    /// User and password without which it takes nothing.
    pub auth: Option<(String, String)>,
    /// Mechanisms of AUTH that it does not offer, of PLAIN and LOGIN.
    pub no_mechanism: Vec<String>,
    /// The SIZE that it offers and holds to, in bytes.
    pub size_limit: Option<u64>,
    /// Whether it takes addresses beyond ASCII (SMTPUTF8).
    pub utf8: bool,
    /// How many messages it refuses with 451 before it takes one.
    pub busy_first: u32,
    /// Senders and recipients that it refuses with 550.
    pub refuse: Vec<String>,
    /// Recipients that it refuses with 450.
    pub defer: Vec<String>,
    /// With which reply it refuses every message that has an attachment; empty for none.
    pub refuse_attachments: String,
    /// A file that it cuts down to one byte when a message begins.
    pub shrink: Option<PathBuf>,
    /// What it does wrong.
    pub fault: Option<MailFault>,
}

impl MailServerOptions {
    fn name(&self) -> &str {
        match self.certificate_name.as_str() {
            "" => "localhost",
            name => name,
        }
    }

    /// As the server's program reads them.
    fn script(self, directory: &Path, certificates: &Certificates) -> serde_json::Value {
        json!({
            "directory": directory,
            "certificate": certificates.certificate,
            "key": certificates.key,
            "tls": match self.tls {
                MailTls::StartTls => "starttls",
                MailTls::Implicit => "implicit",
                MailTls::Plain => "none",
            },
            "auth": self.auth,
            "no_mechanism": self.no_mechanism,
            "size_limit": self.size_limit,
            "utf8": self.utf8,
            "busy_first": self.busy_first,
            "refuse": self.refuse,
            "defer": self.defer,
            "refuse_attachments": self.refuse_attachments,
            "shrink": self.shrink,
            "fault": self.fault.map(MailFault::word),
        })
    }
}

/// A running server; stopped, and its files removed, when dropped.
pub struct MailServer {
    /// Its port on loopback.
    pub port: u16,
    /// The authority that its certificate can be checked with.
    pub ca_file: PathBuf,
    directory: TempDir,
    child: Child,
}

/// A message that the server took.
#[derive(Clone, Debug)]
pub struct Received {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// What came with MAIL FROM, in capitals: `SIZE=1234`.
    pub options: Vec<String>,
    /// The message as it came, without doubled dots.
    pub raw: Vec<u8>,
}

/// A message as a mail program sees it.
#[derive(Debug, Deserialize)]
pub struct Parts {
    /// Every header in order, decoded.
    pub headers: Vec<(String, String)>,
    /// The kinds of its parts from the outside in: `multipart/mixed`, ...
    pub shape: Vec<String>,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// What a mail program would complain about.
    pub defects: Vec<String>,
    #[serde(rename = "attachments")]
    files: Vec<AttachedFile>,
    /// What was attached.
    #[serde(skip)]
    pub attachments: Vec<Attached>,
}

/// A file that came with a message.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub content_type: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct AttachedFile {
    name: String,
    content_type: String,
    path: PathBuf,
}

#[derive(Deserialize)]
struct Envelope {
    from: String,
    to: Vec<String>,
    options: Vec<String>,
}

impl Parts {
    /// The value of a header that is there once.
    ///
    /// # Panics
    /// When it is missing or there twice.
    pub fn header(&self, name: &str) -> &str {
        let mut found = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => value,
            other => panic!("the header {name} is not there once: {other:?}"),
        }
    }
}

impl MailServer {
    /// Starts one; returns when it listens.
    ///
    /// # Panics
    /// When it does not start: the tests need aiosmtpd and never pass without.
    pub fn start(options: MailServerOptions) -> Self {
        let directory = TempDir::with_prefix("hv-mail-").unwrap_or_else(|e| panic!("{e}"));
        let program = directory.path().join("mail_server.py");
        std::fs::write(&program, PROGRAM).unwrap_or_else(|e| panic!("{e}"));
        let certificates = Certificates::make(directory.path(), options.name());
        let script = options.script(directory.path(), &certificates).to_string();
        let mut child = Command::new(python())
            .args(["-W", "ignore"])
            .arg(&program)
            .args(["serve", script.as_str()])
            // It ends with this pipe, so that it does not outlive a test that was killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("starting the mail server: {e}"));
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut said);
        }
        let port = said.trim().parse().unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("the mail server did not start: {said:?}")
        });
        Self {
            port,
            ca_file: certificates.authority,
            directory,
            child,
        }
    }

    /// What it took so far, in order.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn messages(&self) -> Vec<Received> {
        let read =
            |path: &Path| std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.envelopes()
            .iter()
            .map(|path| {
                let envelope: Envelope = serde_json::from_slice(&read(path))
                    .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                Received {
                    from: envelope.from,
                    to: envelope.to,
                    options: envelope.options,
                    raw: read(&path.with_extension("eml")),
                }
            })
            .collect()
    }

    /// How many bytes each message has that it took so far, in order; for those too large to be read.
    ///
    /// # Panics
    /// When they cannot be looked at.
    pub fn message_sizes(&self) -> Vec<u64> {
        let size = |path: &PathBuf| {
            let path = path.with_extension("eml");
            std::fs::metadata(&path)
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
                .len()
        };
        self.envelopes().iter().map(size).collect()
    }

    fn envelopes(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap_or_else(|e| panic!("{e}"));
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        paths.sort();
        paths
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Received {
    /// The message taken apart by Python's `email`, which is not the library that made it.
    ///
    /// # Panics
    /// When it cannot be taken apart.
    pub fn parts(&self) -> Parts {
        let directory = TempDir::with_prefix("hv-mail-").unwrap_or_else(|e| panic!("{e}"));
        let (program, message) = (
            directory.path().join("mail_server.py"),
            directory.path().join("message.eml"),
        );
        std::fs::write(&program, PROGRAM).unwrap_or_else(|e| panic!("{e}"));
        std::fs::write(&message, &self.raw).unwrap_or_else(|e| panic!("{e}"));
        let output = Command::new(python())
            .arg(&program)
            .arg("parts")
            .args([&message, directory.path()])
            .output()
            .unwrap_or_else(|e| panic!("taking a message apart: {e}"));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let mut parts: Parts = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("taking a message apart: {e}"));
        let load = |file: &AttachedFile| Attached {
            name: file.name.clone(),
            content_type: file.content_type.clone(),
            bytes: std::fs::read(&file.path).unwrap_or_else(|e| panic!("{e}")),
        };
        parts.attachments = parts.files.iter().map(load).collect();
        parts
    }
}

/// A Python that has aiosmtpd: the system's, else the first on the path.
fn python() -> &'static str {
    let has = |python: &&str| {
        Command::new(python)
            .args(["-c", "import aiosmtpd"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(has)
        .unwrap_or_else(|| {
            panic!(
                "the tests need the mail server aiosmtpd for Python: make tools, or apt-get \
                 install python3-aiosmtpd"
            )
        })
}
