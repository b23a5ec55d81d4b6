//! Where an archive's bytes come from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Random access to the bytes of an archive. Reads name their offset, so that threads can share it.
pub trait Source: Send + Sync {
    /// Reads some bytes at `offset` from the start; 0 only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// The size of the file, in bytes: larger than the length when it is sealed.
    fn stored_size(&self) -> io::Result<u64> {
        self.size()
    }
    /// Says that these bytes will be read soon, from front to back. A source far away begins to fetch them, and no others.
    fn will_read(&self, _offset: u64, _length: u64) {}
}

impl Source for Box<dyn Source> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }

    fn stored_size(&self) -> io::Result<u64> {
        (**self).stored_size()
    }

    fn will_read(&self, offset: u64, length: u64) {
        (**self).will_read(offset, length);
    }
}

impl Source for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..))
            .unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}
