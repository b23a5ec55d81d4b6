-- Whatever of PostGIS is installed.
-- @ postgis
CREATE EXTENSION postgis;
CREATE TABLE place (id int PRIMARY KEY, at geometry(Point, 4326) NOT NULL, area geography(Polygon), line geometry(LineStringZM), any_shape geometry, box box2d);
INSERT INTO place SELECT n, ST_SetSRID(ST_MakePoint(n / 10.0, n / 20.0), 4326), ST_Buffer(ST_MakePoint(n / 10.0, n / 20.0)::geography, 100),
    ST_MakeLine(ST_MakePoint(n, 1, 2, 3), ST_MakePoint(2, n, 3, 4)), CASE n % 3 WHEN 0 THEN 'POINT EMPTY'::geometry WHEN 1 THEN ST_Collect(ST_MakePoint(n, n), ST_MakePoint(0, 0)) END, 'BOX(0 0, 1 1)'
FROM generate_series(1, 300) n;
CREATE INDEX place_at ON place USING gist (at); CREATE INDEX place_brin ON place USING brin (at); CREATE INDEX place_spgist ON place USING spgist (at); CREATE INDEX place_area ON place USING gist (area);
CREATE INDEX place_web ON place USING gist (ST_Transform(at, 3857));
INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text) SELECT 990001, 'own', 1, srtext, proj4text FROM spatial_ref_sys WHERE srid = 4326;
CREATE TABLE own_system (g geometry(Point, 990001)); INSERT INTO own_system VALUES (ST_SetSRID(ST_MakePoint(1, 2), 990001));
CREATE MATERIALIZED VIEW near AS SELECT a.id, b.id other FROM place a JOIN place b ON a.id < b.id AND ST_DWithin(a.at, b.at, 0.2);
CREATE TABLE checked (g geometry CHECK (ST_IsValid(g)), area float8 GENERATED ALWAYS AS (ST_Area(g)) STORED); INSERT INTO checked (g) SELECT ST_Buffer(at, 1) FROM place LIMIT 20;
-- @ postgis postgis_raster
CREATE EXTENSION postgis_raster;
CREATE TABLE picture (id int PRIMARY KEY, r raster); INSERT INTO picture SELECT n, ST_AddBand(ST_MakeEmptyRaster(10, 10, n, n, 1, 1, 0, 0, 4326), '8BUI'::text, n, 0) FROM generate_series(1, 9) n;
SELECT AddRasterConstraints('picture'::name, 'r'::name);
-- @ postgis postgis_topology
CREATE EXTENSION postgis_topology;
SELECT topology.CreateTopology('towns', 4326);
SELECT topology.TopoGeo_AddLineString('towns', 'SRID=4326;LINESTRING(0 0, 1 1, 2 0)'::geometry);
CREATE TABLE street (id int); SELECT topology.AddTopoGeometryColumn('towns', 'public', 'street', 'topo', 'LINE');
INSERT INTO street SELECT 1, topology.toTopoGeom('SRID=4326;LINESTRING(5 5, 6 6)'::geometry, 'towns', 1);
-- @ postgis fuzzystrmatch postgis_tiger_geocoder
CREATE EXTENSION fuzzystrmatch;
CREATE EXTENSION postgis_tiger_geocoder;
-- @ address_standardizer
CREATE EXTENSION address_standardizer;
-- @ address_standardizer address_standardizer_data_us
CREATE EXTENSION address_standardizer_data_us;
-- @ postgis postgis_sfcgal
CREATE EXTENSION postgis_sfcgal;
