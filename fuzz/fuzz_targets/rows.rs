//! Rows as COPY sends them, cut into pieces at any place: the digest and the text are those of the whole.
//!
//! The first byte is where to cut, the second the number of columns.

#![no_main]

use hubvault_model::{CsvToText, RowDigest, RowDigester, RowFormat};
use libfuzzer_sys::fuzz_target;

fn digest<'a>(format: RowFormat, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<RowDigest> {
    let mut digester = RowDigester::new(format);
    for piece in pieces {
        digester.update(piece);
    }
    digester.finish().ok()
}

fn text<'a>(columns: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut convert, mut out) = (CsvToText::new(columns), Vec::new());
    for piece in pieces {
        convert.push(piece, &mut out);
    }
    out
}

fuzz_target!(|input: &[u8]| {
    let Some(([size, columns], rows)) = input.split_first_chunk::<2>() else {
        return;
    };
    let (size, columns) = (usize::from(*size).max(1), usize::from(*columns));
    for format in [RowFormat::Text, RowFormat::Csv] {
        assert_eq!(digest(format, [rows]), digest(format, rows.chunks(size)));
    }
    let whole = text(columns, [rows]);
    assert_eq!(whole, text(columns, rows.chunks(size)));
    well_formed(rows);
});

/// The same bytes as values, written as PostgreSQL writes them: what comes of them is known.
fn well_formed(bytes: &[u8]) {
    let (mut csv, mut expected, mut rows) = (Vec::new(), Vec::new(), 0);
    for row in bytes.split(|byte| *byte == 0xff) {
        for (at, value) in row.split(|byte| *byte == 0xfe).enumerate() {
            if at > 0 {
                csv.push(b',');
                expected.push(b'\t');
            }
            csv.push(b'"');
            for byte in value {
                csv.extend_from_slice(if *byte == b'"' {
                    b"\"\""
                } else {
                    std::slice::from_ref(byte)
                });
                match byte {
                    b'\\' => expected.extend_from_slice(b"\\\\"),
                    b'\n' => expected.extend_from_slice(b"\\n"),
                    b'\r' => expected.extend_from_slice(b"\\r"),
                    b'\t' => expected.extend_from_slice(b"\\t"),
                    other => expected.push(*other),
                }
            }
            csv.push(b'"');
        }
        csv.push(b'\n');
        expected.push(b'\n');
        rows += 1;
    }
    assert_eq!(
        digest(RowFormat::Csv, [&csv[..]]).map(|digest| digest.rows),
        Some(rows)
    );
    assert_eq!(text(1, [&csv[..]]), expected);
}
