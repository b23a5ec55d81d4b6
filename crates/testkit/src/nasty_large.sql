-- About 145 MB in one table, so that it is cut into several extents, and 25 MB in TOAST.
CREATE TABLE large (id bigint, payload text, note text);
INSERT INTO large
SELECT n, md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text),
       CASE WHEN n % 3 = 0 THEN E'tab\there' WHEN n % 3 = 1 THEN NULL ELSE '' END
FROM generate_series(1, 1000000) n;
-- A hole, so that some ranges of pages hold fewer rows than others.
DELETE FROM large WHERE id BETWEEN 300000 AND 450000;

CREATE TABLE toasted (id int, document text);
-- Random digits do not compress, so that they really lie in TOAST.
INSERT INTO toasted
SELECT n, (SELECT string_agg(md5((n * 10000 + i)::text), '') FROM generate_series(1, 6250) i)
FROM generate_series(1, 125) n;
ANALYZE;
