//! Which scratch databases of a server are leftovers, and which belong to a running drill.

use hubvault_model::Cancel;
use hubvault_postgres::{DrillLock, Isolation, Session, ThrowawayOptions, ThrowawayServer, target};
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
        isolation: Isolation::Confined {
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        },
    };
    let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
    let connect = || Session::connect(&server.settings("postgres"), &Cancel::new()).unwrap();
    let (name, mut drill, mut other) = ("drill_one", connect(), connect());
    target::claim_name(&mut drill, name).unwrap();
    target::create_database(&mut drill, name).unwrap();
    let mut unused = || target::unused_databases(&mut other, "drill_").unwrap();
    assert!(unused().is_empty(), "a drill has claimed it");
    drop(drill);
    // The server notices the end of a session a moment later.
    while unused().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(unused(), [name]);
}
