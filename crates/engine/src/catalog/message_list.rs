//! Messages without their bodies, for lists and overviews: of a mail with its HTML, or of an event with the record of a
//! thousand tables, they need a line.
//!
//! `SQLite` itself keeps the table: its triggers follow every change of `outbox`, also those of earlier versions.

use super::summary::make;
use super::{Catalog, CatalogError, OutboxItem};
use rusqlite::Connection;

/// So much of a mail's text is kept, in characters: its first line says what it is about.
const TEXT: u32 = 1_000;

/// SQL for a message without its bodies. What is no JSON stays as it is.
fn without_bodies(item: &str) -> String {
    format!(
        "CASE
            WHEN NOT json_valid({item}) THEN {item}
            WHEN json_extract({item}, '$.content.type') = 'event' THEN json_set({item}, '$.content.text', '',
                '$.content.body', json_object('job', json_extract({item}, '$.content.body.job'),
                                              'alert', json_extract({item}, '$.content.body.alert')))
            ELSE json_set({item}, '$.content.html', '', '$.content.without', NULL,
                '$.content.text', substr(json_extract({item}, '$.content.text'), 1, {TEXT}))
        END"
    )
}

/// Makes the table where there is none yet; false where there can be none.
pub(super) fn prepare(db: &Connection, is_read_only: bool) -> rusqlite::Result<bool> {
    let (new, old) = (without_bodies("new.item"), without_bodies("item"));
    let schema = format!(
        "CREATE TABLE messages (id TEXT PRIMARY KEY, item TEXT NOT NULL) STRICT;
         CREATE TRIGGER messages_inserted AFTER INSERT ON outbox BEGIN
             INSERT OR REPLACE INTO messages VALUES (new.id, {new});
         END;
         CREATE TRIGGER messages_updated AFTER UPDATE OF id, item ON outbox BEGIN
             DELETE FROM messages WHERE id = old.id;
             INSERT OR REPLACE INTO messages VALUES (new.id, {new});
         END;
         CREATE TRIGGER messages_deleted AFTER DELETE ON outbox BEGIN
             DELETE FROM messages WHERE id = old.id;
         END;
         INSERT INTO messages SELECT id, {old} FROM outbox ORDER BY rowid;"
    );
    make(db, "messages", &schema, is_read_only)
}

impl Catalog {
    /// Every message, newest first, without its bodies: of a mail's text only the beginning, of an event's only the job and
    /// the alert.
    pub fn messages(&self) -> Result<Vec<OutboxItem>, CatalogError> {
        if !self.has_messages {
            return self.outbox();
        }
        self.items(
            "SELECT messages.item, outbox.state FROM outbox JOIN messages USING (id)
             ORDER BY outbox.created_at DESC, outbox.rowid DESC",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Content;
    use crate::catalog::outbox::message;
    use crate::state::StateDir;
    use serde_json::json;

    fn email(text: &str) -> Content {
        Content::Email {
            subject: "<script>".to_owned(),
            text: text.to_owned(),
            html: "<p>".repeat(10_000),
            enclosure: None,
            without: Some((text.to_owned(), "<p>".repeat(10_000))),
            left_out: Some("too large".to_owned()),
            thread: "t".to_owned(),
        }
    }

    fn event() -> Content {
        Content::Event {
            title: "\"><img src=x>".to_owned(),
            text: "many lines\n".repeat(500),
            body: json!({"job": "hub", "alert": {"check": "disk", "what": "full"}, "backup": {"tables": vec!["t"; 2_000]}}),
        }
    }

    /// As JSON, and how long that is.
    fn listed(catalog: &Catalog) -> (Vec<String>, usize) {
        let json = |item: &OutboxItem| serde_json::to_string(item).unwrap();
        let all: Vec<String> = catalog.messages().unwrap().iter().map(json).collect();
        let length = all.iter().map(String::len).sum();
        (all, length)
    }

    #[test]
    fn messages_have_what_lists_need_and_no_bodies() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&StateDir::at(dir.path())).unwrap();
        let long = format!("the check disk fails\n{}", "\u{202e}ä ".repeat(5_000));
        catalog.put_outbox(&message("a", email(&long))).unwrap();
        catalog.put_outbox(&message("b", event())).unwrap();
        let (all, length) = listed(&catalog);
        assert!(length < 10_000, "{length}");
        let short = email(&long.chars().take(TEXT as usize).collect::<String>());
        let Content::Email {
            subject,
            text,
            enclosure,
            left_out,
            thread,
            ..
        } = short
        else {
            unreachable!()
        };
        let (html, without) = (String::new(), None);
        let short = Content::Email {
            subject,
            text,
            html,
            enclosure,
            without,
            left_out,
            thread,
        };
        assert_eq!(all[1], serde_json::to_string(&message("a", short)).unwrap());
        let Content::Event { title, .. } = event() else {
            unreachable!()
        };
        let body = json!({"job": "hub", "alert": {"check": "disk", "what": "full"}});
        let short = Content::Event {
            title,
            text: String::new(),
            body,
        };
        assert_eq!(all[0], serde_json::to_string(&message("b", short)).unwrap());
    }

    /// What an earlier version does to the table of messages, a claim and a message that is forgotten.
    #[test]
    fn the_list_follows_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let catalog = Catalog::open(&state).unwrap();
        for (id, content) in [("a", email("a")), ("b", event()), ("c", email("c"))] {
            catalog.put_outbox(&message(id, content)).unwrap();
        }
        let drop = "DROP TABLE messages; DROP TRIGGER messages_inserted; DROP TRIGGER messages_updated; \
                    DROP TRIGGER messages_deleted";
        catalog.db.execute_batch(drop).unwrap();
        let read_only = Catalog {
            has_messages: false,
            ..catalog
        };
        assert_eq!(read_only.messages().unwrap().len(), 3);
        let catalog = Catalog::open(&state).unwrap();
        assert_eq!(listed(&catalog).0.len(), 3);
        for (sql, id, is_there) in [
            (
                "UPDATE outbox SET item = json_set(item, '$.error', 'no') WHERE id = 'a'",
                "\"no\"",
                true,
            ),
            (
                "UPDATE outbox SET state = 'sending' WHERE id = 'b'",
                "\"sending\"",
                true,
            ),
            ("DELETE FROM outbox WHERE id = 'c'", "\"id\":\"c\"", false),
        ] {
            catalog.db.execute_batch(sql).unwrap();
            let all = listed(&catalog).0.concat();
            assert_eq!(all.contains(id), is_there, "{sql}: {all}");
        }
        catalog
            .db
            .execute_batch("UPDATE outbox SET item = 'damaged' WHERE id = 'a'")
            .unwrap();
        assert!(catalog.messages().is_err() && catalog.outbox().is_err());
    }
}
