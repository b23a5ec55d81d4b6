//! Archives that are read in a store: which one is named, what is asked of the store for it, and what happens where the
//! store fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../samples/mod.rs"]
mod samples;
mod rebuild;

use hubvault_archive::{AnyArchive, Archive, Identities, Source, seal};
use hubvault_engine::catalog::ProofRecord;
use hubvault_engine::catalog::sidecar::Sidecar;
use hubvault_engine::job::Destination;
use hubvault_engine::remote::{Archives, Backup, Patience, RemoteError};
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Call, ErrorKind, Fault, Faulty, Key, LocalDirectory, Location, Store};
use samples::{archive, noise};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

struct Bucket {
    _directory: TempDir,
    store: Arc<Faulty>,
    archives: Archives,
    cancel: Cancel,
}

const QUICK: Patience = Patience {
    longest: Duration::from_mins(1),
    first: Duration::from_millis(1),
};

fn bucket() -> Bucket {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalDirectory::open(directory.path()).unwrap();
    let store = Arc::new(Faulty::new(Box::new(local)));
    let location = Location::parse("s3://acme/hub").unwrap();
    let cancel = Cancel::new();
    let destination = Destination::new("s3", location);
    let archives = Archives::of(&destination, store.clone(), &cancel).with_patience(QUICK);
    Bucket {
        _directory: directory,
        store,
        archives,
        cancel,
    }
}

impl Bucket {
    fn put(&self, name: &str, bytes: &[u8]) -> Key {
        let key = Key::parse(name).unwrap();
        self.store.put(&key, &mut &bytes[..]).unwrap();
        key
    }

    /// A small archive with its sidecar.
    fn backup(&self, name: &str, id: BackupId, proven: bool) {
        let (bytes, manifest) = archive(id, &[1000]);
        let key = self.put(name, &bytes);
        let proof = ProofRecord {
            proven,
            ..ProofRecord::default()
        };
        let sidecar = Sidecar {
            proof,
            pinned: false,
            seal: None,
            manifest,
        };
        sidecar.put(self.store.as_ref(), &key).unwrap();
    }

    fn open(&self, name: &str, identities: &Identities) -> Result<AnyArchive, RemoteError> {
        let listed = self.archives.find(name)?;
        Backup::of(self.archives.clone(), listed).open(identities)
    }

    fn fail(&self, call: Call, fault: Fault) {
        self.store.fail_next(call, fault);
    }
}

fn name(day: u32) -> String {
    format!("critical_backup_202601{day:02}_020000.tar.gz")
}

