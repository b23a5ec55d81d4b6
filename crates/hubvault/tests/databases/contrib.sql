-- Every extension of PostgreSQL's own package in one database, and what uses its types, operators and functions.
-- "@ name …": what follows is run where all of these extensions can be installed.
-- @ adminpack
CREATE EXTENSION adminpack;
-- @ amcheck
CREATE EXTENSION amcheck SCHEMA ext;
CREATE VIEW checked AS SELECT ext.bt_index_check('pg_catalog.pg_class_oid_index'::regclass)::text;
-- @ autoinc
CREATE EXTENSION autoinc;
CREATE SEQUENCE autoinc_seq START 100;
CREATE TABLE autoinc_t (id int, v text);
CREATE TRIGGER autoinc_t BEFORE INSERT ON autoinc_t FOR EACH ROW EXECUTE FUNCTION autoinc(id, autoinc_seq);
INSERT INTO autoinc_t SELECT NULL, 'v' || n FROM generate_series(1, 10) n;
-- @ bloom
CREATE EXTENSION bloom;
CREATE TABLE bloom_t AS SELECT n a, n % 7 b, md5(n::text) c FROM generate_series(1, 500) n;
CREATE INDEX bloom_i ON bloom_t USING bloom (a, b, c) WITH (length = 80, col1 = 2, col2 = 2, col3 = 4);
-- @ btree_gin
CREATE EXTENSION btree_gin SCHEMA ext;
CREATE TABLE btree_gin_t AS SELECT n a, md5(n::text) b, ARRAY[n] c FROM generate_series(1, 300) n;
CREATE INDEX btree_gin_i ON btree_gin_t USING gin (a, b, c);
-- @ btree_gist
CREATE EXTENSION btree_gist SCHEMA ext;
CREATE TABLE btree_gist_t (room int, at tsrange, EXCLUDE USING gist (room WITH =, at WITH &&));
INSERT INTO btree_gist_t SELECT n, tsrange('2024-01-01', '2024-01-02') FROM generate_series(1, 100) n;
-- @ citext
CREATE EXTENSION citext SCHEMA ext;
CREATE DOMAIN mail AS ext.citext CHECK (VALUE OPERATOR(ext.~) '@');
CREATE TABLE citext_t (m mail PRIMARY KEY, many ext.citext[]);
INSERT INTO citext_t SELECT 'Mail' || n || '@X', ARRAY['A', 'b']::ext.citext[] FROM generate_series(1, 50) n;
CREATE MATERIALIZED VIEW citext_v AS SELECT m, count(*) FROM citext_t WHERE m OPERATOR(ext.=) 'mail7@x'::ext.citext GROUP BY m;
-- @ cube
CREATE EXTENSION cube;
CREATE TABLE cube_t AS SELECT n, cube(ARRAY[n, n + 1]::float8[], ARRAY[n + 3, n + 2]::float8[]) c FROM generate_series(1, 200) n;
CREATE INDEX cube_i ON cube_t USING gist (c);
-- @ dblink
CREATE EXTENSION dblink SCHEMA ext;
CREATE FUNCTION far() RETURNS SETOF record LANGUAGE sql AS $$ SELECT ext.dblink('host=127.0.0.1 port=1', 'SELECT 1') $$;
-- @ dict_int
CREATE EXTENSION dict_int;
CREATE TEXT SEARCH DICTIONARY short_int (TEMPLATE = intdict_template, maxlen = 3, rejectlong = false);
CREATE TEXT SEARCH CONFIGURATION with_int (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION with_int ALTER MAPPING FOR uint WITH short_int;
CREATE TABLE dict_int_t (v text, w tsvector GENERATED ALWAYS AS (to_tsvector('public.with_int'::regconfig, v)) STORED);
INSERT INTO dict_int_t (v) SELECT 'number ' || n * 1000 FROM generate_series(1, 20) n;
-- @ dict_xsyn
CREATE EXTENSION dict_xsyn;
CREATE TEXT SEARCH DICTIONARY stars (TEMPLATE = xsyn_template, RULES = 'xsyn_sample', matchsynonyms = true);
-- @ cube earthdistance
CREATE EXTENSION earthdistance;
CREATE TABLE earth_t (id int, at earth);
INSERT INTO earth_t SELECT n, ll_to_earth(n, n) FROM generate_series(1, 50) n;
CREATE INDEX earth_i ON earth_t USING gist (at);
-- @ file_fdw
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
-- @ fuzzystrmatch
CREATE EXTENSION fuzzystrmatch SCHEMA ext;
CREATE TABLE fuzzy_t (name text, sound text GENERATED ALWAYS AS (ext.soundex(name)) STORED);
INSERT INTO fuzzy_t (name) VALUES ('Anne'), ('Ann'), ('Meier'), ('Mayr');
CREATE INDEX fuzzy_i ON fuzzy_t (ext.metaphone(name, 8));
-- @ hstore
CREATE EXTENSION hstore SCHEMA ext;
CREATE TABLE hstore_t AS SELECT n, ext.hstore(ARRAY['k', 'a "b"'], ARRAY[n::text, NULL]) h FROM generate_series(1, 100) n;
CREATE INDEX hstore_i ON hstore_t USING gin (h); CREATE INDEX hstore_e ON hstore_t ((h OPERATOR(ext.->) 'k'));
-- @ insert_username
CREATE EXTENSION insert_username;
CREATE TABLE username_t (v text, who text); INSERT INTO username_t VALUES ('v', 'before');
CREATE TRIGGER username_t BEFORE INSERT OR UPDATE ON username_t FOR EACH ROW EXECUTE FUNCTION insert_username(who);
-- @ intagg
CREATE EXTENSION intagg;
CREATE VIEW intagg_v AS SELECT int_array_aggregate(n) FROM generate_series(1, 3) n;
-- @ intarray
CREATE EXTENSION intarray SCHEMA ext;
CREATE TABLE intarray_t AS SELECT n id, ARRAY[n, n % 7] v, '1&(2|3)'::ext.query_int q FROM generate_series(1, 200) n;
CREATE INDEX intarray_i ON intarray_t USING gist (v ext.gist__int_ops); CREATE INDEX intarray_j ON intarray_t USING gin (v ext.gin__int_ops);
-- @ isn
CREATE EXTENSION isn SCHEMA ext;
CREATE TABLE isn_t (a ext.isbn13 PRIMARY KEY, b ext.ean13, c ext.issn);
INSERT INTO isn_t VALUES ('978-0-393-04002-9', '978-0-393-04002-9', '1436-4522');
-- @ lo
CREATE EXTENSION lo;
CREATE TABLE lo_t (id int, o lo); CREATE TRIGGER lo_t BEFORE UPDATE OR DELETE ON lo_t FOR EACH ROW EXECUTE FUNCTION lo_manage(o); INSERT INTO lo_t VALUES (1, NULL), (2, 4711);
-- @ ltree
CREATE EXTENSION ltree SCHEMA ext;
CREATE TABLE ltree_t AS SELECT ('a.b' || n || '.c')::ext.ltree p, 'a.*'::ext.lquery q FROM generate_series(1, 100) n;
CREATE INDEX ltree_i ON ltree_t USING gist (p ext.gist_ltree_ops (siglen = 100)); CREATE INDEX ltree_j ON ltree_t (p);
-- @ moddatetime
CREATE EXTENSION moddatetime;
CREATE TABLE moddatetime_t (v int, at timestamptz); INSERT INTO moddatetime_t VALUES (1, '2024-01-01');
CREATE TRIGGER moddatetime_t BEFORE UPDATE ON moddatetime_t FOR EACH ROW EXECUTE FUNCTION moddatetime(at);
-- @ old_snapshot
CREATE EXTENSION old_snapshot;
-- @ pageinspect
CREATE EXTENSION pageinspect SCHEMA ext;
-- @ pg_buffercache
CREATE EXTENSION pg_buffercache;
CREATE VIEW buffers AS SELECT count(*) FROM pg_buffercache;
-- @ pg_freespacemap
CREATE EXTENSION pg_freespacemap;
-- @ pg_prewarm
CREATE EXTENSION pg_prewarm;
-- @ pg_stat_statements
CREATE EXTENSION pg_stat_statements;
CREATE VIEW slow AS SELECT query, calls FROM pg_stat_statements ORDER BY calls DESC LIMIT 3;
-- @ pg_surgery
CREATE EXTENSION pg_surgery;
-- @ pg_trgm
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE TABLE trgm_t AS SELECT md5(n::text) v FROM generate_series(1, 300) n;
CREATE INDEX trgm_i ON trgm_t USING gin (v ext.gin_trgm_ops); CREATE INDEX trgm_j ON trgm_t USING gist (v ext.gist_trgm_ops (siglen = 32));
CREATE MATERIALIZED VIEW trgm_v AS SELECT v FROM trgm_t WHERE ext.similarity(v, 'abc') > 0;
-- @ pg_visibility
CREATE EXTENSION pg_visibility;
-- @ pg_walinspect
CREATE EXTENSION pg_walinspect;
-- @ pgcrypto
CREATE EXTENSION pgcrypto SCHEMA ext;
CREATE TABLE crypto_t (id uuid DEFAULT ext.gen_random_uuid(), v text, d bytea GENERATED ALWAYS AS (ext.digest(v, 'sha256')) STORED);
INSERT INTO crypto_t (v) SELECT 'v' || n FROM generate_series(1, 50) n;
-- @ pgrowlocks
CREATE EXTENSION pgrowlocks;
-- @ pgstattuple
CREATE EXTENSION pgstattuple SCHEMA ext;
-- @ postgres_fdw
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1'); CREATE FOREIGN TABLE far_t (a int) SERVER far;
-- @ refint
CREATE EXTENSION refint;
CREATE TABLE refint_a (id int PRIMARY KEY); CREATE TABLE refint_b (a int); INSERT INTO refint_a VALUES (1); INSERT INTO refint_b VALUES (1), (99);
CREATE TRIGGER refint_b BEFORE INSERT OR UPDATE ON refint_b FOR EACH ROW EXECUTE FUNCTION check_primary_key('a', 'refint_a', 'id');
-- @ seg
CREATE EXTENSION seg;
CREATE TABLE seg_t AS SELECT (n || ' .. ' || n + 1)::seg s FROM generate_series(1, 50) n; CREATE INDEX seg_i ON seg_t USING gist (s);
-- @ sslinfo
CREATE EXTENSION sslinfo;
-- @ tablefunc
CREATE EXTENSION tablefunc SCHEMA ext;
CREATE VIEW cross_v AS SELECT * FROM ext.crosstab('SELECT ''a''::text, ''b''::text, 1') AS c (a text, b int);
-- @ tcn
CREATE EXTENSION tcn;
CREATE TABLE tcn_t (id int PRIMARY KEY); CREATE TRIGGER tcn_t AFTER INSERT ON tcn_t FOR EACH ROW EXECUTE FUNCTION triggered_change_notification(); INSERT INTO tcn_t VALUES (1);
-- @ tsm_system_rows
CREATE EXTENSION tsm_system_rows;
CREATE VIEW sampled AS SELECT n FROM (SELECT 1 n) x; CREATE TABLE sampled_t (a int); CREATE VIEW sampled_v AS SELECT * FROM sampled_t TABLESAMPLE system_rows (10);
-- @ tsm_system_time
CREATE EXTENSION tsm_system_time;
-- @ unaccent
CREATE EXTENSION unaccent SCHEMA ext;
CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT ext.unaccent('ext.unaccent', $1) $$;
CREATE TABLE unaccent_t (v text); INSERT INTO unaccent_t VALUES ('Zoë'), ('Čapek'); CREATE INDEX unaccent_i ON unaccent_t (plain(v));
-- @ uuid-ossp
CREATE EXTENSION "uuid-ossp" SCHEMA ext;
CREATE TABLE uuid_t (id uuid PRIMARY KEY DEFAULT ext.uuid_generate_v4(), v int); INSERT INTO uuid_t (v) SELECT n FROM generate_series(1, 20) n;
-- @ xml2
CREATE EXTENSION xml2;
CREATE VIEW xml2_v AS SELECT xpath_string('<a>1</a>', '/a');
-- @ plperl
CREATE EXTENSION plperl;
CREATE FUNCTION perl_twice(int) RETURNS int LANGUAGE plperl IMMUTABLE AS 'return 2 * $_[0];';
CREATE TABLE perl_t (a int CHECK (perl_twice(a) > 0), b int GENERATED ALWAYS AS (perl_twice(a)) STORED); INSERT INTO perl_t (a) SELECT n FROM generate_series(1, 20) n;
CREATE INDEX perl_i ON perl_t (perl_twice(a));
-- @ plperl bool_plperl
CREATE EXTENSION bool_plperl;
-- @ plperl jsonb_plperl
CREATE EXTENSION jsonb_plperl;
CREATE FUNCTION perl_json(jsonb) RETURNS jsonb LANGUAGE plperl TRANSFORM FOR TYPE jsonb AS 'return $_[0];';
-- @ plperl hstore hstore_plperl
CREATE EXTENSION hstore_plperl SCHEMA ext;
-- @ plperlu
CREATE EXTENSION plperlu;
-- @ plperlu bool_plperlu
CREATE EXTENSION bool_plperlu;
-- @ plperlu jsonb_plperlu
CREATE EXTENSION jsonb_plperlu;
-- @ plperlu hstore hstore_plperlu
CREATE EXTENSION hstore_plperlu SCHEMA ext;
-- @ plpython3u
CREATE EXTENSION plpython3u;
CREATE FUNCTION python_twice(a int) RETURNS int LANGUAGE plpython3u IMMUTABLE AS 'return 2 * a';
CREATE TABLE python_t (a int, b int GENERATED ALWAYS AS (python_twice(a)) STORED); INSERT INTO python_t (a) SELECT n FROM generate_series(1, 20) n;
-- @ plpython3u jsonb_plpython3u
CREATE EXTENSION jsonb_plpython3u;
-- @ plpython3u hstore hstore_plpython3u
CREATE EXTENSION hstore_plpython3u SCHEMA ext;
-- @ plpython3u ltree ltree_plpython3u
CREATE EXTENSION ltree_plpython3u SCHEMA ext;
