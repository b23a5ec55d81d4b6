//! The commands whose standard output goes into the archive: run one after the other, each into an
//! unnamed file, as a tar says how long an entry is before its bytes.

use super::output::Writer;
use crate::job::{CommandSource, Job};
use crate::publish;
use crate::run::BackupError;
use crate::run::Run;
use crate::run::command::{environment, fault};
use hubvault_archive::{EntryKind, EntryMeta, FileSummary};
use hubvault_model::{Cancel, Warning};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Only its owner may read a command's output: it may hold secrets.
const MODE: u32 = 0o600;

/// The commands' output, and warnings about them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    captured: Vec<Captured>,
    pub(crate) warnings: Vec<Warning>,
}

/// The output of one command.
#[derive(Debug)]
struct Captured {
    file: File,
    summary: FileSummary,
    at: Timestamp,
}

/// Runs every source; one that fails is an error, or a warning where it is not required.
pub(crate) fn capture(job: &Job, run: &Run) -> Result<Sources, BackupError> {
    let mut sources = Sources::default();
    for source in &job.sources {
        let command = source.command.to_string();
        match one(source, job, run)? {
            Ok((file, bytes)) => {
                if bytes == 0 {
                    let what = format!("{} is empty: {command} wrote nothing", source.name);
                    let warning = Warning::new("source-empty", &source.name, what);
                    sources.warnings.push(warning);
                }
                sources.captured.push(Captured {
                    file,
                    summary: FileSummary {
                        source: format!("the command {command}"),
                        name: source.name.clone(),
                        bytes,
                        sha256: None,
                        mode: MODE,
                        owner: None,
                        left_out_bits: 0,
                    },
                    at: Timestamp::now(),
                });
            }
            Err(what) if source.required => {
                let name = source.name.clone();
                return Err(BackupError::Source {
                    name,
                    command,
                    what,
                });
            }
            Err(what) => {
                let what = format!("{} is not inside: {command} {what}", source.name);
                let warning = Warning::new("source-failed", &source.name, what);
                sources.warnings.push(warning);
            }
        }
    }
    Ok(sources)
}

/// Runs one: its output and its size, or why it failed.
fn one(
    source: &CommandSource,
    job: &Job,
    run: &Run,
) -> Result<Result<(File, u64), String>, BackupError> {
    let failed = BackupError::io("making a file for a source's output in", job.spool());
    let mut file = unnamed(job.spool(), run).map_err(failed)?;
    let lost = |error| BackupError::io("reading a source's output in", job.spool())(error);
    let child_end = file.try_clone().map_err(lost)?;
    let environment = environment(job, run);
    let ended = source
        .command
        .run_into(child_end, &environment, source.timeout, &run.work);
    if run.work.is_requested() {
        return Err(BackupError::Cancelled);
    }
    if let Some(what) = fault(&ended, source.timeout, &job.delivery.masks) {
        return Ok(Err(what));
    }
    // The child wrote through the same position.
    file.rewind().map_err(lost)?;
    let bytes = file.metadata().map_err(lost)?.len();
    Ok(Ok((file, bytes)))
}

/// A file without a name, so that nothing is left however the run ends.
fn unnamed(directory: &Path, run: &Run) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(directory, flags, Mode::from_raw_mode(MODE)) {
        return Ok(File::from(file));
    }
    // Not every file system has those (NFS, overlays). The name is one that the next run sweeps.
    let path = publish::scratch_path(directory, run.id);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl Sources {
    /// The size of all outputs together.
    pub(crate) fn bytes(&self) -> u64 {
        self.captured.iter().map(|one| one.summary.bytes).sum()
    }

    /// The summaries for the manifest; with checksums once they were written.
    pub(crate) fn summaries(&self) -> Vec<FileSummary> {
        let all = self.captured.iter();
        all.map(|one| one.summary.clone()).collect()
    }

    /// Writes every output as an entry, block by block: none has to fit into memory.
    pub(crate) fn write(
        &mut self,
        writer: &mut Writer,
        cancel: &Cancel,
    ) -> Result<(), BackupError> {
        for one in &mut self.captured {
            let meta = EntryMeta {
                name: one.summary.name.clone(),
                kind: EntryKind::Config,
                mode: MODE,
                owner: None,
                mtime: one.at,
                link: None,
                rows: None,
            };
            let mut content = Stoppable {
                file: &one.file,
                cancel,
            };
            let written = writer.append_from(meta, one.summary.bytes, &mut content);
            if cancel.is_requested() {
                return Err(BackupError::Cancelled);
            }
            one.summary.sha256 = Some(written?);
        }
        Ok(())
    }
}

/// A file whose reads fail once the run must stop.
struct Stoppable<'a> {
    file: &'a File,
    cancel: &'a Cancel,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_requested() {
            return Err(io::Error::other("stopped on request"));
        }
        self.file.read(buffer)
    }
}