fn content<S: Source>(archive: &Archive<S>, at: usize) -> std::io::Result<Vec<u8>> {
    let record = archive.entry(&format!("files/{at}")).unwrap();
    let mut bytes = Vec::new();
    let reader = archive.content(record).map_err(std::io::Error::other);
    reader?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn all_are_equal(archive: &AnyArchive, sizes: &[usize]) {
    std::thread::scope(|scope| {
        for (at, size) in sizes.iter().enumerate() {
            scope.spawn(move || {
                assert!(content(archive, at).unwrap() == noise(at, *size), "{at}");
            });
        }
    });
}

#[test]
fn the_newest_proven_backup_is_the_latest() {
    let bucket = bucket();
    let ids: Vec<BackupId> = (1..=4).map(BackupId::from_u128).collect();
    bucket.backup(&name(1), ids[0], true);
    bucket.backup(&name(3), ids[2], true);
    bucket.backup(&name(4), ids[3], false);
    // A name that sorts behind all others, of an older moment.
    bucket.backup("critical_backup_zz_20260102_020000.tar.zst", ids[1], true);
    bucket.put("notes.txt", b"no archive");
    let key = |word: &str| bucket.archives.find(word).unwrap().object.key.to_string();
    assert_eq!(key("latest"), name(3));
    assert_eq!(key(&ids[0].to_string()), name(1));
    assert_eq!(key(&name(4)), name(4));
    let error = |word: &str| bucket.archives.find(word).unwrap_err().to_string();
    assert!(error("00000000-0000-4").contains("hubvault list s3://acme/hub"));
    assert!(error("0").contains("give more of the id"), "{}", error("0"));
    assert!(error("critical_backup_20250101_020000.tar.gz").contains("no backup"));
    let order: Vec<String> = (bucket.archives.list().unwrap().iter())
        .map(|listed| listed.moment().to_owned())
        .collect();
    assert_eq!(
        order,
        [
            "20260104_020000",
            "20260103_020000",
            "20260102_020000",
            "20260101_020000"
        ]
    );
}

#[test]
fn where_nothing_is_proven_the_newest_is_the_latest() {
    let bucket = bucket();
    bucket.backup(&name(1), BackupId::random(), false);
    bucket.put(&name(2), &archive(BackupId::random(), &[10]).0);
    let latest = bucket.archives.find("latest").unwrap();
    assert_eq!(latest.object.key.as_str(), name(2));
}

#[test]
fn backups_below_are_named_where_there_are_none_here() {
    let bucket = bucket();
    let error = || bucket.archives.find("latest").unwrap_err().to_string();
    assert_eq!(error(), "there are no archives in s3://acme/hub");
    bucket.backup(&format!("eu/{}", name(1)), BackupId::random(), true);
    assert!(
        error().ends_with("; there are some in s3://acme/hub/eu"),
        "{}",
        error()
    );
}

#[test]
fn one_entry_costs_about_one_entry() {
    let bucket = bucket();
    let (small, large) = (100_000, 16 << 20);
    let sizes = [large, small, large];
    let (bytes, _) = archive(BackupId::random(), &sizes);
    bucket.put(&name(1), &bytes);
    let opened = bucket.open(&name(1), &Identities::none()).unwrap();
    assert!(content(&opened, 1).unwrap() == noise(1, small));
    let asked = bucket.store.requests();
    let most = bytes.len() as u64 / 100;
    assert!(asked.bytes_received < most, "{asked:?} of {most}");
    assert!(asked.reads <= 4, "{asked:?}");
}

#[test]
fn a_whole_archive_is_read_once_in_large_parts() {
    let bucket = bucket();
    let sizes = [9 << 20, 1000, 5 << 20, 70_000];
    let (bytes, _) = archive(BackupId::random(), &sizes);
    bucket.put(&name(1), &bytes);
    let opened = bucket.open(&name(1), &Identities::none()).unwrap();
    all_are_equal(&opened, &sizes);
    let asked = bucket.store.requests();
    let size = bytes.len() as u64;
    // What is not said to be read comes in blocks, a few of which are read twice.
    assert!(
        asked.bytes_received < size + (256 << 10),
        "{asked:?} of {size}"
    );
    assert!(asked.reads < 14, "{asked:?}");
}

#[test]
fn a_sealed_archive_costs_no_more() {
    let bucket = bucket();
    let sizes = [6 << 20, 100_000, 6 << 20];
    let (bytes, _) = archive(BackupId::random(), &sizes);
    let public = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let (mut writer, identities) = seal(Vec::new(), &[public.parse().unwrap()]).unwrap();
    writer.write_all(&bytes).unwrap();
    let sealed = writer.finish().unwrap().0;
    let name = format!("{}.age", name(1));
    bucket.put(&name, &sealed);
    let opened = bucket.open(&name, &identities).unwrap();
    assert!(content(&opened, 1).unwrap() == noise(1, sizes[1]));
    let asked = bucket.store.requests();
    assert!(asked.bytes_received < 600_000, "{asked:?}");
    all_are_equal(&opened, &sizes);
    let asked = bucket.store.requests();
    let most = sealed.len() as u64 * 11 / 10 + 700_000;
    assert!(asked.bytes_received < most, "{asked:?} of {most}");
    let error = bucket
        .open(&name, &Identities::none())
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.to_string().contains(&format!("s3://acme/hub/{name}")),
        "{error}"
    );
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_was() {
    let bucket = bucket();
    let sizes = [9 << 20, 5 << 20];
    bucket.put(&name(1), &archive(BackupId::random(), &sizes).0);
    bucket.fail(Call::List, Fault::Refused(ErrorKind::Unavailable));
    bucket.fail(Call::Head, Fault::Refused(ErrorKind::Throttled));
    bucket.fail(Call::Read, Fault::Refused(ErrorKind::Throttled));
    bucket.fail(Call::Read, Fault::CutAfter(0));
    let opened = bucket.open(&name(1), &Identities::none()).unwrap();
    let before = bucket.store.requests();
    for after in [0, 1, 300_000, 4 << 20] {
        bucket.fail(Call::Read, Fault::CutAfter(after));
    }
    all_are_equal(&opened, &sizes);
    let asked = bucket.store.requests() - before;
    let again = asked.bytes_received - sizes.iter().sum::<usize>() as u64;
    // Three windows were asked for again, the last one without its first 300,000 bytes.
    assert!(again < 14 << 20, "{again}");
}

#[test]
fn what_is_refused_is_not_asked_again() {
    let bucket = bucket();
    bucket.put(&name(1), &archive(BackupId::random(), &[1000]).0);
    bucket.fail(Call::Read, Fault::Refused(ErrorKind::Denied));
    let before = bucket.store.requests().reads;
    let error = bucket
        .open(&name(1), &Identities::none())
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, RemoteError::Archive { .. }), "{error}");
    assert_eq!(bucket.store.requests().reads, before + 1);
}

