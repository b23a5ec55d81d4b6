//! COPY's CSV as COPY's text: a server before 18 ends a CSV COPY at a line `\.`, even inside
//! quotes (`PostgreSQL` 18 release notes, "COPY FROM"), and text format has no such end.

/// Turns a CSV stream without header, given in pieces of any size, into text format.
#[derive(Debug)]
pub struct CsvToText {
    columns: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a value: nothing came yet.
    Start,
    /// In a value without quotes.
    Plain,
    /// Inside quotes.
    Quoted,
    /// After a quote inside quotes: the end of the value, or half of a doubled quote.
    Quote,
}

impl CsvToText {
    /// For rows of `columns` values.
    pub fn new(columns: usize) -> Self {
        Self {
            columns,
            state: State::Start,
        }
    }

    /// Appends `piece` in text format.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            self.state = match (self.state, byte) {
                (State::Start, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::Quote,
                (State::Quote, b'"') | (State::Quoted, _) => {
                    value(byte, out);
                    State::Quoted
                }
                (state, b',' | b'\n') => {
                    // Nothing without quotes is NULL; a table without columns has no value.
                    if state == State::Start && self.columns > 0 {
                        out.extend_from_slice(b"\\N");
                    }
                    out.push(if byte == b',' { b'\t' } else { b'\n' });
                    State::Start
                }
                (State::Start | State::Plain | State::Quote, _) => {
                    value(byte, out);
                    State::Plain
                }
            };
        }
    }
}

/// One byte of a value, escaped ("COPY", Text Format).
fn value(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        other => out.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(columns: usize, csv: &str) -> String {
        let mut out = Vec::new();
        CsvToText::new(columns).push(csv.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn null_empty_and_quotes_keep_their_meaning() {
        assert_eq!(text(3, "1,,\"\"\n"), "1\t\\N\t\n");
        assert_eq!(text(2, "\"a \"\"b\"\", c\",d\n"), "a \"b\", c\td\n");
        assert_eq!(
            text(1, "\"two\n\\.\nlines\"\n\n"),
            "two\\n\\\\.\\nlines\n\\N\n"
        );
        assert_eq!(text(1, "\"a\tb\rc\"\n"), "a\\tb\\rc\n");
        assert_eq!(text(0, "\n\n"), "\n\n");
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_never_matters(csv in "[a,\"\n\\\\]{0,30}", cut in 0usize..31) {
            let cut = cut.min(csv.len());
            let mut out = Vec::new();
            let mut parts = CsvToText::new(2);
            parts.push(&csv.as_bytes()[..cut], &mut out);
            parts.push(&csv.as_bytes()[cut..], &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), text(2, &csv));
        }
    }
}
