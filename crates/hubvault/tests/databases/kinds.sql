-- Every kind of object that pg_dump knows and that needs nothing beyond PostgreSQL's own package.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kinds_owner') THEN CREATE ROLE kinds_owner; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kinds "reader"') THEN CREATE ROLE "kinds ""reader"""; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
CREATE SCHEMA k AUTHORIZATION kinds_owner;
SELECT format('ALTER DATABASE %I SET work_mem = ''5MB''', current_database()) \gexec
COMMENT ON SCHEMA k IS 'kinds';
COMMENT ON SCHEMA public IS 'another comment than the usual';
GRANT USAGE ON SCHEMA k TO "kinds ""reader""" WITH GRANT OPTION;
SET search_path = k, public;

-- Extensions, languages, access methods, foreign data.
CREATE EXTENSION hstore SCHEMA k;
COMMENT ON EXTENSION hstore IS 'another comment than the extension''s own';
CREATE FUNCTION plx_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION plx_inline(internal) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION plx_validator(oid) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE LANGUAGE plx HANDLER plx_call INLINE plx_inline VALIDATOR plx_validator;
CREATE TRUSTED LANGUAGE ply HANDLER plx_call;
COMMENT ON LANGUAGE plx IS 'like plpgsql';
GRANT USAGE ON LANGUAGE ply TO kinds_owner;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD gist2 TYPE INDEX HANDLER gisthandler;
COMMENT ON ACCESS METHOD heap2 IS 'like heap';
CREATE EXTENSION postgres_fdw SCHEMA k;
CREATE FOREIGN DATA WRAPPER nothing OPTIONS (debug 'true', "odd ""name""" 'it''s');
CREATE FOREIGN DATA WRAPPER checked VALIDATOR postgresql_fdw_validator;
CREATE SERVER far TYPE 'postgres' VERSION '1.0' FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'far');
CREATE SERVER "not ""there""" FOREIGN DATA WRAPPER nothing;
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'far', password 'it''s secret');
CREATE USER MAPPING FOR kinds_owner SERVER "not ""there""" OPTIONS (any 'thing');
CREATE FOREIGN TABLE far_table (id int OPTIONS (column_name 'ID') NOT NULL, v text DEFAULT 'v', CHECK (id > 0)) SERVER far OPTIONS (table_name 't');
CREATE FOREIGN TABLE nowhere (id int) SERVER "not ""there""";
GRANT SELECT ON far_table TO "kinds ""reader""";
GRANT USAGE ON FOREIGN SERVER far TO kinds_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER nothing TO kinds_owner;
COMMENT ON SERVER far IS 'cannot be reached';
COMMENT ON FOREIGN DATA WRAPPER nothing IS 'does nothing';
COMMENT ON FOREIGN TABLE far_table IS 'far';
COMMENT ON COLUMN far_table.v IS 'far, too';

-- Types: shell, base, composite, enum, range, domain.
CREATE TYPE only_a_shell;
CREATE TYPE number;
CREATE FUNCTION number_in(cstring) RETURNS number LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION number_out(number) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE FUNCTION number_recv(internal) RETURNS number LANGUAGE internal IMMUTABLE STRICT AS 'int4recv';
CREATE FUNCTION number_send(number) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send';
CREATE TYPE number (INPUT = number_in, OUTPUT = number_out, RECEIVE = number_recv, SEND = number_send, LIKE = int4, CATEGORY = 'N', DEFAULT = '7', COLLATABLE = false);
CREATE TYPE pair AS (a number, b text COLLATE "C");
CREATE TYPE mood AS ENUM ();
ALTER TYPE mood ADD VALUE 'b'; ALTER TYPE mood ADD VALUE 'a' BEFORE 'b';
CREATE DOMAIN even AS int CONSTRAINT is_even CHECK (VALUE % 2 = 0);
ALTER DOMAIN even ADD CONSTRAINT later CHECK (VALUE < 1000) NOT VALID;
COMMENT ON TYPE pair IS 'two'; COMMENT ON COLUMN pair.b IS 'the second'; COMMENT ON DOMAIN even IS 'not odd'; COMMENT ON CONSTRAINT is_even ON DOMAIN even IS 'checked';
ALTER TYPE pair OWNER TO kinds_owner;

