//! An archive is read once, compared while it is sent, and what is not it never has its key.

use super::*;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::os::unix::fs::FileExt;

/// A portion of a local directory's copy.
const PORTION: usize = 256 << 10;

/// A backup that is sent in three portions.
fn of_three_portions() -> Fixture {
    let mut fixture = Fixture::new();
    (fixture.whole, _) = samples::archive(fixture.id, &[600_000]);
    assert!((2 * PORTION..3 * PORTION).contains(&fixture.whole.len()));
    fs::write(fixture.local(), &fixture.whole).unwrap();
    fixture
}

/// Copies it while `sent` hears of every portion; the error.
fn error_of(fixture: &Fixture, sent: &dyn Fn(u64)) -> CopyError {
    let destination = &fixture.job.destinations.others()[0];
    let store: Arc<dyn Store> = Arc::new(LocalDirectory::open(fixture.far.path()).unwrap());
    let sha256 = hubvault_archive::hex(&Sha256::digest(&fixture.whole));
    let task = fixture.task(Some(sha256));
    upload(&store, destination, &task, &Cancel::new(), sent).unwrap_err()
}

#[test]
fn a_file_that_changes_while_it_is_sent_never_has_its_key() {
    let fixture = of_three_portions();
    let at = PORTION + 5;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(fixture.local())
        .unwrap();
    let portions = Cell::new(0);
    // Changed before its second portion is read, and as it was after that.
    let change = |_| {
        portions.set(portions.get() + 1);
        let whole = fixture.whole[at];
        match portions.get() {
            1 => file.write_all_at(&[whole ^ 1], at as u64).unwrap(),
            2 => file.write_all_at(&[whole], at as u64).unwrap(),
            _ => {}
        }
        assert!(!fixture.there().exists());
    };
    let error = error_of(&fixture, &change);
    assert!(matches!(error, CopyError::Source(_)), "{error}");
    assert!(error.to_string().contains("changed while it was copied"));
    let left = fs::read_dir(fixture.far.path()).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn another_file_a_shorter_one_and_a_longer_one_leave_what_is_there() {
    let fixture = of_three_portions();
    let (mut other, mut longer) = (fixture.whole.clone(), fixture.whole.clone());
    *other.last_mut().unwrap() ^= 1;
    longer.resize(longer.len() + PORTION, 0);
    let damaged = fixture.rotten();
    for is_there in [false, true] {
        for content in [&other, &longer, &fixture.whole[..PORTION].to_vec(), &vec![]] {
            fs::write(fixture.local(), content).unwrap();
            if is_there {
                fs::write(fixture.there(), &damaged).unwrap();
            }
            let error = error_of(&fixture, &|_| ());
            assert!(matches!(error, CopyError::Damaged(_)), "{error}");
            assert!(!Sidecar::path(&fixture.there()).exists());
            let there = fs::read(fixture.there()).ok();
            assert_eq!(there.as_ref(), is_there.then_some(&damaged));
        }
    }
}

#[test]
fn nothing_is_sent_where_the_key_is_anothers() {
    let fixture = of_three_portions();
    sidecar(archive(BackupId::random()).1)
        .write(&fixture.there())
        .unwrap();
    let error = error_of(&fixture, &|_| panic!("it is sent"));
    assert!(matches!(error, CopyError::Refused(_)), "{error}");
}
