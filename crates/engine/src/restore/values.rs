//! Rows of COPY's text format, cut into values of which a limited part is kept.

use memchr::{memchr_iter, memchr2};
use std::io::{self, BufRead};

/// A value as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text, or the beginning of it; `None` is NULL.
    pub text: Option<String>,
    /// Whether the text goes on.
    pub is_cut: bool,
}

/// Reads rows from their COPY text.
pub(super) struct ValueReader<R> {
    content: R,
    columns: usize,
    /// What is kept of the row's values, as it is in the stream.
    kept: Vec<u8>,
    fields: Vec<Field>,
    read: u64,
}

/// A value of the current row.
#[derive(Clone, Copy)]
struct Field {
    begin: usize,
    end: usize,
    /// Its length in the stream.
    length: u64,
}

impl<R: BufRead> ValueReader<R> {
    /// Of rows with so many columns.
    pub(super) fn new(content: R, columns: usize) -> Self {
        Self {
            content,
            columns,
            kept: Vec::new(),
            fields: Vec::new(),
            read: 0,
        }
    }

    /// How many bytes were read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }

    fn consume(&mut self, bytes: usize) {
        self.content.consume(bytes);
        self.read += bytes as u64;
    }

    /// Passes over rows, until `stop` says so; how many are left.
    pub(super) fn skip(&mut self, rows: u64, stop: &dyn Fn() -> bool) -> io::Result<u64> {
        let mut left = rows;
        while left > 0 && !stop() {
            let buffer = self.content.fill_buf()?;
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let last = usize::try_from(left - 1).unwrap_or(usize::MAX);
            if let Some(end) = memchr_iter(b'\n', buffer).nth(last) {
                self.consume(end + 1);
                return Ok(0);
            }
            left -= memchr_iter(b'\n', buffer).count() as u64;
            let length = buffer.len();
            self.consume(length);
        }
        Ok(left)
    }

