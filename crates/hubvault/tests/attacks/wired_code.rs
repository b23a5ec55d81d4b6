//! Functions of an owner that a superuser of the source gave a place where superusers run them: event triggers, support
//! functions, validators, and functions that belong to predefined roles.

use crate::drill_code::{HOSTILE, Owned, database_of_an_owner};
use hubvault_testkit::Database;

/// Event triggers with functions of the owner, which do nothing at the source itself, and what a drill grants and takes
/// back meanwhile.
pub(crate) const EVENTS: &str = "
    CREATE FUNCTION on_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_database() ~ '^(drill|rebuilt|hubvault)' THEN PERFORM public.act('event'); END IF; END $$;
    ALTER FUNCTION on_event OWNER TO mallory;
    CREATE EVENT TRIGGER on_start ON ddl_command_start EXECUTE FUNCTION on_event();
    CREATE EVENT TRIGGER on_end ON ddl_command_end EXECUTE FUNCTION on_event();
    CREATE EVENT TRIGGER on_drop ON sql_drop EXECUTE FUNCTION on_event();
    ALTER EVENT TRIGGER on_end ENABLE ALWAYS; ALTER EVENT TRIGGER on_start ENABLE REPLICA;
    CREATE TABLE revoked (x int); INSERT INTO revoked VALUES (1); ALTER TABLE revoked OWNER TO mallory;
    REVOKE ALL ON revoked FROM mallory;
    CREATE FUNCTION reads_files() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
    ALTER FUNCTION reads_files OWNER TO pg_read_server_files;
    CREATE FUNCTION in_order(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        IF current_database() ~ '^(drill|rebuilt|hubvault)' THEN PERFORM public.act('order'); END IF;
        RETURN btint4cmp($1, $2); END $$;
    ALTER FUNCTION in_order OWNER TO mallory;
    CREATE OPERATOR CLASS own_order FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
        OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 in_order(int, int);
    CREATE FUNCTION hashed(int, int8) RETURNS int8 LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        IF current_database() ~ '^(drill|rebuilt|hubvault)' THEN PERFORM public.act('hash'); END IF; RETURN $1; END $$;
    ALTER FUNCTION hashed OWNER TO mallory;
    CREATE OPERATOR CLASS own_hash FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 2 hashed(int, int8);
    CREATE TABLE ordered (x int); INSERT INTO ordered SELECT generate_series(1, 9); CREATE INDEX ON ordered (x own_order);
    ALTER TABLE ordered OWNER TO mallory;
    CREATE TABLE hashed_parts (x int) PARTITION BY HASH (x own_hash);
    CREATE TABLE hashed_part PARTITION OF hashed_parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    INSERT INTO hashed_parts VALUES (1); ALTER TABLE hashed_parts OWNER TO mallory; ALTER TABLE hashed_part OWNER TO mallory;
";

/// Since 17: when somebody logs in.
pub(crate) const LOGIN: &str = "
    CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION on_event(); ALTER EVENT TRIGGER on_login ENABLE ALWAYS;
";

/// A backup's record.
fn record(owned: &Owned) -> serde_json::Value {
    owned.hub.backup().0
}

#[test]
fn what_a_superuser_of_the_source_wired_gets_no_superuser_of_a_drill() {
    let owned = database_of_an_owner(HOSTILE);
    owned.database.execute(EVENTS);
    owned.assert_proven();
    owned.assert_no_marks();
}

#[test]
fn what_a_superuser_of_the_source_wired_gets_no_superuser_of_an_external_drill_server() {
    let mut owned = database_of_an_owner(HOSTILE);
    // A role that may do no more than own its database makes no operator class, and gives nothing away.
    let (events, rest) = EVENTS.split_once("CREATE FUNCTION reads_files").unwrap();
    owned.database.execute(events);
    assert!(rest.contains("OPERATOR CLASS"));
    owned.drill_on_its_own_server();
    owned.assert_proven();
    owned.assert_no_marks();
}

#[test]
fn an_owners_validator_of_a_foreign_data_wrapper_is_run_by_no_superuser() {
    let owned = database_of_an_owner(HOSTILE);
    owned.database.execute(
        "CREATE FUNCTION valid(text[], oid) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() ~ '^(drill|rebuilt|hubvault)' THEN PERFORM public.act('validator'); END IF; END $$;
         ALTER FUNCTION valid OWNER TO mallory;
         CREATE FOREIGN DATA WRAPPER own_wrapper VALIDATOR valid OPTIONS (a 'b');
         CREATE SERVER own_server FOREIGN DATA WRAPPER own_wrapper OPTIONS (c 'd');
         CREATE USER MAPPING FOR PUBLIC SERVER own_server OPTIONS (e 'f')",
    );
    let record = record(&owned);
    let reason = record["proof"]["reason"].as_str().unwrap();
    let said = "foreign data wrapper own_wrapper (function public.valid could be its validator, which a superuser would run)";
    assert!(reason.contains(said), "{reason}");
    assert!(!reason.contains("created superusers"), "{reason}");
    owned.assert_no_marks();
}

#[test]
fn what_is_no_function_and_belongs_to_a_predefined_role_is_named_with_the_reason() {
    let owned = database_of_an_owner("CREATE TABLE t (x int); INSERT INTO t VALUES (1)");
    let database: &Database = &owned.database;
    database.execute(
        "CREATE VIEW of_files AS SELECT 1 AS x; ALTER VIEW of_files OWNER TO pg_read_server_files",
    );
    let record = record(&owned);
    let reason = record["proof"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("view of_files") && reason.contains("give the object to another role"),
        "{reason}"
    );
}
