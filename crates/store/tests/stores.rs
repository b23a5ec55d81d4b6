//! Every store through the contract, and what is special about each.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contract;

use contract::{content, key, keys};
use hubvault_store::{
    Call, ErrorKind, Fault, Faulty, Key, LocalDirectory, Object, Store, StoreError,
};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

/// A store in a directory that ends with it.
#[derive(Debug)]
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

fn faulty() -> Temporary<Faulty<LocalDirectory>> {
    let Temporary { store, directory } = local();
    Temporary {
        store: Faulty::new(store),
        directory,
    }
}

impl<S: Store> Store for Temporary<S> {
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Object, StoreError> {
        self.store.put(key, content)
    }

    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        self.store.put_if_absent(key, content)
    }

    fn adopt(&self, key: &Key, file: &Path) -> Result<Object, StoreError> {
        self.store.adopt(key, file)
    }

    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.store.read_range(key, offset, length)
    }

    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.head(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.store.list(prefix)
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.store.delete(key)
    }
}

#[test]
fn a_local_directory_keeps_the_contract() {
    contract::all(local);
}

#[test]
fn a_faulty_store_without_faults_keeps_the_contract() {
    contract::all(faulty);
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
fn what_is_hidden_or_no_file_is_no_object() {
    let local = local();
    let path = |name: &str| local.directory.path().join(name);
    fs::create_dir(path(".hubvault")).unwrap();
    fs::write(path(".hubvault/catalog.sqlite"), "x").unwrap();
    fs::write(path(".archive.partial"), "x").unwrap();
    fs::write(path(&format!("a.{}.new", "a".repeat(32))), "x").unwrap();
    fs::create_dir(path("directory")).unwrap();
    assert!(keys(&local, "").is_empty());
    assert_eq!(local.head(&key("directory")).unwrap(), None);
    // An empty one gives way.
    local.put(&key("directory"), &mut &b"x"[..]).unwrap();
    assert_eq!(content(&local, &key("directory")), b"x");
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
    assert!(keys(&local, "").is_empty());
    assert!(local.put(&key("way/new"), &mut &b"x"[..]).is_err());
    local.delete(&key("way/victim")).unwrap();
    // A link of the object's own name is replaced, not followed.
    local.put(&key("file"), &mut &b"ours"[..]).unwrap();
    assert_eq!(content(&local, &key("file")), b"ours");
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
    assert!(keys(&store, "").is_empty());
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
    assert!(keys(&store, "").is_empty());
}
