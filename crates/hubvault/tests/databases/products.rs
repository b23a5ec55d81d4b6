//! Databases in the manner of products, on the system's server and, in the long form, on newer ones.

use crate::form::{is_long, skip};
use crate::real_server::RealServer;
use crate::trial::{BOTH, EQUAL, Trial, passed, try_database};

const CMS: Trial<'_> = Trial {
    title: "CMS",
    special: "full text search, an index over `unaccent`, triggers, rules, views on views",
    database: "cms = 50% \"news\"",
    fill: include_str!("cms.sql"),
    ..EQUAL
};

const SHOP: Trial<'_> = Trial {
    title: "shop",
    special: "domains with checks, generated columns, exclusion, foreign keys in circles, deferred",
    database: "shop",
    fill: include_str!("shop.sql"),
    ..EQUAL
};

const EVENTS: Trial<'_> = Trial {
    title: "event store",
    special: "2,000 partitions of three levels (200 in the short form), inheritance with merged columns",
    database: "events",
    size: ("partitions", 200, 2000),
    fill: include_str!("events.sql"),
    ..EQUAL
};

const PARTITIONS: Trial<'_> = Trial {
    title: "many partitions",
    special: "5,000 partitions of one table with a key and an index (100 in the short form)",
    database: "partitions",
    size: ("partitions", 100, 5000),
    fill: include_str!("partitions.sql"),
    ..EQUAL
};

const TENANTS: Trial<'_> = Trial {
    title: "multi-tenant",
    special: "500 schemas with the same names (50 in the short form), policies, default privileges, properties of the \
              database",
    database: "tenants's \"7\"",
    size: ("tenants", 50, 500),
    fill: include_str!("tenants.sql"),
    ..EQUAL
};

const FRAMEWORKS: Trial<'_> = Trial {
    title: "Prisma, Rails and Django",
    special: "mixed case, reserved words, jsonb, citext, hstore, arrays, UUIDs",
    database: "app=1 dbname=x",
    fill: include_str!("app.sql"),
    ..EQUAL
};

const NAMES: Trial<'_> = Trial {
    title: "odd names and shapes",
    special: "line breaks, quotes, `%`, `=` and 63 bytes in names; 0 and 1,600 columns; dropped columns",
    database: "od'd\n\"names\"",
    fill: include_str!("names.sql"),
    ..EQUAL
};

#[test]
fn content_management_system() {
    passed(&try_database(&RealServer::shared(), &CMS));
}

#[test]
fn shop() {
    passed(&try_database(&RealServer::shared(), &SHOP));
}

#[test]
fn event_store() {
    passed(&try_database(&RealServer::shared(), &EVENTS));
}

#[test]
fn many_partitions() {
    let by = if is_long() { &BOTH[..] } else { &BOTH[..1] };
    let trial = Trial { by, ..PARTITIONS };
    passed(&try_database(&RealServer::shared(), &trial));
}

#[test]
fn many_tenants() {
    passed(&try_database(&RealServer::shared(), &TENANTS));
}

#[test]
fn application_frameworks() {
    passed(&try_database(&RealServer::shared(), &FRAMEWORKS));
}

#[test]
fn odd_names_and_shapes() {
    passed(&try_database(&RealServer::shared(), &NAMES));
}

#[test]
fn products_on_newer_versions() {
    if !is_long() {
        return skip("versions 16 to 18", "this is the short form");
    }
    let mut wrong = Vec::new();
    for major in [16, 17, 18] {
        let Some(server) = RealServer::of_version(major) else {
            skip(
                &format!("version {major}"),
                "`make test-versions` has not fetched it",
            );
            continue;
        };
        // Small: the large ones are tried on the system's server.
        for trial in [CMS, SHOP, FRAMEWORKS, NAMES] {
            // The newest pg_restore by itself sets what servers before 17 do not have, and says so.
            let plain_fails = trial.plain_fails || major < 17;
            let found = try_database(
                &server,
                &Trial {
                    plain_fails,
                    ..trial
                },
            );
            wrong.extend(found.into_iter().map(|what| format!("{major}: {what}")));
        }
    }
    passed(&wrong);
}
