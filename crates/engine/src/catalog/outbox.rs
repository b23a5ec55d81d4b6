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

/// The check of an alert about a change of the configuration: each is a message of its own, and none has an end.
pub const CHANGE_CHECK: &str = "configuration";

/// Whether the messages `own` and `other` are about the same subject: the channel's, of the job's runs or one check.
const SAME_SUBJECT: &str = "json_extract(other.item, '$.channel') = json_extract(own.item, '$.channel')
    AND json_extract(other.item, '$.content.body.job') = json_extract(own.item, '$.content.body.job')
    AND json_extract(other.item, '$.content.body.alert.check') IS json_extract(own.item, '$.content.body.alert.check')";

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
    /// died with a message in hand does not keep it. With `in_turn`, only while no older message about the same subject
    /// is being sent: it would arrive after this one.
    pub fn claim_outbox(
        &self,
        id: &str,
        now: Timestamp,
        until: Timestamp,
        in_turn: bool,
    ) -> Result<Claimed, CatalogError> {
        let claim = uuid::Uuid::new_v4().to_string();
        let item = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let sql = format!(
            "UPDATE outbox AS own SET state = 'sending', claim = ?2, claimed_until = ?3
             WHERE id = ?1
               AND (state = 'waiting' OR (state = 'sending' AND claimed_until < ?4))
               AND NOT (?5 AND EXISTS (
                   SELECT 1 FROM outbox AS other
                   WHERE other.state = 'sending' AND other.claimed_until >= ?4
                     AND other.rowid < own.rowid AND {SAME_SUBJECT}))
             RETURNING item"
        );
        let write = || {
            let mine = self
                .db
                .query_row(
                    &sql,
                    params![id, claim, until.as_second(), now.as_second(), in_turn],
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

    /// Whether a newer message about the same subject was recorded, whatever became of it. While a claim on the older one
    /// lasts, the newer one is not sent ([`Catalog::claim_outbox`]), so that the answer holds until then.
    pub fn is_superseded(&self, id: &str) -> Result<bool, CatalogError> {
        let sql = format!(
            "SELECT EXISTS (
                 SELECT 1 FROM outbox AS own JOIN outbox AS other ON other.rowid > own.rowid
                 WHERE own.id = ?1 AND {SAME_SUBJECT}
                   AND (json_extract(other.item, '$.kind') <> json_extract(own.item, '$.kind')
                        OR json_extract(own.item, '$.content.body.alert.check') IS NOT ?2))"
        );
        self.db
            .query_row(&sql, params![id, CHANGE_CHECK], |row| row.get(0))
            .map_err(self.failed("reading the outbox of"))
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

    /// Every message, newest first, with all that is in it. Lists take [`Catalog::messages`].
    pub fn outbox(&self) -> Result<Vec<OutboxItem>, CatalogError> {
        self.items("SELECT item, state FROM outbox ORDER BY created_at DESC, rowid DESC")
    }

    /// Those that may still be sent, oldest first, with all that is in them.
    pub fn open_messages(&self) -> Result<Vec<OutboxItem>, CatalogError> {
        self.items(
            "SELECT item, state FROM outbox WHERE state IN ('waiting', 'sending') ORDER BY created_at, rowid",
        )
    }

    /// The messages of a query's rows: the message, and its state in the table.
    pub(super) fn items(&self, sql: &str) -> Result<Vec<OutboxItem>, CatalogError> {
        let failed = |source| self.failed("reading the outbox of")(source);
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut items = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let json: String = row.get(0).map_err(failed)?;
            let state: String = row.get(1).map_err(failed)?;
            let mut item: OutboxItem = self.parse(&json)?;
            // A claim is in the table alone.
            if state == OutboxState::Sending.as_str() {
                item.state = OutboxState::Sending;
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// A message that waits, for tests.
#[cfg(test)]
pub(super) fn message(id: &str, content: super::Content) -> OutboxItem {
    OutboxItem {
        id: id.to_owned(),
        backup: None,
        kind: "alert".into(),
        channel: "mail".into(),
        created_at: Timestamp::constant(1_800_000_000, 0),
        state: OutboxState::Waiting,
        tries: 0,
        tried_at: None,
        error: None,
        recipients: Vec::new(),
        superseded: false,
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Content;
    use super::*;
    use crate::state::StateDir;

    fn item(id: &str) -> OutboxItem {
        let content = Content::Event {
            title: "t".into(),
            text: "x".into(),
            body: serde_json::Value::Null,
        };
        message(id, content)
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
        let Claimed::Mine { claim: first, .. } = one.claim_outbox("a", now, until, true).unwrap()
        else {
            panic!("nobody else has it");
        };
        let elsewhere = other.claim_outbox("a", now, until, true).unwrap();
        assert!(matches!(elsewhere, Claimed::Elsewhere(_)));
        assert_eq!(other.outbox().unwrap()[0].state, OutboxState::Sending);
        // Its process seems to have died: another takes over, and what the first one says later
        // changes nothing.
        let later = until + SignedDuration::from_secs(1);
        let again = other.claim_outbox("a", later, later, true).unwrap();
        let Claimed::Mine { mut item, claim } = again else {
            panic!("its time was over");
        };
        item.state = OutboxState::Sent;
        assert!(other.settle_outbox(&item, &claim).unwrap());
        item.state = OutboxState::Waiting;
        assert!(!one.settle_outbox(&item, &first).unwrap());
        assert_eq!(one.outbox().unwrap()[0].state, OutboxState::Sent);
        let over = one.claim_outbox("a", later, later, true).unwrap();
        assert!(matches!(over, Claimed::Elsewhere(item) if item.state == OutboxState::Sent));
    }

    /// A message about a run, or about a check.
    fn about(id: &str, kind: &str, check: Option<&str>) -> OutboxItem {
        let alert = check.map(|check| serde_json::json!({ "check": check }));
        OutboxItem {
            kind: kind.into(),
            content: Content::Event {
                title: "t".into(),
                text: "x".into(),
                body: serde_json::json!({ "job": "hub", "alert": alert }),
            },
            ..item(id)
        }
    }

    #[test]
    fn a_message_is_superseded_by_a_newer_one_about_the_same_subject_alone() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        for (id, kind, check) in [
            ("run", "success", None),
            ("disk", "recovered", Some("disk")),
            ("seal", "alert", Some("seal")),
            ("change", "alert", Some(CHANGE_CHECK)),
        ] {
            catalog.put_outbox(&about(id, kind, check)).unwrap();
        }
        let other_channel = OutboxItem {
            channel: "webhook".into(),
            ..about("elsewhere", "failure", None)
        };
        catalog.put_outbox(&other_channel).unwrap();
        let superseded = || -> Vec<&str> {
            let all = ["run", "disk", "seal", "change"].into_iter();
            all.filter(|id| catalog.is_superseded(id).unwrap())
                .collect()
        };
        assert!(superseded().is_empty());
        let failed = OutboxItem {
            state: OutboxState::Failed,
            ..about("run2", "failure", None)
        };
        catalog.put_outbox(&failed).unwrap();
        for (id, check) in [
            ("disk2", "disk"),
            ("seal2", "seal"),
            ("change2", CHANGE_CHECK),
        ] {
            catalog
                .put_outbox(&about(id, "alert", Some(check)))
                .unwrap();
        }
        // Each change of the configuration is told.
        assert_eq!(superseded(), ["run", "disk", "seal"]);
    }

    #[test]
    fn a_newer_message_waits_while_another_process_sends_an_older_one_about_the_same_subject() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (
            Catalog::open(&StateDir::at(dir.path())).unwrap(),
            Catalog::open(&StateDir::at(dir.path())).unwrap(),
        );
        let (now, until) = (
            Timestamp::now(),
            Timestamp::now() + SignedDuration::from_mins(5),
        );
        one.put_outbox(&about("old", "success", None)).unwrap();
        let Claimed::Mine { mut item, claim } = one.claim_outbox("old", now, until, true).unwrap()
        else {
            panic!("nobody else has it");
        };
        assert!(!one.is_superseded("old").unwrap(), "it is sent now");
        other.put_outbox(&about("new", "failure", None)).unwrap();
        other
            .put_outbox(&about("check", "alert", Some("disk")))
            .unwrap();
        let claimed = |id, in_turn| {
            let claimed = other.claim_outbox(id, now, until, in_turn).unwrap();
            matches!(claimed, Claimed::Mine { .. })
        };
        assert!(!claimed("new", true));
        assert!(claimed("check", true));
        // It is still to be sent.
        assert!(
            other
                .outbox()
                .unwrap()
                .iter()
                .any(|item| item.id == "new" && item.state == OutboxState::Waiting)
        );
        item.state = OutboxState::Sent;
        assert!(one.settle_outbox(&item, &claim).unwrap());
        assert!(claimed("new", true));
    }

    #[test]
    fn what_could_not_be_recorded_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        let now = Timestamp::now();
        let claimed = catalog.claim_outbox("a", now, now, true).unwrap();
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
