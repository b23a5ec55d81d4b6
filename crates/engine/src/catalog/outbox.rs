//! The queue of messages: each is recorded before the first try, so that none is lost with the process.

use super::{Catalog, CatalogError, OutboxItem, OutboxState};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS outbox (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        created_at TEXT NOT NULL,
        claim TEXT,
        claimed_until INTEGER,
        item TEXT NOT NULL
    ) STRICT;
";

/// What is over is forgotten after so long.
const KEPT_DAYS: i64 = 90;

/// Whose a message is for the next try.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// Ours, as it is recorded; the claim settles it.
    Mine {
        /// The message.
        item: OutboxItem,
        /// What [`Catalog::settle_outbox`] asks for.
        claim: String,
    },
    /// Another process has it in hand, or it is over; as it is recorded.
    Elsewhere(OutboxItem),
    /// It could not be recorded.
    Unrecorded,
}

impl Catalog {
    /// Records a message that is to be sent; forgets what has been over for 90 days.
    pub fn put_outbox(&self, item: &OutboxItem) -> Result<(), CatalogError> {
        let json = self.json(item)?;
        let old = Timestamp::now() - SignedDuration::from_hours(24 * KEPT_DAYS);
        let write = || {
            self.db.execute(
                "INSERT INTO outbox (id, state, created_at, item) VALUES (?1, ?2, ?3, ?4)",
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

    /// Makes a waiting message this process's own until `until`, by when its try must be over: who
    /// died with a message in hand does not keep it.
    pub fn claim_outbox(
        &self,
        id: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claimed, CatalogError> {
        let claim = uuid::Uuid::new_v4().to_string();
        let item = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let write = || {
            let mine = self
                .db
                .query_row(
                    "UPDATE outbox SET state = 'sending', claim = ?2, claimed_until = ?3
                     WHERE id = ?1
                       AND (state = 'waiting' OR (state = 'sending' AND claimed_until < ?4))
                     RETURNING item",
                    params![id, claim, until.as_second(), now.as_second()],
                    item,
                )
                .optional()?;
            let found = match &mine {
                Some(_) => None,
                None => self
                    .db
                    .query_row("SELECT item FROM outbox WHERE id = ?1", params![id], item)
                    .optional()?,
            };
            Ok((mine, found))
        };
        Ok(
            match write().map_err(self.failed("writing the outbox to"))? {
                (Some(json), _) => Claimed::Mine {
                    item: self.parse(&json)?,
                    claim,
                },
                (None, Some(json)) => Claimed::Elsewhere(self.parse(&json)?),
                (None, None) => Claimed::Unrecorded,
            },
        )
    }

    /// Records what came of a try, unless the claim was lost to somebody else; whether it was not.
    pub fn settle_outbox(&self, item: &OutboxItem, claim: &str) -> Result<bool, CatalogError> {
        let json = self.json(item)?;
        self.db
            .execute(
                "UPDATE outbox SET state = ?3, item = ?4, claim = NULL, claimed_until = NULL
                 WHERE id = ?1 AND claim = ?2",
                params![item.id, claim, item.state.as_str(), json],
            )
            .map(|changed| changed == 1)
            .map_err(self.failed("writing the outbox to"))
    }

    /// How far every message got, without what is in them.
    pub fn outbox_states(&self) -> Result<Vec<OutboxState>, CatalogError> {
        let read = || {
            let mut statement = self.db.prepare("SELECT state FROM outbox")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        let texts = read().map_err(self.failed("reading the outbox of"))?;
        let all = [
            OutboxState::Waiting,
            OutboxState::Sending,
            OutboxState::Sent,
            OutboxState::Failed,
        ];
        let of = |text: &String| all.into_iter().find(|state| state.as_str() == text);
        Ok(texts.iter().filter_map(of).collect())
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
                let mut item: OutboxItem = self.parse(json)?;
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
    use super::super::Content;
    use super::*;
    use crate::state::StateDir;

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
            Catalog::open(&StateDir::at(dir.path())).unwrap(),
            Catalog::open(&StateDir::at(dir.path())).unwrap(),
        );
        one.put_outbox(&item("a")).unwrap();
        let now = Timestamp::now();
        let until = now + SignedDuration::from_mins(5);
        let Claimed::Mine { claim: first, .. } = one.claim_outbox("a", now, until).unwrap() else {
            panic!("nobody else has it");
        };
        let elsewhere = other.claim_outbox("a", now, until).unwrap();
        assert!(matches!(elsewhere, Claimed::Elsewhere(_)));
        assert_eq!(other.outbox().unwrap()[0].state, OutboxState::Sending);
        // Its process seems to have died: another takes over, and what the first one says later
        // changes nothing.
        let later = until + SignedDuration::from_secs(1);
        let again = other.claim_outbox("a", later, later).unwrap();
        let Claimed::Mine { mut item, claim } = again else {
            panic!("its time was over");
        };
        item.state = OutboxState::Sent;
        assert!(other.settle_outbox(&item, &claim).unwrap());
        item.state = OutboxState::Waiting;
        assert!(!one.settle_outbox(&item, &first).unwrap());
        assert_eq!(one.outbox().unwrap()[0].state, OutboxState::Sent);
        let over = one.claim_outbox("a", later, later).unwrap();
        assert!(matches!(over, Claimed::Elsewhere(item) if item.state == OutboxState::Sent));
    }

    #[test]
    fn what_could_not_be_recorded_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        let now = Timestamp::now();
        let claimed = catalog.claim_outbox("a", now, now).unwrap();
        assert!(matches!(claimed, Claimed::Unrecorded));
    }

    #[test]
    fn what_is_long_over_is_forgotten_and_what_waits_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
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
