//! A log file that several processes write to and that does not grow without end.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How many earlier files stay: `backup.log.1` is the newest.
const KEPT: u32 = 5;

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    most_bytes: u64,
    file: File,
    /// The last line was not written whole.
    is_torn: bool,
}

impl LogFile {
    /// Opens or makes it; it is moved aside once it is larger than `most_bytes`.
    pub(super) fn open(path: &Path, most_bytes: u64) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            most_bytes,
            file: append(path)?,
            is_torn: false,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line in one piece. Where another process, or logrotate, moved the file aside, a new one is begun. A file
    /// that cannot be moved aside takes the line all the same; the error says that it grows.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.is_in_place() {
            self.file = append(&self.path)?;
        }
        let turned = if self.file.metadata()?.len() >= self.most_bytes {
            self.turn_over()
        } else {
            Ok(())
        };
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        let written = self.file.write_all(line);
        self.is_torn = written.is_err();
        written.and(turned)
    }

    fn is_in_place(&self) -> bool {
        let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => same(there, ours),
            _ => false,
        }
    }

    /// Under the file's lock, so that one of several processes does it.
    fn turn_over(&mut self) -> io::Result<()> {
        let old = self.file.try_clone()?;
        flock(&old, FlockOperation::LockExclusive)?;
        if self.is_in_place() {
            for number in (1..KEPT).rev() {
                // The first times there are fewer.
                let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
            }
            fs::rename(&self.path, self.numbered(1))?;
        }
        self.file = append(&self.path)?;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_moved_aside_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup.log");
        let mut one = LogFile::open(&path, 40).unwrap();
        let mut other = LogFile::open(&path, 40).unwrap();
        for number in 0..12 {
            let line = format!("line {number}\n");
            let writer = if number % 2 == 0 {
                &mut one
            } else {
                &mut other
            };
            writer.write(line.as_bytes()).unwrap();
        }
        let mut all = String::new();
        for number in (1..=KEPT).rev() {
            all += &fs::read_to_string(one.numbered(number)).unwrap_or_default();
        }
        all += &fs::read_to_string(&path).unwrap();
        let wanted: Vec<String> = (0..12).map(|number| format!("line {number}")).collect();
        assert_eq!(all.lines().collect::<Vec<_>>(), wanted);
        assert!(fs::metadata(&path).unwrap().len() < 60);
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup.log");
        let mut log = LogFile::open(&path, 1_000).unwrap();
        log.write(b"one\n").unwrap();
        fs::rename(&path, directory.path().join("away")).unwrap();
        log.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }
}
