//! Behind pgbouncer: session pooling works like the server; transaction pooling is refused before anything is set in a
//! session that others use, too.

use crate::hub::{Hub, stderr};
use crate::servers::{Client, MAJORS, Running, free_port};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{execute, value, wait_for};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// pgbouncer before a server, on loopback; ended when dropped.
struct Pool {
    _directory: TempDir,
    child: Child,
    port: u16,
}

impl Pool {
    fn start(running: &Running, mode: &str, further: &str) -> Self {
        let directory = TempDir::with_prefix("hv-pool-").unwrap();
        let owner = std::fs::metadata(running.server.directory().join("data")).unwrap();
        let port = free_port();
        let server = running.server.settings("postgres").host;
        let settings = format!(
            "[databases]\n* = host={server} port=5432\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}/users\n\
             pool_mode = {mode}\n{further}\n",
            directory.path().display()
        );
        for (name, text) in [
            ("settings", settings.as_str()),
            ("users", "\"backup\" \"\"\n\"postgres\" \"\"\n"),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        chown(directory.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| std::path::Path::new(path).is_file())
            .unwrap_or_else(|| {
                panic!("pgbouncer is not installed: run `make test-versions`, which installs it")
            });
        let mut command = Command::new(program);
        command.arg(directory.path().join("settings"));
        if rustix::process::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let pool = Self {
            _directory: directory,
            child,
            port,
        };
        wait_for(
            || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
            || "pgbouncer".to_owned(),
        );
        pool
    }

    fn settings(&self, user: &str) -> ConnectSettings {
        ConnectSettings {
            host: "127.0.0.1".into(),
            port: self.port,
            user: user.into(),
            dbname: "hub".into(),
            ..ConnectSettings::default()
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server_with_a_table(major: u32) -> Running {
    let running = Running::start(major, &[]);
    running.server.create_database("hub").unwrap();
    let sql = "CREATE TABLE users AS SELECT n AS id, now() AS at FROM generate_series(1, 5000) n";
    execute(&running.admin("hub"), sql);
    // The grants of 13, and the role as documented.
    running.reader("hub");
    running
}

fn hub_behind(running: &Running, pool: &Pool) -> (Hub, TempDir) {
    let (mut hub, drills) = running.hub_at(&pool.settings("backup"), Client::Newest);
    hub.set("PGSSLMODE", "disable");
    (hub, drills)
}

#[test]
fn a_session_pooler_works_like_the_server() {
    for major in [MAJORS[0], MAJORS[5]] {
        let running = server_with_a_table(major);
        let pool = Pool::start(&running, "session", "");
        let (hub, _drills) = hub_behind(&running, &pool);
        let (record, _) = hub.backup();
        assert_eq!(record["state"], "proven", "{record}");
        assert_eq!(record["tables"][0]["rows"], 5000);
    }
}

#[test]
fn a_transaction_pooler_is_refused_and_left_unchanged() {
    let running = server_with_a_table(MAJORS[5]);
    for (mode, further) in [
        ("transaction", ""),
        ("transaction", "server_round_robin = 1\nmin_pool_size = 4"),
        ("transaction", "default_pool_size = 1"),
        // As people configure it for drivers that set options at the login.
        (
            "transaction",
            "ignore_startup_parameters = options,extra_float_digits",
        ),
        ("statement", ""),
    ] {
        let pool = Pool::start(&running, mode, further);
        let (hub, _drills) = hub_behind(&running, &pool);
        let said = hub.backup_fails(
            1,
            &["connection pooler", "POSTGRES_PORT", "pool_mode = session"],
        );
        assert!(said.contains(mode), "{mode}: {said}");
        // Whoever is lent the same sessions next finds nothing set in them.
        for name in ["search_path", "DateStyle", "row_security"] {
            let show = format!("SHOW {name}");
            assert_eq!(
                value(&pool.settings("backup"), &show),
                value(&running.reader("hub"), &show),
                "{name} was left set"
            );
        }
        hub.run_expecting(1, &["backup", "--dry-run"]);
    }
}

#[test]
fn a_busy_transaction_pooler_is_refused_too() {
    let running = server_with_a_table(MAJORS[5]);
    let pool = Pool::start(&running, "transaction", "default_pool_size = 5");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    value(&pool.settings("postgres"), "SELECT count(*) FROM users");
                    value(&pool.settings("backup"), "SELECT count(*) FROM users");
                }
            });
        }
        let (hub, _drills) = hub_behind(&running, &pool);
        let said: Vec<_> = (0..8).map(|_| hub.run(&["backup"])).collect();
        stop.store(true, Ordering::Relaxed);
        for output in said {
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
            assert!(
                stderr(&output).contains("connection pooler"),
                "{}",
                stderr(&output)
            );
        }
        hub.nothing_published();
    });
}
