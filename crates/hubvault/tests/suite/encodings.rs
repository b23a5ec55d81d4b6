//! Databases with bytes that have no equivalent in UTF-8 are backed up, proven and restored byte by byte.

use crate::drill::drilling;
use crate::hub::stderr;
use hubvault_testkit::{Database, Server, execute, restore_with_plain_tools, server};
use std::sync::Arc;

fn database_in(server: &Arc<Server>, encoding: &str) -> Database {
    let database = server.database();
    let (postgres, name) = (server.settings("postgres"), database.name());
    execute(&postgres, &format!("DROP DATABASE {name}"));
    execute(
        &postgres,
        &format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        ),
    );
    database
}

#[test]
fn rows_that_cannot_become_utf8_come_back_byte_by_byte() {
    let server = server();
    for (encoding, bytes) in [("SQL_ASCII", "636166e9"), ("WIN1252", "818de9")] {
        let source = database_in(&server, encoding);
        source.execute(&format!(
            r"CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE events (id int, v text);
              INSERT INTO t VALUES (1, 'plain'), (2, convert_from('\x{bytes}', '{encoding}'));
              INSERT INTO events SELECT id, v || E',\n' FROM t"
        ));
        let (mut hub, _drills) = drilling(&source);
        hub.write(
            "[scope]\ntables = [\"t\"]\n[[scope.window]]\ntables = [\"events\"]\nwhere = \"id > 1\"\n\
             [proof]\nsource_digest = \"always\"\n",
        );
        let (record, archive) = hub.backup();
        assert_eq!(record["state"], "proven", "{record}");
        let all = format!(
            "SELECT string_agg(encode(convert_to(v, '{encoding}'), 'hex'), ' ' ORDER BY v)
             FROM (SELECT v FROM t UNION ALL SELECT v FROM events WHERE id > 1) all_rows"
        );
        let target = database_in(&server, encoding);
        restore_with_plain_tools(&archive, &target);
        assert_eq!(target.value(&all), source.value(&all));
        let target = database_in(&server, encoding);
        hub.run_expecting(0, &["restore", "latest", "--database", target.name()]);
        assert_eq!(target.value(&all), source.value(&all));
        assert!(target.value(&all).contains(bytes));
    }
    // Names are text for every program.
    let source = database_in(&server, "SQL_ASCII");
    source.execute(r"DO $$ BEGIN EXECUTE convert_from('\x435245415445205441424c4520636166e920287820696e7429', 'SQL_ASCII'); END $$");
    let (hub, _drills) = drilling(&source);
    let output = hub.run_expecting(1, &["backup"]);
    assert!(
        stderr(&output).contains("bytes that are not UTF-8"),
        "{}",
        stderr(&output)
    );
}
