//! Rows and rules that need each other come back in one order, whichever way they are restored.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, extract, run_restore_script, server};
use std::path::Path;

/// A CHECK that reads a table which is loaded later, over a larger one, and fails where a row is not there yet; CHECKs and domains in inheritance, in a dependency
/// loop, boxed in an array; a generated column that reads a table; values that name indexes, also inside of others.
const ORDER: &str = "
CREATE TABLE zone (id int PRIMARY KEY, pad text);
INSERT INTO zone SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n;
CREATE FUNCTION zone_there(int) RETURNS boolean LANGUAGE plpgsql STABLE
    AS 'DECLARE found int; BEGIN SELECT id INTO STRICT found FROM public.zone WHERE id = $1; RETURN true; END';
CREATE TABLE address (id int PRIMARY KEY, zone int CHECK (zone_there(zone)));
INSERT INTO address VALUES (1, 20000);
COMMENT ON CONSTRAINT address_zone_check ON address IS 'it''s \\ there';
COMMENT ON CONSTRAINT address_pkey ON address IS 'key';
CREATE DOMAIN zoned AS int CONSTRAINT zoned_there CHECK (zone_there(VALUE));
COMMENT ON CONSTRAINT zoned_there ON DOMAIN zoned IS 'domain';
CREATE DOMAIN zoned_too AS zoned;
CREATE DOMAIN boxed AS int CHECK (zone_there(VALUE));
CREATE TABLE a_domain (v zoned, w zoned_too);
INSERT INTO a_domain VALUES (20000, 1);
CREATE TABLE a_box (v boxed[]);
INSERT INTO a_box VALUES ('{1,20000}');
CREATE TABLE above (v int, CONSTRAINT c CHECK (zone_there(v)), CONSTRAINT own CHECK (zone_there(v)) NO INHERIT);
CREATE TABLE below (CONSTRAINT c CHECK (zone_there(v))) INHERITS (above);
INSERT INTO below VALUES (3);
COMMENT ON CONSTRAINT c ON below IS 'below';
CREATE TABLE parts (id int, v int, CONSTRAINT pc CHECK (zone_there(v))) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
INSERT INTO parts VALUES (1, 4);
CREATE TABLE a_loop (v int);
CREATE FUNCTION whole_row(a_loop) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $1.v > 0';
ALTER TABLE a_loop ADD CHECK (whole_row(a_loop.*));
INSERT INTO a_loop VALUES (1);
CREATE FUNCTION zones_pad(int) RETURNS text LANGUAGE plpgsql IMMUTABLE
    AS 'BEGIN RETURN (SELECT pad FROM public.zone WHERE id = $1); END';
CREATE TABLE a_column (v int, pad text GENERATED ALWAYS AS (zones_pad(v)) STORED);
INSERT INTO a_column VALUES (20000);
CREATE DOMAIN named AS regclass;
CREATE TYPE naming AS (name regclass, n int);
CREATE TABLE a_name (id int PRIMARY KEY, a regclass, b regclass[], c named, d naming);
CREATE INDEX a_name_a ON a_name (a);
INSERT INTO a_name VALUES (1, 'a_name_a', '{a_name_pkey,zone_pkey}', 'address_pkey', ROW('zone_pkey', 1));
CREATE TABLE \"It's \"\"a\"\" \\ table\" (v int CONSTRAINT \"c' \"\"\\ :x\" CHECK (zone_there(v)));
INSERT INTO \"It's \"\"a\"\" \\ table\" VALUES (5);
CREATE TABLE changes (what text);
CREATE FUNCTION changed() RETURNS event_trigger LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO public.changes VALUES (tg_tag); END';
CREATE MATERIALIZED VIEW zones AS SELECT count(*) FROM zone;
CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION changed();
ALTER EVENT TRIGGER ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ddl IS 'ddl';
";

/// Constraints and the comments on them and on other objects.
const RULES: &str = "
SELECT string_agg(r, E'\\n' ORDER BY r) FROM (
    SELECT concat_ws(' ', conrelid::regclass, contypid::regtype, conname, convalidated, conislocal, coninhcount,
                     pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint'))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', classoid::regclass, description) FROM pg_description
        WHERE classoid = 'pg_event_trigger'::regclass) rules (r)";

fn by_script(archive: &Path, code: i32) -> (Database, String) {
    let directory = tempfile::tempdir().unwrap();
    extract(archive, directory.path());
    let target = server().database();
    let output = run_restore_script(directory.path(), &target, &["--jobs", "3"]);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    (target, said)
}

#[test]
fn rules_about_other_rows_and_names_of_indexes_are_proven_and_restored_either_way() {
    let server = server();
    let source = server.database();
    source.execute(ORDER);
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let restored = server.database();
    hub.run_expecting(0, &["restore", "latest", "--database", restored.name()]);
    let (scripted, _) = by_script(&archive, 0);
    for target in [restored, scripted] {
        assert_eq!(source.value(RULES), target.value(RULES));
        assert_eq!(source.digests(), target.digests());
    }
}

