//! Whose private key was ever shown to open what is sealed, and the questions that ask for it.
//!
//! An archive that is sealed to a key which nobody has any more is lost, and nobody notices
//! until it is needed.

use super::{Catalog, CatalogError};
use hubvault_archive::{Recipient, hex};
use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Answers are kept as their SHA-256: who reads the catalog cannot answer.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS shown_recipients (
        recipient TEXT PRIMARY KEY,
        shown_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS challenges (
        answer_sha256 TEXT PRIMARY KEY,
        recipient TEXT NOT NULL,
        made_at TEXT NOT NULL
    ) STRICT;
";

/// How long a challenge can be answered.
const DAYS: i64 = 7;

/// A recipient, and when it was last shown that its private key is at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The public key.
    pub recipient: Recipient,
    /// `None` for never.
    pub shown_at: Option<Timestamp>,
}

/// Holds recipients against what was shown.
pub fn standing(recipients: &[Recipient], shown: &BTreeMap<String, Timestamp>) -> Vec<Standing> {
    let one = |recipient: &Recipient| Standing {
        recipient: recipient.clone(),
        shown_at: shown.get(&recipient.to_string()).copied(),
    };
    recipients.iter().map(one).collect()
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is right; the public key of whom it shows.
    Shown(String),
    /// It was right, more than a week ago.
    Late,
    /// Nobody was asked for that.
    Unknown,
}

impl Catalog {
    /// Records that the private key of a recipient is at hand.
    pub fn record_shown(&self, recipient: &str, at: Timestamp) -> Result<(), CatalogError> {
        self.db
            .execute(
                "INSERT INTO shown_recipients VALUES (?1, ?2)
                 ON CONFLICT (recipient) DO UPDATE SET shown_at = excluded.shown_at",
                params![recipient, at.to_string()],
            )
            .map(|_| ())
            .map_err(self.failed("writing to"))
    }

    /// Every public key whose private key was ever shown, and when last.
    pub fn shown_recipients(&self) -> Result<BTreeMap<String, Timestamp>, CatalogError> {
        let read = || {
            let mut statement = self
                .db
                .prepare("SELECT recipient, shown_at FROM shown_recipients")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, moment(row, 1)?)))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(self.failed("reading"))
    }

    /// A new answer that only this recipient is to learn.
    pub fn challenge(&self, recipient: &Recipient, now: Timestamp) -> Result<String, CatalogError> {
        let answer = uuid::Uuid::new_v4().simple().to_string();
        let write = || {
            self.db.execute(
                "INSERT INTO challenges VALUES (?1, ?2, ?3)",
                params![digest(&answer), recipient.to_string(), now.to_string()],
            )
        };
        write().map_err(self.failed("writing to"))?;
        Ok(answer)
    }

    /// Takes an answer, alone or within a text, and records whom it shows. It counts once.
    pub fn answer(&self, text: &str, now: Timestamp) -> Result<Answered, CatalogError> {
        let find = |word: &str| {
            let sql =
                "DELETE FROM challenges WHERE answer_sha256 = ?1 RETURNING recipient, made_at";
            self.db
                .query_row(sql, params![digest(word)], |row| {
                    Ok((row.get::<_, String>(0)?, moment(row, 1)?))
                })
                .optional()
        };
        for word in text.split_whitespace() {
            let Some((recipient, made_at)) = find(word).map_err(self.failed("writing to"))? else {
                continue;
            };
            if now.duration_since(made_at) > SignedDuration::from_hours(DAYS * 24) {
                return Ok(Answered::Late);
            }
            self.record_shown(&recipient, now)?;
            return Ok(Answered::Shown(recipient));
        }
        Ok(Answered::Unknown)
    }
}

fn digest(answer: &str) -> String {
    hex(&Sha256::digest(answer))
}

fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get::<_, String>(column)?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    const ALICE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    #[test]
    fn a_recipient_is_shown_by_the_right_answer_once_and_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(directory.path())).unwrap();
        let alice: Recipient = ALICE.parse().unwrap();
        let recipients = [alice.clone()];
        let never = standing(&recipients, &catalog.shown_recipients().unwrap());
        assert_eq!(never[0].shown_at, None);

        let answer = catalog.challenge(&alice, day(1)).unwrap();
        let late = catalog.challenge(&alice, day(1)).unwrap();
        assert_eq!(
            catalog.answer("rubbish", day(2)).unwrap(),
            Answered::Unknown
        );
        let text = format!("some words\n  {answer}\n");
        let shown = Answered::Shown(ALICE.to_owned());
        assert_eq!(catalog.answer(&text, day(2)).unwrap(), shown);
        assert_eq!(catalog.answer(&text, day(2)).unwrap(), Answered::Unknown);
        assert_eq!(catalog.answer(&late, day(9)).unwrap(), Answered::Late);
        let now = standing(&recipients, &catalog.shown_recipients().unwrap());
        assert_eq!(now[0].shown_at, Some(day(2)));
    }

    #[test]
    fn the_catalog_holds_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(directory.path())).unwrap();
        let answer = catalog.challenge(&ALICE.parse().unwrap(), day(1)).unwrap();
        drop(catalog);
        let bytes = std::fs::read(directory.path().join("catalog.sqlite")).unwrap();
        assert!(!bytes.windows(answer.len()).any(|w| w == answer.as_bytes()));
        let digest = digest(&answer);
        assert!(bytes.windows(digest.len()).any(|w| w == digest.as_bytes()));
    }
}
