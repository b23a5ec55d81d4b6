//! An archive without a recorded checksum is compared with its manifest and hashed in one reading.

use super::*;
use crate::publish::whole::{Hashed, whole_source};
use hubvault_archive::Source as Bytes;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes that are read.
struct Counted(Vec<u8>, Arc<AtomicU64>);

impl Bytes for Counted {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.0.read_at(buffer, offset)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

fn sha256(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("it");
    fs::write(&file, bytes).unwrap();
    sha256_of(&file).unwrap()
}

#[test]
fn what_is_whole_is_read_once() {
    let id = BackupId::random();
    let (bytes, _) = samples::archive(id, &[300_000, 0, 200_000, 100_000]);
    let (size, read) = (bytes.len() as u64, Arc::new(AtomicU64::new(0)));
    let of = |bytes: &[u8], id| {
        let source = Box::new(Counted(bytes.to_vec(), Arc::clone(&read)));
        let key = Key::parse(NAME).unwrap();
        whole_source(source, &key, id, &Cancel::new()).unwrap()
    };
    assert_eq!(of(&bytes, id).unwrap(), (size, sha256(&bytes)));
    // Opening it reads its table of contents once more.
    let read = read.load(Ordering::Relaxed);
    assert!(
        (size..size + size / 20).contains(&read),
        "{read} of {size} bytes"
    );
    let other = of(&bytes, BackupId::random()).unwrap_err();
    assert!(other.contains("another backup's"), "{other}");
    for at in (0..bytes.len()).step_by(9_973) {
        let mut rotten = bytes.clone();
        rotten[at] ^= 1;
        assert!(of(&rotten, id).is_err(), "byte {at}");
    }
    of(&bytes[..bytes.len() - 1], id).unwrap_err();
}

#[test]
fn the_hash_is_of_every_byte_in_whatever_order_they_are_read() {
    let bytes = samples::noise(1, 50_000);
    let hashed = Hashed::new(Box::new(bytes.clone()));
    let mut buffer = vec![0; 7_000];
    for offset in [30_000, 3] {
        hashed.read_at(&mut buffer, offset).unwrap();
    }
    hashed.begin();
    for offset in [0, 5_000, 6_000, 20_000, 1_000, 49_000] {
        let read = hashed.read_at(&mut buffer, offset).unwrap();
        let at = offset as usize;
        assert_eq!(buffer[..read], bytes[at..at + read]);
    }
    assert_eq!(hashed.finish().unwrap(), (50_000, sha256(&bytes)));
}