#[test]
fn rules_that_rows_break_come_back_not_valid_and_names_without_schema_are_found() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE FUNCTION small(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 < 10; END';
         CREATE FUNCTION fine(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN small($1); END';
         CREATE TABLE numbers (id int PRIMARY KEY, v int CHECK (fine(v)), w boolean GENERATED ALWAYS AS (fine(v)) STORED);
         INSERT INTO numbers (id, v) VALUES (1, 1);
         CREATE INDEX by_size ON numbers (fine(v));
         CREATE TABLE booking (id int PRIMARY KEY, day timestamptz CHECK (day > now() - interval '1 hour'));
         INSERT INTO booking VALUES (7, now()), (8, now() + interval '1 year');
         CREATE TABLE part (id int, b int) PARTITION BY RANGE (id);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
         CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20);
         ALTER TABLE part ADD CONSTRAINT part_b FOREIGN KEY (b) REFERENCES booking;
         INSERT INTO part VALUES (1, 7);
         ALTER TABLE booking DISABLE TRIGGER ALL; ALTER TABLE part DISABLE TRIGGER ALL;
         INSERT INTO part VALUES (11, 99);
         CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
         CREATE TABLE pair_1 PARTITION OF pair FOR VALUES IN (1);
         CREATE TABLE pair_2 PARTITION OF pair FOR VALUES IN (2);
         CREATE TABLE half (id int, a int, b int) PARTITION BY LIST (id);
         CREATE TABLE half_1 PARTITION OF half FOR VALUES IN (1);
         ALTER TABLE half ADD CONSTRAINT half_key FOREIGN KEY (a, b) REFERENCES pair MATCH FULL;
         SET session_replication_role = replica; INSERT INTO half VALUES (1, 2, NULL); RESET session_replication_role;
         ALTER TABLE booking ENABLE TRIGGER ALL; ALTER TABLE part ENABLE TRIGGER ALL",
    );
    // The rule held when the row was written.
    source.execute("CREATE FUNCTION moment() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now() - interval ''2 hours''';
         ALTER TABLE booking ADD CONSTRAINT late CHECK (day > moment());
         CREATE OR REPLACE FUNCTION moment() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now() + interval ''2 hours'''");
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    let (target, said) = by_script(&archive, 3);
    for words in [
        "INDEX public by_size",
        "CHECK numbers_v_check on public.numbers",
        "late on public.booking: 1 row breaks it, the first: (7)",
        "part_b on public.part_2: 1 row breaks it",
        "half_key on public.half_1: 1 row breaks it",
        "FK CONSTRAINT public part part_b postgres: rows break it; its partitions have it NOT VALID; new partitions",
        "every row count equal",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let of_partitions = said.matches("its partitions have it").count();
    assert_eq!(
        (of_partitions, said.matches("on public.half_").count()),
        (2, 1),
        "{said}"
    );
    assert_eq!(source.digests(), target.digests());
    let not_valid = "SELECT string_agg(conrelid::regclass || ' ' || conname, ', ' ORDER BY conrelid::regclass::text)
        FROM pg_constraint WHERE NOT convalidated AND conparentid = 0";
    let expected = "booking late, half_1 half_key, part_2 part_b";
    assert_eq!(target.value(not_valid), expected);
    let restored = server.database();
    hub.run_expecting(3, &["restore", "latest", "--database", restored.name()]);
    assert_eq!(source.digests(), restored.digests());
    assert_eq!(restored.value(not_valid), expected);
}

/// Values that functions make of the session's settings, and values that are read alike with all of them.
const SETTINGS: &str = "CREATE FUNCTION day_of(timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::date::text';
    CREATE FUNCTION text_of(interval) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text';
    CREATE TABLE made (at timestamptz, d date, i interval, z timetz, b bytea, f float8, day text GENERATED ALWAYS AS (day_of(at)) STORED CHECK (day_of(at) ~ '[.]'),
        long text GENERATED ALWAYS AS (text_of(i)) STORED, bytes text GENERATED ALWAYS AS (b::text) STORED, digits text GENERATED ALWAYS AS (f::text) STORED);
    INSERT INTO made SELECT at, at::date, i, at::timetz, 'a\\\\b', 0.1::float8 + 0.2
        FROM unnest(ARRAY['0044-03-15 23:00+00 BC', '0007-02-03 22:00+00', '2024-01-02 20:00+00', '12024-11-10 20:00+00']::timestamptz[]) at,
             unnest(ARRAY['-1 year -2 mons +3 days -04:05:06.7', '1 day -00:00:01', '-1 days -02:00:00', '-3 mons', '2 years 1 mon', '0', '-00:00:00.5']::interval[]) i;
    CREATE MATERIALIZED VIEW per_day AS SELECT date_trunc('day', at)::text AS day, i::text AS i, count(*) FROM made GROUP BY 1, 2;";

#[test]
fn what_functions_make_of_the_settings_of_the_source_comes_back_either_way() {
    let server = server();
    let source = server.database();
    for setting in [
        "timezone = 'Asia/Tokyo'",
        "datestyle = 'German, DMY'",
        "intervalstyle = 'sql_standard'",
        "bytea_output = 'escape'",
        "extra_float_digits = -3",
    ] {
        source.execute(&format!("ALTER DATABASE {} SET {setting}", source.name()));
    }
    // A session whose settings are the database's.
    source.client().batch_execute(SETTINGS).unwrap();
    let all = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 3;
        SELECT string_agg(l, E'\n' ORDER BY l) FROM (SELECT m::text FROM made m UNION ALL SELECT p::text FROM per_day p) a (l)";
    let expected = source.value(all);
    assert!(expected.contains("03.01.2024"), "{expected}");
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    hub.set("PROOF_SCRIPT", "always");
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let notes = record["proof"]["drill"]["not_valid"].to_string();
    assert!(!notes.contains("made"), "{notes}");
    // Neither target has these settings.
    let target = server.database();
    hub.run_expecting(0, &["restore", "latest", "--database", target.name()]);
    assert_eq!(target.value(all), expected);
    let (by_script, _) = by_script(&archive, 0);
    assert_eq!(by_script.value(all), expected);
}
