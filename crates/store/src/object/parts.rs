//! How large the parts of an upload are.

/// One MiB.
pub(crate) const MIB: usize = 1 << 20;
/// The most parts that an upload has.
pub(crate) const MOST: usize = 10_000;
/// Up to which number parts are how large, in MiB. With all of them an object of 5 TiB ends, the largest that there is.
const SIZES: &[(usize, usize)] = &[
    (2_000, 8),
    (4_000, 16),
    (5_000, 32),
    (6_000, 64),
    (7_000, 128),
    (8_000, 512),
    (9_000, 1_024),
    (MOST, 4_096),
];

/// How large each part of an upload is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts {
    /// The length is not known: later parts are larger.
    Growing,
    /// All of this size, except the last one.
    Even(usize),
}

impl Parts {
    /// Those of an object of this length.
    pub(crate) fn of(bytes: u64) -> Self {
        let share = usize::try_from(bytes / MOST as u64).unwrap_or(usize::MAX);
        Self::Even((share / MIB + 1).saturating_mul(MIB).max(8 * MIB))
    }

    /// The size of a part; `None` where there is no such part. Numbers begin at 1.
    pub(crate) fn size(self, number: usize) -> Option<usize> {
        match self {
            Self::Growing => SIZES
                .iter()
                .find(|(last, _)| number <= *last)
                .map(|(_, size)| size * MIB),
            Self::Even(size) => (number <= MOST).then_some(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        let all: usize = (1..=MOST).map(|n| Parts::Growing.size(n).unwrap()).sum();
        assert!(all >= 5 << 40, "{all}");
        assert!((1..=MOST).all(|n| Parts::Growing.size(n).unwrap() <= 5 << 30));
        assert!(Parts::Growing.size(MOST + 1).is_none());
        for bytes in [0, 1, 80 << 30, (80 << 30) + 1, 5 << 40] {
            let size = Parts::of(bytes).size(1).unwrap();
            assert!((size * MOST) as u64 >= bytes && size >= 8 * MIB, "{bytes}");
            assert!(Parts::of(bytes).size(MOST + 1).is_none());
        }
    }
}
