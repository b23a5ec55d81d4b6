-- pg_partman: what it keeps in its own tables decides which partitions are made tomorrow.
CREATE SCHEMA partman;
CREATE EXTENSION pg_partman SCHEMA partman;
CREATE TABLE event (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, data jsonb, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
SELECT partman.create_parent('public.event', 'at', 'native', 'daily');
CREATE TABLE counted (n int NOT NULL, v text) PARTITION BY RANGE (n);
SELECT partman.create_parent('public.counted', 'n', 'native', '100', p_premake := 2);
UPDATE partman.part_config SET retention = '30 days', retention_keep_table = false WHERE parent_table = 'public.event';
INSERT INTO event (at, data) SELECT now() + n * interval '1 hour', '{}' FROM generate_series(1, 48) n;
INSERT INTO counted SELECT n, 'v' FROM generate_series(1, 150) n;
