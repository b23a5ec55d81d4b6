//! Rows of single tables that are partitioned by the hash of an enum, which is another one in another database.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, database_with, server};

/// Rows that are written into it only without its trigger.
const DEFINITIONS: &str = "
DO $$ BEGIN
    EXECUTE (SELECT format('CREATE TYPE mood AS ENUM (%s)', string_agg(quote_literal('v' || n), ',')) FROM generate_series(1, 200) n);
END $$;
CREATE TABLE e (id int, m mood, t text, PRIMARY KEY (id, m)) PARTITION BY HASH (m);
CREATE TABLE e_0 PARTITION OF e FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE e_1 PARTITION OF e FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE e_2 PARTITION OF e FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE \"e_<b>'\n\" PARTITION OF e FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $q$no rows$q$; END';
CREATE TRIGGER whole BEFORE INSERT ON e EXECUTE FUNCTION refuse();
CREATE TRIGGER one BEFORE INSERT ON e FOR EACH ROW EXECUTE FUNCTION refuse();
";
const ROWS: &str = "
ALTER TABLE e DISABLE TRIGGER USER;
INSERT INTO e SELECT n, ('v' || 1 + n % 200)::mood, 'row ' || n FROM generate_series(1, 1000) n;
ALTER TABLE e ENABLE TRIGGER USER;
";
const ALL: &str = "SELECT concat(count(*), md5(string_agg(e::text, ',' ORDER BY id))) FROM e";
const ENABLED: &str = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O'";

fn source() -> (Hub, Database) {
    let source = database_with(&(DEFINITIONS.to_owned() + ROWS));
    let hub = Hub::whole(&source);
    hub.backup();
    (hub, source)
}

fn restore(hub: &Hub, to: &Database, code: i32, more: &[&str]) -> String {
    let words = ["restore", "latest", "--database", to.name()];
    let output = hub.run_expecting(code, &[&words[..], more].concat());
    stdout(&output) + &stderr(&output)
}

#[test]
fn one_partition_is_refused_where_its_rows_belong_into_others_and_all_of_them_are_restored_together()
 {
    let (hub, source) = source();
    let target = database_with(DEFINITIONS);
    let said = restore(&hub, &target, 1, &["--table", "e_0"]);
    let advice = "restore all of them together: --table 'e'";
    assert!(said.contains("e_0 is a partition of e by a hash"), "{said}");
    assert!(said.contains(advice), "{said}");
    let said = restore(&hub, &target, 1, &["--table", "e_0", "--missing-rows"]);
    assert!(said.contains("--into-schema SCHEMA"), "{said}");
    assert_eq!(target.value("SELECT count(*) FROM e"), "0");
    let said = restore(&hub, &target, 0, &["--table", "e_0", "--dry-run"]);
    assert!(said.contains("it may refuse the rows"), "{said}");
    assert!(said.contains(advice), "{said}");
    let said = restore(&hub, &target, 0, &["--table", "e", "--dry-run"]);
    assert!(!said.contains(advice), "{said}");

    let said = restore(&hub, &target, 0, &["--table", "e"]);
    assert!(
        said.contains("4 tables, 1,000 rows, every row equal"),
        "{said}"
    );
    assert_eq!(target.value(ALL), source.value(ALL));
    assert_eq!(target.value(ENABLED), source.value(ENABLED));
    // The server looks for it in one partition alone.
    assert_eq!(target.value("SELECT count(*) FROM e WHERE m = 'v7'"), "5");
    target.execute("TRUNCATE e_0, e_1");
    let said = restore(&hub, &target, 1, &["--table", "e_*"]);
    assert!(said.contains("is not empty"), "{said}");

    // The names of all partitions are as good as that of the table.
    let target = database_with(DEFINITIONS);
    restore(&hub, &target, 0, &["--table", "e_*"]);
    assert_eq!(target.value(ALL), source.value(ALL));
}

#[test]
fn a_partition_is_restored_where_its_rows_belong_into_it() {
    let (hub, source) = source();
    let before = source.digests();
    // Its own database.
    source.execute("TRUNCATE e_0");
    restore(&hub, &source, 0, &["--table", "e_0"]);
    source.execute("TRUNCATE e");
    restore(&hub, &source, 0, &["--table", "e"]);
    assert_eq!(source.digests(), before);
    // Where it is no partition, and as a new table.
    let target = server().database();
    target.execute(DEFINITIONS);
    target.execute("ALTER TABLE e DETACH PARTITION e_0");
    restore(&hub, &target, 0, &["--table", "e_0"]);
    restore(
        &hub,
        &target,
        0,
        &["--table", "e_*", "--into-schema", "recovered"],
    );
    let rows = |name| target.value(&format!("SELECT concat(count(*), sum(id)) FROM {name}"));
    assert_eq!(rows("e_0"), rows("recovered.e_0"));
    assert_eq!(
        target.value(
            "SELECT sum((SELECT count(*) FROM ONLY recovered.e_0)
            + (SELECT count(*) FROM recovered.e_1) + (SELECT count(*) FROM recovered.e_2)
            + (SELECT count(*) FROM recovered.\"e_<b>'\n\"))"
        ),
        "1000"
    );
}

#[test]
fn what_one_partition_refers_to_comes_before_all_of_them() {
    let definitions = DEFINITIONS.to_owned()
        + "CREATE TABLE zone (id int PRIMARY KEY); ALTER TABLE e_0 ADD FOREIGN KEY (id) REFERENCES zone;
           CREATE TABLE audit (id int, m mood, FOREIGN KEY (id, m) REFERENCES e_0);";
    let rows = "INSERT INTO zone SELECT generate_series(1, 1000);";
    let source = database_with(&format!("{definitions}{rows}{ROWS}"));
    source.execute("INSERT INTO audit SELECT id, m FROM e_0");
    let hub = Hub::whole(&source);
    hub.backup();
    source.execute("TRUNCATE audit, e, zone");
    let words = ["--table", "audit", "--table", "e", "--table", "zone"];
    restore(&hub, &source, 0, &words);
    assert_eq!(source.value("SELECT count(*) FROM e"), "1000");
    let audited = "SELECT count(*) = (SELECT count(*) FROM e_0) FROM audit";
    assert_eq!(source.value(audited), "t");
}

#[test]
fn contents_of_partitions_with_other_columns_are_counted() {
    let another = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'fine', 'good', 'great', 'best');
        CREATE TABLE hp (id int, m mood, t text) PARTITION BY HASH (m);
        CREATE TABLE hp0 PARTITION OF hp FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE hp1 (t text, id int, m mood);
        ALTER TABLE hp ATTACH PARTITION hp1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);";
    let rows = "INSERT INTO hp SELECT n, (enum_range(NULL::mood))[1 + n % 6], 'x' FROM generate_series(1, 60) n";
    let source = database_with(&(another.to_owned() + rows));
    let hub = Hub::whole(&source);
    hub.backup();
    let target = database_with(another);
    let said = restore(&hub, &target, 0, &["--table", "hp", "--dry-run"]);
    assert!(!said.contains("does not take"), "{said}");
    assert!(said.contains("was not tried"), "{said}");
    let said = restore(&hub, &target, 3, &["--table", "hp"]);
    assert!(
        said.contains("hp: the row count matches, its contents could not be compared"),
        "{said}"
    );
    assert_eq!(target.value("SELECT sum(id) FROM hp"), "1830");
}
