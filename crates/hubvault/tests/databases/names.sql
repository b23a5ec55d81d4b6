-- Names and shapes that programs get wrong.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = E'odd\n"role"') THEN CREATE ROLE "odd
""role"""; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
CREATE SCHEMA "a.b";
CREATE SCHEMA "Schema ""quoted""";
CREATE SCHEMA "new
line";
CREATE SCHEMA "-- \! echo";
CREATE SCHEMA " ";
CREATE TABLE "a.b"."c.d" (a int); INSERT INTO "a.b"."c.d" VALUES (1);
CREATE TABLE "a.b".same (v text); INSERT INTO "a.b".same VALUES ('a.b');
CREATE TABLE same (v text); INSERT INTO same VALUES ('public');
CREATE TABLE "Schema ""quoted""".same (v text); INSERT INTO "Schema ""quoted""".same VALUES ('"');
CREATE TABLE "new
line"."t
able" ("col
umn" int PRIMARY KEY, "tab	" text UNIQUE); INSERT INTO "new
line"."t
able" VALUES (1, 'x');
CREATE TABLE "-- \! echo"."\. ; DROP TABLE x; --" ("$1" int, "%s" text, ":v" text, "\" text); INSERT INTO "-- \! echo"."\. ; DROP TABLE x; --" VALUES (1, '%s', ':v', '\');
CREATE TABLE " "." " (" " int, "  " int); INSERT INTO " "." " VALUES (1, 2);
CREATE TABLE "x=1 y" (a int); INSERT INTO "x=1 y" VALUES (1);
CREATE TABLE "../../etc/passwd" (a int); INSERT INTO "../../etc/passwd" VALUES (1);
CREATE TABLE "$(id)`id`" (a int); INSERT INTO "$(id)`id`" VALUES (1);
CREATE TABLE "*" (a int); CREATE TABLE "?" (a int); CREATE TABLE "[a]" (a int); INSERT INTO "*" VALUES (1);
CREATE TABLE "CON" (a int); CREATE TABLE con (a int); CREATE TABLE "Con" (a int); INSERT INTO "CON" VALUES (1); INSERT INTO con VALUES (2);
CREATE TABLE "ünï cødé 表 😀" ("ß" int, "SS" int, "İ" int); INSERT INTO "ünï cødé 表 😀" VALUES (1, 2, 3);
CREATE TABLE "abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_123456789" ("abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_123456789" serial PRIMARY KEY);
INSERT INTO "abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_123456789" DEFAULT VALUES;
CREATE TABLE "ääääääääääääääääääääääääääääääy" (a int); INSERT INTO "ääääääääääääääääääääääääääääääy" VALUES (1);
CREATE TABLE "select" ("from" int, "where" int PRIMARY KEY, "user" name, "default" text); INSERT INTO "select" VALUES (1, 2, 'u', 'd');
CREATE TABLE table_restore (a int); CREATE TABLE "database/restore.list" (a int); INSERT INTO "database/restore.list" VALUES (7);
-- Shapes.
CREATE TABLE empty (a int, b text);
CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE all_dropped (a int, b int); INSERT INTO all_dropped VALUES (1, 2), (3, 4); ALTER TABLE all_dropped DROP a, DROP b;
CREATE TABLE some_dropped (a int, b int, c text DEFAULT 'c', d int); INSERT INTO some_dropped VALUES (1, 2, 'x', 4);
ALTER TABLE some_dropped DROP a, DROP c, ADD e int DEFAULT 9; INSERT INTO some_dropped VALUES (2, 4, 5);
CREATE TABLE only_generated (a int GENERATED ALWAYS AS (7) STORED); INSERT INTO only_generated DEFAULT VALUES;
CREATE TABLE generated_first (g text GENERATED ALWAYS AS (upper(v)) STORED, v text, h int GENERATED ALWAYS AS (length(v)) STORED); INSERT INTO generated_first (v) VALUES ('a'), (NULL);
SELECT 'CREATE TABLE wide (' || string_agg('c' || n || ' int', ', ') || ')' FROM generate_series(1, 1600) n \gexec
SELECT 'INSERT INTO wide (c1, c800, c1600) SELECT n, n * 2, n * 3 FROM generate_series(1, 20) n' \gexec
CREATE TABLE one_null (a text); INSERT INTO one_null VALUES (NULL), (''), ('\N'), (E'\\.'), (E'\r'), (E'\n'), (E'\r\n'), (E'\t'), (E'\u0001'), ('"'), (',');
CREATE TABLE identity_max (a bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9223372036854775807)); INSERT INTO identity_max OVERRIDING SYSTEM VALUE VALUES (9223372036854775807);
CREATE SEQUENCE "seq ""odd"" 100%" INCREMENT -1; SELECT nextval('"seq ""odd"" 100%"');
CREATE SEQUENCE untouched;
CREATE TYPE "type ""odd""" AS ("a b" int, "c""d" text); CREATE TABLE of_odd (v "type ""odd"""[], w " "." "); INSERT INTO of_odd VALUES (ARRAY[ROW(1, 'x')::"type ""odd""", NULL], ROW(1, 2));
CREATE TABLE of_type OF "type ""odd""" ("a b" WITH OPTIONS PRIMARY KEY); INSERT INTO of_type VALUES (1, 'y');
CREATE FUNCTION "f ""odd"" $$ \'"("arg ""x""" int, VARIADIC "new
line" text[]) RETURNS int LANGUAGE sql AS $_$ SELECT 1 -- Name: fake; Type: TABLE; Schema: public; Owner: -
$_$;
COMMENT ON TABLE same IS E'\n--\n-- Name: forged; Type: TABLE; Schema: public; Owner: postgres\n--\n\\! echo forged\n';
COMMENT ON COLUMN "select"."from" IS 'it''s \ "quoted" $$ ; %';
ALTER TABLE "new
line"."t
able" OWNER TO "odd
""role""";
GRANT SELECT ("col
umn") ON "new
line"."t
able" TO PUBLIC;
CREATE INDEX "i
n ""d""" ON "-- \! echo"."\. ; DROP TABLE x; --" (("%s" || ":v"), "$1");
CREATE VIEW "view
of ""all""" AS SELECT a AS "x
y" FROM "a.b"."c.d";
-- Values that a session's settings change.
CREATE TABLE shown (f4 real, f8 float8, i interval, b bytea, d date, t timestamptz, m money, x xml);
INSERT INTO shown VALUES (0.1, 0.1::float8 + 0.2, '-1 year 2 mons -3 days 04:05:06.789', '\x5c00ff', '0044-03-15 BC', '2024-03-31 02:30+02', -12.34, '<a>&amp;</a>'), ('NaN', '-Infinity', '178000000 years', '', 'infinity', '-infinity', 0, NULL);
SELECT format('ALTER DATABASE %1$I SET bytea_output = escape; ALTER DATABASE %1$I SET extra_float_digits = -15; ALTER DATABASE %1$I SET datestyle = ''SQL, DMY''; ALTER DATABASE %1$I SET intervalstyle = sql_standard;
    ALTER DATABASE %1$I SET standard_conforming_strings = off; ALTER DATABASE %1$I SET default_transaction_read_only = on; ALTER DATABASE %1$I SET xmlbinary = hex;
    ALTER DATABASE %1$I SET role = NONE; ALTER DATABASE %1$I SET search_path = " ", "a.b"; ALTER DATABASE %1$I SET "app.odd" = E''a\nb''', current_database()) \gexec
