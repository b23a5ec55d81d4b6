//! The values that a template can name (docs/mail.md lists them).

use super::digest::DigestFacts;
use super::previous_run::PreviousFacts;
use crate::overview::moment;
use hubvault_model::{Masks, indented, one_line};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::borrow::Cow;

/// How much of a changed value is shown, in characters.
const VALUE_LENGTH: usize = 200;

/// Everything about one message. Texts are for people; numbers are plain.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The template's name.
    pub kind: String,
    /// The job's name.
    pub job: String,
    /// The database on its host: `hub on db:5432`.
    pub source: String,
    /// hubvault's version.
    pub version: String,
    /// When this was written, to the minute, with the zone.
    pub now: String,
    /// The date of the run, `2026-11-23`.
    pub date: String,
    /// The run.
    pub run: RunFacts,
    /// The tables with their rows.
    pub tables: Vec<TableFacts>,
    /// The configuration files.
    pub files: Vec<FileFacts>,
    /// The archive; `none` when the run failed.
    pub archive: Option<ArchiveFacts>,
    /// What was proven.
    pub proof: ProofFacts,
    /// Everything that was wrong, in sentences.
    pub warnings: Vec<String>,
    /// When the next run is due; empty if no service started this one.
    pub next_run: String,
    /// Whether the run history could be read; if not, the next two are `none`.
    pub history_known: bool,
    /// The last run before this one that left an archive.
    pub previous: Option<PreviousFacts>,
    /// The newest proven backup that is still there.
    pub last_proven: Option<PreviousFacts>,
    /// Why the run failed.
    pub failure: Option<FailureFacts>,
    /// The check that an alert or a recovery is about.
    pub alert: AlertFacts,
    /// A change of the configuration over HTTP.
    pub change: ChangeFacts,
    /// The last seven days.
    pub digest: DigestFacts,
}

/// The run.
#[derive(Clone, Debug, Serialize)]
pub struct RunFacts {
    /// Its id.
    pub id: String,
    /// The first eight digits of it.
    pub short: String,
    /// `proven`, `unproven`, `failed`.
    pub state: String,
    /// When it began.
    pub started: String,
    /// How long it took, `4.1 s`.
    pub took: String,
    /// Tables in the archive.
    pub tables: usize,
    /// Rows in the archive.
    pub rows: u64,
    /// Configuration files in the archive.
    pub files: usize,
    /// What the subject says first: the largest whole table, `50,000 users`.
    pub headline: String,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableFacts {
    /// Its name.
    pub name: String,
    /// `whole`, `window` (its recent rows) or `referenced` (rows that others point to).
    pub taken: String,
    /// Rows.
    pub rows: u64,
    /// COPY bytes, `1.2 MB`.
    pub size: String,
    /// Against the run before, `+12`, `-3`, `same`; empty when there is none.
    pub change: String,
    /// Rows of the run before.
    pub rows_before: Option<u64>,
}

/// One configuration file.
#[derive(Clone, Debug, Serialize)]
pub struct FileFacts {
    /// Its path in the archive.
    pub name: String,
    /// Its size.
    pub size: String,
}

/// The archive.
#[derive(Clone, Debug, Serialize)]
pub struct ArchiveFacts {
    /// Its name.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// Its size.
    pub size: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether only the recipients can open it.
    pub sealed: bool,
    /// To how many.
    pub recipients: usize,
    /// Against the run before, `+1.2 MB`; empty when there is none.
    pub change: String,
    /// Whether it is attached.
    pub attached: bool,
    /// In words: attached, or why not and how to fetch it.
    pub attachment: String,
    /// The state of its copy at each destination, a line each; empty where there is one destination.
    pub copies: Vec<String>,
    /// A link that downloads it; `none` if links are not configured.
    pub link: Option<LinkFacts>,
    /// The part that this message carries, of `parts`; 0 when it is not cut.
    pub part: usize,
    /// How many parts there are.
    pub parts: usize,
    /// The command that joins the parts; empty when it is not cut.
    pub join: String,
    /// How to restore it, a line each.
    pub restore: Vec<String>,
}

/// A link that downloads an archive. Anybody who has it can do that.
#[derive(Clone, Debug, Serialize)]
pub struct LinkFacts {
    /// The whole address.
    pub url: String,
    /// When it expires, for people.
    pub ends: String,
    /// The same for programs, RFC 3339 in UTC.
    pub expires_at: String,
}

/// What was proven.
#[derive(Clone, Debug, Serialize)]
pub struct ProofFacts {
    /// Whether every row came back equal.
    pub proven: bool,
    /// In a sentence.
    pub text: String,
    /// Why it is not proven.
    pub reason: String,
}

/// Why a run failed.
#[derive(Clone, Debug, Serialize)]
pub struct FailureFacts {
    /// The stage that it was at.
    pub stage: String,
    /// What went wrong, the outermost first.
    pub causes: Vec<String>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

/// A check that changed its state.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AlertFacts {
    /// The check's name.
    pub check: String,
    /// What is wrong, or what has recovered.
    pub what: String,
    /// Since when.
    pub since: String,
    /// What to do next.
    pub next: String,
}

/// A change of the configuration over HTTP.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChangeFacts {
    /// Whether it was refused, as it would have weakened something.
    pub refused: bool,
    /// The token's name.
    pub who: String,
    /// The token's role.
    pub role: String,
    /// The address that the request came from.
    pub address: String,
    /// Each setting.
    pub settings: Vec<ChangedSetting>,
}

