//! How much a store may say of what is in it: who answers may be broken, or hostile.

use crate::error::ErrorKind;
use hubvault_model::counted;
use std::time::{Duration, Instant};

/// No object is larger, in bytes: 1 PiB.
pub(crate) const LARGEST_OBJECT: u64 = 1 << 50;

/// More names than any destination of backups has.
const MOST: usize = 1_000_000;
/// The memory that their text may take, in bytes.
const TEXT: usize = 64 << 20;
/// So many parts of a list in a row that have nothing in them are no list.
const EMPTY: usize = 100;
/// So many names a second are no stall, however large the whole is.
const SLOWEST: u64 = 50;

/// Why a list is not read to its end.
#[derive(Debug)]
pub(crate) struct Endless {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

/// What came of one list so far.
#[derive(Debug)]
pub(crate) struct Bounds {
    names: usize,
    text: usize,
    empty: usize,
    began: Instant,
    patience: Duration,
}

impl Bounds {
    /// Of a list that begins now, at a store that is waited for so long.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            names: 0,
            text: 0,
            empty: 0,
            began: Instant::now(),
            patience,
        }
    }

    /// Counts a part of the list: so many names, whose text has so many bytes.
    pub(crate) fn add(&mut self, names: usize, text: usize) -> Result<(), Endless> {
        self.names = self.names.saturating_add(names);
        self.text = self.text.saturating_add(text);
        self.empty = if names == 0 { self.empty + 1 } else { 0 };
        let failed = |text: String| {
            Err(Endless {
                kind: ErrorKind::Failed,
                text,
            })
        };
        if self.names > MOST || self.text > TEXT {
            return failed(format!(
                "its list is longer than {MOST} names or {} MiB; give the backups a directory or prefix of their own",
                TEXT >> 20
            ));
        }
        if self.empty > EMPTY {
            return failed(
                "its list goes on and has nothing in it; ask the store's administrator".into(),
            );
        }
        let took = self.began.elapsed();
        if took > self.patience * 10 + Duration::from_secs(self.names as u64 / SLOWEST) {
            return Err(Endless {
                kind: ErrorKind::Unavailable,
                text: format!(
                    "only {} of its list came within {}",
                    counted(self.names as u64, "name"),
                    counted(took.as_secs().max(1), "second")
                ),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_an_end() {
        let new = || Bounds::new(Duration::from_hours(1));
        let mut bounds = new();
        // What a large destination has.
        for _ in 0..100 {
            bounds.add(1000, 60_000).unwrap();
        }
        let mut many = new();
        assert!((0..=1000).any(|_| many.add(1000, 0).is_err()));
        let mut long = new();
        assert!((0..=64).any(|_| long.add(1, 1 << 20).is_err()));
        let mut empty = new();
        for _ in 0..EMPTY {
            empty.add(0, 0).unwrap();
        }
        empty.add(1, 1).unwrap();
        let error = (0..=EMPTY).find_map(|_| empty.add(0, 0).err()).unwrap();
        assert_eq!(error.kind, ErrorKind::Failed);
        let mut slow = Bounds::new(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(slow.add(1, 1).unwrap_err().kind, ErrorKind::Unavailable);
    }
}
