//! A log file that several processes write to and that does not grow without end.

use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How many earlier files stay: `backup.log.1` is the newest.
pub(crate) const KEPT: u32 = 5;

/// The last line of a log that takes no more. Logs of text and of JSON have it.
const FULL: &[u8] = b"{\"level\":\"WARN\",\"message\":\"this log is full; later lines are on standard error and in log.file\"}\n";

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    most_bytes: u64,
    file: File,
    /// At its most bytes it ends with a line that says so; otherwise it is moved aside.
    ends_full: bool,
    is_full: bool,
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
            ends_full: false,
            is_full: false,
            is_torn: false,
        })
    }

    /// The log of one process, which takes no more lines once it has `most_bytes`.
    pub(super) fn open_bounded(path: &Path, most_bytes: u64) -> io::Result<Self> {
        Ok(Self {
            ends_full: true,
            ..Self::open(path, most_bytes)?
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line in one piece. Where another process, or logrotate, moved the file aside, a new one is begun. A file
    /// that cannot be moved aside takes the line all the same; the error says that it grows.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_full {
            return Ok(());
        }
        if !self.is_in_place() {
            self.file = append(&self.path)?;
        }
        let is_over = self.file.metadata()?.len() >= self.most_bytes;
        if is_over && self.ends_full {
            self.is_full = true;
            return self.file.write_all(FULL);
        }
        let turned = if is_over { self.turn_over() } else { Ok(()) };
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

/// Opens it, and makes it where it is not there. A link or file that another user put in its place is refused, and a pipe
/// that nobody reads is not waited for. `/dev/stdout` is as it is.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    if ["/dev/", "/proc/"].iter().any(|of| path.starts_with(of)) {
        return options.open(path);
    }
    check_log(path)?;
    let file = options
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() && meta.nlink() > 1 {
        return Err(io::Error::other(
            "it has a second name (a hard link), so that the lines would go into another file, too",
        ));
    }
    if !meta.is_file() {
        // Lines are not to be lost where whoever reads the pipe is slow.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    }
    Ok(file)
}

/// Whoever may write in the directory may have made what has the name already, a link above all.
fn check_log(path: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let is_shared = fs::metadata(parent.unwrap_or(Path::new(".")))?.mode() & 0o022 != 0;
    let is_own = [0, rustix::process::geteuid().as_raw()].contains(&meta.uid());
    if is_own || meta.is_file() && !is_shared {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "it belongs to another user (uid {}), who may have put it there; remove it, or name a log in a directory of root",
        meta.uid()
    )))
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
    fn a_bounded_log_keeps_its_beginning_and_says_that_it_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.log");
        let mut log = LogFile::open_bounded(&path, 40).unwrap();
        for number in 0..99 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let last = text.lines().last().unwrap();
        assert!(
            text.starts_with("line 0\n") && last.contains("this log is full"),
            "{text}"
        );
        assert!(
            text.lines().count() == 7 && !log.numbered(1).exists(),
            "{text}"
        );
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
