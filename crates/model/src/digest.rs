//! The row digest: compares two copies of a table without sorting them.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The number of rows and the wrapping sum of XXH3-128 over each row's COPY bytes without the
/// newline that ends it.
///
/// A sum does not depend on order, so the digest of a table is the sum of its extents' digests,
/// however the table was cut. It detects accidents, not tampering: that is the work of SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowDigest {
    /// The number of rows.
    pub rows: u64,
    /// The wrapping 128-bit sum.
    pub sum: u128,
}

impl RowDigest {
    /// Adds one row, given without its line end.
    pub fn add_row(&mut self, row: &[u8]) {
        self.add(xxh3_128(row));
    }

    fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// Adds the rows of another part of the same table.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The sum as 32 hexadecimal digits, the form in manifests and reports.
    pub fn hex(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    rows: u64,
    digest: String,
}

impl Serialize for RowDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written {
            rows: self.rows,
            digest: self.hex(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let bad = || serde::de::Error::custom("a row digest is 32 hexadecimal digits");
        if written.digest.len() != 32 {
            return Err(bad());
        }
        let sum = u128::from_str_radix(&written.digest, 16).map_err(|_| bad())?;
        Ok(Self {
            rows: written.rows,
            sum,
        })
    }
}

/// The format of a COPY stream; decides where a row ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowFormat {
    /// COPY's text format: a newline always ends a row, one inside a value is written `\n`
    /// (`PostgreSQL` manual, "COPY", Text Format).
    Text,
    /// COPY's CSV format: a newline inside quotes belongs to the row ("COPY", CSV Format).
    Csv,
}

/// A stream that stopped in the middle of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data ends inside row {row}")]
pub struct UnfinishedRow {
    /// The unfinished row, counted from 1.
    pub row: u64,
}

/// Cuts a COPY stream, given in pieces of any size, into rows and sums them.
pub struct RowDigester {
    format: RowFormat,
    digest: RowDigest,
    /// The state of an unfinished row. Its bytes are not kept: a row may be as large as the stream.
    begun: Option<Box<Xxh3>>,
    quoted: bool,
}

impl RowDigester {
    /// A digester without input.
    pub fn new(format: RowFormat) -> Self {
        Self {
            format,
            digest: RowDigest::default(),
            begun: None,
            quoted: false,
        }
    }

    /// Takes the next piece of the stream.
    pub fn update(&mut self, piece: &[u8]) {
        match self.format {
            RowFormat::Text => self.update_text(piece),
            RowFormat::Csv => self.update_csv(piece),
        }
    }

    /// The digest of everything up to the last row end.
    pub fn so_far(&self) -> RowDigest {
        self.digest
    }

    /// True when the last piece ended exactly at the end of a row.
    pub fn at_row_end(&self) -> bool {
        self.begun.is_none() && !self.quoted
    }

    /// The digest of the whole stream, or where it ended early.
    pub fn finish(self) -> Result<RowDigest, UnfinishedRow> {
        if self.at_row_end() {
            Ok(self.digest)
        } else {
            Err(UnfinishedRow {
                row: self.digest.rows + 1,
            })
        }
    }

    fn end_row(&mut self, tail: &[u8]) {
        match self.begun.take() {
            None => self.digest.add_row(tail),
            Some(mut row) => {
                row.update(tail);
                self.digest.add(row.digest128());
            }
        }
    }

    fn begin_row(&mut self, start: &[u8]) {
        if !start.is_empty() {
            self.begun.get_or_insert_default().update(start);
        }
    }

    fn update_text(&mut self, piece: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', piece) {
            self.end_row(&piece[start..end]);
            start = end + 1;
        }
        self.begin_row(&piece[start..]);
    }

    fn update_csv(&mut self, piece: &[u8]) {
        let mut start = 0;
        for at in memchr::memchr2_iter(b'"', b'\n', piece) {
            if piece[at] == b'"' {
                // A doubled quote inside quotes flips twice and so changes nothing.
                self.quoted = !self.quoted;
            } else if !self.quoted {
                self.end_row(&piece[start..at]);
                start = at + 1;
            }
        }
        self.begin_row(&piece[start..]);
    }
}

