-- A shop: enums, domains, ranges, generated columns, exclusion, foreign keys in circles, deferred, partial unique keys.
CREATE SCHEMA shop;
CREATE SCHEMA "Back Office";
CREATE EXTENSION btree_gist SCHEMA public;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop "owner"') THEN CREATE ROLE "shop ""owner"""; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_till') THEN CREATE ROLE shop_till; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT USAGE, CREATE ON SCHEMA shop TO "shop ""owner""";
SET search_path = shop, public;

CREATE TYPE currency AS ENUM ('EUR', 'USD', 'JPY');
ALTER TYPE currency ADD VALUE 'CHF' BEFORE 'JPY';
CREATE TYPE status AS ENUM ('cart', 'paid', 'sent', 'back, "broken"');
CREATE DOMAIN amount AS numeric(12, 2) NOT NULL DEFAULT 0 CONSTRAINT "not negative" CHECK (VALUE >= 0);
CREATE DOMAIN percent AS amount CHECK (VALUE <= 100);
CREATE DOMAIN code AS text COLLATE "C" CONSTRAINT shape CHECK (VALUE ~ '^[A-Z]{2}-[0-9]+$') CONSTRAINT size CHECK (length(VALUE) < 20);
CREATE DOMAIN codes AS code[] CHECK (cardinality(VALUE) < 10);
CREATE TYPE address AS (street text, zip text, country char(2));
CREATE DOMAIN home AS address CHECK ((VALUE).country IS NOT NULL);
CREATE TYPE price_range AS RANGE (subtype = numeric, multirange_type_name = price_ranges);
CREATE FUNCTION gross(net numeric, rate numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT round($1 * (1 + $2 / 100), 2) $$;
CREATE FUNCTION gross(net numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT BEGIN ATOMIC SELECT shop.gross(net, 19.0); END;

CREATE SEQUENCE invoice_number AS int START 1000 INCREMENT 10 MINVALUE 10 MAXVALUE 999999 CACHE 5 CYCLE;
CREATE TABLE customer (
    id int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 3) PRIMARY KEY,
    email text NOT NULL, deleted boolean NOT NULL DEFAULT false, home home, wishes codes,
    favourite int, last_order bigint,
    EXCLUDE USING gist (email WITH =) WHERE (NOT deleted)
);
CREATE UNIQUE INDEX one_living ON customer (lower(email)) WHERE NOT deleted;
CREATE TABLE product (
    id int PRIMARY KEY, code code UNIQUE NOT NULL, name text, net amount, rate percent DEFAULT 19,
    gross numeric GENERATED ALWAYS AS (gross(net, rate)) STORED,
    label text GENERATED ALWAYS AS (code || ': ' || coalesce(name, '?')) STORED,
    tiers price_ranges, weight double precision CHECK (weight > 0) NO INHERIT, dropped_soon int,
    replaced_by int, CONSTRAINT not_itself CHECK (replaced_by <> id)
);
ALTER TABLE product ADD FOREIGN KEY (replaced_by) REFERENCES product DEFERRABLE;
ALTER TABLE customer ADD FOREIGN KEY (favourite) REFERENCES product ON DELETE SET NULL (favourite);
CREATE TABLE orders (
    id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customer, status status DEFAULT 'cart',
    currency currency NOT NULL, placed timestamptz, ship_to address, first_item int,
    number int DEFAULT nextval('invoice_number'), note varchar(40),
    UNIQUE NULLS NOT DISTINCT (customer, number), UNIQUE (id, currency)
);
-- Three tables in a circle.
ALTER TABLE customer ADD CONSTRAINT last FOREIGN KEY (last_order) REFERENCES orders DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE item (
    "order" bigint, position int, product int NOT NULL REFERENCES product ON UPDATE RESTRICT, pieces int CHECK (pieces BETWEEN 1 AND 99),
    currency currency, PRIMARY KEY ("order", position),
    FOREIGN KEY ("order", currency) REFERENCES orders (id, currency) MATCH FULL ON DELETE CASCADE
);
ALTER TABLE orders ADD CONSTRAINT first FOREIGN KEY (id, first_item) REFERENCES item DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE booking (
    room int, during tstzrange NOT NULL, who int REFERENCES customer,
    EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0) DEFERRABLE
);
CREATE TABLE rate (day date, currency currency, rate numeric, PRIMARY KEY (day, currency) INCLUDE (rate));
CREATE TABLE "Back Office"."Zeile=%s" (
    "Ä ""b""" text PRIMARY KEY, "select" int UNIQUE, " " text DEFAULT E'it''s\n\\', "a	tab" int[]
);
CREATE UNLOGGED TABLE cart (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), goods jsonb);
CREATE TABLE never (a int, b int); ALTER TABLE never ADD CHECK (a < b) NOT VALID;

