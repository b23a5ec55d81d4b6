//! A query whose cost the schema decides ends, and no statement outlives its client or its run.

use crate::hub::Hub;
use hubvault_model::{BackupId, Cancel};
use hubvault_postgres::{ConnectSettings, Session};
use hubvault_testkit::{database_with, wait_for};

/// Two views that read each other, and views of which each level reads the one below twice.
const CIRCLES: &str = "
    CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1);
    CREATE VIEW one AS SELECT id FROM item; CREATE VIEW two AS SELECT id FROM one;
    CREATE OR REPLACE VIEW one AS SELECT id FROM two;
    CREATE VIEW level0 AS SELECT id FROM item;
    DO $$ BEGIN FOR n IN 1..14 LOOP
        EXECUTE format('CREATE VIEW level%s AS SELECT a.id FROM level%s a JOIN level%s b USING (id)', n, n - 1, n - 1);
    END LOOP; END $$;
    CREATE MATERIALIZED VIEW b AS SELECT * FROM item;
    CREATE VIEW between AS SELECT * FROM b;
    CREATE MATERIALIZED VIEW a AS SELECT * FROM between;";

#[test]
fn circles_of_views_end_and_sessions_of_crashed_runs_are_ended() {
    let database = database_with(CIRCLES);
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    let (record, _) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    // What the first run would have left, and what somebody else's run does.
    let left = |id: &str| {
        let settings = ConnectSettings {
            application_name: format!("hubvault {id}"),
            ..database.settings()
        };
        Session::connect(&settings, &Cancel::new()).unwrap()
    };
    let mut crashed = left(record["id"].as_str().unwrap());
    let mut of_others = left(&BackupId::random().to_string());
    hub.backup();
    wait_for(
        || crashed.simple("asking", "SELECT 1").is_err(),
        || "the end of what a crashed run left".to_owned(),
    );
    of_others.simple("asking", "SELECT 1").unwrap();
}

#[test]
fn statements_at_the_source_are_limited_by_the_server() {
    let database = database_with("");
    let mut session = Session::at_source(&database.settings(), &Cancel::new()).unwrap();
    let mut shown = |name: &str| -> String {
        let sql = format!("SELECT current_setting('{name}', true)");
        let row = session.client().query_one(&sql, &[]).unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    };
    assert_eq!(shown("statement_timeout"), "5min");
    if shown("server_version_num").parse::<u32>().unwrap() >= 140_000 {
        assert_eq!(shown("client_connection_check_interval"), "2s");
    }
}
