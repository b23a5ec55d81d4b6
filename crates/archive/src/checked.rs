//! Content that is handed on only once its checksum was compared, for readers that do not read to the end.

use crate::codec::BLOCK;
use std::io::{self, Read};

/// Hands on a member's bytes after the member was read to its end, where its checksum is. [`ContentReader`] compares the
/// whole content, which takes all of it; a reader that stops before gets no byte that is not as it was written, either.
///
/// [`ContentReader`]: crate::ContentReader
#[derive(Debug)]
pub struct CheckedMembers<R> {
    content: R,
    block: Vec<u8>,
    given: usize,
    /// The first byte of the next member. To have it is to have compared the checksum before it.
    next: Option<u8>,
}

impl<R: Read> CheckedMembers<R> {
    /// Of a content that is read from its beginning.
    pub fn new(content: R) -> Self {
        Self {
            content,
            block: Vec::new(),
            given: 0,
            next: None,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.block.clear();
        self.given = 0;
        self.block.extend(self.next.take());
        let more = (BLOCK - self.block.len()) as u64;
        let content = &mut self.content;
        content.by_ref().take(more).read_to_end(&mut self.block)?;
        let mut one = [0];
        if self.block.len() == BLOCK && content.read(&mut one)? == 1 {
            self.next = Some(one[0]);
        }
        Ok(())
    }
}

impl<R: Read> Read for CheckedMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.block.len() {
            self.fill()?;
        }
        let n = buffer.len().min(self.block.len() - self.given);
        buffer[..n].copy_from_slice(&self.block[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}