impl std::fmt::Debug for RowDigester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowDigester")
            .field("format", &self.format)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest_of(format: RowFormat, pieces: &[&[u8]]) -> Result<RowDigest, UnfinishedRow> {
        let mut rows = RowDigester::new(format);
        for piece in pieces {
            rows.update(piece);
        }
        rows.finish()
    }

    #[test]
    fn order_and_cuts_do_not_change_a_digest() {
        let whole = digest_of(RowFormat::Text, &[b"a\t1\nb\t2\nc\t3\n"]).unwrap();
        let mut parts = digest_of(RowFormat::Text, &[b"c\t3\n"]).unwrap();
        parts.merge(digest_of(RowFormat::Text, &[b"b\t", b"2\na\t1", b"\n"]).unwrap());
        assert_eq!(whole, parts);
    }

    #[test]
    fn what_was_read_so_far_can_be_asked_for_and_shown() {
        let mut rows = RowDigester::new(RowFormat::Text);
        rows.update(b"a\nb\nc");
        let (mut two, so_far) = (RowDigest::default(), rows.so_far());
        two.add_row(b"a");
        two.add_row(b"b");
        assert_eq!(so_far, two);
        assert!(format!("{rows:?}").starts_with("RowDigester { format: Text, digest: "));
    }

    #[test]
    fn a_row_in_many_pieces_has_the_digest_of_one_in_one_piece() {
        let row: Vec<u8> = (0..100_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
        let mut whole = RowDigest::default();
        whole.add_row(&row);
        let mut pieces: Vec<&[u8]> = row.chunks(777).collect();
        pieces.push(b"\n");
        assert_eq!(digest_of(RowFormat::Text, &pieces), Ok(whole));
        assert_eq!(digest_of(RowFormat::Csv, &pieces), Ok(whole));
    }

    #[test]
    fn rows_of_a_table_without_columns_are_counted() {
        assert_eq!(digest_of(RowFormat::Text, &[b"\n\n\n"]).unwrap().rows, 3);
    }

    #[test]
    fn a_newline_inside_quotes_does_not_end_a_csv_row() {
        let csv: &[u8] = b"1,\"two\nlines \"\"quoted\"\"\"\n2,plain\n";
        assert_eq!(digest_of(RowFormat::Csv, &[csv]).unwrap().rows, 2);
    }

    #[test]
    fn a_stream_cut_inside_a_row_is_an_error() {
        assert_eq!(
            digest_of(RowFormat::Text, &[b"1\n2"]),
            Err(UnfinishedRow { row: 2 })
        );
        assert_eq!(
            digest_of(RowFormat::Csv, &[b"\"a\n"]),
            Err(UnfinishedRow { row: 1 })
        );
    }

    #[test]
    fn the_json_form_carries_rows_and_digest() {
        let mut digest = RowDigest::default();
        digest.add_row(b"x");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<RowDigest>(&json).unwrap(), digest);
        for digits in [
            "zz".repeat(16),
            "0".repeat(31),
            "0".repeat(33),
            String::new(),
        ] {
            let json = format!(r#"{{"rows":1,"digest":"{digits}"}}"#);
            assert!(serde_json::from_str::<RowDigest>(&json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_never_matters(
            text in "[a\"\\n,]{0,60}",
            cuts in proptest::collection::vec(0usize..61, 0..5),
        ) {
            for format in [RowFormat::Text, RowFormat::Csv] {
                let whole = digest_of(format, &[text.as_bytes()]);
                let mut rows = RowDigester::new(format);
                let mut cuts: Vec<usize> = cuts.iter().map(|c| (*c).min(text.len())).collect();
                cuts.sort_unstable();
                let mut start = 0;
                for cut in cuts.into_iter().chain([text.len()]) {
                    rows.update(&text.as_bytes()[start..cut]);
                    start = cut;
                }
                prop_assert_eq!(whole, rows.finish());
            }
        }

        #[test]
        fn another_row_gives_another_digest(a in ".{0,20}", b in ".{0,20}") {
            prop_assume!(a != b);
            let (mut left, mut right) = (RowDigest::default(), RowDigest::default());
            left.add_row(a.as_bytes());
            right.add_row(b.as_bytes());
            prop_assert_ne!(left, right);
        }
    }
}