/// A setting that was changed, or was to be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChangedSetting {
    /// Its name.
    pub key: String,
    /// Its value before.
    pub from: String,
    /// The value that was asked for.
    pub to: String,
}

impl ChangeFacts {
    /// Without secrets, each value short and in one line.
    pub(super) fn masked(mut self, masks: &Masks) -> Self {
        let clean = |text: &str| -> String {
            let shown = masks.mask(text);
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            shown.chars().take(VALUE_LENGTH).map(plain).collect()
        };
        for setting in &mut self.settings {
            setting.from = clean(&setting.from);
            setting.to = clean(&setting.to);
        }
        self
    }

    /// In a sentence.
    pub(super) fn in_words(&self) -> String {
        let one = |it: &ChangedSetting| format!("{}: {} -> {}", it.key, it.from, it.to);
        let all: Vec<String> = self.settings.iter().map(one).collect();
        let (who, role, address) = (&self.who, &self.role, &self.address);
        let did = if self.refused {
            "tried to weaken the configuration over HTTP, which was refused"
        } else {
            "changed the configuration over HTTP"
        };
        format!("{who} ({role}) {did}, from {address}: {}", all.join("; "))
    }
}

impl Facts {
    /// With the causes of a failure, outermost first, and the last lines of its log.
    #[must_use]
    pub fn failed_by(mut self, causes: &[String], log: &[String]) -> Self {
        if let Some(failure) = &mut self.failure {
            if !causes.is_empty() {
                failure.causes = causes.to_vec();
            }
            failure.log = log.to_vec();
        }
        self
    }

    /// Without secrets: before it is rendered, as HTML would write some of their letters otherwise.
    #[must_use]
    pub fn masked(mut self, masks: &Masks) -> Self {
        let alert = &mut self.alert;
        let digest = &mut self.digest;
        let mut texts: Vec<&mut String> = vec![
            &mut self.proof.text,
            &mut self.proof.reason,
            &mut alert.what,
            &mut alert.next,
        ];
        texts.extend(&mut self.warnings);
        texts.extend(&mut digest.failed);
        texts.extend(&mut digest.risks);
        texts.extend(&mut digest.undelivered);
        texts.extend(
            self.archive
                .iter_mut()
                .flat_map(|archive| &mut archive.copies),
        );
        if let Some(failure) = &mut self.failure {
            texts.extend(&mut failure.causes);
            texts.extend(&mut failure.log);
        }
        for text in texts {
            *text = indented(&masks.mask(text));
        }
        self.in_lines()
    }

    /// Names and log lines, each in one line.
    fn in_lines(mut self) -> Self {
        let mut texts = vec![
            &mut self.job,
            &mut self.source,
            &mut self.run.headline,
            &mut self.alert.check,
        ];
        texts.extend(self.tables.iter_mut().map(|table| &mut table.name));
        texts.extend(self.files.iter_mut().map(|file| &mut file.name));
        if let Some(archive) = &mut self.archive {
            texts.extend([&mut archive.name, &mut archive.path]);
            texts.extend(&mut archive.restore);
        }
        if let Some(failure) = &mut self.failure {
            texts.extend(&mut failure.log);
        }
        for text in texts {
            if let Cow::Owned(line) = one_line(text) {
                *text = line;
            }
        }
        self
    }

    /// With the moment of the next run, where a service knows it.
    #[must_use]
    pub fn before(mut self, next: Option<Timestamp>, zone: &TimeZone) -> Self {
        self.next_run = next.map_or_else(String::new, |next| moment(next, zone));
        self
    }

    /// About a check.
    #[must_use]
    pub fn of_alert(mut self, alert: AlertFacts) -> Self {
        self.alert = alert;
        self
    }
}
