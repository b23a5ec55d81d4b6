//! Databases with extensions: those of PostgreSQL's own package, and what else is installed.

use crate::form::{is_long, skip};
use crate::real_server::{RealServer, literal};
use crate::trial::{EQUAL, Trial, copies_of, fill, passed, try_database, try_on_servers};

/// Whether an extension could be created.
fn available(server: &RealServer, extension: &str) -> bool {
    let known = format!(
        "SELECT count(*) FROM pg_available_extensions WHERE name = {}",
        literal(extension)
    );
    server.ask("postgres", &known) != "0"
}

/// The sections of a file whose extensions are all installed. Says which are not.
fn installed_part(server: &RealServer, sql: &str) -> String {
    let mut kept = String::new();
    for section in sql.split("\n-- @ ").skip(1) {
        let (names, statements) = section.split_once('\n').unwrap();
        match names.split(' ').find(|name| !available(server, name)) {
            Some(missing) => skip(names, &format!("{missing} is not installed")),
            None => kept += statements,
        }
    }
    kept
}

#[test]
fn extensions_of_postgresql() {
    let server = RealServer::shared();
    let installed = installed_part(&server, include_str!("contrib.sql"));
    passed(&try_database(
        &server,
        &Trial {
            title: "extensions of PostgreSQL",
            special: "every extension of the package, in one database, with tables that use its types and indexes",
            database: "contrib",
            fill: &format!("CREATE SCHEMA ext;\n{installed}"),
            // A foreign table is a warning.
            says: &["far_t"],
            codes: [3, 0, 0],
            ..EQUAL
        },
    ));
}

#[test]
fn pg_partman_has_its_configuration() {
    let server = RealServer::shared();
    if !available(&server, "pg_partman") {
        return skip("pg_partman", "it is not installed");
    }
    passed(&try_database(
        &server,
        &Trial {
            title: "pg_partman",
            special: "rows in tables of the extension, which keep partitions being made",
            database: "partman",
            fill: include_str!("partman.sql"),
            ..EQUAL
        },
    ));
}

#[test]
fn postgis_has_its_own_reference_systems() {
    let server = RealServer::shared();
    if !is_long() || !available(&server, "postgis") {
        return skip("PostGIS", "it is not installed, or this is the short form");
    }
    let installed = installed_part(&server, include_str!("postgis.sql"));
    passed(&try_database(
        &server,
        &Trial {
            title: "PostGIS",
            special: "geometries, rasters, topologies, an own reference system in `spatial_ref_sys`",
            database: "gis",
            fill: &installed,
            ..EQUAL
        },
    ));
}

/// Debian 12 has none: it comes with the programs of 18 that `make test-versions` fetches.
#[test]
fn pgvector_has_indexes_of_its_own() {
    let server = is_long().then(|| RealServer::of_version(18)).flatten();
    let Some(server) = server.filter(|server| available(server, "vector")) else {
        return skip(
            "pgvector",
            "`make test-versions` has not fetched it, or this is the short form",
        );
    };
    passed(&try_database(
        &server,
        &Trial {
            title: "pgvector",
            special: "vectors, half and sparse ones, in its own kinds of indexes, domains, partition keys; on PostgreSQL 18",
            database: "vectors",
            fill: include_str!("pgvector.sql"),
            ..EQUAL
        },
    ));
}

#[test]
fn preloaded_libraries() {
    let probe = RealServer::shared();
    if !is_long() || !available(&probe, "pg_cron") {
        return skip("pg_cron", "it is not installed, or this is the short form");
    }
    // A server lets it be created in one database alone, which it names.
    let server_of = |database: &str| {
        RealServer::start(&[
            (
                "shared_preload_libraries",
                "pg_cron,pg_stat_statements,auto_explain",
            ),
            ("cron.database_name", database),
            // Its worker must not do the jobs of this test.
            ("cron.launch_active_jobs", "off"),
        ])
    };
    let trial = Trial {
        title: "pg_cron",
        special: "libraries that must be preloaded; jobs in a table of the extension",
        database: "cron",
        fill: "CREATE EXTENSION pg_cron; CREATE EXTENSION pg_stat_statements;
               SELECT cron.schedule('nightly', '0 3 * * *', 'VACUUM');
               CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100);
               CREATE VIEW slow AS SELECT query FROM pg_stat_statements;",
        ..EQUAL
    };
    let server = server_of(trial.database);
    let targets = copies_of(trial.database).map(|copy| server_of(&copy));
    fill(&server, &trial);
    passed(&try_on_servers(&server, targets.each_ref(), &trial));
}
