//! Variations of the cases: the same kinds of databases in shapes that nobody had reported yet.

use crate::cases::try_in_turn;
use crate::trial::{EQUAL, Known, Trial};

const VARIATIONS: &[Trial<'_>] = &[
    Trial {
        title: "names without a schema in keys",
        special: "functions that name others without their schema in a partition key, a partial index, an exclusion \
                  constraint, statistics, an index of a materialized view, domains in arrays and composites",
        database: "path_keys",
        fill: "CREATE EXTENSION btree_gist;
            CREATE FUNCTION low(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN lower($1); END';
            CREATE FUNCTION norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN low(trim($1)); END';
            CREATE TABLE p (name text, v int) PARTITION BY LIST (norm(name));
            CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE p_rest PARTITION OF p DEFAULT;
            INSERT INTO p SELECT chr(96 + n % 5 + 1), n FROM generate_series(1, 50) n; CREATE INDEX ON p (norm(name));
            CREATE TABLE t (id int PRIMARY KEY, name text, d int4range, EXCLUDE USING gist (norm(name) WITH =, d WITH &&));
            INSERT INTO t SELECT n, 'N' || n, int4range(n, n + 2) FROM generate_series(1, 30) n;
            CREATE UNIQUE INDEX t_partial ON t (id) WHERE norm(name) <> 'n3'; CREATE STATISTICS t_stat ON norm(name), (id % 2) FROM t;
            CREATE MATERIALIZED VIEW mv AS SELECT id, name FROM t; CREATE UNIQUE INDEX mv_norm ON mv (norm(name)); CREATE MATERIALIZED VIEW mv2 AS SELECT norm(name) FROM mv;
            CREATE FUNCTION is_low(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN norm($1) = $1; END';
            CREATE DOMAIN word AS text CHECK (is_low(VALUE)); CREATE DOMAIN words AS word[]; CREATE TYPE pair AS (a word, b int);
            CREATE TABLE deep (w words, p pair, ps pair[]); INSERT INTO deep VALUES ('{a,b}', '(c,1)', '{\"(d,2)\"}');",
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "names without a schema in what runs later",
        special: "functions that name others without their schema in a default, a policy, the condition of a trigger, a rule, \
                  a view and a function with SQL body, with a search_path of the owner alone",
        database: "path_later",
        fill: "CREATE ROLE \"path owner\"; CREATE SCHEMA app AUTHORIZATION \"path owner\"; GRANT CREATE ON SCHEMA public TO \"path owner\";
            SELECT format('ALTER ROLE \"path owner\" IN DATABASE %I SET search_path = app, public', current_database()) \\gexec
            SET SESSION AUTHORIZATION \"path owner\"; SET search_path = app, public;
            CREATE FUNCTION base(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
            CREATE FUNCTION next(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN base($1); END';
            CREATE TABLE t (id int PRIMARY KEY, v int DEFAULT next(1) CONSTRAINT more CHECK (next(v) > v), w int GENERATED ALWAYS AS (next(id)) STORED);
            INSERT INTO t (id) SELECT generate_series(1, 20); CREATE INDEX ON t (next(v));
            ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (next(id) > 3) WITH CHECK (next(id) > 3);
            CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM base(1); RETURN NEW; END';
            CREATE TRIGGER later BEFORE INSERT ON t FOR EACH ROW WHEN (next(NEW.id) > 1) EXECUTE FUNCTION fires(); ALTER TABLE t ENABLE ALWAYS TRIGGER later;
            CREATE RULE r AS ON UPDATE TO t WHERE next(NEW.id) = 5 DO ALSO SELECT 1;
            CREATE VIEW v AS SELECT next(id) FROM t; CREATE FUNCTION body() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT sum(next(id)) FROM t; END;
            CREATE MATERIALIZED VIEW m AS SELECT body();",
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "CHECKs of other things",
        special: "CHECKs over a sequence, an index, a setting, the database's name, two tables in a circle, the table itself, in partitions and domains",
        database: "checks",
        fill: "CREATE SEQUENCE ids; SELECT setval('ids', 500);
            CREATE FUNCTION ids_at() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT last_value FROM public.ids';
            CREATE TABLE by_sequence (id int CHECK (id <= public.ids_at())); INSERT INTO by_sequence SELECT generate_series(1, 500);
            CREATE TABLE by_index (id int PRIMARY KEY, v int); CREATE INDEX by_index_v ON by_index (v);
            ALTER TABLE by_index ADD CHECK (to_regclass('public.by_index_v') IS NOT NULL AND 'public.by_index_pkey'::text::regclass IS NOT NULL); INSERT INTO by_index VALUES (1, 2);
            CREATE TABLE by_setting (c text CHECK (current_setting('app.tenant', true) IS NULL AND current_database() <> c)); INSERT INTO by_setting VALUES ('x');
            CREATE TABLE left_one (id int PRIMARY KEY); CREATE TABLE right_one (id int PRIMARY KEY);
            CREATE FUNCTION in_left(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM public.left_one WHERE id = $1); END';
            CREATE FUNCTION in_right(int) RETURNS boolean LANGUAGE plpgsql AS 'DECLARE r boolean; BEGIN EXECUTE ''SELECT EXISTS (SELECT FROM public.right_one WHERE id = $1)'' INTO r USING $1; RETURN r; END';
            INSERT INTO left_one VALUES (1), (2); INSERT INTO right_one VALUES (1), (2);
            ALTER TABLE left_one ADD CONSTRAINT right_too CHECK (in_right(id)); ALTER TABLE right_one ADD CONSTRAINT left_too CHECK (in_left(id));
            CREATE TABLE few (id int); CREATE FUNCTION is_few() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT count(*) > 4 FROM public.few';
            INSERT INTO few SELECT generate_series(1, 5); ALTER TABLE few ADD CONSTRAINT at_least CHECK (is_few());
            CREATE TABLE part (id int, at date) PARTITION BY RANGE (id); CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (100); CREATE TABLE part_2 PARTITION OF part DEFAULT;
            INSERT INTO part SELECT n, '2020-01-01' FROM generate_series(1, 200, 50) n; ALTER TABLE part ADD CONSTRAINT of_all CHECK (in_left(1)); ALTER TABLE part_1 ADD CONSTRAINT of_one CHECK (in_right(2)) NO INHERIT;
            CREATE DOMAIN left_id AS int CHECK (in_left(VALUE)); CREATE DOMAIN left_id_too AS left_id CHECK (VALUE > 0); CREATE TABLE a_domain (v left_id_too, vs left_id_too[]); INSERT INTO a_domain VALUES (1, '{2,1}');
            CREATE TABLE kin (id int CONSTRAINT of_kin CHECK (in_left(1 + id % 2))); CREATE TABLE kin_child (x int) INHERITS (kin); INSERT INTO kin_child VALUES (5, 1);
            COMMENT ON CONSTRAINT of_kin ON kin IS 'kin'; COMMENT ON CONSTRAINT of_kin ON kin_child IS 'child'; COMMENT ON CONSTRAINT of_one ON part_1 IS 'one'; COMMENT ON CONSTRAINT left_id_check ON DOMAIN left_id IS 'left';",
        plain_fails: true,
        ..EQUAL
    },
    Trial {
        title: "many orphans",
        special: "rows that break foreign keys of several columns, of a table to itself, in a circle, deferred, of partitioned tables and with odd names",
        database: "orphans_many",
        fill: "CREATE TABLE \"p \"\"1\"\"\" (a int, b text, PRIMARY KEY (a, b)); CREATE TABLE child (id int PRIMARY KEY, a int, b text, CONSTRAINT \"fk of 'two'\" FOREIGN KEY (a, b) REFERENCES \"p \"\"1\"\"\" MATCH FULL ON DELETE CASCADE);
            CREATE TABLE tree (id int PRIMARY KEY, up int CONSTRAINT tree_up REFERENCES tree DEFERRABLE INITIALLY DEFERRED);
            CREATE TABLE ring_a (id int PRIMARY KEY, b int); CREATE TABLE ring_b (id int PRIMARY KEY, a int CONSTRAINT b_a REFERENCES ring_a); ALTER TABLE ring_a ADD CONSTRAINT a_b FOREIGN KEY (b) REFERENCES ring_b DEFERRABLE;
            CREATE TABLE parts (id int, r int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50); CREATE TABLE parts_2 PARTITION OF parts DEFAULT PARTITION BY LIST (r); CREATE TABLE parts_3 PARTITION OF parts_2 DEFAULT;
            ALTER TABLE parts ADD CONSTRAINT parts_tree FOREIGN KEY (r) REFERENCES tree;
            CREATE TABLE target (id int PRIMARY KEY) PARTITION BY HASH (id); CREATE TABLE target_0 PARTITION OF target FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE target_1 PARTITION OF target FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            CREATE TABLE to_parts (id int, CONSTRAINT to_target FOREIGN KEY (id) REFERENCES target);
            CREATE TABLE no_key (v int CONSTRAINT no_key_tree REFERENCES tree, w int CONSTRAINT twice REFERENCES tree);
            SET session_replication_role = replica;
            INSERT INTO child SELECT n, n, 'x' FROM generate_series(1, 1000) n; INSERT INTO tree SELECT n, n + 1 FROM generate_series(1, 9) n;
            INSERT INTO ring_a VALUES (1, 7); INSERT INTO ring_b VALUES (1, 8); INSERT INTO parts VALUES (1, 99), (60, 98); INSERT INTO target VALUES (1), (2); INSERT INTO to_parts VALUES (1), (3); INSERT INTO no_key VALUES (1, 77);",
        state: "unproven",
        says: &["fk of 'two'", "tree_up", "a_b", "b_a", "parts_tree", "to_target", "twice"],
        codes: [3, 3, 3],
        plain_fails: true,
        known: &[Known { difference: "FK CONSTRAINT", why: "the foreign keys come back `NOT VALID`; before 18 a partitioned table cannot have such a one, so that its partitions have it" }],
        ..EQUAL
    },
    Trial {
        title: "indexes that rows break",
        special: "doubled keys of a unique index and a primary key, as a broken index or a changed locale leaves them; an index that was never finished",
        database: "broken_keys",
        fill: "CREATE TABLE t (id int CONSTRAINT t_key PRIMARY KEY, v int); CREATE UNIQUE INDEX t_v ON t (v); INSERT INTO t VALUES (1, 1), (2, 2);
            CREATE TABLE c (id int CONSTRAINT c_t REFERENCES t); INSERT INTO c VALUES (1); CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (5);
            SET allow_system_table_mods = on; UPDATE pg_index SET indisready = false, indisvalid = false, indislive = false WHERE indrelid = 't'::regclass;
            INSERT INTO t VALUES (2, 2); UPDATE pg_index SET indisready = true, indisvalid = true, indislive = true WHERE indrelid = 't'::regclass;
            CREATE INDEX unfinished ON t (id, v); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'unfinished'::regclass;",
        state: "unproven",
        says: &["t_key", "t_v"],
        codes: [3, 3, 3],
        plain_fails: true,
        known: &[
            Known { difference: "missing: t t_key; Type: CONSTRAINT", why: "the server refuses to build them, and the foreign key that needs one, which is said" },
            Known { difference: "missing: t_v; Type: INDEX", why: "" },
            Known { difference: "missing: c c_t; Type: FK CONSTRAINT", why: "" },
        ],
        ..EQUAL
    },
    Trial {
        title: "tablespaces everywhere",
        special: "of the database, of a unique and an excluding constraint, of partitions and their indexes, of a materialized view's index, \
                  and default_tablespace of the database and a role",
        database: "spaces",
        fill: "SET allow_in_place_tablespaces = on; CREATE TABLESPACE \"spaces' own\" LOCATION ''; CREATE TABLESPACE \"spaces 2\" LOCATION '';
            SELECT current_database() AS d \\gset
            \\c postgres
            ALTER DATABASE :\"d\" SET TABLESPACE \"spaces' own\";
            \\c :d
            CREATE TABLE t (id int, CONSTRAINT t_u UNIQUE (id) USING INDEX TABLESPACE \"spaces 2\", EXCLUDE USING btree (id WITH =) USING INDEX TABLESPACE \"spaces 2\"); INSERT INTO t VALUES (1);
            CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9) TABLESPACE \"spaces 2\"; CREATE TABLE p2 PARTITION OF p DEFAULT TABLESPACE pg_default;
            INSERT INTO p VALUES (1), (20); CREATE INDEX p_a ON p (a) TABLESPACE \"spaces 2\"; CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE INDEX ON m (id) TABLESPACE \"spaces 2\";
            CREATE UNLOGGED TABLE u (v text) TABLESPACE \"spaces 2\"; INSERT INTO u VALUES (repeat('x', 9000));
            SELECT format('ALTER DATABASE %1$I SET default_tablespace = %2$L; ALTER DATABASE %1$I SET temp_tablespaces = %2$L', current_database(), 'spaces 2') \\gexec",
        ..EQUAL
    },
    Trial {
        title: "collations",
        special: "ICU collations that are not deterministic, versions of collations that the host has not, C and POSIX, in keys, domains, ranges and partitions",
        database: "collations",
        options: "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C'",
        fill: "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE COLLATION numeric_de (provider = icu, locale = 'de-u-kn-true');
            CREATE COLLATION old_one (provider = icu, locale = 'sv'); SET allow_system_table_mods = on; UPDATE pg_collation SET collversion = '1.1' WHERE collname = 'old_one';
            CREATE TABLE t (a text COLLATE folded PRIMARY KEY, b text COLLATE numeric_de UNIQUE, c text COLLATE old_one, d text COLLATE \"C\", e text COLLATE \"de-x-icu\"); INSERT INTO t VALUES ('Ab', '10', 'x', 'y', 'ä'), ('b', '9', 'å', 'z', 'z');
            CREATE INDEX ON t (c, e); CREATE DOMAIN folded_text AS text COLLATE folded CHECK (VALUE <> 'NO' COLLATE folded); CREATE TYPE text_range AS RANGE (subtype = text, collation = numeric_de);
            CREATE TABLE u (f folded_text, r text_range); INSERT INTO u VALUES ('yes', '[2,10]'); CREATE TABLE p (k text COLLATE folded) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('one', 'Two'); INSERT INTO p VALUES ('ONE'), ('two');
            CREATE TABLE ranged (k text COLLATE numeric_de) PARTITION BY RANGE (k COLLATE \"C\"); CREATE TABLE ranged_1 PARTITION OF ranged DEFAULT; INSERT INTO ranged VALUES ('1');
            CREATE VIEW v AS SELECT a COLLATE \"C\" AS a, b || 'x' COLLATE \"POSIX\" AS b FROM t ORDER BY c COLLATE folded;",
        ..EQUAL
    },
    Trial {
        title: "keys by enum and hash",
        special: "tables that are partitioned by the hash or list of an enum, a composite, a domain and an own operator class",
        database: "hashed",
        fill: "CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e'); ALTER TYPE mood ADD VALUE 'between' AFTER 'b'; ALTER TYPE mood RENAME VALUE 'c' TO 'sea';
            CREATE TABLE h (m mood, v int, PRIMARY KEY (m, v)) PARTITION BY HASH (m);
            SELECT format('CREATE TABLE h_%1$s PARTITION OF h FOR VALUES WITH (MODULUS 5, REMAINDER %1$s)', n) FROM generate_series(0, 4) n \\gexec
            INSERT INTO h SELECT m, n FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 10) n;
            CREATE TABLE deep (d date, m mood) PARTITION BY RANGE (d); CREATE TABLE deep_1 PARTITION OF deep DEFAULT PARTITION BY HASH (m);
            CREATE TABLE deep_10 PARTITION OF deep_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE deep_11 PARTITION OF deep_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            INSERT INTO deep SELECT '2020-01-01', m FROM unnest(enum_range(NULL::mood)) m;
            CREATE TABLE l (m mood) PARTITION BY LIST (m); CREATE TABLE l_1 PARTITION OF l FOR VALUES IN ('a', 'sea'); CREATE TABLE l_2 PARTITION OF l DEFAULT; INSERT INTO l SELECT unnest(enum_range(NULL::mood));
            CREATE TYPE pair AS (x int, y text); CREATE TABLE c (p pair) PARTITION BY HASH (p); CREATE TABLE c_0 PARTITION OF c FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE c_1 PARTITION OF c FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO c SELECT ROW(n, n)::pair FROM generate_series(1, 20) n;
            CREATE TABLE e (p mood[]) PARTITION BY HASH (p); CREATE TABLE e_0 PARTITION OF e FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE e_1 PARTITION OF e FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO e SELECT ARRAY[m, 'a'::mood] FROM unnest(enum_range(NULL::mood)) m;
            CREATE FUNCTION my_hash(int, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT ($1 + $2 % 7)::bigint'; CREATE OPERATOR CLASS my_ops FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 2 my_hash(int, bigint);
            CREATE TABLE o (a int) PARTITION BY HASH (a my_ops); CREATE TABLE o_0 PARTITION OF o FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE o_1 PARTITION OF o FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO o SELECT generate_series(1, 20);",
        plain_fails: true,
        known: &[
            Known { difference: "rows public.h_", why: "the hashes of an enum are others in another database, and so are the partitions of its rows; the whole is equal" },
            Known { difference: "rows public.deep_1", why: "" },
            Known { difference: "rows public.e_", why: "" },
        ],
        ..EQUAL
    },
    Trial {
        title: "values that name objects",
        special: "values of regrole, aclitem, regproc, regtype and the like, of roles that nothing else names, and of objects that were dropped",
        database: "named",
        fill: "CREATE ROLE \"only in rows\"; CREATE ROLE \"only in grants\"; CREATE ROLE \"only in holes\"; CREATE ROLE \"only in a domain\"; CREATE SCHEMA \"of values\"; CREATE FUNCTION \"of values\".f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE OPERATOR \"of values\".@+@ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
            CREATE TYPE \"of values\".t AS ENUM ('x'); CREATE TEXT SEARCH CONFIGURATION \"of values\".c (COPY = english); CREATE TEXT SEARCH DICTIONARY \"of values\".d (TEMPLATE = simple); CREATE COLLATION \"of values\".l (locale = 'C');
            CREATE DOMAIN someone AS regrole; CREATE DOMAIN someone_known AS someone CHECK (VALUE IS NOT NULL);
            CREATE TABLE holes (acl aclitem[], who regrole[], \"oid\" someone_known); INSERT INTO holes VALUES ('[0:1]={NULL,\"\\\"only in holes\\\"=r/postgres\"}', '{{-},{NULL}}', '\"only in a domain\"');
            CREATE TABLE audit (id int PRIMARY KEY, who regrole, many regrole[], acl aclitem[]); INSERT INTO audit VALUES (1, '\"only in rows\"', '{\"\\\"only in rows\\\"\",postgres}', ARRAY[makeaclitem('\"only in grants\"'::regrole, 'postgres'::regrole, 'SELECT', true)]), (2, '-', NULL, '{=r/postgres}'), (3, 4242, '{4243}', NULL);
            CREATE TABLE n (p regproc, s regprocedure, o regoper, q regoperator, t regtype, h regnamespace, c regconfig, d regdictionary, l regcollation, r regclass, ts regtype[]);
            INSERT INTO n VALUES ('\"of values\".f', '\"of values\".f(int)', '\"of values\".@+@', '\"of values\".@+@(int,int)', '\"of values\".t', '\"of values\"', '\"of values\".c', '\"of values\".d', '\"of values\".l', 'audit', '{int4,\"\\\"of values\\\".t\"}'), (99991, 99992, 99993, 99994, 99995, 99996, 99997, 99998, 99999, 99990, '{99989,-}');
            CREATE TABLE other (x xid, y cid, z tid, l pg_lsn, s pg_snapshot, c \"char\", o oid, v oidvector, iv int2vector, r refcursor); INSERT INTO other VALUES ('42', '7', '(1,2)', '16/B374D848', '10:20:10,14,15', 'x', 4294967295, '1 2', '3 4', 'cur');",
        ..EQUAL
    },
    Trial {
        title: "definitions that need keys",
        special: "a materialized view, its index, views, rules and functions that group by a primary key, ON CONFLICT ON CONSTRAINT, a view that was a table",
        database: "by_key",
        fill: "CREATE TABLE t (id int PRIMARY KEY, name text, v int); INSERT INTO t SELECT n, 'n' || n, n FROM generate_series(1, 10) n;
            CREATE TABLE u (t int REFERENCES t, x int CONSTRAINT u_x UNIQUE); INSERT INTO u SELECT n, n FROM generate_series(1, 10) n;
            CREATE VIEW grouped AS SELECT t.id, t.name, count(*) FROM t JOIN u ON u.t = t.id GROUP BY t.id; COMMENT ON VIEW grouped IS 'by key'; COMMENT ON COLUMN grouped.name IS 'col';
            CREATE MATERIALIZED VIEW m AS SELECT t.id, t.name, count(*) FROM t JOIN u ON u.t = t.id GROUP BY t.id; CREATE UNIQUE INDEX m_id ON m (id); CREATE INDEX m_name ON m (name); COMMENT ON MATERIALIZED VIEW m IS 'mat'; COMMENT ON INDEX m_id IS 'idx'; ALTER INDEX m_name SET (fillfactor = 70);
            CREATE MATERIALIZED VIEW m2 AS SELECT * FROM m; CREATE INDEX m2_id ON m2 (id); CLUSTER m2 USING m2_id; CREATE STATISTICS m_stat ON id, name FROM m; CREATE VIEW over_m AS SELECT * FROM m2; GRANT SELECT ON m TO PUBLIC;
            CREATE FUNCTION f() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT name FROM t GROUP BY id; END; CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO u VALUES (1, 1) ON CONFLICT ON CONSTRAINT u_x DO NOTHING; END;
            CREATE VIEW over_f AS SELECT * FROM f(); CREATE MATERIALIZED VIEW mf AS SELECT * FROM f(); CREATE INDEX mf_i ON mf (f); COMMENT ON FUNCTION f() IS 'fun'; GRANT EXECUTE ON FUNCTION f() TO PUBLIC;
            CREATE RULE r AS ON INSERT TO u DO ALSO SELECT name FROM t GROUP BY id; CREATE TABLE was_table (id int, name text); CREATE RULE \"_RETURN\" AS ON SELECT TO was_table DO INSTEAD SELECT id, name FROM t GROUP BY id;
            CREATE TABLE grouped_default (x int DEFAULT 1); CREATE FUNCTION trigger_f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER on_view INSTEAD OF INSERT ON grouped FOR EACH ROW EXECUTE FUNCTION trigger_f(); CREATE POLICY pol ON t USING (EXISTS (SELECT name FROM t GROUP BY id));",
        ..EQUAL
    },
    Trial {
        title: "event triggers that refuse",
        special: "event triggers that refuse every definition, also after rows, beside late CHECKs, orphans and materialized views",
        database: "refusing",
        fill: "CREATE TABLE t (id int PRIMARY KEY, r int); CREATE FUNCTION many() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT count(*) > 0 FROM public.t'; CREATE TABLE c (id int CHECK (many()), r int CONSTRAINT c_t REFERENCES t); INSERT INTO t VALUES (1, 1); INSERT INTO c VALUES (1, 1);
            CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE UNIQUE INDEX ON m (id); SET session_replication_role = replica; INSERT INTO c VALUES (2, 7); SET session_replication_role = origin;
            CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF tg_tag NOT IN ('GRANT', 'REVOKE') THEN RAISE EXCEPTION 'no % here', tg_tag; END IF; END $$;
            CREATE EVENT TRIGGER no_drop ON sql_drop EXECUTE FUNCTION no(); CREATE EVENT TRIGGER no_rewrite ON table_rewrite EXECUTE FUNCTION no(); CREATE EVENT TRIGGER no_end ON ddl_command_end EXECUTE FUNCTION no(); CREATE EVENT TRIGGER a_start ON ddl_command_start EXECUTE FUNCTION no();
            COMMENT ON EVENT TRIGGER no_drop IS 'never';",
        says: &["c_t"],
        codes: [3, 3, 3],
        plain_fails: true,
        known: &[Known { difference: "c c_t; Type: FK CONSTRAINT", why: "the foreign key comes back `NOT VALID`" }],
        ..EQUAL
    },
    Trial {
        title: "settings against a backup",
        special: "of the database: time limits, read-only, another encoding, quoting and language, no checks of bodies, a role that is replica, no toast of the usual kind",
        database: "settings -d x",
        fill: "CREATE TABLE t (id serial PRIMARY KEY, f float8, b bytea, d timestamptz, i interval, m money, a text[]); INSERT INTO t (f, b, d, i, m, a) SELECT n / 3.0, 'ab', '2020-01-02 03:04:05+00', '1 mon -3 days', n, ARRAY['NULL', NULL, 'x\\y'] FROM generate_series(1, 200) n;
            CREATE TABLE r (t int REFERENCES t); INSERT INTO r SELECT generate_series(1, 200); CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM t; CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'a\\b' $$;
            SELECT format('ALTER DATABASE %I SET %s', current_database(), setting) FROM unnest(ARRAY['statement_timeout = 60000', 'lock_timeout = 60000', 'idle_in_transaction_session_timeout = 60000', 'idle_session_timeout = 60000',
                'default_transaction_read_only = on', 'default_transaction_isolation = serializable', 'default_transaction_deferrable = on', 'client_encoding = LATIN1', 'client_min_messages = error', 'quote_all_identifiers = on', 'array_nulls = off', 'backslash_quote = off',
                'standard_conforming_strings = off', 'escape_string_warning = off', 'check_function_bodies = off', 'row_security = off', 'datestyle = \"German\"', 'intervalstyle = iso_8601', 'timezone = \"Asia/Kathmandu\"', 'extra_float_digits = -5', 'lc_monetary = \"C\"', 'lc_messages = \"C\"',
                'session_replication_role = replica', 'transform_null_equals = on', 'default_toast_compression = pglz', 'enable_seqscan = off', 'jit_above_cost = 0', 'work_mem = \"64kB\"', 'synchronous_commit = off', 'search_path = pg_catalog',
                'session_preload_libraries = \"auto_explain\"', 'auto_explain.log_min_duration = 0', 'vacuum_freeze_min_age = 0', 'commit_delay = 10', 'gin_pending_list_limit = 64', 'xmloption = document', 'bytea_output = escape', 'from_collapse_limit = 1', 'default_statistics_target = 1']) setting \\gexec
            ",
        ..EQUAL
    },
    Trial {
        title: "encodings of another kind",
        special: "EUC_JP, with letters of it in names, rows and comments",
        database: "euc",
        options: "ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C'",
        fill: "SET client_encoding = UTF8;\n            CREATE SCHEMA \"日本\"; CREATE TABLE \"日本\".\"表\" (\"列\" text PRIMARY KEY, v text CHECK (v <> '否')); INSERT INTO \"日本\".\"表\" VALUES ('あ', 'い'), ('漢字', E'a\\tb'); COMMENT ON TABLE \"日本\".\"表\" IS 'コメント';
            CREATE TYPE \"色\" AS ENUM ('赤', '青'); CREATE TABLE t (c \"色\", n int GENERATED ALWAYS AS (1) STORED); INSERT INTO t VALUES ('青'); CREATE INDEX \"索引\" ON t (c); CREATE SEQUENCE \"番号\"; SELECT nextval('\"番号\"');",
        ..EQUAL
    },
    Trial {
        title: "LATIN1",
        special: "letters of it in names, rows, an enum and a setting",
        database: "latin",
        options: "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
        fill: "SET client_encoding = UTF8;\n            CREATE SCHEMA \"é\"; CREATE TABLE \"é\".\"ÿ\" (\"ñ\" text PRIMARY KEY, v text DEFAULT 'ß'); INSERT INTO \"é\".\"ÿ\" VALUES ('ü'), ('£'); COMMENT ON COLUMN \"é\".\"ÿ\".\"ñ\" IS 'Ä'; CREATE TYPE k AS ENUM ('ö'); CREATE TABLE t (v k, w text); INSERT INTO t VALUES ('ö', convert_from('\\xa0ff', 'LATIN1'));
            SELECT format('ALTER DATABASE %I SET \"app.name\" = ''é''', current_database()) \\gexec",
        ..EQUAL
    },
    Trial {
        title: "every character in names",
        special: "each character of ASCII in a schema, a table, a column, a key, a type, a value of an enum, a function and a role",
        database: "letters !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
        fill: "DO $do$ DECLARE c text; all_of text := ''; n int; BEGIN
                FOR n IN SELECT generate_series(1, 127) LOOP c := chr(n); IF n NOT IN (10, 13) THEN all_of := all_of || c; END IF;
                    EXECUTE format('CREATE TABLE %I (%I int CONSTRAINT %I PRIMARY KEY, %I text)', 't' || c || n, 'c' || c, 'k' || c || n, c); EXECUTE format('INSERT INTO %I VALUES (%s, %L)', 't' || c || n, n, c);
                END LOOP;
                FOR n IN SELECT generate_series(0, 2) LOOP c := substr(all_of, 1 + 42 * n, 42);
                    EXECUTE format('CREATE ROLE %I', 'letters ' || replace(c, E'\\x01', '')); EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', c, 'letters ' || replace(c, E'\\x01', ''));
                    EXECUTE format('CREATE TYPE %I.%I AS ENUM (%L)', c, c || 't', c); EXECUTE format('CREATE FUNCTION %I.%I(%I int) RETURNS int LANGUAGE sql AS ''SELECT 1''', c, c || 'f', c);
                    EXECUTE format('CREATE TABLE %I.%I (%I %I.%I DEFAULT %L, id serial)', c, c, c, c, c || 't', c); EXECUTE format('INSERT INTO %I.%I DEFAULT VALUES', c, c); EXECUTE format('CREATE INDEX %I ON %I.%I (%I)', c || 'i', c, c, c);
                    EXECUTE format('COMMENT ON TABLE %I.%I IS %L', c, c, c); EXECUTE format('CREATE VIEW %I.%I AS SELECT * FROM %I.%I', c, c || 'v', c, c); EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', c, c, 'letters ' || replace(c, E'\\x01', ''));
                    EXECUTE format('CREATE POLICY %I ON %I.%I TO %I', c, c, c, 'letters ' || replace(c, E'\\x01', '')); EXECUTE format('CREATE STATISTICS %I.%I ON id, %I FROM %I.%I', c, c || 's', c, c, c);
                END LOOP; END $do$;",
        ..EQUAL
    },
    Trial {
        title: "names like options",
        special: "schemas, tables, roles and a database that are named like options of PostgreSQL's programs or keywords of connection strings",
        database: "--schema-only",
        fill: "DO $do$ DECLARE c text; BEGIN FOREACH c IN ARRAY ARRAY['-n', '--clean', '-', '--', '-t public.x', '--help', '--jobs=2', '-c', 'public.t', '*', '?', '$user', 'pg_temp_x', 'PUBLIC', 'none', 'current_user', 'all', '@file', '/dev/null', 'host=x', 'postgres://x', '%00', '%s%n', '\\q', '\\.', 'NULL', 'true', '1', '', ' -x'] LOOP
                CONTINUE WHEN c = '' OR c LIKE 'pg\\_%'; EXECUTE format('CREATE SCHEMA %I', c); EXECUTE format('CREATE TABLE %I.%I (%I int, v text)', c, c, c); EXECUTE format('INSERT INTO %I.%I VALUES (1, %L)', c, c, c);
                IF c NOT IN ('none', 'PUBLIC') THEN EXECUTE format('CREATE ROLE %I', c || ' '); EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', c, c, c || ' '); END IF; EXECUTE format('GRANT SELECT ON %I.%I TO PUBLIC', c, c);
            END LOOP; END $do$;",
        ..EQUAL
    },
    Trial {
        title: "inheritance and types that changed",
        special: "children of several parents, other columns and defaults, constraints that are not inherited, typed tables and rows of types that got and lost attributes",
        database: "shapes",
        fill: "CREATE TABLE a (x int, gone int, y text DEFAULT 'a', CONSTRAINT own CHECK (x > 0) NO INHERIT); CREATE TABLE b (z int DEFAULT 3, y text NOT NULL DEFAULT 'b', CHECK (z > 0)); ALTER TABLE a DROP gone;
            CREATE TABLE ab (y text DEFAULT 'ab', q int, x int) INHERITS (b, a); ALTER TABLE ab DROP q; INSERT INTO ab (x, z) VALUES (1, 2); INSERT INTO a VALUES (5); CREATE TABLE late (w int, y text, x int); INSERT INTO late VALUES (1, 'l', 2); ALTER TABLE late INHERIT a;
            ALTER TABLE a ADD added int DEFAULT 7; ALTER TABLE late ALTER added DROP DEFAULT; CREATE TABLE lone () INHERITS (a); ALTER TABLE lone NO INHERIT a; INSERT INTO lone VALUES (1, 'o', 2);
            CREATE TABLE g (i int, s int GENERATED ALWAYS AS (i * 2) STORED, t serial); CREATE TABLE gc (extra int) INHERITS (g); INSERT INTO gc (i, extra) VALUES (3, 4); ALTER TABLE gc ALTER i SET DEFAULT 9, ALTER t DROP DEFAULT;
            CREATE TYPE c AS (a int, b text, c int); CREATE TABLE of_c OF c (a PRIMARY KEY, b WITH OPTIONS DEFAULT 'x'); INSERT INTO of_c VALUES (1, 'y', 3); CREATE TABLE has_c (v c, vs c[]); INSERT INTO has_c VALUES ('(1,x,2)', '{\"(3,y,4)\"}');
            ALTER TYPE c DROP ATTRIBUTE b CASCADE; ALTER TYPE c ADD ATTRIBUTE d date CASCADE; ALTER TYPE c RENAME ATTRIBUTE a TO aa CASCADE; INSERT INTO has_c VALUES ('(5,6,2020-01-01)', NULL); CREATE TABLE rowed (r a, rs ab[]); INSERT INTO rowed VALUES (ROW(1, 'q', 3), ARRAY[ROW(1, 'w', 5, 6)::ab]);
            CREATE TABLE p (k int, dropped int, v text) PARTITION BY RANGE (k); ALTER TABLE p DROP dropped; CREATE TABLE p1 (junk int, v text, k int NOT NULL, UNIQUE (k)); ALTER TABLE p1 DROP junk; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (5); CREATE TABLE p2 PARTITION OF p (v DEFAULT 'two', CHECK (v <> '')) DEFAULT; INSERT INTO p VALUES (1, 'one'), (9, 'nine'); ALTER TABLE p ADD UNIQUE (k);
            CREATE TABLE det (LIKE p INCLUDING ALL); ALTER TABLE p DETACH PARTITION p2; CREATE TYPE e AS ENUM ('z', 'a'); CREATE TABLE en (v e); INSERT INTO en VALUES ('z'); ALTER TYPE e ADD VALUE 'm' BEFORE 'a'; ALTER TYPE e RENAME VALUE 'z' TO 'first'; CREATE UNLOGGED TABLE ul (id int GENERATED BY DEFAULT AS IDENTITY); INSERT INTO ul DEFAULT VALUES;",
        ..EQUAL
    },
    Trial {
        title: "sequences at their ends",
        special: "of every type at both ends, descending, cycling, with cached values, owned by columns, of identities with odd names, renamed and without a column",
        database: "ends",
        fill: "SELECT format('CREATE SEQUENCE s_%s_%s AS %s INCREMENT %s %s', t, i, t, CASE i WHEN 1 THEN 1 ELSE -1 END, CASE WHEN t = 'integer' THEN 'CYCLE CACHE 50' ELSE 'NO CYCLE' END) FROM unnest(ARRAY['smallint', 'integer', 'bigint']) t, generate_series(1, 2) i \\gexec
            SELECT setval('s_smallint_1', 32767), setval('s_smallint_2', -32768), setval('s_integer_1', 2147483647, false), setval('s_bigint_1', 9223372036854775807), setval('s_bigint_2', -9223372036854775808); SELECT nextval('s_integer_2');
            CREATE SEQUENCE low MINVALUE -9223372036854775808 MAXVALUE -9223372036854775807 START -9223372036854775807; SELECT setval('low', -9223372036854775808, false); CREATE SEQUENCE one MINVALUE 5 MAXVALUE 6 INCREMENT 1000000; SELECT nextval('one');
            CREATE TABLE t (id smallint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME \"id \"\"seq\"\"\" START 32767), s serial, b bigserial, x int DEFAULT nextval('low') % 10); INSERT INTO t (x) VALUES (1); ALTER SEQUENCE t_s_seq RENAME TO \"renamed seq\"; ALTER TABLE t DROP b; ALTER SEQUENCE one OWNED BY t.x;
            CREATE TABLE two (a int DEFAULT nextval('\"renamed seq\"')); ALTER SEQUENCE \"renamed seq\" OWNED BY NONE; CREATE SCHEMA o; CREATE SEQUENCE o.s; COMMENT ON SEQUENCE o.s IS 's'; CREATE TABLE idp (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT -5 MAXVALUE 100 START 100 CYCLE)); INSERT INTO idp DEFAULT VALUES; INSERT INTO idp DEFAULT VALUES; CREATE UNLOGGED SEQUENCE un; SELECT nextval('un');",
        ..EQUAL
    },
    Trial {
        title: "partitions of several owners",
        special: "three levels, each of another owner, schema and grants, with foreign keys, triggers, policies and an index of a partition alone",
        database: "owners",
        fill: "CREATE ROLE own_a; CREATE ROLE own_b; CREATE ROLE \"own c\"; CREATE SCHEMA sa AUTHORIZATION own_a; CREATE SCHEMA sb AUTHORIZATION own_b; CREATE SCHEMA sc AUTHORIZATION \"own c\";
            CREATE TABLE sa.ref (id int PRIMARY KEY); INSERT INTO sa.ref SELECT generate_series(0, 400); CREATE TABLE sa.top (id int, d date, v text, PRIMARY KEY (id, d)) PARTITION BY RANGE (d);
            CREATE TABLE sb.y20 PARTITION OF sa.top FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') PARTITION BY HASH (id); CREATE TABLE sc.y20_0 PARTITION OF sb.y20 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE sc.y20_1 PARTITION OF sb.y20 FOR VALUES WITH (MODULUS 2, REMAINDER 1); CREATE TABLE sb.rest PARTITION OF sa.top DEFAULT;
            CREATE FUNCTION sb.same(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'; ALTER FUNCTION sb.same OWNER TO own_b; INSERT INTO sa.top SELECT n, date '2020-01-01' + n * 2, 'v' FROM generate_series(1, 400) n; ALTER TABLE sa.top ADD CONSTRAINT top_ref FOREIGN KEY (id) REFERENCES sa.ref; CREATE INDEX top_v ON sa.top (v); CREATE INDEX alone ON sc.y20_0 (sb.same(id)); CREATE INDEX only_top ON ONLY sa.top (d);
            CREATE TABLE sc.to_top (id int, d date, FOREIGN KEY (id, d) REFERENCES sa.top); INSERT INTO sc.to_top SELECT id, d FROM sa.top LIMIT 5; CREATE FUNCTION sa.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER tr AFTER INSERT ON sa.top FOR EACH ROW EXECUTE FUNCTION sa.tf(); ALTER TABLE sc.y20_1 DISABLE TRIGGER tr;
            ALTER TABLE sa.top OWNER TO own_a; ALTER TABLE sa.ref OWNER TO own_a; ALTER TABLE sb.y20 OWNER TO own_b; ALTER TABLE sb.rest OWNER TO own_b; ALTER TABLE sc.y20_0 OWNER TO \"own c\"; ALTER TABLE sc.y20_1 OWNER TO \"own c\"; ALTER TABLE sc.to_top OWNER TO \"own c\"; REVOKE ALL ON sc.y20_0 FROM \"own c\"; REVOKE ALL ON sa.top FROM own_a; GRANT SELECT ON sa.top TO own_b WITH GRANT OPTION;
            SET ROLE own_b; GRANT SELECT (id) ON sb.rest TO \"own c\"; RESET ROLE; ALTER TABLE sc.y20_1 ENABLE ROW LEVEL SECURITY; CREATE POLICY pol ON sc.y20_1 FOR SELECT TO own_a, pg_monitor USING (id % 2 = 0); ALTER TABLE sc.y20_1 FORCE ROW LEVEL SECURITY;",
        ..EQUAL
    },
    Trial {
        title: "grants over hands",
        special: "grants by who was granted, of columns, functions, languages and settings, of the system's own functions, objects of predefined roles, and none for the owner",
        known: &[Known { difference: "EXTENSION citext; Type: COMMENT", why: "`CREATE EXTENSION` sets a comment by itself" }],
        database: "hands",
        fill: "CREATE ROLE h1; CREATE ROLE h2; CREATE ROLE \"h 3\"; GRANT CREATE ON SCHEMA public TO h1; CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'x'); ALTER TABLE t OWNER TO h1;
            SET SESSION AUTHORIZATION h1; GRANT SELECT, UPDATE (v) ON t TO h2 WITH GRANT OPTION; SET SESSION AUTHORIZATION h2; GRANT SELECT ON t TO \"h 3\" WITH GRANT OPTION; GRANT UPDATE (v) ON t TO PUBLIC; SET SESSION AUTHORIZATION \"h 3\"; GRANT SELECT ON t TO PUBLIC; RESET SESSION AUTHORIZATION;
            REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC; GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO h2; GRANT SELECT (rolname) ON pg_catalog.pg_authid TO h2; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; GRANT USAGE ON LANGUAGE plpgsql TO h1;
            CREATE TABLE of_pg (id int); INSERT INTO of_pg VALUES (1); GRANT CREATE ON SCHEMA public TO pg_monitor; ALTER TABLE of_pg OWNER TO pg_monitor; CREATE TABLE of_db (id int); ALTER TABLE of_db OWNER TO pg_database_owner; REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO h1; GRANT USAGE ON SCHEMA public TO h2, \"h 3\"; COMMENT ON SCHEMA public IS NULL;
            CREATE EXTENSION citext; REVOKE EXECUTE ON FUNCTION citext_hash(citext) FROM PUBLIC; GRANT EXECUTE ON FUNCTION citext_hash(citext) TO h1; COMMENT ON EXTENSION citext IS NULL; CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS 'SELECT 1'; REVOKE ALL ON FUNCTION f() FROM PUBLIC, postgres; ALTER DEFAULT PRIVILEGES FOR ROLE h1 REVOKE ALL ON TABLES FROM h1; ALTER DEFAULT PRIVILEGES FOR ROLE \"h 3\" IN SCHEMA public GRANT EXECUTE ON ROUTINES TO h2 WITH GRANT OPTION;",
        ..EQUAL
    },
    Trial {
        title: "without the usual",
        special: "no schema public, no PL/pgSQL, another comment on what is there, an index that depends on an extension, an extension in a schema of its own that moved",
        database: "bare",
        fill: "DROP EXTENSION plpgsql; CREATE SCHEMA s; CREATE SCHEMA moved; CREATE EXTENSION pg_trgm SCHEMA s; ALTER EXTENSION pg_trgm SET SCHEMA moved; CREATE TABLE s.t (v text); INSERT INTO s.t VALUES ('abc'), ('abd'); CREATE INDEX trg ON s.t USING gin (v moved.gin_trgm_ops); ALTER INDEX s.trg DEPENDS ON EXTENSION pg_trgm; CREATE FUNCTION s.f(text) RETURNS real LANGUAGE sql IMMUTABLE AS 'SELECT moved.similarity($1, $1)'; ALTER FUNCTION s.f(text) DEPENDS ON EXTENSION pg_trgm; CREATE INDEX ON s.t (s.f(v)); DROP SCHEMA public;",
        ..EQUAL
    },
    Trial {
        title: "large and odd values",
        special: "numbers and times at their ends, rows of 20 MB, arrays with odd bounds, empty and endless ranges, JSON with escapes, XML, text search, paths and addresses",
        database: "values",
        fill: "CREATE TABLE big (id int, b bytea, t text); INSERT INTO big SELECT 1, decode(repeat('00ff5c', 3000000), 'hex'), repeat(E'x\\\\\\t\\n', 2000000); INSERT INTO big SELECT n, NULL, repeat('y', n) FROM generate_series(8100, 8200) n;
            CREATE TABLE v (n numeric, f real, d date, ts timestamp, tz timestamptz, i interval, t timetz, j json, jb jsonb, x xml, a int[], r tstzrange, m nummultirange, q tsquery, w tsvector, p path, c cidr, ma macaddr8, bi bit(3), vb varbit, ch char(5), nm name, u uuid, po polygon, l lseg, tx text);
            INSERT INTO v VALUES ('NaN', '-Infinity', 'infinity', '294276-12-31 23:59:59.999999', '4713-01-01 00:00:00+00 BC', '-178000000 years', '24:00:00-15:59', E'{\"a\": \"\\\\u0000\", \"a\": 1e400}', '{\"a\": 1e400, \"b\": \"\\\\\"}', '<a b=\"c\">&lt;</a><b/>', '[-2:0]={1,NULL,3}', '(,)', '{(,1),[2,3)}', '!a & ''b c'':*A', '''a b'':1A,2 ''\\\\''', '((0,0),(1,1))', '10.0.0.0/8', '08:00:2b:01:02:03:04:05', '101', '', 'ab', '', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '((0,0),(1e308,-0))', '[(NaN,Infinity),(0,0)]', E'\\x01\\x7f\\u2028\\ufeff'),
                ('Infinity', '1e-45', '-infinity', '-infinity', 'infinity', '00:00:00.000001', '00:00+15:59', 'null', '[]', NULL, '{}', 'empty', '{}', '', '', NULL, '::/0', NULL, NULL, B'1', '', NULL, NULL, NULL, NULL, '\\.'), (repeat('9', 2000)::numeric / 7, 0.1, '5874897-12-31', NULL, NULL, '1 mon -1 day +00:00:01', NULL, NULL, NULL, NULL, '{{1,2},{3,4}}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, E'\\\\N');
            CREATE TABLE toasted (a text, b text); ALTER TABLE toasted ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE PLAIN; INSERT INTO toasted VALUES (repeat('a', 100000), repeat('b', 7000));",
        ..EQUAL
    },
    Trial {
        title: "dependencies in circles",
        special: "a CHECK over the whole row, a function of a table's row in its own index, a default that reads another table, domains over domains of a table's type, views that a function returns",
        database: "circles",
        fill: "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE FUNCTION is_fine(t) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).id > 0'; ALTER TABLE t ADD CONSTRAINT whole CHECK (is_fine(t.*)); CREATE FUNCTION of_row(t) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).v || ($1).id'; CREATE INDEX by_row ON t (of_row(t.*)); CREATE INDEX whole_row ON t ((t.*));
            INSERT INTO t VALUES (1, 'x'), (2, 'y'); CREATE FUNCTION newest() RETURNS int LANGUAGE sql AS 'SELECT max(id) FROM public.t'; ALTER TABLE t ADD w int DEFAULT newest(); CREATE VIEW tv AS SELECT t.of_row, t.* FROM t; CREATE FUNCTION all_of() RETURNS SETOF tv LANGUAGE sql AS 'SELECT * FROM public.tv'; CREATE VIEW again AS SELECT * FROM all_of();
            CREATE DOMAIN td AS t CHECK ((VALUE).id < 100); CREATE TABLE holds (d td, ds td[]); INSERT INTO holds VALUES (ROW(1, 'q', 3), ARRAY[ROW(2, 'r', 4)::t::td]); CREATE FUNCTION of_td(td DEFAULT ROW(1, 'x', 1)::t::td) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE MATERIALIZED VIEW m1 AS SELECT * FROM again; CREATE MATERIALIZED VIEW m0 AS SELECT count(*) FROM m1; CREATE VIEW a_first AS SELECT * FROM m0; CREATE MATERIALIZED VIEW a0 AS SELECT * FROM a_first;
            CREATE RECURSIVE VIEW nums (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM nums WHERE n < 5; CREATE FUNCTION agg_step(t, t) RETURNS t LANGUAGE sql AS 'SELECT $2'; CREATE AGGREGATE last_t (t) (SFUNC = agg_step, STYPE = t, INITCOND = '(1,z,2)'); CREATE VIEW use_agg AS SELECT (last_t(t.*)).v FROM t; CREATE OPERATOR ## (LEFTARG = t, RIGHTARG = t, FUNCTION = agg_step); CREATE CAST (t AS text) WITH FUNCTION of_row(t);",
        ..EQUAL
    },
];

#[test]
fn variations_of_the_cases() {
    try_in_turn(VARIATIONS);
}
