//! A decoded view of a text that maps every byte to its origin.

use memchr::memmem;
use std::ops::Range;

/// The decoded form of an escape and its length; `None` when it is not an escape.
type Decode = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

/// Bytes, each with the part of the text that it comes from.
pub(super) struct View {
    bytes: Vec<u8>,
    from: Vec<Range<usize>>,
    is_unbroken: bool,
}

impl View {
    /// The text as it is.
    pub(super) fn of(text: &str) -> Self {
        let mut view = Self::new(text);
        for at in 0..text.len() {
            view.push(text.as_bytes()[at], at..at + 1);
        }
        view
    }

    /// Without what somebody breaks lines with: white space, control characters, also written out (`\n`), the codes of
    /// a mail server's reply at a line's begin, and marks of quotation around pieces.
    pub(super) fn unbroken(text: &str) -> Self {
        let mut view = Self {
            is_unbroken: true,
            ..Self::new(text)
        };
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let step = break_at(&bytes[at..], at == 0);
            if step == 0 {
                view.push(bytes[at], at..at + 1);
            }
            at += step.max(1);
        }
        view
    }

    /// With what is escaped in its place: as URLs have it, as quoted texts of JSON and Rust do (once and twice), as HTML
    /// does. Only those of which the text has any.
    pub(super) fn decoded(text: &str) -> Vec<Self> {
        let mut views = Vec::new();
        let whole = Self::of(text);
        if text.contains('%') {
            views.push(whole.with(b'%', of_url));
        }
        if text.contains(['%', '+']) {
            let mut spaced = whole.with(b'%', of_url);
            spaced
                .bytes
                .iter_mut()
                .filter(|byte| **byte == b'+')
                .for_each(|byte| *byte = b' ');
            views.push(spaced);
        }
        if text.contains('\\') {
            let once = whole.with(b'\\', of_quotes);
            let twice = once
                .bytes
                .contains(&b'\\')
                .then(|| once.with(b'\\', of_quotes));
            views.push(once);
            views.extend(twice);
        }
        if text.contains('&') {
            views.push(whole.with(b'&', of_html));
        }
        if text.contains('=') {
            views.push(whole.with(b'=', of_mail));
        }
        views
    }

    fn new(text: &str) -> Self {
        Self {
            bytes: Vec::with_capacity(text.len()),
            from: Vec::with_capacity(text.len()),
            is_unbroken: false,
        }
    }

    fn push(&mut self, byte: u8, from: Range<usize>) {
        self.bytes.push(byte);
        self.from.push(from);
    }

    fn with(&self, mark: u8, decode: Decode) -> Self {
        let mut view = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            from: Vec::with_capacity(self.bytes.len()),
            is_unbroken: self.is_unbroken,
        };
        let mut at = 0;
        while at < self.bytes.len() {
            let decoded = (self.bytes[at] == mark)
                .then(|| decode(&self.bytes[at..]))
                .flatten();
            let (bytes, length) = decoded.unwrap_or_else(|| (vec![self.bytes[at]], 1));
            let from = self.from[at].start..self.from[at + length - 1].end;
            for byte in bytes {
                view.push(byte, from.clone());
            }
            at += length;
        }
        view
    }

    /// Whether it is without breaks.
    pub(super) fn is_unbroken(&self) -> bool {
        self.is_unbroken
    }

    /// As it reads.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With capital letters as small ones: hexadecimal digits are written both ways.
    pub(super) fn in_lower_case(&self) -> Self {
        Self {
            bytes: self.bytes.to_ascii_lowercase(),
            from: self.from.clone(),
            is_unbroken: self.is_unbroken,
        }
    }

    /// Every occurrence in the text.
    pub(super) fn find(&self, wanted: &[u8], found: &mut Vec<Range<usize>>) {
        if wanted.is_empty() {
            return;
        }
        let mut begin = 0;
        // Also those that overlap: a fragment repeats itself.
        while let Some(at) = memmem::find(&self.bytes[begin..], wanted) {
            let first = begin + at;
            let last = first + wanted.len() - 1;
            found.push(self.from[first].start..self.from[last].end);
            begin = first + 1;
        }
    }
}

/// How many bytes are only there to break a line or to quote a piece of it.
fn break_at(rest: &[u8], is_first: bool) -> usize {
    let code = |rest: &[u8]| match rest {
        [a, b, c, b' ' | b'-', ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => 4,
        _ => 0,
    };
    match rest {
        [b'\n', after @ ..] => 1 + code(after),
        [b'\\', b'n', after @ ..] => 2 + code(after),
        [b'\\', b'r' | b't', ..] => 2,
        [byte, ..] if byte.is_ascii_whitespace() || byte.is_ascii_control() => 1,
        [b'"' | b'\'' | b'`', ..] => 1,
        _ if is_first => code(rest),
        _ => 0,
    }
}

fn of_url(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    Some((vec![hex(rest.get(1..3)?)? as u8], 3))
}

/// Quoted-printable (RFC 2045, 6.7), as a mail is sent: also its soft line breaks.
fn of_mail(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    match rest {
        [_, b'\n', ..] => Some((Vec::new(), 2)),
        [_, b'\r', b'\n', ..] => Some((Vec::new(), 3)),
        _ => of_url(rest),
    }
}

fn of_quotes(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let plain = |byte: u8| Some((vec![byte], 2));
    match *rest.get(1)? {
        b'n' => plain(b'\n'),
        b'r' => plain(b'\r'),
        b't' => plain(b'\t'),
        b'b' => plain(8),
        b'f' => plain(12),
        b'0' => plain(0),
        b'e' => plain(0x1b),
        b'x' => Some((vec![hex(rest.get(2..4)?)? as u8], 4)),
        b'u' if rest.get(2) == Some(&b'{') => {
            let digits = rest.get(3..)?.split(|byte| *byte == b'}').next()?;
            Some((utf8(hex(digits)?)?, digits.len() + 4))
        }
        b'u' => Some((utf8(hex(rest.get(2..6)?)?)?, 6)),
        other if other.is_ascii_punctuation() => plain(other),
        _ => None,
    }
}

fn of_html(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = rest.iter().take(12).position(|byte| *byte == b';')?;
    let name = rest.get(1..end)?;
    let character = match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(hex(digits)?)?,
        [b'#', digits @ ..] => char::from_u32(std::str::from_utf8(digits).ok()?.parse().ok()?)?,
        _ => return None,
    };
    Some((character.to_string().into_bytes(), end + 1))
}

fn utf8(code: u32) -> Option<Vec<u8>> {
    Some(char::from_u32(code)?.to_string().into_bytes())
}

fn hex(digits: &[u8]) -> Option<u32> {
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u32::from_str_radix(text, 16).ok()
}