    /// Reads the next row and keeps so many bytes of each value; whether there was one.
    pub(super) fn next(&mut self, keep: usize) -> io::Result<bool> {
        self.kept.clear();
        self.fields.clear();
        let (mut begin, mut length) = (0, 0);
        loop {
            let buffer = self.content.fill_buf()?;
            if buffer.is_empty() {
                return if length == 0 && self.fields.is_empty() {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            let found = memchr2(b'\t', b'\n', buffer).map(|at| (at, buffer[at]));
            let part = &buffer[..found.map_or(buffer.len(), |(at, _)| at)];
            let room = keep.saturating_sub(self.kept.len() - begin);
            self.kept.extend_from_slice(&part[..part.len().min(room)]);
            length += part.len() as u64;
            let used = part.len() + usize::from(found.is_some());
            self.consume(used);
            let Some((_, end)) = found else { continue };
            self.fields.push(Field {
                begin,
                end: self.kept.len(),
                length,
            });
            (begin, length) = (self.kept.len(), 0);
            match (end == b'\n', self.fields.len()) {
                (true, _) => return self.check().map(|()| true),
                (false, so_far) if so_far >= self.columns.max(1) => return Err(self.uneven()),
                _ => {}
            }
        }
    }

    fn check(&mut self) -> io::Result<()> {
        if self.columns == 0 && self.fields.iter().all(|field| field.length == 0) {
            self.fields.clear();
        }
        if self.fields.len() == self.columns {
            return Ok(());
        }
        Err(self.uneven())
    }

    fn uneven(&self) -> io::Error {
        let why = format!(
            "a row does not have the {} values of the table's columns",
            self.columns
        );
        io::Error::new(io::ErrorKind::InvalidData, why)
    }

    /// The values of the current row, no more than so many bytes of each.
    pub(super) fn values(&self, most: usize) -> Vec<Value> {
        let value = |field: &Field| {
            let end = field.end.min(field.begin.saturating_add(most));
            let raw = &self.kept[field.begin..end];
            let is_cut = field.length > raw.len() as u64;
            if raw == NULL && !is_cut {
                return Value { text: None, is_cut };
            }
            let bytes: Vec<u8> = unescaped(raw).collect();
            let mut text = String::from_utf8_lossy(&bytes).into_owned();
            if is_cut {
                // A character that was cut.
                text.truncate(text.trim_end_matches('\u{fffd}').len());
            }
            Value {
                text: Some(text),
                is_cut,
            }
        };
        self.fields.iter().map(value).collect()
    }

    /// Whether a value of the current row is this one; `None` is NULL. Of the value so much must be kept as
    /// [`kept_for`] says.
    pub(super) fn is(&self, column: usize, wanted: Option<&str>) -> bool {
        let Some(field) = self.fields.get(column) else {
            return false;
        };
        let raw = &self.kept[field.begin..field.end];
        let is_whole = field.length == raw.len() as u64;
        match wanted {
            None => is_whole && raw == NULL,
            Some(text) => is_whole && raw != NULL && unescaped(raw).eq(text.bytes()),
        }
    }
}

/// How much of a value is kept to compare it with this one, every byte of which may be escaped.
pub(super) fn kept_for(wanted: Option<&str>) -> usize {
    wanted.map_or(NULL.len(), |text| text.len().saturating_mul(2))
}

const NULL: &[u8] = b"\\N";

/// The value that a text of COPY means (`PostgreSQL` manual, "COPY", Text Format).
fn unescaped(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut bytes = raw.iter().copied();
    std::iter::from_fn(move || match bytes.next()? {
        b'\\' => Some(match bytes.next()? {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            other => other,
        }),
        plain => Some(plain),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn rows(text: &str, columns: usize, keep: usize) -> Vec<Vec<Value>> {
        // A buffer that cuts values and escapes.
        let content = BufReader::with_capacity(3, text.as_bytes());
        let mut reader = ValueReader::new(content, columns);
        let mut rows = Vec::new();
        while reader.next(keep).unwrap() {
            rows.push(reader.values(keep));
        }
        assert_eq!(reader.bytes_read(), text.len() as u64);
        rows
    }

    fn value(text: &str, is_cut: bool) -> Value {
        Value {
            text: Some(text.to_owned()),
            is_cut,
        }
    }

    #[test]
    fn values_are_what_was_written() {
        let null = Value {
            text: None,
            is_cut: false,
        };
        assert_eq!(
            rows("1\t\\N\t\n2\t\\\\N\ta\\tb\\nc\n", 3, 100),
            [
                vec![value("1", false), null, value("", false)],
                vec![
                    value("2", false),
                    value("\\N", false),
                    value("a\tb\nc", false)
                ],
            ]
        );
        assert_eq!(rows("\n\n", 0, 9), [vec![], vec![]]);
        // Neither an escape nor a character is shown in half.
        assert_eq!(
            rows("a\\\\b\täöü\n", 2, 3),
            [vec![value("a\\", true), value("ä", true)]]
        );
    }

    #[test]
    fn rows_with_other_columns_are_an_error() {
        for (text, columns) in [("1\t2\n", 1), ("1\n", 2), ("1\n", 0), ("1", 1)] {
            let mut reader = ValueReader::new(text.as_bytes(), columns);
            assert!(reader.next(9).is_err(), "{text:?} {columns}");
        }
    }

    #[test]
    fn a_value_is_found_whole_and_null_is_no_text() {
        let text = "a\\nb\t\\N\t\\\\N\n";
        let mut reader = ValueReader::new(text.as_bytes(), 3);
        reader.next(kept_for(Some("a\nb"))).unwrap();
        assert!(reader.is(0, Some("a\nb")) && !reader.is(0, Some("a\n")));
        assert!(!reader.is(0, Some("a\nbc")) && !reader.is(0, None));
        assert!(reader.is(1, None) && !reader.is(1, Some("\\N")) && !reader.is(1, Some("")));
        assert!(reader.is(2, Some("\\N")) && !reader.is(2, None) && !reader.is(9, None));
    }

    #[test]
    fn rows_are_passed_over() {
        let content = BufReader::with_capacity(4, &b"1\n22\n333\n4\n"[..]);
        let mut reader = ValueReader::new(content, 1);
        assert_eq!(reader.skip(3, &|| false).unwrap(), 0);
        assert!(reader.next(9).unwrap());
        assert_eq!(reader.values(99), [value("4", false)]);
        assert!(!reader.next(9).unwrap());
        assert!(reader.skip(1, &|| false).is_err());
        assert_eq!(reader.skip(1, &|| true).unwrap(), 1);
    }
}
