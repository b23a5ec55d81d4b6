//! Who is talked to, and who may log in.

use crate::contract::key;
use crate::{options, store, usual};
use hubvault_store::{ErrorKind, SftpOptions, StoreError};
use hubvault_testkit::{SftpServer, SftpServerOptions, make_key, wait_for};
use secrecy::SecretString;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What checking the directory of the server with these options gives.
fn check(server: &SftpServer, options: SftpOptions) -> Result<(), StoreError> {
    store(&server.url(), options).check()
}

fn refused(server: &SftpServer, options: SftpOptions) -> String {
    let error = check(server, options).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(!error.may_be_retried());
    error.to_string()
}

#[test]
fn an_unknown_host_is_refused_with_the_line_that_makes_it_known() {
    let server = SftpServer::start();
    let file = server.directory().join("../nobody");
    let options = SftpOptions {
        known_hosts: Some(file.clone()),
        ..options(&server)
    };
    let error = refused(&server, options.clone());
    let (_, line) = error
        .split_once(&format!("add this line to {}: ", file.display()))
        .unwrap();
    assert_eq!(line, server.host_line());
    assert!(error.contains("SHA256:"), "{error}");
    fs::write(&file, format!("# ours\n\n{line}\n")).unwrap();
    check(&server, options).unwrap();
}

#[test]
fn a_host_whose_key_changed_is_refused_before_anything_is_sent() {
    let (server, other) = (SftpServer::start(), SftpServer::start());
    let line = other
        .host_line()
        .replace(&other.port().to_string(), &server.port().to_string());
    fs::write(server.known_hosts(), format!("# first\n{line}\n")).unwrap();
    let error = refused(&server, options(&server));
    for part in ["HAS CHANGED", "line 2", &server.host_line()] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!server.log().contains("Accepted"), "{}", server.log());
}

#[test]
fn hosts_are_known_by_hashes_and_patterns_and_revoked_keys_never() {
    let server = SftpServer::start();
    let file = server.known_hosts();
    let hashed = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&file)
        .output();
    assert!(hashed.unwrap().status.success());
    assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
    check(&server, options(&server)).unwrap();
    let line = server.host_line();
    let (_, key) = line.split_once(' ').unwrap();
    fs::write(&file, format!("[127.0.0.*]:{}\t{key}\n", server.port())).unwrap();
    check(&server, options(&server)).unwrap();
    // A server of several keys is asked for the one that is known.
    fs::write(&file, server.other_host_line()).unwrap();
    check(&server, options(&server)).unwrap();
    fs::write(&file, format!("{line}\n@revoked * {key}\n")).unwrap();
    let error = refused(&server, options(&server));
    assert!(
        error.contains("revoked") && error.contains("line 2"),
        "{error}"
    );
}