INSERT INTO customer (email, deleted, home, wishes)
SELECT n || '@shop.example', n % 17 = 0, ROW('Straße ' || n, lpad(n::text, 5, '0'), 'DE')::address, ARRAY['AB-' || n]::code[] FROM generate_series(1, 400) n;
INSERT INTO product (id, code, name, net, rate, tiers, weight)
SELECT n, 'AB-' || n, nullif('Ware ' || n % 7, 'Ware 3'), n * 1.23, n % 20, price_ranges(price_range(n, n + 5), price_range(n + 9, NULL)), n / 7.0
FROM generate_series(1, 300) n;
ALTER TABLE product DROP COLUMN dropped_soon;
UPDATE product SET replaced_by = id + 1 WHERE id % 9 = 0;
INSERT INTO orders (customer, status, currency, placed, ship_to, note)
SELECT 100 + 3 * (n % 400), (enum_range(NULL::status))[1 + n % 4], (enum_range(NULL::currency))[1 + n % 4], '2024-01-01'::timestamptz + n * interval '7 min',
    ROW(E'a\nb', NULL, 'AT')::address, CASE WHEN n % 3 = 0 THEN '' WHEN n % 3 = 1 THEN E'\\.' END
FROM generate_series(1, 2000) n;
INSERT INTO item SELECT id, p, 1 + (id * p) % 300, 1 + p, currency FROM orders, generate_series(1, 3) p WHERE id % 4 > 0;
UPDATE orders o SET first_item = 1 WHERE id % 4 > 0;
UPDATE customer c SET favourite = 1 + id % 300, last_order = (SELECT max(id) FROM orders WHERE customer = c.id);
INSERT INTO booking SELECT n % 10, tstzrange('2024-01-01'::timestamptz + n * interval '1 hour', '2024-01-01'::timestamptz + (n + 1) * interval '1 hour'), 100 FROM generate_series(1, 200) n;
INSERT INTO rate SELECT '2024-01-01'::date + n, c, n / 7.0 FROM generate_series(1, 100) n, unnest(enum_range(NULL::currency)) c;
INSERT INTO "Back Office"."Zeile=%s" SELECT E'k\t' || n, n, CASE WHEN n % 2 = 0 THEN ' ' END, ARRAY[n, NULL] FROM generate_series(1, 20) n;
INSERT INTO cart (goods) SELECT jsonb_build_object('n', n, 'x', E'\u0001') FROM generate_series(1, 30) n;
SELECT setval('invoice_number', 500, false);

CREATE PROCEDURE close_day(INOUT closed int DEFAULT 0, VARIADIC days date[] DEFAULT '{}') LANGUAGE plpgsql SECURITY DEFINER SET search_path = shop
    AS $$ BEGIN UPDATE orders SET status = 'sent' WHERE placed::date = ANY (days); GET DIAGNOSTICS closed = ROW_COUNT; END $$;
CREATE FUNCTION top(n int, OUT product int, OUT pieces bigint) RETURNS SETOF record LANGUAGE sql STABLE ROWS 10 COST 50
    AS $$ SELECT product, sum(pieces) FROM shop.item GROUP BY 1 ORDER BY 2 DESC LIMIT n $$;
CREATE AGGREGATE product_of(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', PARALLEL = SAFE);
CREATE VIEW bill AS SELECT o.id, o.number, sum(p.gross * i.pieces) total, (o.ship_to).zip FROM orders o JOIN item i ON i."order" = o.id JOIN product p ON p.id = i.product GROUP BY o.id;
CREATE VIEW best AS SELECT t.*, p.label FROM top(5) t JOIN product p ON p.id = t.product;
CREATE MATERIALIZED VIEW turnover AS SELECT o.currency, date_trunc('day', placed AT TIME ZONE 'UTC') AS day, sum(total) FROM orders o JOIN bill b USING (id) GROUP BY 1, 2;
CREATE INDEX turnover_day ON turnover (day);

ALTER TABLE orders OWNER TO "shop ""owner""";
ALTER SEQUENCE invoice_number OWNER TO "shop ""owner""";
ALTER DOMAIN code OWNER TO "shop ""owner""";
GRANT SELECT, INSERT ON orders, item TO shop_till;
GRANT USAGE ON SEQUENCE invoice_number TO shop_till;
GRANT EXECUTE ON PROCEDURE close_day TO shop_till WITH GRANT OPTION;
GRANT USAGE ON TYPE status TO shop_till;
REVOKE USAGE ON DOMAIN amount FROM PUBLIC;
COMMENT ON DOMAIN amount IS 'money';
COMMENT ON CONSTRAINT "not negative" ON DOMAIN amount IS 'never below nothing';
COMMENT ON CONSTRAINT last ON customer IS 'a circle';
COMMENT ON CONSTRAINT not_itself ON product IS 'another one';
COMMENT ON TYPE status IS 'of an order';
COMMENT ON COLUMN address.zip IS 'not a number';
COMMENT ON SEQUENCE invoice_number IS 'in tens';
ALTER TABLE rate REPLICA IDENTITY FULL;
ALTER TABLE booking REPLICA IDENTITY NOTHING;
