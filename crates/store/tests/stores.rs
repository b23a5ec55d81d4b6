//! Every store through the contract, and what is special about each.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contract;
mod s3;

use contract::{Has, content, key, keys};
use hubvault_store::{Call, ErrorKind, Fault, Faulty, LocalDirectory, Store};
use jiff::Timestamp;
use std::fs;
use std::io::Read;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

/// A store in a directory that ends with it.
struct Temporary<S> {
    store: S,
    directory: TempDir,
}

fn local() -> Temporary<LocalDirectory> {
    let directory = tempfile::tempdir().unwrap();
    Temporary {
        store: LocalDirectory::open(directory.path()).unwrap(),
        directory,
    }
}

fn faulty() -> Temporary<Faulty> {
    let Temporary { store, directory } = local();
    Temporary {
        store: Faulty::new(Box::new(store)),
        directory,
    }
}

impl<S> Deref for Temporary<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<S: Store> Has for Temporary<S> {
    fn store(&self) -> &dyn Store {
        &self.store
    }
}

#[test]
fn a_local_directory_keeps_the_contract() {
    contract::all(&[], local);
}

#[test]
fn a_faulty_store_without_faults_keeps_the_contract() {
    contract::all(&[], faulty);
}

#[test]
fn objects_of_a_directory_are_private_and_leave_nothing_beside_them() {
    let local = local();
    local.put(&key("below/a"), &mut &b"x"[..]).unwrap();
    let mode = |path: &str| {
        let meta = fs::metadata(local.directory.path().join(path)).unwrap();
        meta.permissions().mode() & 0o777
    };
    assert_eq!((mode("below"), mode("below/a")), (0o700, 0o600));
    let entries = fs::read_dir(local.directory.path().join("below")).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn what_nobody_finished_is_removed_once_it_is_old() {
    let local = local();
    local.put(&key("below/a"), &mut &b"x"[..]).unwrap();
    let old = format!("below/b.{}.new", "a".repeat(32));
    fs::write(local.directory.path().join(&old), "half").unwrap();
    assert_eq!(local.remove_unfinished(Timestamp::MIN).unwrap(), []);
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let removed = local.remove_unfinished(later).unwrap();
    assert_eq!(removed.len(), 1);
    assert_eq!((&removed[0].name, removed[0].bytes), (&old, Some(4)));
    assert!(!local.directory.path().join(&old).exists());
    assert_eq!(keys(&*local, ""), ["below/a"]);
}

#[test]
fn what_is_hidden_or_no_file_is_no_object() {
    let local = local();
    let path = |name: &str| local.directory.path().join(name);
    fs::create_dir(path(".hubvault")).unwrap();
    fs::write(path(".hubvault/catalog.sqlite"), "x").unwrap();
    fs::write(path(".archive.partial"), "x").unwrap();
    fs::write(path(&format!("a.{}.new", "a".repeat(32))), "x").unwrap();
    fs::create_dir(path("directory")).unwrap();
    assert!(keys(&*local, "").is_empty());
    assert_eq!(local.head(&key("directory")).unwrap(), None);
    // An empty one gives way.
    local.put(&key("directory"), &mut &b"x"[..]).unwrap();
    assert_eq!(content(&*local, &key("directory")), b"x");
}

#[test]
fn no_link_leads_out_of_a_directory() {
    let (local, outside) = (local(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, local.directory.path().join("file")).unwrap();
    symlink(outside.path(), local.directory.path().join("way")).unwrap();
    for text in ["file", "way/victim"] {
        assert_eq!(local.head(&key(text)).unwrap(), None);
        assert!(local.read_range(&key(text), 0, 9).is_err());
    }
    assert!(keys(&*local, "").is_empty());
    assert!(local.put(&key("way/new"), &mut &b"x"[..]).is_err());
    local.delete(&key("way/victim")).unwrap();
    // A link of the object's own name is replaced, not followed.
    local.put(&key("file"), &mut &b"ours"[..]).unwrap();
    assert_eq!(content(&*local, &key("file")), b"ours");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn faults_leave_what_the_contract_says() {
    let store = faulty();
    let key = key("archive");
    let fail = |call, fault| store.store.fail_next(call, fault);
    fail(Call::Put, Fault::Refused(ErrorKind::Full));
    let error = store.put(&key, &mut &b"bytes"[..]).unwrap_err();
    assert!(error.kind == ErrorKind::Full && !error.may_be_retried());
    fail(Call::Put, Fault::CutAfter(3));
    let error = store.put(&key, &mut &b"bytes"[..]).unwrap_err();
    assert!(error.may_be_retried() && !error.is_uncertain);
    assert!(keys(&*store, "").is_empty());
    fail(Call::Put, Fault::AnswerLost);
    let error = store.put_if_absent(&key, &mut &b"bytes"[..]).unwrap_err();
    assert!(error.is_uncertain);
    assert_eq!(store.head(&key).unwrap().unwrap().bytes, 5);
    fail(Call::Read, Fault::CutAfter(2));
    let mut read = Vec::new();
    let mut reader = store.read_range(&key, 0, 5).unwrap();
    reader.read_to_end(&mut read).unwrap_err();
    assert_eq!(read, b"by");
    for call in [Call::Head, Call::List, Call::Delete] {
        fail(call, Fault::Refused(ErrorKind::Denied));
    }
    assert!(store.head(&key).is_err() && store.list("").is_err() && store.delete(&key).is_err());
    store.delete(&key).unwrap();
    assert!(keys(&*store, "").is_empty());
}
