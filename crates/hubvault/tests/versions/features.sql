-- What each major version brought to a schema. A section is for servers of its version and newer.

-- @13
CREATE TABLE twins (v text, n int); -- No key, and rows that are the same.
INSERT INTO twins SELECT 'same', n % 3 FROM generate_series(1, 300) n;
CREATE TABLE kept_outside (v text); ALTER TABLE kept_outside ALTER v SET STORAGE EXTERNAL;
INSERT INTO kept_outside SELECT repeat('outside ', 2000) FROM generate_series(1, 5);
CREATE TABLE own_format (v ext.citext, EXCLUDE USING btree (v WITH OPERATOR(ext.=))); INSERT INTO own_format VALUES ('Ab');

-- @14
CREATE TABLE multi (id int PRIMARY KEY, open int4multirange, at tstzmultirange);
INSERT INTO multi VALUES (1, '{[1,3),[5,7)}', '{["2024-01-01 00:00+00","2024-02-01 00:00+00"),["2025-01-01 00:00+00",)}'),
    (2, '{}', NULL);
CREATE FUNCTION standard_body(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + n FROM twins LIMIT 1; END;
CREATE PROCEDURE gives(IN a int, OUT b int) LANGUAGE plpgsql AS $$ BEGIN b := a * 2; END $$;
CREATE STATISTICS by_expression ON (n % 2), v FROM twins;
CREATE TABLE packed (v text COMPRESSION pglz); INSERT INTO packed SELECT repeat('packed ', 5000);
DO $$ BEGIN
    ALTER TABLE packed ALTER v SET COMPRESSION lz4;
    INSERT INTO packed SELECT repeat('by lz4 ', 5000);
EXCEPTION WHEN feature_not_supported THEN NULL; -- Not every server is built with it.
END $$;

-- @15
CREATE TABLE one_null (id int, v int, UNIQUE NULLS NOT DISTINCT (id, v)); INSERT INTO one_null VALUES (1, NULL), (NULL, 1);
CREATE TABLE owners (a int, b int, PRIMARY KEY (a, b)); INSERT INTO owners VALUES (1, 1), (1, 2);
CREATE TABLE owned (a int, b int, FOREIGN KEY (a, b) REFERENCES owners ON DELETE SET NULL (b)); INSERT INTO owned VALUES (1, 2);
CREATE VIEW by_invoker WITH (security_invoker = true) AS SELECT * FROM twins;
CREATE TABLE rounded (v numeric(3, -2), w numeric(2, 4)); INSERT INTO rounded VALUES (12345, 0.0012);
CREATE PUBLICATION some_rows FOR TABLE owned (a), TABLE owners WHERE (a > 0);
CREATE PUBLICATION a_schema FOR TABLES IN SCHEMA sales;
CREATE FUNCTION merged() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    MERGE INTO owners o USING (VALUES (1, 1)) v (a, b) ON o.a = v.a AND o.b = v.b
    WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT VALUES (v.a, v.b); END $$;

-- @16
CREATE TABLE where_kept (v text STORAGE EXTERNAL, n int DEFAULT 1_000_000, h int DEFAULT 0xff);
INSERT INTO where_kept SELECT repeat('kept ', 3000);
CREATE TABLE only_json (v text CHECK (v IS JSON WITH UNIQUE KEYS)); INSERT INTO only_json VALUES ('{"a": 1}');
CREATE VIEW as_json AS SELECT JSON_OBJECTAGG(n: v WITH UNIQUE KEYS) AS all_of_them FROM (SELECT DISTINCT v, n FROM twins) t;

-- @17
CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY, k int) PARTITION BY RANGE (k);
CREATE TABLE counted_low PARTITION OF counted FOR VALUES FROM (0) TO (50);
CREATE TABLE counted_high PARTITION OF counted FOR VALUES FROM (50) TO (MAXVALUE);
INSERT INTO counted (k) SELECT n FROM generate_series(1, 100) n;
CREATE VIEW simple AS SELECT a, b FROM owners;
CREATE FUNCTION merged_and_told() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC
    MERGE INTO simple s USING (VALUES (7, 7)) v (a, b) ON s.a = v.a
    WHEN MATCHED THEN UPDATE SET b = v.b WHEN NOT MATCHED BY SOURCE THEN DELETE
    WHEN NOT MATCHED THEN INSERT VALUES (v.a, v.b) RETURNING merge_action(); END;