-- Functions of every kind.
CREATE FUNCTION less(number, number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'int4lt';
CREATE FUNCTION less_equal(number, number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4le';
CREATE FUNCTION equal(number, number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4eq';
CREATE FUNCTION unequal(number, number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4ne';
CREATE FUNCTION more_equal(number, number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4ge';
CREATE FUNCTION more(number, number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4gt';
CREATE FUNCTION compare(number, number) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE FUNCTION hash(number) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'hashint4';
CREATE FUNCTION any_of(anyelement, VARIADIC anyarray) RETURNS boolean LANGUAGE sql STABLE COST 7 AS $$ SELECT $1 = ANY ($2) $$;
CREATE FUNCTION atomic(n int DEFAULT 1, OUT twice int) LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT n * 2; END;
CREATE FUNCTION row_nr() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE AS 'window_row_number';
CREATE FUNCTION in_plx() RETURNS int LANGUAGE plx SECURITY DEFINER SET search_path = k SET work_mem = '1MB' AS 'BEGIN RETURN 1; END';
CREATE FUNCTION table_of(n int) RETURNS TABLE (a int, "b c" text) LANGUAGE sql ROWS 3 AS $$ SELECT n, 'x' $$;
CREATE PROCEDURE do_it(INOUT n int, d date DEFAULT '2024-01-01') LANGUAGE plpgsql AS $$ BEGIN n := n + 1; END $$;
COMMENT ON FUNCTION atomic(int) IS 'atomic'; COMMENT ON PROCEDURE do_it(int, date) IS 'does it';
GRANT EXECUTE ON FUNCTION atomic(int) TO "kinds ""reader"""; REVOKE ALL ON PROCEDURE do_it FROM PUBLIC;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = int4pl, MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, MINITCOND = '0', PARALLEL = SAFE);
CREATE AGGREGATE percentile(float8 ORDER BY float8) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_cont_float8_final);
COMMENT ON AGGREGATE total(int) IS 'sum';
ALTER AGGREGATE total(int) OWNER TO kinds_owner;

-- Operators, their classes and families, casts, transforms, conversions, collations.
CREATE OPERATOR < (LEFTARG = number, RIGHTARG = number, FUNCTION = less, COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR <= (LEFTARG = number, RIGHTARG = number, FUNCTION = less_equal, COMMUTATOR = >=, NEGATOR = >);
CREATE OPERATOR = (LEFTARG = number, RIGHTARG = number, FUNCTION = equal, COMMUTATOR = =, NEGATOR = <>, HASHES, MERGES, RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR <> (LEFTARG = number, RIGHTARG = number, FUNCTION = unequal, COMMUTATOR = <>, NEGATOR = =);
CREATE OPERATOR >= (LEFTARG = number, RIGHTARG = number, FUNCTION = more_equal, COMMUTATOR = <=, NEGATOR = <);
CREATE OPERATOR > (LEFTARG = number, RIGHTARG = number, FUNCTION = more, COMMUTATOR = <, NEGATOR = <=);
CREATE OPERATOR @#@ (RIGHTARG = number, FUNCTION = hash);
COMMENT ON OPERATOR = (number, number) IS 'the same';
CREATE OPERATOR FAMILY numbers USING btree;
CREATE OPERATOR CLASS number_ops DEFAULT FOR TYPE number USING btree FAMILY numbers AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare(number, number);
CREATE OPERATOR CLASS number_hash DEFAULT FOR TYPE number USING hash AS OPERATOR 1 =, FUNCTION 1 hash(number);
CREATE OPERATOR CLASS boxes DEFAULT FOR TYPE box USING gist2 AS
    OPERATOR 1 <<, OPERATOR 2 &<, OPERATOR 3 &&, OPERATOR 4 &>, OPERATOR 5 >>, OPERATOR 6 ~=, OPERATOR 7 @>, OPERATOR 8 <@, OPERATOR 9 &<|, OPERATOR 10 <<|, OPERATOR 11 |>>, OPERATOR 12 |&>,
    FUNCTION 1 gist_box_consistent(internal, box, smallint, oid, internal), FUNCTION 2 gist_box_union(internal, internal), FUNCTION 5 gist_box_penalty(internal, internal, internal),
    FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal);
CREATE OPERATOR FAMILY loose USING gist;
COMMENT ON OPERATOR FAMILY numbers USING btree IS 'of numbers'; COMMENT ON OPERATOR CLASS number_ops USING btree IS 'by value';
ALTER OPERATOR FAMILY loose USING gist OWNER TO kinds_owner;
CREATE CAST (number AS int) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (int AS number) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION to_date(number) RETURNS date LANGUAGE sql IMMUTABLE AS $$ SELECT '2000-01-01'::date + $1::int $$;
CREATE CAST (number AS date) WITH FUNCTION k.to_date(number);
CREATE CAST (pair AS json) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (number AS date) IS 'days';
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
COMMENT ON TRANSFORM FOR int LANGUAGE sql IS 'not for use';
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION latin_back FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
COMMENT ON CONVERSION latin IS 'like the server''s own'; ALTER CONVERSION latin OWNER TO kinds_owner;
CREATE COLLATION plain FROM "C";
CREATE COLLATION posix (LC_COLLATE = 'POSIX', LC_CTYPE = 'C');
COMMENT ON COLLATION plain IS 'bytes';

-- Text search.
CREATE TEXT SEARCH PARSER parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY dictionary (TEMPLATE = template, accept = false);
CREATE TEXT SEARCH DICTIONARY english_short (TEMPLATE = snowball, LANGUAGE = english, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION configuration (PARSER = parser);
ALTER TEXT SEARCH CONFIGURATION configuration ADD MAPPING FOR asciiword, word WITH dictionary, english_short;
COMMENT ON TEXT SEARCH PARSER parser IS 'p'; COMMENT ON TEXT SEARCH TEMPLATE template IS 't';
COMMENT ON TEXT SEARCH DICTIONARY dictionary IS 'd'; COMMENT ON TEXT SEARCH CONFIGURATION configuration IS 'c';
ALTER TEXT SEARCH CONFIGURATION configuration OWNER TO kinds_owner;

-- Tables, and what belongs to them.
CREATE SEQUENCE free AS smallint START 5; COMMENT ON SEQUENCE free IS 'free'; GRANT USAGE ON SEQUENCE free TO "kinds ""reader""";
CREATE TABLE t (
    id int GENERATED ALWAYS AS IDENTITY, n number DEFAULT nextval('free')::int, p pair, m mood, e even, h hstore,
    s serial, g int GENERATED ALWAYS AS (atomic(1) + 1) STORED, txt text COLLATE plain, words tsvector,
    CONSTRAINT t_key PRIMARY KEY (id), CONSTRAINT t_n UNIQUE (n) DEFERRABLE, CONSTRAINT t_check CHECK (s > 0), CONSTRAINT t_any CHECK (any_of(1, VARIADIC ARRAY[1, 2]) AND s < 100000)
);
ALTER TABLE t ADD CONSTRAINT t_late CHECK (s < 50) NOT VALID, ALTER txt SET STORAGE EXTERNAL, ALTER txt SET COMPRESSION pglz, ALTER n SET STATISTICS 17, ALTER txt SET (n_distinct = 5);
ALTER TABLE t SET (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_enabled = false, parallel_workers = 2);
INSERT INTO t (n, p, m, e, h, txt, words) SELECT n, ROW(n, 'x' || n)::pair, 'a', 2 * n, hstore('k', n::text), 'text ' || n, to_tsvector('configuration', 'the texts of ' || n) FROM generate_series(1, 40) n;
CREATE TABLE child (id int CONSTRAINT child_key PRIMARY KEY, parent int CONSTRAINT child_parent REFERENCES t ON DELETE SET DEFAULT, CONSTRAINT excluded EXCLUDE USING gist (int4range(id, id, '[]') WITH &&)) USING heap2;
INSERT INTO child SELECT n, n FROM generate_series(1, 40) n;
ALTER TABLE child ADD CONSTRAINT unchecked FOREIGN KEY (id) REFERENCES t (id) NOT VALID;
CREATE TABLE inherits (more int) INHERITS (child) USING heap2; INSERT INTO inherits VALUES (100, NULL, 1);
CREATE TABLE parts (a int, b int, PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 (b int, a int NOT NULL); ALTER TABLE parts ATTACH PARTITION part_2 DEFAULT;
CREATE INDEX parts_b ON parts (b); CREATE STATISTICS parts_ab ON a, b FROM parts; INSERT INTO parts SELECT n, n * 2 FROM generate_series(1, 20) n;
CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);
CREATE TABLE typed OF pair (a PRIMARY KEY); INSERT INTO typed VALUES (1, 'x');
CREATE INDEX t_hash ON t USING hash (n); CREATE INDEX t_two ON t USING gist2 (box(point(id, id))); CREATE INDEX t_gin ON t USING gin (words);
CREATE UNIQUE INDEX t_partial ON t (e DESC NULLS LAST) INCLUDE (m) NULLS NOT DISTINCT WITH (fillfactor = 60, deduplicate_items = off) WHERE m = 'a';
CREATE INDEX t_expression ON t ((atomic(s))); ALTER INDEX t_expression ALTER COLUMN 1 SET STATISTICS 55;
CLUSTER t USING t_key; ALTER TABLE child REPLICA IDENTITY USING INDEX child_key;
CREATE STATISTICS t_stat (ndistinct) ON id, n FROM t; ALTER STATISTICS t_stat SET STATISTICS 33; COMMENT ON STATISTICS t_stat IS 'together'; ALTER STATISTICS t_stat OWNER TO kinds_owner;
CREATE VIEW v WITH (security_invoker) AS SELECT id, n, txt FROM t WHERE id < 30;
ALTER VIEW v ALTER txt SET DEFAULT 'of the view';
CREATE VIEW v_of_v AS SELECT v.*, total(v.id) OVER (ORDER BY id) FROM v;
CREATE MATERIALIZED VIEW mv USING heap2 WITH (fillfactor = 90) AS SELECT count(*), max(txt) FROM v_of_v; CREATE INDEX ON mv (count);
CREATE MATERIALIZED VIEW mv_empty AS SELECT * FROM mv WITH NO DATA;
CREATE VIEW v_checked AS SELECT id, n FROM t WHERE id < 20 WITH CASCADED CHECK OPTION; CREATE RULE notifies AS ON INSERT TO t DO ALSO NOTIFY changed;
CREATE RULE "on insert" AS ON INSERT TO v WHERE NEW.id > 5 DO ALSO DELETE FROM child WHERE id = NEW.id;
CREATE RULE instead AS ON DELETE TO v_of_v DO INSTEAD (UPDATE t SET s = 1 WHERE id = OLD.id; DELETE FROM child WHERE id = OLD.id);
CREATE RULE off AS ON UPDATE TO child DO ALSO NOTHING; ALTER TABLE child DISABLE RULE off;
CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER one BEFORE INSERT OR UPDATE OF txt ON t FOR EACH ROW WHEN (NEW.txt <> 'x') EXECUTE FUNCTION on_row('a', 'b''c\d', '%s');
CREATE TRIGGER instead INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION on_row();
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON t FROM child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION on_row();
CREATE TRIGGER of_parts AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION on_row(); ALTER TABLE part_1 DISABLE TRIGGER of_parts;
ALTER TABLE t ENABLE REPLICA TRIGGER one;
ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE child ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON t AS RESTRICTIVE FOR UPDATE TO kinds_owner, "kinds ""reader""" USING (id > 0) WITH CHECK (s > 0);
COMMENT ON POLICY p ON t IS 'who may'; COMMENT ON RULE instead ON v_of_v IS 'instead'; COMMENT ON TRIGGER one ON t IS 'one';
COMMENT ON TABLE t IS 't'; COMMENT ON COLUMN t.n IS 'n'; COMMENT ON CONSTRAINT t_key ON t IS 'key'; COMMENT ON CONSTRAINT t_n ON t IS 'unique'; COMMENT ON CONSTRAINT t_check ON t IS 'check';
COMMENT ON CONSTRAINT t_any ON t IS 'calls a function'; COMMENT ON CONSTRAINT t_late ON t IS 'late'; COMMENT ON CONSTRAINT child_parent ON child IS 'refers'; COMMENT ON CONSTRAINT excluded ON child IS 'excludes'; COMMENT ON CONSTRAINT unchecked ON child IS 'not valid';
COMMENT ON INDEX t_key IS 'index of the key'; COMMENT ON INDEX t_hash IS 'hash'; COMMENT ON VIEW v IS 'v'; COMMENT ON COLUMN v.n IS 'of v'; COMMENT ON MATERIALIZED VIEW mv IS 'mv'; COMMENT ON COLUMN mv.count IS 'rows'; COMMENT ON TABLE part_1 IS 'part'; COMMENT ON INDEX parts_b IS 'of all parts';
ALTER TABLE t OWNER TO kinds_owner; ALTER VIEW v OWNER TO kinds_owner; ALTER MATERIALIZED VIEW mv_empty OWNER TO kinds_owner; ALTER SEQUENCE free OWNER TO kinds_owner;
GRANT SELECT ON t, v, mv TO "kinds ""reader""" WITH GRANT OPTION; GRANT UPDATE (txt), INSERT (n, s) ON t TO PUBLIC; REVOKE TRUNCATE ON t FROM kinds_owner;
GRANT USAGE ON TYPE pair TO "kinds ""reader"""; REVOKE USAGE ON DOMAIN even FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE kinds_owner IN SCHEMA k GRANT SELECT ON TABLES TO "kinds ""reader""";
ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO kinds_owner; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE kinds_owner GRANT ALL ON SCHEMAS TO "kinds ""reader"""; ALTER DEFAULT PRIVILEGES IN SCHEMA k GRANT UPDATE ON SEQUENCES TO kinds_owner;

-- Large objects, publications, subscriptions, event triggers.
SELECT lo_from_bytea(4711, '\x00ff'); SELECT lo_from_bytea(4712, repeat('x', 10000)::bytea);
ALTER LARGE OBJECT 4711 OWNER TO kinds_owner; GRANT SELECT ON LARGE OBJECT 4711 TO "kinds ""reader"""; COMMENT ON LARGE OBJECT 4711 IS 'large';
CREATE TABLE public.in_public (a int);
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, truncate');
CREATE PUBLICATION several FOR TABLE child (id, parent) WHERE (id > 3), parts WITH (publish_via_partition_root);
CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA k, TABLE public.in_public; COMMENT ON PUBLICATION several IS 'some'; ALTER PUBLICATION several OWNER TO kinds_owner;
CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port=1 dbname=x user=u password=hush' PUBLICATION far, "f ""2""" WITH (connect = false, enabled = false, slot_name = living, binary, streaming, synchronous_commit = remote_apply);
COMMENT ON SUBSCRIPTION sub IS 'from far';
CREATE TABLE changes (at int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION log_change() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO k.changes (what) VALUES (TG_TAG); END $$;
CREATE EVENT TRIGGER log_change ON ddl_command_end EXECUTE FUNCTION log_change();
CREATE EVENT TRIGGER log_drop ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP VIEW') EXECUTE FUNCTION log_change();
ALTER EVENT TRIGGER log_drop DISABLE; COMMENT ON EVENT TRIGGER log_change IS 'logs'; ALTER EVENT TRIGGER log_change ENABLE ALWAYS;
CREATE TABLE logged (a int); INSERT INTO logged VALUES (1);
