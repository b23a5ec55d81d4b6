//! Reads an archive back from the disk, whole: every byte, every checksum, every row.

use crate::job::SizeLimits;
use hubvault_archive::{Archive, ArchiveError, EntryRecord, Manifest};
use hubvault_model::{ByteSize, Cancel, RowDigest, TableName};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Why an archive is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
    /// The file itself.
    #[error("{}: {source}", path.display())]
    Archive {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        source: ArchiveError,
    },
    /// Table and entries do not add up.
    #[error("{table}: the manifest says {expected} rows, its entries hold {found}")]
    Rows {
        /// The table.
        table: TableName,
        /// The manifest's number.
        expected: u64,
        /// The entries' sum.
        found: u64,
    },
    /// Table and entries do not add up.
    #[error("{table}: the manifest's row digest is not the sum of its entries'")]
    Digest {
        /// The table.
        table: TableName,
    },
    /// A table names entries that are not there, or an entry belongs to no table.
    #[error("{table}: {what}")]
    Entries {
        /// The table.
        table: TableName,
        /// What does not fit.
        what: String,
    },
    /// What was read back is not what was written.
    #[error("the manifest on disk is not the one that was written; the disk may be failing")]
    OtherManifest,
    /// Outside the limits that somebody set.
    #[error(
        "the archive has {actual}, {relation} the {limit} that {setting} sets; correct that \
         setting if the size is right"
    )]
    Size {
        /// What it has.
        actual: ByteSize,
        /// `less than` or `more than`.
        relation: &'static str,
        /// The limit.
        limit: ByteSize,
        /// Which setting.
        setting: &'static str,
    },
    /// Stopped on request.
    #[error("stopped on request")]
    Cancelled,
}

/// An archive that was written and made durable; nobody has looked at it yet.
#[derive(Debug)]
pub struct WrittenArchive {
    /// Where it is now.
    pub path: PathBuf,
    /// What was written into it.
    pub manifest: Manifest,
    /// Its size.
    pub bytes: u64,
}

/// An archive that was read back whole. Only [`check`] makes one.
#[derive(Debug)]
pub struct CheckedArchive {
    manifest: Manifest,
    bytes: u64,
}

impl CheckedArchive {
    /// The manifest and the size in bytes.
    pub fn into_parts(self) -> (Manifest, u64) {
        (self.manifest, self.bytes)
    }
}

/// What reading an archive back found.
#[derive(Debug)]
pub struct ReadBack {
    /// Its table of contents.
    pub manifest: Manifest,
    /// Its size.
    pub bytes: u64,
}

/// Checks a new archive: reads it back and holds it against its limits and what was written.
///
/// Without limits any size is right: a small database makes a small archive, and what must be in
/// it is checked by rows, not by bytes.
pub fn check(
    written: WrittenArchive,
    limits: SizeLimits,
    threads: usize,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<CheckedArchive, IntegrityError> {
    let WrittenArchive { path, manifest, .. } = written;
    let read = read_back(&path, threads, tell, cancel)?;
    if read.manifest != manifest {
        return Err(IntegrityError::OtherManifest);
    }
    let actual = ByteSize(read.bytes);
    if let Some(limit) = limits.min.filter(|limit| actual < *limit) {
        let (relation, setting) = ("less than", "BACKUP_MIN_SIZE_MB");
        return Err(IntegrityError::Size {
            actual,
            relation,
            limit,
            setting,
        });
    }
    if let Some(limit) = limits.max.filter(|limit| actual > *limit) {
        let (relation, setting) = ("more than", "BACKUP_MAX_SIZE_MB");
        return Err(IntegrityError::Size {
            actual,
            relation,
            limit,
            setting,
        });
    }
    Ok(CheckedArchive {
        manifest: read.manifest,
        bytes: read.bytes,
    })
}

/// Reads every entry of an archive on `threads` threads; `tell` hears of the bytes that are done.
pub fn read_back(
    path: &Path,
    threads: usize,
    tell: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<ReadBack, IntegrityError> {
    let wrong = |source| IntegrityError::Archive {
        path: path.to_owned(),
        source,
    };
    let archive = Archive::open_path(path).map_err(wrong)?;
    let entries = &archive.manifest().entries;
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(());
            };
            if cancel.is_requested() {
                return Err(IntegrityError::Cancelled);
            }
            let done = archive.verify_entry(entry).map_err(wrong);
            if done.is_err() {
                // The others need not go on.
                next.store(entries.len(), Ordering::Relaxed);
            }
            tell(done?);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    tables_add_up(archive.manifest())?;
    Ok(ReadBack {
        manifest: archive.manifest().clone(),
        bytes: archive.len(),
    })
}

/// The digests of the entries were just recomputed; here they are held against the tables'.
fn tables_add_up(manifest: &Manifest) -> Result<(), IntegrityError> {
    let mut with_rows: HashMap<&str, &EntryRecord> = manifest
        .entries
        .iter()
        .filter(|entry| entry.rows.is_some())
        .map(|entry| (entry.name.as_str(), entry))
        .collect();
    for table in &manifest.tables {
        let mut sum = RowDigest::default();
        for name in &table.entries {
            let rows = with_rows
                .remove(name.as_str())
                .and_then(|entry| entry.rows.as_ref());
            let Some(rows) = rows.filter(|rows| rows.table == table.name) else {
                let what = format!("its entry {name} is missing or another table's");
                return Err(IntegrityError::Entries {
                    table: table.name.clone(),
                    what,
                });
            };
            if rows.columns != table.columns || rows.format != table.format {
                let what = format!("its entry {name} has other columns or another format");
                return Err(IntegrityError::Entries {
                    table: table.name.clone(),
                    what,
                });
            }
            sum.merge(rows.digest);
        }
        if sum.rows != table.digest.rows {
            return Err(IntegrityError::Rows {
                table: table.name.clone(),
                expected: table.digest.rows,
                found: sum.rows,
            });
        }
        if sum != table.digest {
            return Err(IntegrityError::Digest {
                table: table.name.clone(),
            });
        }
    }
    if let Some(rows) = with_rows.values().find_map(|entry| entry.rows.as_ref()) {
        let what = "holds rows in an entry that the manifest's tables do not name".to_owned();
        return Err(IntegrityError::Entries {
            table: rows.table.clone(),
            what,
        });
    }
    Ok(())
}