CREATE VIEW table_of_json AS SELECT t.* FROM JSON_TABLE(jsonb '[{"a": 1}, {"a": 2}]', '$[*]' COLUMNS (a int PATH '$.a')) t;
CREATE COLLATION by_points (provider = builtin, locale = 'C.UTF-8');
CREATE TABLE sorted (v text COLLATE by_points PRIMARY KEY); INSERT INTO sorted VALUES ('ünï'), ('Z'), ('a');
CREATE TABLE endless (i interval); INSERT INTO endless VALUES ('infinity'), ('-infinity'), ('1 day');
GRANT MAINTAIN ON endless TO "hv reader";
CREATE FUNCTION at_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
CREATE EVENT TRIGGER greeting ON login EXECUTE FUNCTION at_login();

-- @18
CREATE TABLE computed (a int PRIMARY KEY, v int GENERATED ALWAYS AS (a * 2) VIRTUAL, s int GENERATED ALWAYS AS (a * 3) STORED,
    t text GENERATED ALWAYS AS ('n' || a)); -- Virtual, as nothing else is said.
INSERT INTO computed (a) SELECT generate_series(1, 20);
CREATE TABLE only_computed (v int GENERATED ALWAYS AS (1) VIRTUAL); INSERT INTO only_computed DEFAULT VALUES;
CREATE TABLE present (a int CONSTRAINT "a is there" NOT NULL, b int CONSTRAINT b_alone NOT NULL NO INHERIT, c int);
INSERT INTO present VALUES (1, 2, NULL);
ALTER TABLE present ADD CONSTRAINT c_later NOT NULL c NOT VALID; -- A row breaks it.
CREATE TABLE rooms (id int, during tsrange, price int, PRIMARY KEY (id, during WITHOUT OVERLAPS));
INSERT INTO rooms SELECT r, tsrange(d, d + interval '1 month'), r * 10
    FROM generate_series(1, 3) r, generate_series(timestamp '2024-01-01', timestamp '2024-06-01', interval '1 month') d;
CREATE TABLE stays (id int, room int, during tsrange, at timestamptz DEFAULT now(),
    UNIQUE (room, during WITHOUT OVERLAPS), FOREIGN KEY (room, PERIOD during) REFERENCES rooms (id, PERIOD during));
INSERT INTO stays VALUES (1, 1, '[2024-01-15,2024-03-10)'), (2, 2, '[2024-05-01,2024-05-05)');
CREATE TABLE free_slots (id int4range, v int4range, PRIMARY KEY (id, v WITHOUT OVERLAPS));
INSERT INTO free_slots VALUES ('[1,2)', '[1,5)'), ('[1,2)', '[5,9)');
CREATE TABLE loose (id int, a int, CONSTRAINT wished CHECK (a > 0) NOT ENFORCED,
    CONSTRAINT pointed FOREIGN KEY (a) REFERENCES multi NOT ENFORCED);
INSERT INTO loose VALUES (1, -5);
CREATE TABLE split (id int, a int) PARTITION BY RANGE (id);
CREATE TABLE split_all PARTITION OF split FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
INSERT INTO split VALUES (1, 99);
ALTER TABLE split ADD CONSTRAINT late FOREIGN KEY (a) REFERENCES multi NOT VALID;
CREATE TABLE by_time (id uuid DEFAULT uuidv7() PRIMARY KEY); INSERT INTO by_time DEFAULT VALUES;
CREATE FUNCTION before_and_after() RETURNS SETOF int LANGUAGE sql
    AS $$ UPDATE multi SET id = id RETURNING old.id - new.id $$;
