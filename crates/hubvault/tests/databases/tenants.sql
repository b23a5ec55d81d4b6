-- Many tenants: a schema for each with the same names, row security, default privileges, settings of roles and database.
-- psql's variable "tenants": how many.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tenants_app') THEN CREATE ROLE tenants_app; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tenants "admin"') THEN CREATE ROLE "tenants ""admin""" CREATEROLE; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tenants=guest') THEN CREATE ROLE "tenants=guest"; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
CREATE SCHEMA shared AUTHORIZATION tenants_app;
CREATE TYPE shared.plan AS ENUM ('free', 'paid');
CREATE TABLE shared.tenant (id int PRIMARY KEY, schema name UNIQUE, plan shared.plan);
CREATE FUNCTION shared.current_tenant() RETURNS int LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('app.tenant', true), '')::int $$;
CREATE FUNCTION shared.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changed := '2024-01-01'; RETURN NEW; END $$;
INSERT INTO shared.tenant SELECT n, format('tenant "%s" = 50%%', n), 'free' FROM generate_series(1, :tenants) n;
SELECT format($q$
    CREATE SCHEMA %1$I AUTHORIZATION tenants_app;
    SET search_path = %1$I;
    CREATE DOMAIN label AS text CHECK (VALUE <> '');
    CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name label, tenant int NOT NULL DEFAULT %2$s CHECK (tenant = %2$s),
        changed timestamptz);
    CREATE TABLE notes (id serial PRIMARY KEY, "user" int REFERENCES users, text text, tenant int REFERENCES shared.tenant);
    CREATE TABLE "order" ("group" int, "Select" text, UNIQUE ("group"));
    CREATE INDEX ON notes (lower(text));
    CREATE VIEW named AS SELECT u.name, n.text FROM users u JOIN notes n ON n."user" = u.id;
    CREATE MATERIALIZED VIEW counted AS SELECT "user", count(*) FROM notes GROUP BY 1;
    CREATE TRIGGER touch BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION shared.touch();
    ALTER TABLE users ENABLE ROW LEVEL SECURITY;
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE notes FORCE ROW LEVEL SECURITY;
    CREATE POLICY own ON users USING (tenant = shared.current_tenant());
    CREATE POLICY "read ""all""" ON notes AS RESTRICTIVE FOR SELECT TO tenants_app, "tenants=guest" USING (tenant IS NOT NULL);
    CREATE POLICY "write" ON notes FOR INSERT TO tenants_app WITH CHECK ("user" IN (SELECT id FROM users));
    INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 5) n;
    INSERT INTO notes ("user", text, tenant) SELECT 1 + n %% 5, E'note\n' || n, %2$s FROM generate_series(1, 10) n;
    INSERT INTO "order" VALUES (1, '\.'), (2, NULL);
    REFRESH MATERIALIZED VIEW counted;
    ALTER TABLE users OWNER TO tenants_app;
    ALTER TABLE notes OWNER TO tenants_app;
    GRANT USAGE ON SCHEMA %1$I TO "tenants=guest";
    GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO "tenants=guest";
    ALTER DEFAULT PRIVILEGES FOR ROLE tenants_app IN SCHEMA %1$I GRANT SELECT ON TABLES TO "tenants=guest";
    ALTER DEFAULT PRIVILEGES IN SCHEMA %1$I GRANT EXECUTE ON FUNCTIONS TO "tenants ""admin""" WITH GRANT OPTION;
$q$, schema, id) FROM shared.tenant ORDER BY id \gexec
RESET search_path;
ALTER DEFAULT PRIVILEGES FOR ROLE tenants_app REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "tenants ""admin""" GRANT USAGE ON SCHEMAS TO tenants_app;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA shared TO PUBLIC;
SELECT format('ALTER DATABASE %1$I OWNER TO tenants_app; ALTER DATABASE %1$I SET search_path = "$user", shared, %2$I;
    ALTER DATABASE %1$I SET timezone = ''Asia/Kathmandu''; ALTER DATABASE %1$I SET app.tenant = ''it''''s 7''; ALTER DATABASE %1$I CONNECTION LIMIT 77;
    ALTER ROLE tenants_app IN DATABASE %1$I SET statement_timeout = ''90s''; ALTER ROLE "tenants=guest" IN DATABASE %1$I SET search_path = shared;
    REVOKE ALL ON DATABASE %1$I FROM PUBLIC; GRANT CONNECT ON DATABASE %1$I TO "tenants=guest", tenants_app; GRANT TEMPORARY ON DATABASE %1$I TO "tenants ""admin""" WITH GRANT OPTION;
    COMMENT ON DATABASE %1$I IS E''of many\n"tenants"''', current_database(), 'tenant "1" = 50%') \gexec
