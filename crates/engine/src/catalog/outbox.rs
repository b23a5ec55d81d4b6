//! What is to be sent and what came of it: recorded before the first try, so that nothing that
//! somebody should hear is lost with the process.

use super::{Catalog, CatalogError};
use hubvault_model::BackupId;
use jiff::{SignedDuration, Timestamp};
use rusqlite::params;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS outbox (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        created_at TEXT NOT NULL,
        claimed_at INTEGER,
        item TEXT NOT NULL
    ) STRICT;
";

/// A try that has not ended after so long died with its process: longer than any try may take.
const CLAIM_SECONDS: i64 = 15 * 60;
/// What is over is forgotten after so long.
const KEPT_DAYS: i64 = 90;

/// One message on one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutboxItem {
    /// Its id, the same at every try.
    pub id: String,
    /// The backup that it speaks of.
    pub backup: Option<BackupId>,
    /// The template or event: `success`, `failure`, `alert`.
    pub kind: String,
    /// `mail`, `webhook`, `slack`, `ntfy`, `ping`.
    pub channel: String,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// How far it got.
    pub state: OutboxState,
    /// How often it was tried.
    pub tries: u32,
    /// When it was last tried.
    pub tried_at: Option<Timestamp>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Who is to have it; for a channel, its host.
    pub recipients: Vec<Recipient>,
    /// What is sent.
    pub content: Content,
}

/// How far a message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboxState {
    /// To be tried, or tried again.
    Waiting,
    /// A try is at work.
    Sending,
    /// Everybody has it who can have it.
    Sent,
    /// Refused for good.
    Failed,
}

impl OutboxState {
    /// The word in every report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// One of those who are to have a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// An address, or the host of a channel.
    pub address: String,
    /// Whether it took it.
    pub state: RecipientState,
    /// What the server said about it.
    pub reply: Option<String>,
}

/// Whether somebody has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecipientState {
    /// Not yet.
    Waiting,
    /// It was taken.
    Accepted,
    /// It was refused for good.
    Refused,
}

/// What is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Content {
    /// A mail.
    Letter {
        /// The subject.
        subject: String,
        /// The plain part.
        text: String,
        /// The HTML part.
        html: String,
        /// The archive or a part of it.
        enclosure: Option<Enclosure>,
        /// The same without it, where the server takes no message of that size: text and HTML.
        without: Option<(String, String)>,
        /// The Message-ID of the thread's first.
        thread: String,
    },
    /// A call of another channel.
    Event {
        /// One line.
        title: String,
        /// A few lines.
        text: String,
        /// The documented JSON.
        body: serde_json::Value,
    },
}

/// What is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// Its name in the mail.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// From where in it, in bytes.
    pub offset: u64,
    /// How much of it, in bytes.
    pub length: u64,
}

impl OutboxItem {
    /// Whether it may still be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, OutboxState::Waiting | OutboxState::Sending)
    }

    /// Those who do not have it and may still get it.
    pub fn waiting(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients
            .iter()
            .filter(|recipient| recipient.state == RecipientState::Waiting)
    }
}

impl Catalog {
    /// Records a message, or what came of a try; forgets what has been over for 90 days.
    pub fn put_outbox(&self, item: &OutboxItem) -> Result<(), CatalogError> {
        let json = serde_json::to_string(item).map_err(|source| CatalogError::Record {
            path: self.path.clone(),
            source,
        })?;
        let old = Timestamp::now() - SignedDuration::from_hours(24 * KEPT_DAYS);
        let write = || {
            self.db.execute(
                "INSERT INTO outbox (id, state, created_at, item) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE
                 SET state = excluded.state, item = excluded.item, claimed_at = NULL",
                params![
                    item.id,
                    item.state.as_str(),
                    item.created_at.to_string(),
                    json
                ],
            )?;
            self.db.execute(
                "DELETE FROM outbox WHERE state IN ('sent', 'failed') AND created_at < ?1",
                params![old.to_string()],
            )
        };
        write()
            .map(|_| ())
            .map_err(self.failed("writing the outbox to"))
    }

    /// Makes a waiting message this process's own for one try; false when another has it, or it is
    /// over. A try whose process died is taken over after a quarter of an hour.
    pub fn claim_outbox(&self, id: &str, now: Timestamp) -> Result<bool, CatalogError> {
        let now = now.as_second();
        self.db
            .execute(
                "UPDATE outbox SET state = 'sending', claimed_at = ?2 WHERE id = ?1
                 AND (state = 'waiting' OR (state = 'sending' AND claimed_at < ?2 - ?3))",
                params![id, now, CLAIM_SECONDS],
            )
            .map(|changed| changed == 1)
            .map_err(self.failed("writing the outbox to"))
    }

    /// Every message, newest first.
    pub fn outbox(&self) -> Result<Vec<OutboxItem>, CatalogError> {
        let read = || {
            let mut statement = self
                .db
                .prepare("SELECT item, state FROM outbox ORDER BY created_at DESC, rowid DESC")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        };
        read()
            .map_err(self.failed("reading the outbox of"))?
            .iter()
            .map(|(json, state)| {
                let mut item: OutboxItem =
                    serde_json::from_str(json).map_err(|source| CatalogError::Record {
                        path: self.path.clone(),
                        source,
                    })?;
                // A claim is in the table alone.
                if state == OutboxState::Sending.as_str() {
                    item.state = OutboxState::Sending;
                }
                Ok(item)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> OutboxItem {
        OutboxItem {
            id: id.to_owned(),
            backup: None,
            kind: "success".into(),
            channel: "ping".into(),
            created_at: Timestamp::now(),
            state: OutboxState::Waiting,
            tries: 0,
            tried_at: None,
            error: None,
            recipients: Vec::new(),
            content: Content::Event {
                title: "t".into(),
                text: "x".into(),
                body: serde_json::Value::Null,
            },
        }
    }

    #[test]
    fn two_processes_never_send_the_same_message_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (
            Catalog::open(dir.path()).unwrap(),
            Catalog::open(dir.path()).unwrap(),
        );
        one.put_outbox(&item("a")).unwrap();
        let now = Timestamp::now();
        assert!(one.claim_outbox("a", now).unwrap());
        assert!(!other.claim_outbox("a", now).unwrap());
        assert_eq!(other.outbox().unwrap()[0].state, OutboxState::Sending);
        // Its process died: another takes over, later.
        let later = now + SignedDuration::from_secs(CLAIM_SECONDS + 1);
        assert!(other.claim_outbox("a", later).unwrap());
        let sent = OutboxItem {
            state: OutboxState::Sent,
            ..item("a")
        };
        other.put_outbox(&sent).unwrap();
        assert!(!one.claim_outbox("a", later).unwrap());
    }

    #[test]
    fn what_is_long_over_is_forgotten_and_what_waits_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path()).unwrap();
        let long_ago = Timestamp::now() - SignedDuration::from_hours(24 * 100);
        for (id, state) in [("sent", OutboxState::Sent), ("waits", OutboxState::Waiting)] {
            catalog
                .put_outbox(&OutboxItem {
                    state,
                    created_at: long_ago,
                    ..item(id)
                })
                .unwrap();
        }
        catalog.put_outbox(&item("new")).unwrap();
        let ids: Vec<String> = catalog
            .outbox()
            .unwrap()
            .into_iter()
            .map(|i| i.id)
            .collect();
        assert_eq!(ids, ["new", "waits"]);
    }
}
