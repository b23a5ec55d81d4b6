//! What is in the directory of a server, and where it is.

use crate::contract::{content, key, keys};
use crate::{options, remote as remote_of, store, usual};
use hubvault_store::{ErrorKind, LocalDirectory, Location, Lock, LockMode, Options, Store, open};
use hubvault_testkit::SftpServerOptions;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::sync::Barrier;
use std::thread;

#[test]
fn objects_are_private_and_leave_nothing_beside_them() {
    let remote = usual();
    remote.store.put(&key("below/a"), &mut &b"x"[..]).unwrap();
    assert_eq!(
        remote
            .store
            .put_if_absent(&key("below/a"), &mut &b"y"[..])
            .unwrap(),
        None
    );
    let mode = |path: &str| {
        let meta = fs::metadata(remote.directory().join(path)).unwrap();
        meta.permissions().mode() & 0o777
    };
    assert_eq!((mode("below"), mode("below/a")), (0o700, 0o600));
    let entries = fs::read_dir(remote.directory().join("below")).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn what_is_hidden_or_odd_or_no_file_is_no_object() {
    let remote = usual();
    let path = |name: &str| remote.directory().join(name);
    fs::create_dir(path(".hubvault")).unwrap();
    fs::write(path(".hubvault/catalog.sqlite"), "x").unwrap();
    fs::write(path(".archive.partial"), "x").unwrap();
    fs::write(path(&format!("a.{}.new", "a".repeat(32))), "x").unwrap();
    fs::write(path("two\nlines"), "x").unwrap();
    fs::write(
        remote.directory().join(OsStr::from_bytes(b"latin-\xe9")),
        "x",
    )
    .unwrap();
    fs::create_dir(path("directory")).unwrap();
    assert!(keys(&*remote.store, "").is_empty());
    assert_eq!(remote.store.head(&key("directory")).unwrap(), None);
    // An empty one gives way.
    remote.store.put(&key("directory"), &mut &b"x"[..]).unwrap();
    // This one is UTF-8: it has the sign for what is not.
    remote
        .store
        .put(&key("real\u{fffd}"), &mut &b"y"[..])
        .unwrap();
    assert_eq!(keys(&*remote.store, ""), ["directory", "real\u{fffd}"]);
}

#[test]
fn no_link_leads_out_of_a_directory() {
    let (remote, outside) = (usual(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, remote.directory().join("file")).unwrap();
    symlink(outside.path(), remote.directory().join("way")).unwrap();
    for text in ["file", "way/victim"] {
        assert_eq!(remote.store.head(&key(text)).unwrap(), None);
        assert!(remote.store.read_range(&key(text), 0, 9).is_err());
    }
    assert!(keys(&*remote.store, "").is_empty());
    let error = remote
        .store
        .put(&key("way/new"), &mut &b"x"[..])
        .unwrap_err();
    assert!(error.to_string().contains("in the way"), "{error}");
    remote.store.delete(&key("way/victim")).unwrap();
    // A link of the object's own name is replaced, not followed.
    remote.store.put(&key("file"), &mut &b"ours"[..]).unwrap();
    assert_eq!(content(&*remote.store, &key("file")), b"ours");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_that_is_missing_is_not_made() {
    let remote = usual();
    let missing = store(&format!("{}/disk", remote.url()), options(&remote));
    for error in [
        missing.check().unwrap_err(),
        missing.put(&key("a"), &mut &b"x"[..]).unwrap_err(),
        missing.head(&key("a")).unwrap_err(),
        missing.list("").unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Failed, "{error}");
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
    assert_eq!(fs::read_dir(remote.directory()).unwrap().count(), 0);
}

#[test]
fn a_path_may_begin_at_the_home() {
    let remote = usual();
    fs::create_dir_all(remote.directory().join("vault/hub")).unwrap();
    let url = remote.url();
    let (server, _) = url.split_at(url.find(&*remote.directory().to_string_lossy()).unwrap());
    let home = store(&format!("{server}/~/vault/hub"), options(&remote));
    home.put(&key("a"), &mut &b"x"[..]).unwrap();
    assert!(remote.directory().join("vault/hub/a").exists());
    let home = store(&format!("{server}/~"), options(&remote));
    assert_eq!(keys(&*home, ""), ["vault/hub/a"]);
}

#[test]
fn thousands_of_objects_are_listed_in_order() {
    let remote = usual();
    let below = remote.directory().join("2026");
    fs::create_dir(&below).unwrap();
    for n in 0..5_000 {
        fs::write(below.join(format!("{n:05}.tar.gz")), "x").unwrap();
    }
    let listed = keys(&*remote.store, "");
    assert_eq!(listed.len(), 5_000);
    assert!(listed.is_sorted());
    assert_eq!(keys(&*remote.store, "2026/0499").len(), 10);
}

#[test]
fn of_several_processes_exactly_one_stores_if_absent() {
    let remote = usual();
    let gate = Barrier::new(4);
    let stored: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..4_u8)
            .map(|n| {
                let (gate, remote) = (&gate, &remote);
                scope.spawn(move || {
                    // Each with a connection of its own.
                    let store = store(&remote.url(), options(remote));
                    store.check().unwrap();
                    gate.wait();
                    let stored = store.put_if_absent(&key("lease"), &mut &[n; 9][..]);
                    usize::from(stored.unwrap().is_some())
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((stored, remote.connections()), (1, 4));
    assert_eq!(keys(&*remote.store, ""), ["lease"]);
}

#[test]
fn the_server_says_which_filesystem_it_is_and_whose_a_file_is() {
    let remote = usual();
    remote.store.put(&key("a"), &mut &b"x"[..]).unwrap();
    let local = LocalDirectory::open(&remote.directory()).unwrap();
    let (there, here) = (
        remote.store.filesystem().unwrap(),
        local.filesystem().unwrap(),
    );
    assert!(there.as_ref().is_some_and(|it| it.free > Some(0)));
    assert_eq!(there.unwrap().id, here.unwrap().id);
    let stranger = || {
        let head = remote.store.head(&key("a")).unwrap().unwrap().stranger;
        assert_eq!(remote.store.list("").unwrap()[0].stranger, head);
        head
    };
    assert_eq!(stranger(), None);
    // Only root can give a file away.
    if chown(remote.directory().join("a"), Some(65534), None).is_ok() {
        assert_eq!(stranger(), Some(65534));
        chown(remote.directory(), Some(65534), None).unwrap();
        remote.kill();
        assert_eq!(stranger(), None);
    }
    let silent = remote_of(&SftpServerOptions {
        without: "statvfs",
        ..SftpServerOptions::default()
    });
    assert_eq!(silent.store.filesystem().unwrap(), None);
}

#[test]
fn a_lock_is_refused() {
    let location = Location::parse("sftp://host/srv").unwrap();
    let options = Options {
        lock: Some(Lock {
            days: 30,
            mode: LockMode::Compliance,
        }),
        ..Options::default()
    };
    let error = open(&location, &options).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}
