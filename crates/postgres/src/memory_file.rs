//! Unnamed files, which are passed to programs by their descriptors.

use crate::error::PgError;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};

/// An unnamed file, removed with its descriptor; child processes inherit it.
pub(crate) fn in_memory(name: &str, bytes: &[u8]) -> Result<File, PgError> {
    filled(name, bytes, MemfdFlags::empty())
}

/// The same for one child process, which must be set up to inherit it.
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

/// An empty unnamed file, which is passed to programs by its descriptor.
pub fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::empty())?))
}
