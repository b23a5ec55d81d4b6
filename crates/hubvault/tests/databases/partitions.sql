-- One table with very many small partitions, a key and an index of the parent.
-- psql's variable "partitions": how many.
CREATE TABLE reading (device int NOT NULL, at timestamptz NOT NULL, value real, PRIMARY KEY (device, at)) PARTITION BY LIST (device);
CREATE INDEX reading_at ON reading (at);
SELECT format('CREATE TABLE %I PARTITION OF reading FOR VALUES IN (%s)', 'reading of ' || n, n) FROM generate_series(1, :partitions) n \gexec
INSERT INTO reading SELECT 1 + n % :partitions, '2026-01-01'::timestamptz + n * interval '1 min', n / 7.0
FROM generate_series(1, 5 * :partitions) n;
