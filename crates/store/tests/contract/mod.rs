//! What every store promises (`Store`), each promise a function. `all` is called with a function that makes a store, empty
//! and its own, for each of them.

use hubvault_store::{ErrorKind, Key, Store};
use std::io::{self, Read};
use std::sync::Barrier;
use std::thread;

/// Holds a kind of store to the whole contract; what `empty` returns is the store, or has it. A server that itself changes
/// keys cannot show that those are kept.
pub(crate) fn all<S: Has>(changed: &[&str], empty: impl Fn() -> S) {
    keys_may_have_odd_characters(empty().store(), changed);
    for promise in [
        what_is_stored_is_read_back,
        an_object_may_be_empty,
        an_object_may_be_large,
        an_object_is_replaced_as_a_whole,
        a_failing_content_leaves_nothing,
        a_failing_content_leaves_the_object_before_it,
        only_one_is_stored_if_absent,
        of_two_at_once_one_wins_whole,
        a_file_is_adopted,
        a_file_that_is_not_there_is_not_adopted,
        a_range_ends_with_its_object,
        an_object_is_read_as_it_was_found,
        what_is_read_stays_one_object,
        what_is_not_there_is_said_so,
        a_list_has_its_prefix_in_order,
        deleting_twice_is_no_error,
    ] {
        promise(empty().store());
    }
}

/// A store, or what keeps one.
pub(crate) trait Has {
    fn store(&self) -> &dyn Store;
}

impl Has for Box<dyn Store> {
    fn store(&self) -> &dyn Store {
        &**self
    }
}

/// The key of this text.
pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Everything of an object.
pub(crate) fn content(store: &dyn Store, key: &Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = store.read_range(key, 0, u64::MAX).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The keys that a store has.
pub(crate) fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let objects = store.list(prefix).unwrap().into_iter();
    objects.map(|object| object.key.to_string()).collect()
}

/// So many bytes of a pattern, in odd portions, then perhaps an error.
struct Stream {
    left: usize,
    fails: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.fails {
            return Err(io::Error::other("the source broke off"));
        }
        let most = buffer.len().min(self.left).min(7919);
        for (n, byte) in buffer[..most].iter_mut().enumerate() {
            *byte = (self.left - n) as u8;
        }
        self.left -= most;
        Ok(most)
    }
}

fn what_is_stored_is_read_back(store: &dyn Store) {
    let key = key("a/b/archive.tar.gz");
    let stored = store.put(&key, &mut &b"bytes"[..]).unwrap();
    assert_eq!(stored.object.key, key);
    assert_eq!(stored.object.bytes, 5);
    let object = store.head(&key).unwrap().unwrap();
    assert_eq!((object.bytes, &object.version), (5, &stored.object.version));
    let listed = store.list("").unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key, listed[0].bytes), (&key, 5));
    assert_eq!(content(store, &key), b"bytes");
}

fn keys_may_have_odd_characters(store: &dyn Store, changed: &[&str]) {
    let mut odd = vec![
        "with space",
        "ümlaut/日本",
        "%2e%2e/%00",
        "quote'\"$(x);`y`",
        "-rf",
        "a+b=c&d?e#f",
        "back\\slash",
        "*?[x]",
        "x.new",
    ];
    odd.retain(|text| !changed.contains(text));
    for text in &odd {
        store.put(&key(text), &mut text.as_bytes()).unwrap();
    }
    odd.sort_unstable();
    assert_eq!(keys(store, ""), odd);
    for text in odd {
        assert_eq!(content(store, &key(text)), text.as_bytes());
        store.delete(&key(text)).unwrap();
    }
    assert!(keys(store, "").is_empty());
}

fn an_object_may_be_empty(store: &dyn Store) {
    assert_eq!(
        store
            .put(&key("nothing"), &mut &[][..])
            .unwrap()
            .object
            .bytes,
        0
    );
    assert_eq!(store.head(&key("nothing")).unwrap().unwrap().bytes, 0);
    assert!(content(store, &key("nothing")).is_empty());
}

