//! Rows that are put back into tables without a primary key.

use crate::hub::Hub;
use hubvault_testkit::database_with;

#[test]
fn rows_are_put_back_into_tables_without_columns_and_with_generated_ones() {
    let database = database_with(
        "CREATE TABLE bare ();
         INSERT INTO bare DEFAULT VALUES;
         INSERT INTO bare DEFAULT VALUES;
         CREATE TABLE doubled (twice int GENERATED ALWAYS AS (p * 2) STORED, p int, r text);
         INSERT INTO doubled (p, r) VALUES (1, 'a'), (1, 'a'), (2, NULL);
         CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.r := ''!''; RETURN NEW; END';
         CREATE TRIGGER always BEFORE INSERT ON doubled FOR EACH ROW EXECUTE FUNCTION louder();
         CREATE TRIGGER off BEFORE INSERT ON doubled FOR EACH ROW EXECUTE FUNCTION louder();
         ALTER TABLE doubled ENABLE ALWAYS TRIGGER always, DISABLE TRIGGER off",
    );
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute("DELETE FROM doubled WHERE p = 1; TRUNCATE bare");
    for (table, option) in [("bare", "--missing-rows"), ("doubled", "--upsert")] {
        for _ in 0..2 {
            hub.run_expecting(0, &["restore", "latest", option, "--table", table, "--yes"]);
        }
    }
    let rows = "SELECT string_agg(concat(twice, p, r), ',' ORDER BY p) FROM doubled";
    assert_eq!(database.value(rows), "21a,21a,42");
    // Triggers do not fire for such rows, and are afterwards what they were.
    let triggers =
        "SELECT string_agg(concat(tgname, tgenabled), ' ' ORDER BY tgname) FROM pg_trigger";
    assert_eq!(database.value(triggers), "alwaysA offD");
    assert_eq!(database.value("SELECT count(*)::text FROM bare"), "2");
}
