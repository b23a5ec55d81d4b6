//! Reads untrusted JSON in bounded memory.

use crate::columns::Sharing;
use serde::de::DeserializeOwned;
use std::io::{self, BufReader, Read};

/// Longest string, in bytes; the longest that hubvault writes is a window's condition or a server's message.
const STRING_LIMIT: u64 = 1 << 20;
/// Most values: enough for 100,000 tables of 40 columns.
const VALUES_LIMIT: u64 = 12_000_000;
/// Least average text per value, in bytes; less is an attempt to fill the memory.
const BYTES_IN_VALUE: u64 = 8;
/// Longest quotation in an error, in bytes.
const ERROR_LIMIT: usize = 300;

/// Reads a value from JSON text of at most `limit` bytes.
///
/// The text is never in memory as a whole, and the number of values bounds the size of the result.
pub fn from_json<T: DeserializeOwned>(text: impl Read, limit: u64) -> Result<T, String> {
    let bounded = Bounded {
        text,
        left: limit,
        values: (limit / BYTES_IN_VALUE).min(VALUES_LIMIT) + 64,
        string: 0,
    };
    let _sharing = Sharing::begin();
    serde_json::from_reader(BufReader::with_capacity(64 << 10, bounded)).map_err(|error| {
        let mut said = error.to_string();
        if said.len() > ERROR_LIMIT {
            said.truncate(said.floor_char_boundary(ERROR_LIMIT));
            said.push_str("...");
        }
        said
    })
}

struct Bounded<R> {
    text: R,
    left: u64,
    /// How many more values are allowed.
    values: u64,
    /// Bytes since the last quotation mark, whether inside a string or between two.
    string: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.text.read(buffer)?;
        self.left = (self.left)
            .checked_sub(n as u64)
            .ok_or_else(|| too_large("it is larger than any of ours"))?;
        let mut values = 0;
        for byte in &buffer[..n] {
            match byte {
                b'"' => self.string = 0,
                b',' | b'[' | b'{' => values += 1,
                _ => {}
            }
            self.string += 1;
            if self.string > STRING_LIMIT {
                return Err(too_large("one of its texts is larger than any of ours"));
            }
        }
        self.values = (self.values)
            .checked_sub(values)
            .ok_or_else(|| too_large("it has more values than any of ours"))?;
        Ok(n)
    }
}

fn too_large(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_is_larger_than_its_limit_is_refused_before_it_is_held() {
        assert_eq!(from_json::<Value>(&b"[1]"[..], 3).unwrap()[0], 1);
        assert!(
            from_json::<Value>(&b"[1]"[..], 2)
                .unwrap_err()
                .contains("larger")
        );
        let long = format!("[\"{}\"]", "x".repeat(2 << 20));
        let said = from_json::<Value>(long.as_bytes(), 1 << 30).unwrap_err();
        assert!(said.contains("one of its texts"), "{said}");
        let endless = io::Read::chain(&b"[\"\""[..], Repeated(b",\"\""));
        let said = from_json::<serde::de::IgnoredAny>(endless, 1 << 30).unwrap_err();
        assert!(said.contains("more values"), "{said}");
    }

    #[test]
    fn an_error_does_not_quote_a_megabyte() {
        let said = from_json::<u8>(format!("\"{}\"", "é".repeat(9_000)).as_bytes(), 1 << 20);
        assert!(said.unwrap_err().len() < 400);
    }

    struct Repeated(&'static [u8]);

    impl Read for Repeated {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let whole = buffer.len() / self.0.len() * self.0.len();
            for part in buffer[..whole].chunks_mut(self.0.len()) {
                part.copy_from_slice(self.0);
            }
            Ok(whole)
        }
    }
}
