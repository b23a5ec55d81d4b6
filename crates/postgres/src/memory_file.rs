//! Files without a place in any directory, which programs are given by their descriptors.

use crate::error::PgError;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};

/// A file that has no name and is gone with its descriptor; the child inherits it.
pub(crate) fn in_memory(name: &str, bytes: &[u8]) -> Result<File, PgError> {
    filled(name, bytes, MemfdFlags::empty())
}

/// The same for one child, which must be told to inherit it.
pub(crate) fn in_private_memory(name: &str, bytes: &[u8]) -> Result<File, PgError> {
    filled(name, bytes, MemfdFlags::CLOEXEC)
}

fn filled(name: &str, bytes: &[u8], flags: MemfdFlags) -> Result<File, PgError> {
    let written = memfd_create(name, flags)
        .map_err(io::Error::from)
        .and_then(|file| {
            let mut file = File::from(file);
            file.write_all(bytes)?;
            Ok(file)
        });
    written.map_err(|source| PgError::Io {
        doing: "making",
        path: "a file in memory".into(),
        source,
    })
}

/// An empty file without a place in any directory, which programs are given by its descriptor.
pub fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::empty())?))
}