#[test]
fn a_store_that_stays_away_is_given_up() {
    let bucket = bucket();
    let brief = Patience {
        longest: Duration::from_millis(30),
        ..QUICK
    };
    bucket.put(&name(1), &archive(BackupId::random(), &[1000]).0);
    let archives = bucket.archives.clone().with_patience(brief);
    for _ in 0..1000 {
        bucket.fail(Call::List, Fault::Refused(ErrorKind::Unavailable));
    }
    let error = archives.find("latest").unwrap_err();
    assert!(
        error.to_string().contains("the connection was cut"),
        "{error}"
    );
}

#[test]
fn a_request_to_stop_ends_waiting() {
    let bucket = bucket();
    let patient = Patience {
        longest: Duration::from_hours(1),
        first: Duration::from_hours(1),
    };
    let archives = bucket.archives.clone().with_patience(patient);
    bucket.fail(Call::List, Fault::Refused(ErrorKind::Unavailable));
    let waiting = std::thread::spawn(move || archives.list().map(|_| ()));
    bucket.cancel.request();
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn an_archive_that_is_replaced_while_it_is_read_is_noticed() {
    let bucket = bucket();
    let sizes = [5 << 20, 5 << 20];
    bucket.put(&name(1), &archive(BackupId::random(), &sizes).0);
    let opened = bucket.open(&name(1), &Identities::none()).unwrap();
    bucket.put(&name(1), &archive(BackupId::random(), &[1000]).0);
    let error = content(&opened, 1).unwrap_err().to_string();
    assert!(
        error.contains("replaced by another one meanwhile; begin again"),
        "{error}"
    );
    bucket.store.delete(&Key::parse(&name(1)).unwrap()).unwrap();
    let error = content(&opened, 0).unwrap_err().to_string();
    assert!(error.contains(&name(1)), "{error}");
}

#[test]
fn a_source_reads_like_a_file() {
    let bucket = bucket();
    let bytes = noise(3, 700_000);
    bucket.put(&name(1), &bytes);
    let listed = bucket.archives.find(&name(1)).unwrap();
    let source = bucket.archives.source(&listed);
    source.will_read(100_000, 300_000);
    let mut buffer = vec![0; 50_000];
    let mut read = |at: u64| {
        let n = source.read_at(&mut buffer, at).unwrap();
        let at = at as usize;
        assert!(buffer[..n] == bytes[at..at + n], "{at}");
        n
    };
    // In the part that was named, behind, before, across its ends, over and over.
    for at in [
        0, 100_000, 120_000, 399_999, 400_000, 699_999, 65_535, 65_536, 100_000, 250_000,
    ] {
        assert!(read(at) > 0, "{at}");
    }
    assert_eq!(read(700_000), 0);
}
