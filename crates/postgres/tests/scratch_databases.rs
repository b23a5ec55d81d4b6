//! Which scratch databases of a server are leftovers, and which belong to a running drill.

use hubvault_model::{Cancel, DatabaseFacts};
use hubvault_postgres::{
    DrillLock, Isolation, Session, ThrowawayOptions, ThrowawayServer, inspect, target,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

#[test]
fn a_drill_that_is_not_connected_at_the_moment_keeps_its_database() {
    let parent = TempDir::with_prefix_in("hv", "/tmp").unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let lock = DrillLock::try_take(parent.path()).unwrap().unwrap();
    let options = ThrowawayOptions {
        min_major: 13,
        parent_dir: lock.directory(),
        settings: Vec::new(),
        superuser: "hv_boss".into(),
        templates: None,
        isolation: Isolation::Confined {
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        },
    };
    let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
    let connect = || Session::connect(&server.settings("postgres"), &Cancel::new()).unwrap();
    let (name, mut drill, mut other) = ("drill_one", connect(), connect());
    target::claim_name(&mut drill, name).unwrap();
    target::create_database(&mut drill, name, None).unwrap();
    let mut unused = || target::unused_databases(&mut other, "drill_").unwrap();
    assert!(unused().is_empty(), "a drill has claimed it");
    drop(drill);
    // The server notices the end of a session a moment later.
    while unused().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(unused(), [name]);
}

#[test]
fn a_database_is_created_as_another_was() {
    let parent = TempDir::with_prefix_in("hv", "/tmp").unwrap();
    let options = ThrowawayOptions {
        superuser: "boss".into(),
        ..ThrowawayOptions::plain(parent.path())
    };
    let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
    let connect = |name: &str| Session::connect(&server.settings(name), &Cancel::new()).unwrap();
    let mut session = connect("postgres");
    for (name, with) in [
        ("ascii", "ENCODING 'SQL_ASCII' LOCALE 'C'"),
        ("latin", "ENCODING 'LATIN9' LC_COLLATE 'C' LC_CTYPE 'POSIX'"),
        (
            "utf8",
            "ENCODING 'UTF8' LOCALE 'C.UTF-8' CONNECTION LIMIT 7",
        ),
        (
            "icu",
            "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C'",
        ),
    ] {
        // Before 15, and where the server was built without it, there is no ICU.
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0 {with}");
        if session.simple("preparing", &sql).is_err() && name == "icu" {
            continue;
        }
        let like = inspect::database(&mut connect(name)).unwrap();
        let copy = format!("{name}_copy");
        let note = target::create_database(&mut session, &copy, Some(&like)).unwrap();
        let expected = DatabaseFacts {
            connection_limit: -1,
            ..like.clone()
        };
        assert_eq!(inspect::database(&mut connect(&copy)).unwrap(), expected);
        assert_eq!(note, None, "{name}");
        let files = format!("{name}_files");
        let note = target::copy_database(&mut session, &files, Some(&like)).unwrap();
        assert_eq!(inspect::database(&mut connect(&files)).unwrap(), expected);
        assert_eq!(note, None, "{name}");
        let elsewhere = DatabaseFacts {
            collate: "xx_XX.utf8".into(),
            ..like
        };
        let other = format!("{name}_other");
        let note = target::create_database(&mut session, &other, Some(&elsewhere)).unwrap();
        assert!(note.is_some_and(|note| note.contains("xx_XX.utf8") || name == "icu"));
        let found = inspect::database(&mut connect(&other)).unwrap();
        assert_eq!(found.encoding, elsewhere.encoding);
        let again = target::create_database(&mut session, &other, Some(&elsewhere));
        assert!(again.unwrap_err().to_string().contains("already exists"));
    }
}

#[test]
fn a_database_with_a_subscription_is_dropped() {
    let server = ThrowawayServer::start(&ThrowawayOptions::plain("/tmp"), &Cancel::new()).unwrap();
    server.create_database("drill").unwrap();
    let connect = |name: &str| Session::connect(&server.settings(name), &Cancel::new()).unwrap();
    let (mut other, mut drill) = (connect("postgres"), connect("drill"));
    let make = "CREATE SUBSCRIPTION \"odd one\" CONNECTION 'host=/nonexistent' PUBLICATION p WITH (connect = false)";
    drill.simple("subscribing", make).unwrap();
    assert!(target::has_subscriptions(&mut other, "drill").unwrap());
    target::drop_database(&mut other, "drill").unwrap_err();
    target::drop_subscriptions(&mut drill).unwrap();
    target::drop_database(&mut other, "drill").unwrap();
    assert!(!target::has_subscriptions(&mut other, "drill").unwrap());
}
