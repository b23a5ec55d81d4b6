//! Numbers and content that look random and are the same in every run.

use std::iter::repeat_with;

/// A sequence of numbers (Knuth's MMIX).
#[derive(Clone, Copy)]
pub struct Random(pub u64);

impl Random {
    /// The next number, from 0 to `limit` without it.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high bits are the good ones.
        self.next() % limit.max(1)
    }

    fn next(&mut self) -> u64 {
        let Self(state) = self;
        *state = state.wrapping_mul(6_364_136_223_846_793_005);
        *state = state.wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }
}

/// So many bytes that do not compress.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut random = Random(1);
    repeat_with(|| (random.next() >> 23) as u8)
        .take(bytes)
        .collect()
}
