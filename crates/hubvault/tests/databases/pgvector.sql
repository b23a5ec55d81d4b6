CREATE EXTENSION vector;
CREATE DOMAIN unit_vector AS vector(8) CHECK (vector_norm(VALUE) < 1.001);
CREATE TABLE item (id int PRIMARY KEY, embedding vector(8) NOT NULL CHECK (vector_dims(embedding) = 8), half halfvec(8), bits bit(16), sparse sparsevec(20),
    parts vector[], direction vector(8) GENERATED ALWAYS AS (l2_normalize(embedding)) STORED, unit unit_vector);
INSERT INTO item (id, embedding, half, bits, sparse, parts, unit)
SELECT n, v, v::halfvec(8), (n * 7919 % 65536)::bit(16), ('{1:' || n || ',20:' || n / 3.0 || '}/20')::sparsevec, ARRAY[v, NULL, v * v], l2_normalize(v)
FROM generate_series(1, 2000) n, LATERAL (SELECT ARRAY(SELECT sin(n * k)::real FROM generate_series(1, 8) k)::vector(8) v) made;
INSERT INTO item (id, embedding) VALUES (0, '[1e-30,65504,-0,0,1e-45,-1,0.1,1]');
CREATE INDEX item_l2 ON item USING hnsw (embedding vector_l2_ops) WITH (m = 8, ef_construction = 32);
CREATE INDEX item_cosine ON item USING ivfflat (embedding vector_cosine_ops) WITH (lists = 10);
CREATE INDEX item_half ON item USING hnsw (half halfvec_ip_ops) WHERE half IS NOT NULL;
CREATE INDEX item_bits ON item USING hnsw (bits bit_jaccard_ops);
CREATE INDEX item_sparse ON item USING hnsw (sparse sparsevec_l2_ops);
CREATE INDEX item_smaller ON item USING hnsw ((embedding::halfvec(8)) halfvec_l2_ops);
CREATE INDEX item_quantized ON item USING hnsw ((binary_quantize(embedding)::bit(8)) bit_hamming_ops);
CREATE UNIQUE INDEX item_embedding ON item (embedding);
CREATE TABLE piece (item int REFERENCES item, no int, embedding vector, PRIMARY KEY (item, no)) PARTITION BY HASH (item);
CREATE TABLE piece_0 PARTITION OF piece FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE piece_1 PARTITION OF piece FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO piece SELECT id, k, subvector(embedding, 1, k) FROM item, generate_series(1, 3) k WHERE id > 0;
CREATE TABLE kind_of (center vector(8), PRIMARY KEY (center)) PARTITION BY RANGE (center);
CREATE TABLE kind_of_rest PARTITION OF kind_of DEFAULT;
INSERT INTO kind_of SELECT embedding FROM item WHERE id BETWEEN 1 AND 20;
CREATE MATERIALIZED VIEW middle AS SELECT bits, avg(embedding)::vector(8) center, sum(half) FROM item WHERE id > 0 GROUP BY bits;
CREATE INDEX ON middle USING hnsw (center vector_cosine_ops);
CREATE VIEW near AS SELECT a.id FROM item a ORDER BY a.embedding <-> '[1,0,0,0,0,0,0,0]' LIMIT 5;
