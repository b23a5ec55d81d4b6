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
    // A row of CSV is a row of text: what it holds of line breaks is escaped.
    if let Some(csv) = digest(RowFormat::Csv, [rows]) {
        let lines = whole.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(csv.rows, lines);
    }
});
