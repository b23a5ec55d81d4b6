//! A heap table in pieces: ranges of its pages, each of which one connection reads.

/// A range of heap pages: `from` is in, `to` is not; without `to` it has no end, so that pages
/// that came after the size was read are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// The first page.
    pub from: u64,
    /// The page after the last.
    pub to: Option<u64>,
}

impl PageRange {
    /// The condition on a row to lie in it, as SQL. A server before 14 reads the whole table for
    /// it (release notes of 14, "TID range scans").
    pub fn condition(self) -> String {
        let from = format!("ctid >= '({},0)'", self.from);
        match self.to {
            Some(to) => format!("{from} AND ctid < '({to},0)'"),
            None => from,
        }
    }

    /// Cuts `pages` heap pages that hold `bytes` (with TOAST) into ranges of about `each` bytes that
    /// cover every page once; none when the table is not worth a cut.
    pub fn cut(pages: u64, bytes: u64, each: u64) -> Vec<Self> {
        let parts = bytes.div_ceil(each.max(1)).min(pages);
        if parts < 2 {
            return Vec::new();
        }
        let each = pages.div_ceil(parts);
        (0..pages)
            .step_by(each as usize)
            .map(|from| Self {
                from,
                to: (from + each < pages).then_some(from + each),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_cover_every_page_once(pages in 0u64..100_000, mib in 0u64..4_000) {
            let ranges = PageRange::cut(pages, mib << 20, 32 << 20);
            prop_assert!(ranges.len() != 1);
            if let (Some(first), Some(last)) = (ranges.first(), ranges.last()) {
                prop_assert_eq!(first.from, 0);
                prop_assert_eq!(last.to, None);
            }
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].to, Some(pair[1].from));
                prop_assert!(pair[0].from < pair[1].from);
            }
        }
    }
}
