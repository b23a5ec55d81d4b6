//! Code in a confined server, as its superuser and as native code, changes nothing outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_model::Cancel;
use hubvault_postgres::{DrillLock, Isolation, Session, ThrowawayOptions, ThrowawayServer};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
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
        templates: None,
        isolation: Isolation::Confined {
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        },
    };
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
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

/// What native code tries, as a library in the server's data directory.
fn native_code(drill: &mut Drill) {
    let version = drill.session.server_version_num() / 10_000 * 100;
    let library = drill.parent.path().join("attack.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-o"])
        .arg(&library)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attack.c"))
        .arg(format!("-DMAJOR={version}"))
        .status()
        .unwrap();
    assert!(compiled.success(), "make tools installs a C compiler");
    let hex = (fs::read(&library).unwrap().iter())
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let client = drill.session.client();
    client
        .batch_execute(&format!("SELECT lo_from_bytea(4242, '\\x{hex}')"))
        .unwrap();
    client
        .batch_execute(
            "SELECT lo_export(4242, 'attack.so');
             SELECT set_config('dynamic_library_path', current_setting('data_directory'), false);
             CREATE FUNCTION public.attack(text, text, int, int) RETURNS text LANGUAGE c STRICT AS 'attack';
             CREATE FUNCTION public.linger() RETURNS void LANGUAGE c AS 'attack', 'linger'",
        )
        .unwrap();
}

#[test]
fn native_code_in_the_server_cannot_leave_it() {
    let mut drill = drill();
    native_code(&mut drill);
    let outside = drill.parent.path().join("outside");
    open_file(&outside);
    let socket = drill.parent.path().join("socket");
    let _other = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let sql = format!(
        "SELECT public.attack('{}', '{}', {port}, {})",
        outside.display(),
        socket.display(),
        std::process::id()
    );
    let said = drill.session.client().query_one(&sql, &[]).unwrap();
    let ways: String = said.get(0);
    assert_eq!(ways, "", "ways out");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "secret");
}

#[test]
fn its_child_processes_end_with_it_and_are_counted() {
    let mut drill = drill();
    native_code(&mut drill);
    drill
        .session
        .client()
        .batch_execute("SELECT public.linger()")
        .unwrap();
    let parent = drill.parent.path().to_owned();
    assert!(!processes_in(&parent).is_empty());
    let confinement = drill.server.halt();
    assert_eq!(confinement.processes_left, 3, "{confinement:?}");
    assert_eq!(processes_in(&parent), [0; 0]);
    drop(drill);
    assert!(!parent.exists());
}

/// Processes that work below a directory.
fn processes_in(directory: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let cwd = fs::read_link(process.path().join("cwd"));
            cwd.is_ok_and(|cwd| cwd.starts_with(directory))
        })
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}

/// The same by a user who is not root, whose server runs as the same user.
#[test]
fn an_ordinary_user_gets_the_same_confinement() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--test-threads", "2", "--skip", "ordinary"])
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 passed"), "{said}");
}

#[test]
fn its_superuser_reads_no_file_and_runs_no_program() {
    let mut drill = drill();
    let outside = drill.parent.path().join("outside");
    open_file(&outside);
    let outside = outside.display().to_string();
    // Everybody may write here, so that only the sandbox refuses.
    let open = drill.parent.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let open = open.display().to_string();
    let me = std::process::id();
    for sql in [
        format!("SELECT pg_read_file('{outside}')"),
        format!("COPY (SELECT 1) TO '{outside}'"),
        format!("SELECT lo_import('{outside}')"),
        format!("SELECT lo_export(lo_import('PG_VERSION'), '{open}/escaped')"),
        "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'".to_owned(),
        format!("SELECT pg_read_file('/proc/{me}/environ')"),
        "SELECT pg_read_file('/proc/self/environ')".to_owned(),
        "SELECT pg_read_file('/etc/shadow')".to_owned(),
        "SELECT pg_ls_dir('/etc')".to_owned(),
        "SELECT pg_ls_dir('/tmp')".to_owned(),
        format!("CREATE TABLESPACE outside LOCATION '{open}'"),
    ] {
        drill.refused(&sql);
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "secret");
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
    let confinement = drill.server.halt();
    assert_eq!(confinement.processes_left, 0);
}
