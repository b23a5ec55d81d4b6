//! Databases that once were not brought back, or were by one way and not by the other.

use crate::form::{is_chosen, is_long};
use crate::real_server::RealServer;
use crate::trial::{BOTH, EQUAL, Known, Trial, passed, try_database};
use crate::ways::By;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// PostgreSQL shows them to their owner and to superusers alone.
const USER_MAPPING: Known<'_> = Known {
    difference: "USER MAPPING public SERVER",
    why: "only superusers can read the options of user mappings",
};

const CASES: &[Trial<'_>] = &[
    Trial {
        title: "functions without a schema",
        special: "an index, a CHECK, a domain, a generated column and a materialized view call functions that name \
                  others without their schema",
        database: "search_path",
        fill: "CREATE EXTENSION unaccent;
            CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT unaccent($1)';
            CREATE TABLE person (name text); INSERT INTO person VALUES ('Zoë'), ('Čapek'); CREATE INDEX person_plain ON person (plain(name));
            CREATE FUNCTION small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 10';
            CREATE FUNCTION fine(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN small($1); END';
            CREATE TABLE checked (v int CONSTRAINT is_fine CHECK (fine(v))); INSERT INTO checked VALUES (1);
            COMMENT ON CONSTRAINT is_fine ON checked IS 'fine';
            CREATE DOMAIN fine_int AS int CHECK (fine(VALUE)); CREATE TABLE of_domain (v fine_int); INSERT INTO of_domain VALUES (2);
            CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
            CREATE FUNCTION four(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN twice(twice($1)); END';
            CREATE TABLE made (v int, w int GENERATED ALWAYS AS (four(v)) STORED); INSERT INTO made (v) VALUES (1), (2);
            CREATE MATERIALIZED VIEW copied AS SELECT four(v) FROM made; CREATE UNIQUE INDEX ON copied (four);",
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "tablespaces",
        special: "a table and an index in tablespaces that the drill's server has not",
        database: "tablespaces",
        fill: "SET allow_in_place_tablespaces = on; CREATE TABLESPACE \"fast 'disk'\" LOCATION '';
            CREATE TABLE t (id int PRIMARY KEY USING INDEX TABLESPACE \"fast 'disk'\", v text) TABLESPACE \"fast 'disk'\";
            INSERT INTO t SELECT n, 'v' FROM generate_series(1, 100) n; CREATE INDEX ON t (v) TABLESPACE \"fast 'disk'\";
            CREATE TABLE p (a int) PARTITION BY LIST (a) TABLESPACE \"fast 'disk'\"; CREATE TABLE p1 PARTITION OF p DEFAULT;
            CREATE MATERIALIZED VIEW m TABLESPACE \"fast 'disk'\" AS SELECT count(*) FROM t;",
        ..EQUAL
    },
    Trial {
        title: "a locale of another host",
        special: "a collation whose locale neither this host nor the drill's has",
        database: "locale_away",
        fill: "CREATE COLLATION german (locale = 'C'); CREATE TABLE person (name text COLLATE german);
            INSERT INTO person VALUES ('Ada'), ('Ärger'); CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1);
            SET allow_system_table_mods = on;
            UPDATE pg_collation SET collcollate = 'de_DE.utf8', collctype = 'de_DE.utf8' WHERE collname = 'german';",
        state: "unproven",
        says: &["german", "de_DE.utf8"],
        codes: [3, 1, 1],
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "orphans",
        special: "rows that a foreign key refers to are missing in the source itself",
        database: "orphans",
        fill: "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int CONSTRAINT c_p REFERENCES p);
            INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1);
            SET session_replication_role = replica; INSERT INTO c VALUES (2, 42);",
        says: &["c_p"],
        codes: [3, 3, 3],
        plain_fails: true,
        known: &[Known {
            difference: "c c_p; Type: FK CONSTRAINT",
            why: "the foreign key comes back `NOT VALID`",
        }],
        ..EQUAL
    },
    Trial {
        title: "a CHECK of its time",
        special: "a CHECK over `now()` that held when the row was written",
        database: "timed",
        fill: "CREATE TABLE booking (id int, day timestamptz CONSTRAINT soon CHECK (day > now() - interval '10 ms'));
            INSERT INTO booking VALUES (1, now()); COMMENT ON CONSTRAINT soon ON booking IS 'no bookings of the past';
            CREATE TABLE other (id int); INSERT INTO other VALUES (1); SELECT pg_sleep(0.02);",
        says: &["soon"],
        codes: [3, 3, 3],
        plain_fails: true,
        known: &[
            Known {
                difference: "definition of booking; Type: TABLE",
                why: "the CHECK comes back `NOT VALID`",
            },
            Known {
                difference: "not in the source: booking soon; Type: CHECK CONSTRAINT",
                why: "`pg_dump` writes such a one by itself",
            },
        ],
        ..EQUAL
    },
    Trial {
        title: "a CHECK that reads another table",
        special: "the table that it reads is the larger one and comes later by name",
        database: "order_of_load",
        fill: "CREATE TABLE zone (id int PRIMARY KEY, pad text); INSERT INTO zone SELECT i, repeat('x', 300) FROM generate_series(1, 20000) i;
            CREATE FUNCTION zone_there(i int) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS (SELECT FROM public.zone WHERE id = i) $$;
            CREATE TABLE address (id int PRIMARY KEY, zone int CONSTRAINT there CHECK (public.zone_there(zone))); INSERT INTO address VALUES (1, 20000);
            CREATE DOMAIN zone_id AS int CHECK (public.zone_there(VALUE)); CREATE TABLE by_domain (z zone_id); INSERT INTO by_domain VALUES (7);",
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "a generated column that reads another table",
        special: "the table that its function reads comes later by name",
        database: "generated_later",
        fill: "CREATE TABLE zone (id int PRIMARY KEY, pad text); INSERT INTO zone SELECT i, 'x' FROM generate_series(1, 100) i;
            CREATE FUNCTION pad_of(i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT pad FROM public.zone WHERE id = i $$;
            CREATE TABLE generated (z int, pad text GENERATED ALWAYS AS (pad_of(z)) STORED); INSERT INTO generated (z) VALUES (9);",
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "regclass of an index",
        special: "values that name an index, a primary key, a sequence, in an array and in a domain, too",
        database: "regclass",
        fill: "CREATE TABLE advice (id int PRIMARY KEY, about regclass, many regclass[]); CREATE INDEX advice_about ON advice (about);
            INSERT INTO advice VALUES (1, 'advice_pkey', '{advice_about,advice}'), (2, 'advice', NULL);
            CREATE DOMAIN thing AS regclass; CREATE TABLE of_domain (v thing); INSERT INTO of_domain VALUES ('advice_pkey');
            CREATE TABLE refers (id int REFERENCES advice, about regclass); INSERT INTO refers VALUES (1, 'advice_pkey');",
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "views in a circle",
        special: "two views that read each other, beside a materialized view",
        database: "circle",
        fill: "CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1);
            CREATE VIEW one AS SELECT id FROM item; CREATE VIEW two AS SELECT id FROM one;
            CREATE OR REPLACE VIEW one AS SELECT id FROM two; CREATE MATERIALIZED VIEW item_copy AS SELECT * FROM item;",
        ..EQUAL
    },
    Trial {
        title: "comments on constraints",
        special: "on a primary key, a unique and a foreign key, and on their indexes",
        database: "comments",
        fill: "CREATE TABLE t (id int CONSTRAINT t_pk PRIMARY KEY, u int CONSTRAINT t_u UNIQUE, r int REFERENCES t);
            COMMENT ON CONSTRAINT t_pk ON t IS 'the key'; COMMENT ON CONSTRAINT t_u ON t IS 'the unique';
            COMMENT ON CONSTRAINT t_r_fkey ON t IS 'the fk'; COMMENT ON INDEX t_pk IS 'index of key'; COMMENT ON INDEX t_u IS 'index of unique';
            INSERT INTO t VALUES (1, 1, 1);",
        ..EQUAL
    },
    Trial {
        title: "properties of the database",
        special: "`ALTER DATABASE SET`, `ALTER ROLE IN DATABASE SET`, grants, comment, limit, owner",
        database: "a \"settings\" = 50%",
        fill: "CREATE SCHEMA app; CREATE TABLE app.t (id int); INSERT INTO app.t VALUES (1); CREATE ROLE \"settings's\";
            SELECT format($q$ALTER DATABASE %1$I SET search_path = app, \"a b\"; ALTER DATABASE %1$I SET timezone = 'Asia/Tokyo'; ALTER DATABASE %1$I SET \"app.odd\" = E'it''s\n\"x\"';
                REVOKE ALL ON DATABASE %1$I FROM PUBLIC; GRANT CONNECT ON DATABASE %1$I TO \"settings's\"; COMMENT ON DATABASE %1$I IS 'the hub';
                ALTER ROLE \"settings's\" IN DATABASE %1$I SET work_mem = '7MB'; ALTER DATABASE %1$I OWNER TO \"settings's\"; ALTER DATABASE %1$I CONNECTION LIMIT 9$q$, current_database()) \\gexec",
        ..EQUAL
    },
    Trial {
        title: "SQL_ASCII",
        special: "bytes that are no UTF-8, in rows and in a comment",
        database: "ascii",
        options: "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
        fill: "CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'plain'), (2, E'caf\\xe9'), (3, E'\\xff\\\\');
            COMMENT ON TABLE t IS E'caf\\xe9';",
        ..EQUAL
    },
    Trial {
        title: "a materialized view over another server",
        special: "that server cannot be reached",
        database: "far",
        fill: "CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'x');
            CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (user 'postgres'); CREATE TABLE own (id int); INSERT INTO own VALUES (1);
            CREATE FOREIGN TABLE r (id int) SERVER s; CREATE VIEW between AS SELECT * FROM r;
            CREATE MATERIALIZED VIEW m AS SELECT * FROM between WITH NO DATA; CREATE UNIQUE INDEX ON m (id);
            SET allow_system_table_mods = on; UPDATE pg_class SET relispopulated = true WHERE relname = 'm';",
        codes: [3, 3, 3],
        says: &["materialized view m was not filled"],
        plain_fails: true,
        known: &[
            Known {
                difference: "rows public.m:",
                why: "the view stays unfilled, which is said",
            },
            USER_MAPPING,
        ],
        ..EQUAL
    },
    Trial {
        title: "a file of the server",
        special: "a foreign table of `file_fdw`, which only superusers may create",
        database: "server_file",
        fill: "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
            CREATE FOREIGN TABLE line (v text) SERVER files OPTIONS (filename '/etc/hostname');
            CREATE TABLE own (id int); INSERT INTO own VALUES (1);",
        state: "unproven",
        says: &["not rebuilt: foreign table line"],
        codes: [3, 0, 0],
        short: "a drill creates foreign tables over a login that is no superuser's, so that it cannot create this one",
        ..EQUAL
    },
];

#[test]
fn databases_that_once_were_not_brought_back() {
    try_all(CASES);
}

/// Tries several databases by both roles.
fn try_all(cases: &[Trial<'_>]) {
    try_by(cases, |_| &BOTH);
}

/// The same; in the short form every other one by the superuser, the others by the least role.
pub(crate) fn try_in_turn(cases: &[Trial<'_>]) {
    try_by(cases, |number| {
        if is_long() {
            &BOTH
        } else {
            std::slice::from_ref(&BOTH[number % BOTH.len()])
        }
    });
}

/// Two at once.
fn try_by(cases: &[Trial<'_>], by: impl Fn(usize) -> &'static [By] + Sync) {
    let server = RealServer::shared();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else {
                        break;
                    };
                    if !is_chosen(case.title) {
                        continue;
                    }
                    let case = Trial {
                        by: by(number),
                        ..*case
                    };
                    let found = catch_unwind(AssertUnwindSafe(|| try_database(&server, &case)))
                        .unwrap_or_else(|_| vec![format!("{}: panicked, see above", case.title)]);
                    wrong
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(found);
                }
            });
        }
    });
    passed(&wrong.into_inner().unwrap());
}
