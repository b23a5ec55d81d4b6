"""The data sets, each a database of its own. `scale` 1 is what the targets speak of."""

import re
from pathlib import Path

HUB = Path(__file__).parent.parent / "crates/hubvault/src/cli/demo/hub.sql"

EVENTS = """
CREATE TABLE {name} (id bigserial, key uuid NOT NULL, kind text NOT NULL, at timestamptz NOT NULL,
    amount numeric(12, 2) NOT NULL, metadata jsonb NOT NULL, note text);
INSERT INTO {name} (key, kind, at, amount, metadata, note)
SELECT md5('k' || n)::uuid, (ARRAY['login', 'purchase', 'refund', 'message', 'export'])[n % 5 + 1],
       timestamptz '2026-01-01' + n * interval '7 seconds', (n::bigint * 7919 % 1000000) / 100.0,
       jsonb_build_object('ip', '10.' || n % 256 || '.' || n % 91 || '.7', 'agent', md5((n % 1000)::text),
                          'request', md5('r' || n), 'tags', jsonb_build_array('a', 'b', n % 17)),
       left('Lorem ipsum ' || md5('a' || n) || ' dolor sit amet ' || md5('b' || n) || ' consectetur adipiscing '
            || md5('c' || n) || ' sed do eiusmod ' || md5('d' || n), n % 201)
FROM generate_series(1, {rows}) n;
ALTER TABLE {name} ADD PRIMARY KEY (id);
CREATE INDEX ON {name} (at);
"""
ACCOUNTS = """
CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84)) WITH (fillfactor = 100);
INSERT INTO pgbench_accounts SELECT n, (n - 1) / 100000 + 1, 0, '' FROM generate_series(1, {rows}) n;
ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid);
"""
TOAST = """
CREATE TABLE documents (id int PRIMARY KEY, body text NOT NULL);
INSERT INTO documents SELECT d, (SELECT string_agg(encode(sha512((d || '.' || k)::bytea), 'hex'), ' ') FROM
    generate_series(1, 1600) k) FROM generate_series(1, {rows}) d;
"""
MANY = """
DO $$ BEGIN FOR n IN 1..{rows} LOOP
    EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, name text, at timestamptz)', lpad(n::text, 5, '0'));
    EXECUTE format('INSERT INTO t%s SELECT k, md5(k::text), now() FROM generate_series(1, 50) k', lpad(n::text, 5, '0'));
    IF n % 100 = 0 THEN COMMIT; END IF;
END LOOP; END $$;
"""
NARROW = """
CREATE TABLE pairs (a int NOT NULL, b int NOT NULL);
INSERT INTO pairs SELECT n, n::bigint * 7919 % 1000003 FROM generate_series(1, {rows}) n;
"""
# The sample hub has 9 transactions a user: further years of them make two million of fifty thousand users.
OLDER = """
INSERT INTO credit_transactions (account_id, user_id, type, amount, note, metadata, created_at)
SELECT account_id, user_id, type, amount + k, note, metadata, created_at - k * interval '73 days'
FROM credit_transactions, generate_series(1, 4) k;
INSERT INTO point_transactions (account_id, user_id, points, reason, metadata, created_at)
SELECT account_id, user_id, points, reason, metadata, created_at - k * interval '91 days'
FROM point_transactions, generate_series(1, 3) k;
"""
# Bytes that no codec makes smaller, beside one small table. The bodies come again after 64 MB, which no codec looks back at.
LARGE = """
CREATE TABLE small (id int PRIMARY KEY, name text); INSERT INTO small SELECT n, md5(n::text) FROM generate_series(1, 25000) n;
CREATE TABLE blobs (id int, body bytea); ALTER TABLE blobs ALTER body SET STORAGE external;
CREATE TEMPORARY TABLE bodies AS
SELECT d, (SELECT string_agg(sha512((d || '.' || k)::bytea), '') FROM generate_series(1, 16000) k) AS body FROM generate_series(0, 63) d;
INSERT INTO blobs SELECT n, body FROM generate_series(1, {rows}) n JOIN bodies ON d = n % 64;
"""


def make(server, name, scale):
    """Makes the database `name` and describes it in a line."""
    rows = lambda full: max(1, int(full * scale))
    sql = {
        "two-tables": lambda: ACCOUNTS.format(rows=rows(4_000_000)) + EVENTS.format(name="events", rows=rows(1_500_000)),
        "one-table": lambda: EVENTS.format(name="events", rows=rows(2_400_000)),
        "accounts": lambda: ACCOUNTS.format(rows=rows(4_000_000)),
        "toast": lambda: TOAST.format(rows=rows(5_000)),
        "many": lambda: MANY.format(rows=rows(2_000)),
        "20000 tables": lambda: MANY.format(rows=rows(20_000)),
        "hub": lambda: HUB.read_text().replace("{{users}}", str(rows(50_000))) + OLDER,
        "narrow": lambda: NARROW.format(rows=rows(20_000_000)),
        "large": lambda: LARGE.format(rows=rows(10_000)),
    }[name]()
    database = re.sub("[-, ]+", "_", f"d_{name}")
    server.sql(f"CREATE DATABASE {database}")
    server.sql(sql, database)
    server.sql("VACUUM (ANALYZE, FREEZE)", database)
    tables = server.sql("SELECT count(*) FROM pg_stat_user_tables", database)
    size = server.sql("SELECT sum(pg_table_size(relid)) / 1000000 FROM pg_stat_user_tables", database)
    count = server.sql("SELECT sum(n_live_tup) FROM pg_stat_user_tables", database)
    return database, f"{int(tables):,} table{'s' if int(tables) > 1 else ''}, {int(count):,} rows, {int(float(size)):,} MB of heap and TOAST"