fn an_object_may_be_large(store: &dyn Store) {
    let large = || Stream {
        left: 17_000_001,
        fails: false,
    };
    let stored = store.put(&key("large"), &mut large()).unwrap();
    assert_eq!(stored.object.bytes, 17_000_001);
    let mut expected = Vec::new();
    large().read_to_end(&mut expected).unwrap();
    assert!(content(store, &key("large")) == expected);
}

fn an_object_is_replaced_as_a_whole(store: &dyn Store) {
    let key = key("replaced");
    store.put(&key, &mut &b"a longer one"[..]).unwrap();
    store.put(&key, &mut &b"short"[..]).unwrap();
    assert_eq!(content(store, &key), b"short");
    assert_eq!(keys(store, "").len(), 1);
}

fn breaks_off(store: &dyn Store, key: &Key) {
    let broken = || Stream {
        left: 700_000,
        fails: true,
    };
    for error in [
        store.put(key, &mut broken()).unwrap_err(),
        store.put_if_absent(key, &mut broken()).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Content, "{error}");
        assert!(!error.is_uncertain && !error.may_be_retried(), "{error}");
        assert!(
            error.to_string().contains("the source broke off"),
            "{error}"
        );
    }
}

fn a_failing_content_leaves_nothing(store: &dyn Store) {
    let key = key("broken/off");
    breaks_off(store, &key);
    // In place of its end, where every byte and every part of it was sent.
    let mut whole = Stream {
        left: 16 << 20,
        fails: true,
    };
    let error = store.put(&key, &mut whole).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Content, "{error}");
    assert_eq!(store.head(&key).unwrap(), None);
    assert!(keys(store, "").is_empty());
}

fn a_failing_content_leaves_the_object_before_it(store: &dyn Store) {
    let key = key("kept");
    store.put(&key, &mut &b"whole"[..]).unwrap();
    breaks_off(store, &key);
    assert_eq!(content(store, &key), b"whole");
}

fn only_one_is_stored_if_absent(store: &dyn Store) {
    let key = key("lease");
    let gate = Barrier::new(4);
    let taken: Vec<u8> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u8)
            .map(|n| {
                let (key, gate) = (&key, &gate);
                scope.spawn(move || {
                    gate.wait();
                    let stored = store.put_if_absent(key, &mut &[n; 1000][..]).unwrap();
                    stored.is_some().then_some(n)
                })
            })
            .collect();
        let done = threads.into_iter();
        done.filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(taken.len(), 1);
    assert_eq!(content(store, &key), [taken[0]; 1000]);
    assert_eq!(keys(store, ""), ["lease"]);
}

fn of_two_at_once_one_wins_whole(store: &dyn Store) {
    let key = key("raced");
    let gate = Barrier::new(2);
    thread::scope(|scope| {
        for n in [1_u8, 2] {
            let (key, gate) = (&key, &gate);
            scope.spawn(move || {
                gate.wait();
                for _ in 0..5 {
                    store.put(key, &mut &vec![n; 600_000][..]).unwrap();
                }
            });
        }
    });
    let won = content(store, &key);
    assert_eq!(won.len(), 600_000);
    assert!(won.iter().all(|byte| *byte == won[0]));
    assert_eq!(keys(store, ""), ["raced"]);
}

fn a_file_is_adopted(store: &dyn Store) {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("finished");
    for text in ["first", "and the next"] {
        std::fs::write(&file, text).unwrap();
        let object = store.adopt(&key("adopted"), &file).unwrap();
        assert_eq!(object.bytes, text.len() as u64);
        assert!(!file.exists());
        assert_eq!(content(store, &key("adopted")), text.as_bytes());
    }
}

fn a_file_that_is_not_there_is_not_adopted(store: &dyn Store) {
    let elsewhere = tempfile::tempdir().unwrap();
    let error = store.adopt(&key("adopted"), &elsewhere.path().join("nothing"));
    assert!(!error.unwrap_err().is_uncertain);
    assert!(keys(store, "").is_empty());
}

