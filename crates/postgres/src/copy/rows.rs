//! Extracts the rows of a COPY from the protocol in place, many at once.
//!
//! A general client hands over each row as a message of its own, and that costs more than the
//! digest, the checksums and the reading together (`bench/RESULTS.md`).

use crate::connect::wire::{self, Wire, WireError};
use bytes::BytesMut;
use postgres_protocol::message::backend::{
    COMMAND_COMPLETE_TAG, COPY_DATA_TAG, COPY_DONE_TAG, ERROR_RESPONSE_TAG, Message,
    NOTICE_RESPONSE_TAG, NOTIFICATION_RESPONSE_TAG, PARAMETER_STATUS_TAG, READY_FOR_QUERY_TAG,
};
use std::io;

/// Where bytes come from: the connection, or a test.
pub(crate) trait Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Incoming for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Wire::read(self, buffer)
    }
}

/// The messages of one COPY. The buffer holds, one behind the other: rows to hand on up to
/// `ready`, what is not yet understood from `at` to `end`.
pub(crate) struct Rows<'a> {
    buffer: &'a mut [u8],
    /// Rows are handed on from this size.
    batch: usize,
    /// A message of this size fits beside a batch.
    fits: usize,
    ready: usize,
    at: usize,
    end: usize,
    /// Of a row too large for the buffer: how much is still to come.
    rest: usize,
    /// What the server counted.
    pub(crate) sent: Option<u64>,
    error: Option<WireError>,
}

impl<'a> Rows<'a> {
    /// Begins with what was read already.
    pub(crate) fn begin(buffer: &'a mut Vec<u8>, batch: usize, input: &mut BytesMut) -> Self {
        let least = input.len().max(4 * batch);
        if buffer.len() < least {
            buffer.resize(least, 0);
        }
        let fits = buffer.len() - 2 * batch;
        buffer[..input.len()].copy_from_slice(input);
        let end = input.len();
        input.clear();
        Self {
            buffer,
            batch,
            fits,
            ready: 0,
            at: 0,
            end,
            rest: 0,
            sent: None,
            error: None,
        }
    }

    /// The next rows; `None` when the server is ready for another statement.
    pub(crate) fn next(
        &mut self,
        incoming: &mut impl Incoming,
    ) -> Result<Option<&[u8]>, WireError> {
        self.buffer.copy_within(self.at..self.end, 0);
        (self.end, self.at, self.ready) = (self.end - self.at, 0, 0);
        loop {
            match self.understand()? {
                Step::Ready if self.ready == 0 => {
                    return self.error.take().map_or(Ok(None), Err);
                }
                Step::Ready | Step::Enough => return Ok(Some(&self.buffer[..self.ready])),
                Step::More if self.ready >= self.batch => {
                    return Ok(Some(&self.buffer[..self.ready]));
                }
                Step::More => {
                    if self.buffer.len() - self.end < self.batch {
                        self.buffer.copy_within(self.at..self.end, self.ready);
                        self.end -= self.at - self.ready;
                        self.at = self.ready;
                    }
                    match incoming.read(&mut self.buffer[self.end..]) {
                        Ok(n) => self.end += n,
                        // The server's last words say more than that it is gone.
                        Err(error) => return Err(self.error.take().unwrap_or(error.into())),
                    }
                }
            }
        }
    }

    /// What was read and belongs to nobody yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Moves the rows that are there together.
    fn understand(&mut self) -> Result<Step, WireError> {
        loop {
            if self.rest > 0 {
                let there = self.rest.min(self.end - self.at);
                self.take(there);
                self.rest -= there;
                if self.rest > 0 {
                    return Ok(Step::More);
                }
            }
            let [tag, a, b, c, d, ..] = self.buffer[self.at..self.end] else {
                return Ok(Step::More);
            };
            let length = (u32::from_be_bytes([a, b, c, d]) as usize)
                .checked_sub(4)
                .ok_or_else(|| unreadable("a message shorter than its head"))?;
            let whole = self.end - self.at >= 5 + length;
            if tag == COPY_DATA_TAG {
                if whole {
                    self.at += 5;
                    self.take(length);
                } else if 5 + length > self.fits {
                    // It begins a piece: whoever divides rows does so between two pieces.
                    if self.ready > 0 {
                        return Ok(Step::Enough);
                    }
                    self.at += 5;
                    self.rest = length;
                } else {
                    return Ok(Step::More);
                }
                continue;
            }
            if !whole {
                if 5 + length > self.fits {
                    return Err(unreadable("a message that is far too long"));
                }
                return Ok(Step::More);
            }
            if tag == READY_FOR_QUERY_TAG {
                if self.ready == 0 {
                    self.at += 5 + length;
                }
                return Ok(Step::Ready);
            }
            if tag == ERROR_RESPONSE_TAG && self.ready > 0 {
                return Ok(Step::Enough);
            }
            self.hear(tag, 5 + length)?;
            self.at += 5 + length;
        }
    }