#[test]
fn a_wrong_key_is_refused_with_what_was_tried() {
    let server = SftpServer::start();
    let other = server.key_file().with_file_name("other");
    make_key(&other, "ed25519", "");
    let options = SftpOptions {
        key_file: Some(other.clone()),
        ..options(&server)
    };
    let error = refused(&server, options);
    for part in [
        &*other.display().to_string(),
        "SHA256:",
        "it accepts publickey",
        "authorized_keys",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

/// Lets a key log in.
fn authorize(server: &SftpServer, file: &Path) {
    let public = fs::read(file.with_extension("pub")).unwrap();
    let mut keys = fs::File::options()
        .append(true)
        .open(server.authorized_keys())
        .unwrap();
    keys.write_all(&public).unwrap();
}

#[test]
fn keys_of_every_kind_log_in() {
    let server = SftpServer::start();
    for kind in ["ecdsa", "rsa"] {
        let file = server.key_file().with_file_name(kind);
        make_key(&file, kind, "");
        authorize(&server, &file);
        let options = SftpOptions {
            key_file: Some(file),
            ..options(&server)
        };
        check(&server, options).unwrap();
    }
}

#[test]
fn a_key_with_a_passphrase_needs_it() {
    let server = SftpServer::start();
    let file = server.key_file().with_file_name("locked");
    make_key(&file, "ed25519", "correct horse");
    authorize(&server, &file);
    let with = |passphrase: Option<&str>| SftpOptions {
        key_file: Some(file.clone()),
        key_passphrase: passphrase.map(SecretString::from),
        ..options(&server)
    };
    check(&server, with(Some("correct horse"))).unwrap();
    let error = refused(&server, with(Some("battery staple")));
    assert!(error.contains("passphrase does not open"), "{error}");
    assert!(!error.contains("battery"), "{error}");
    let error = refused(&server, with(None));
    assert!(error.contains("has a passphrase"), "{error}");
    let error = refused(
        &server,
        SftpOptions {
            key_file: Some(server.key_file().with_file_name("nothing")),
            ..options(&server)
        },
    );
    assert!(error.contains("reading the key"), "{error}");
}

/// An agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_logs_in_with_the_keys_that_it_has() {
    let server = SftpServer::start();
    let socket = server.key_file().with_file_name("agent");
    let options = SftpOptions {
        key_file: None,
        agent: Some(socket.clone()),
        ..options(&server)
    };
    let error = refused(&server, options.clone());
    assert!(error.contains(&*socket.to_string_lossy()), "{error}");
    let agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn();
    let _agent = Agent(agent.unwrap());
    wait_for(|| socket.exists(), || "the agent".to_owned());
    let error = refused(&server, options.clone());
    assert!(error.contains("it has no keys"), "{error}");
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(server.key_file())
        .env("SSH_AUTH_SOCK", &socket)
        .output();
    assert!(added.unwrap().status.success());
    check(&server, options).unwrap();
}

#[test]
fn the_files_that_ssh_uses_are_used() {
    let server = SftpServer::start();
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join(".ssh");
    fs::create_dir(&ssh).unwrap();
    let options = SftpOptions {
        home: Some(home.path().to_owned()),
        ..SftpOptions::default()
    };
    let error = refused(&server, options.clone());
    let file = ssh.join("known_hosts");
    assert!(error.contains(&*file.to_string_lossy()), "{error}");
    fs::copy(server.known_hosts(), file).unwrap();
    let error = refused(&server, options.clone());
    assert!(error.contains("no key file"), "{error}");
    fs::copy(server.key_file(), ssh.join("id_ed25519")).unwrap();
    check(&server, options).unwrap();
}

#[test]
fn a_password_is_the_last_that_is_tried() {
    let server = SftpServer::with(&SftpServerOptions {
        password: Some("hunter2"),
        ..SftpServerOptions::default()
    });
    let with = |password: &str| SftpOptions {
        key_file: None,
        password: Some(SecretString::from(password)),
        ..options(&server)
    };
    let right = store(&server.url(), with("hunter2"));
    right.put(&key("a"), &mut &b"x"[..]).unwrap();
    assert!(!format!("{right:?} {:?}", with("hunter2")).contains("hunter2"));
    let error = refused(&server, with("hunter3"));
    assert!(error.contains("tried the password"), "{error}");
    assert!(!error.contains("hunter"), "{error}");
}

#[test]
fn who_cannot_be_reached_is_said_in_time() {
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = here.local_addr().unwrap().port();
    let at = |host: &str| {
        let options = SftpOptions {
            patience: Some(Duration::from_secs(1)),
            ..SftpOptions::default()
        };
        let url = format!("sftp://root@{host}:{port}/srv");
        store(&url, options).check().unwrap_err()
    };
    // It takes connections and says nothing.
    let silent = at("127.0.0.1");
    assert!(
        silent.to_string().contains("did not answer within 2 s"),
        "{silent}"
    );
    let nowhere = at("nowhere.invalid");
    assert!(nowhere.to_string().contains("check the name"), "{nowhere}");
    drop(here);
    let closed = at("127.0.0.1");
    assert!(closed.to_string().contains("refused"), "{closed}");
    for error in [silent, nowhere, closed] {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    }
}

#[test]
fn a_user_who_may_do_nothing_else_stores_copies() {
    let remote = usual();
    // The line of docs/sftp.md.
    let keys = fs::read_to_string(remote.authorized_keys()).unwrap();
    let at = remote.directory();
    let restricted = format!(
        "restrict,command=\"internal-sftp -d {}\" {keys}",
        at.display()
    );
    fs::write(remote.authorized_keys(), restricted).unwrap();
    remote.store.put(&key("a"), &mut &b"x"[..]).unwrap();
    assert!(at.join("a").exists());
}

#[test]
fn a_login_without_sftp_is_said_so() {
    let remote = usual();
    let keys = fs::read_to_string(remote.authorized_keys()).unwrap();
    for command in ["true", "echo hello"] {
        let forced = format!("command=\"{command}\" {keys}");
        fs::write(remote.authorized_keys(), forced).unwrap();
        let error = remote.store.check().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("begins no SFTP"), "{error}");
    }
}
