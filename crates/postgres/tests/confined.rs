//! What code can do that runs inside a confined server, as its superuser and as native code: nothing outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_model::Cancel;
use hubvault_postgres::{DrillLock, Isolation, Session, ThrowawayOptions, ThrowawayServer};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

struct Drill {
    server: ThrowawayServer,
    session: Session,
    _lock: DrillLock,
    parent: TempDir,
}

fn drill() -> Drill {
    let parent = TempDir::with_prefix_in("hv", "/tmp").unwrap();
    let lock = DrillLock::try_take(parent.path()).unwrap().unwrap();
    let options = ThrowawayOptions {
        min_major: 13,
        parent_dir: lock.directory(),
        settings: Vec::new(),
        superuser: "hv_boss".into(),
        isolation: Isolation::Confined,
    };
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let begun = std::time::Instant::now();
    let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
    println!("started in {:?}", begun.elapsed());
    let session = Session::connect(&server.settings("postgres"), &Cancel::new()).unwrap();
    Drill {
        server,
        session,
        _lock: lock,
        parent,
    }
}

impl Drill {
    /// SQL that the server refuses; what it said.
    fn refused(&mut self, sql: &str) -> String {
        match self.session.client().batch_execute(sql) {
            Ok(()) => panic!("{sql} was done"),
            Err(error) => format!("{error:?}"),
        }
    }
}

/// A file that everybody may read and write.
fn open_file(path: &Path) {
    fs::write(path, "secret").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
}

#[test]
fn its_superuser_reaches_no_file_and_runs_no_program() {
    let mut drill = drill();
    let outside = drill.parent.path().join("outside");
    open_file(&outside);
    let outside = outside.display().to_string();
    let me = std::process::id();
    for sql in [
        format!("SELECT pg_read_file('{outside}')"),
        format!("COPY (SELECT 1) TO '{outside}'"),
        format!("SELECT lo_export(lo_from_bytea(0, 'x'), '{outside}')"),
        "COPY (SELECT 1) TO PROGRAM 'true'".to_owned(),
        format!("SELECT pg_read_file('/proc/{me}/environ')"),
        "SELECT pg_read_file('/proc/self/environ')".to_owned(),
        "SELECT pg_read_file('/etc/shadow')".to_owned(),
        "SELECT pg_ls_dir('/etc')".to_owned(),
        "SELECT pg_ls_dir('/tmp')".to_owned(),
        "CREATE TABLESPACE outside LOCATION '/tmp'".to_owned(),
    ] {
        let said = drill.refused(&sql);
        println!("{sql}: {said}");
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "secret");
    let begun = std::time::Instant::now();
    let confinement = drill.server.halt();
    println!("halted in {:?}", begun.elapsed());
    println!("{confinement:?}");
    assert_eq!(confinement.processes_left, 0);
}