    /// What the server says besides rows. What does not belong here may have been a row.
    fn hear(&mut self, tag: u8, length: usize) -> Result<(), WireError> {
        match tag {
            COPY_DONE_TAG | PARAMETER_STATUS_TAG | NOTIFICATION_RESPONSE_TAG => return Ok(()),
            COMMAND_COMPLETE_TAG | ERROR_RESPONSE_TAG | NOTICE_RESPONSE_TAG => {}
            _ => return Err(unreadable("a message that does not belong into a COPY")),
        }
        let mut message = BytesMut::from(&self.buffer[self.at..self.at + length]);
        match Message::parse(&mut message)? {
            Some(Message::ErrorResponse(body)) => {
                self.error = Some(WireError::said(body.fields()));
            }
            Some(Message::NoticeResponse(body)) => wire::notice(body.fields()),
            // "COPY 12" ("Message Formats", CommandComplete).
            Some(Message::CommandComplete(body)) => {
                let count = body.tag()?.strip_prefix("COPY ");
                self.sent = count.and_then(|count| count.parse().ok());
            }
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, length: usize) {
        self.buffer
            .copy_within(self.at..self.at + length, self.ready);
        self.ready += length;
        self.at += length;
    }
}

enum Step {
    /// The next message is not all there.
    More,
    /// The rows so far come before what follows.
    Enough,
    /// The statement is over.
    Ready,
}

pub(crate) fn unreadable(what: &str) -> WireError {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server sent {what}"),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives bytes in pieces of the given sizes, over and over.
    struct Pieces<'a> {
        bytes: &'a [u8],
        sizes: Vec<usize>,
        turn: usize,
    }

    impl Incoming for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes[self.turn % self.sizes.len()];
            self.turn += 1;
            assert!(!buffer.is_empty());
            let n = size.min(buffer.len()).min(self.bytes.len());
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer[..n].copy_from_slice(&self.bytes[..n]);
            self.bytes = &self.bytes[n..];
            Ok(n)
        }
    }

    fn message(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32 + 4).to_be_bytes();
        [&[tag], length.as_slice(), content].concat()
    }

    fn error(code: &str) -> Vec<u8> {
        message(b'E', format!("SERROR\0C{code}\0Mno\0\0").as_bytes())
    }

    const BATCH: usize = 64;

    /// Each piece that is handed on, or the error after them.
    fn pieces(bytes: &[u8], sizes: Vec<usize>) -> (Vec<Vec<u8>>, Option<WireError>) {
        let mut incoming = Pieces {
            bytes,
            sizes,
            turn: 0,
        };
        let (mut buffer, mut input) = (Vec::new(), BytesMut::new());
        let mut rows = Rows::begin(&mut buffer, BATCH, &mut input);
        let mut all = Vec::new();
        loop {
            match rows.next(&mut incoming) {
                Ok(Some(piece)) => all.push(piece.to_vec()),
                Ok(None) => {
                    let unread = rows.unread().len() + incoming.bytes.len();
                    assert_eq!(unread, 0);
                    assert_eq!(rows.sent, Some(1));
                    return (all, None);
                }
                Err(error) => return (all, Some(error)),
            }
        }
    }

    proptest! {
        #[test]
        fn every_row_arrives_however_it_is_cut(
            lengths in proptest::collection::vec(prop_oneof![0usize..30, 100usize..900], 0..40),
            notices in proptest::collection::vec(0usize..40, 0..3),
            sizes in proptest::collection::vec(1usize..300, 1..6),
        ) {
            let (mut stream, mut expected, mut ends) = (Vec::new(), Vec::new(), vec![0]);
            for (n, length) in lengths.iter().enumerate() {
                if notices.contains(&n) {
                    stream.extend(message(b'N', b"SNOTICE\0C00000\0Mhm\0\0"));
                }
                let row = vec![n as u8; *length];
                stream.extend(message(b'd', &row));
                expected.extend(row);
                ends.push(expected.len());
            }
            stream.extend(message(b'c', b""));
            stream.extend(message(b'C', b"COPY 1\0"));
            stream.extend(message(b'Z', b"T"));
            let (pieces, error) = pieces(&stream, sizes);
            prop_assert!(error.is_none());
            prop_assert_eq!(pieces.concat(), expected);
            let (mut at, mut begins) = (0, vec![0]);
            for piece in &pieces {
                at += piece.len();
                let inside = lengths.iter().zip(&ends).find(|(length, from)| {
                    **from < at && at < **from + **length
                });
                prop_assert!(inside.is_none_or(|(length, _)| *length > BATCH));
                prop_assert!(inside.is_none_or(|(_, from)| begins.contains(from)));
                begins.push(at);
            }
        }

        #[test]
        fn bytes_that_are_no_messages_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            sizes in proptest::collection::vec(1usize..300, 1..3),
        ) {
            pieces(&bytes, sizes);
        }
    }

    #[test]
    fn an_error_comes_after_the_rows_before_it() {
        let mut stream = [message(b'd', b"row\n"), error("22000")].concat();
        stream.extend(message(b'Z', b"E"));
        let (pieces, error) = pieces(&stream, vec![1000]);
        assert_eq!(pieces, [b"row\n"]);
        assert!(matches!(error, Some(WireError::Server { code, .. }) if code == "22000"));
    }

    #[test]
    fn a_row_whose_tag_was_changed_is_not_passed_over() {
        for bit in 0..8 {
            let mut stream = [message(b'd', b"1\n"), message(b'd', b"2\n")].concat();
            stream[0] ^= 1 << bit;
            for (tag, content) in [(b'c', b"".as_slice()), (b'C', b"COPY 2\0"), (b'Z', b"T")] {
                stream.extend(message(tag, content));
            }
            let (_, error) = pieces(&stream, vec![1000]);
            assert!(matches!(error, Some(WireError::Io(_))), "bit {bit}");
        }
    }

    #[test]
    fn the_last_words_of_a_server_that_goes_away_are_kept() {
        let (_, error) = pieces(&error("57P01"), vec![1000]);
        assert!(matches!(error, Some(WireError::Server { code, .. }) if code == "57P01"));
    }
}