fn an_object_is_read_as_it_was_found(store: &dyn Store) {
    let key = key("found");
    let found = store.put(&key, &mut &b"one"[..]).unwrap().object;
    let listed = store.list("found").unwrap().remove(0);
    for object in [&found, &listed] {
        let mut text = String::new();
        let mut reader = store.read_object(object, 1, 9).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ne");
    }
    store.put(&key, &mut &b"another"[..]).unwrap();
    let kind = |object| {
        store
            .read_object(object, 0, 9)
            .map(|_| ())
            .unwrap_err()
            .kind
    };
    assert_eq!(kind(&found), ErrorKind::Changed);
    assert_eq!(kind(&listed), ErrorKind::Changed);
    store.delete(&key).unwrap();
    assert_eq!(kind(&found), ErrorKind::NotFound);
}

fn a_range_ends_with_its_object(store: &dyn Store) {
    let key = key("ranges");
    store.put(&key, &mut &b"0123456789"[..]).unwrap();
    for (offset, length, expected) in [
        (0, 10, "0123456789"),
        (3, 4, "3456"),
        (8, 10, "89"),
        (10, 1, ""),
        (1 << 40, 5, ""),
        (2, 0, ""),
    ] {
        let mut text = String::new();
        let mut reader = store.read_range(&key, offset, length).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected, "{length} from {offset}");
    }
}

fn what_is_read_stays_one_object(store: &dyn Store) {
    let key = key("read");
    store.put(&key, &mut &vec![1; 900_000][..]).unwrap();
    let mut reader = store.read_range(&key, 0, u64::MAX).unwrap();
    let mut start = [0; 10];
    reader.read_exact(&mut start).unwrap();
    store.put(&key, &mut &vec![2; 900_000][..]).unwrap();
    store.delete(&key).unwrap();
    let mut rest = Vec::new();
    // A store may give up; it may not mix.
    if reader.read_to_end(&mut rest).is_ok() {
        assert_eq!(rest.len(), 900_000 - 10);
    }
    assert!(rest.iter().all(|byte| *byte == 1));
}

fn what_is_not_there_is_said_so(store: &dyn Store) {
    store.put(&key("a/file"), &mut &b"x"[..]).unwrap();
    for text in ["nothing", "no/thing", "a", "a/file/below"] {
        assert_eq!(store.head(&key(text)).unwrap(), None, "{text}");
        let Err(error) = store.read_range(&key(text), 0, 1) else {
            panic!("{text} was read");
        };
        assert_eq!(error.kind, ErrorKind::NotFound, "{text}: {error}");
    }
    assert!(keys(store, "nothing").is_empty());
}

fn a_list_has_its_prefix_in_order(store: &dyn Store) {
    for text in ["b/2", "a-c", "a/z", "a/b/c", "ab", "b/10", "a"] {
        // Where a directory has this name no file can, and the other way round.
        let is_both = text == "a";
        let stored = store.put(&key(text), &mut &b"x"[..]);
        assert!(stored.is_ok() || is_both, "{stored:?}");
        if is_both && stored.is_ok() {
            store.delete(&key(text)).unwrap();
        }
    }
    assert_eq!(
        keys(store, ""),
        ["a-c", "a/b/c", "a/z", "ab", "b/10", "b/2"]
    );
    assert_eq!(keys(store, "a/"), ["a/b/c", "a/z"]);
    assert_eq!(keys(store, "a/b"), ["a/b/c"]);
    assert_eq!(keys(store, "b/1"), ["b/10"]);
    assert_eq!(keys(store, "a"), ["a-c", "a/b/c", "a/z", "ab"]);
    assert!(keys(store, "../").is_empty());
}

fn deleting_twice_is_no_error(store: &dyn Store) {
    let key = key("x/gone");
    store.put(&key, &mut &b"x"[..]).unwrap();
    store.delete(&key).unwrap();
    assert_eq!(store.head(&key).unwrap(), None);
    store.delete(&key).unwrap();
    store.put(&key, &mut &b"again"[..]).unwrap();
    assert_eq!(content(store, &key), b"again");
}
