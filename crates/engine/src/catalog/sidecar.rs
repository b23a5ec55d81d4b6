//! `<archive>.manifest.json` beside each archive: its manifest, what was proven, and for a sealed
//! one what can be known about it without opening it.

use super::ProofRecord;
use super::in_the_clear::in_the_clear;
use crate::state::file::replaces;
use crate::state::ownership::open_regular;
use hubvault_archive::{Manifest, from_json, hex, manifest_limit};
use hubvault_store::{ErrorKind, Key, LocalDirectory, Store, StoreError};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, BufWriter, PipeReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

/// What the name of a sidecar adds to that of its archive.
pub(crate) const ENDING: &str = ".manifest.json";
/// What a sidecar that is being written ends with instead of `json`.
const FRESH: &str = "new";
/// What age adds to each part of this size, in bytes.
const SEALED_CHUNK: u64 = 64 << 10;
const SEALED_TAG: u64 = 16;
/// Room for what frames an archive's manifest, and for a seal's header, which is no longer.
const ROOM: u64 = 320 << 10;
/// How much of it is made at once.
const BUFFER: usize = 64 << 10;

/// What a sidecar says. There is no secret in it: that of a sealed archive is stored without what may quote rows.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Text")]
pub struct Sidecar {
    /// What was proven about the archive.
    pub proof: ProofRecord,
    /// Whether somebody said that it stays.
    pub pinned: bool,
    /// How it is sealed; `None` for one in the clear.
    pub seal: Option<Seal>,
    /// Its table of contents.
    pub manifest: Manifest,
}

/// A sidecar as it is stored.
#[derive(Serialize)]
struct Stored<'a> {
    proof: Cow<'a, ProofRecord>,
    pinned: bool,
    #[serde(flatten)]
    seal: Option<&'a Seal>,
    manifest: Cow<'a, Manifest>,
}

impl Serialize for Sidecar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (proof, manifest) = if self.seal.is_some() {
            let proof = Cow::Owned(self.proof.in_the_clear());
            (proof, in_the_clear(&self.manifest))
        } else {
            (Cow::Borrowed(&self.proof), Cow::Borrowed(&self.manifest))
        };
        let stored = Stored {
            proof,
            pinned: self.pinned,
            seal: self.seal.as_ref(),
            manifest,
        };
        stored.serialize(serializer)
    }
}

/// A sidecar as it is read. A flattened seal would keep every field that is not known in memory.
#[derive(Deserialize)]
struct Text {
    proof: ProofRecord,
    #[serde(default)]
    pinned: bool,
    sealed_to: Option<Vec<String>>,
    sha256: Option<String>,
    head_sha256: Option<String>,
    manifest: Manifest,
}

impl From<Text> for Sidecar {
    fn from(text: Text) -> Self {
        let seal = text.sealed_to.zip(text.sha256);
        Self {
            proof: text.proof,
            pinned: text.pinned,
            seal: seal.map(|(sealed_to, sha256)| Seal {
                sealed_to,
                sha256,
                head_sha256: text.head_sha256,
            }),
            manifest: text.manifest,
        }
    }
}

/// How an archive is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The public keys of those who can open it.
    pub sealed_to: Vec<String>,
    /// Of the file as it lies there.
    pub sha256: String,
    /// The same of its first `HEAD` bytes, which no other archive has; `None` of one that an earlier version made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_sha256: Option<String>,
}

/// How many bytes of an archive a few are that tell it from every other one.
pub(crate) const HEAD: u64 = 4 << 10;

impl Seal {
    /// How a file of this SHA-256 is sealed to these keys. Reads its first bytes.
    pub(crate) fn of(path: &Path, sealed_to: Vec<String>, sha256: String) -> io::Result<Self> {
        let mut head = Vec::new();
        open_regular(path)?.take(HEAD).read_to_end(&mut head)?;
        Ok(Self {
            sealed_to,
            sha256,
            head_sha256: Some(hex(&Sha256::digest(&head))),
        })
    }

    /// Whether a file is the one that was sealed so, by its SHA-256. Reads it whole.
    pub fn is_of(&self, path: &Path) -> io::Result<bool> {
        Ok(sha256_of(path)? == self.sha256)
    }
}

/// The SHA-256 of a file, in hexadecimal digits. Reads it whole.
pub(crate) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = open_regular(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

impl Sidecar {
    /// Where an archive's sidecar is.
    pub fn path(archive: &Path) -> PathBuf {
        let mut name = archive.as_os_str().to_owned();
        name.push(ENDING);
        PathBuf::from(name)
    }

    /// Reads the sidecar of an archive; `None` where there is none that can be read. Whoever may write into the
    /// directory may have made it: it is a regular file and no link, of a size that a sidecar of such an archive can
    /// have, and its manifest does not contradict itself.
    pub fn beside(archive: &Path) -> Option<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(Self::path(archive))
            .ok()?;
        let meta = file.metadata().ok()?;
        let limit = Self::limit(fs::metadata(archive).ok()?.len());
        if !meta.is_file() || meta.len() > limit {
            return None;
        }
        let mut sidecar: Self = from_json(file, limit).ok()?;
        sidecar.manifest.check().ok()?;
        if !is_trusted(&meta, archive) {
            sidecar.disbelieve(meta.uid());
        }
        Some(sidecar)
    }

    /// Forgets what it says was proven: another user made it.
    pub(crate) fn disbelieve(&mut self, user: u32) {
        self.pinned = false;
        self.proof = ProofRecord {
            reason: Some(format!("its sidecar belongs to another user (uid {user})")),
            ..ProofRecord::default()
        };
    }

    /// What a sidecar of a store says of an archive of this size; `None` where that is no sidecar of such an archive.
    pub(crate) fn parse(json: impl Read, archive_bytes: u64) -> Option<Self> {
        let sidecar: Self = from_json(json, Self::limit(archive_bytes)).ok()?;
        sidecar.manifest.check().ok()?;
        Some(sidecar)
    }

    /// The text of a sidecar that an earlier version may have made: without what may quote rows where its archive is sealed.
    pub(crate) fn without_rows(json: Vec<u8>, archive_bytes: u64) -> io::Result<Vec<u8>> {
        let known = Self::parse(json.as_slice(), archive_bytes).filter(|it| it.seal.is_some());
        let Some(known) = known else {
            return Ok(json);
        };
        let (proof, manifest) = (known.proof.in_the_clear(), in_the_clear(&known.manifest));
        if proof == known.proof && manifest.warnings == known.manifest.warnings {
            return Ok(json);
        }
        // What a newer version wrote into it stays.
        let mut text: serde_json::Value = serde_json::from_slice(&json)?;
        text["proof"] = serde_json::to_value(proof)?;
        text["manifest"]["warnings"] = serde_json::to_value(&manifest.warnings)?;
        Ok(serde_json::to_vec_pretty(&text)?)
    }

    /// An archive that is smaller than this is not whole: its entries, its manifest and its trailer have no room in it.
    pub(crate) fn least_bytes(&self) -> u64 {
        let clear = self.manifest.end_of_entries().saturating_add(1);
        let chunks = clear.div_ceil(SEALED_CHUNK);
        match self.seal {
            Some(_) => clear.saturating_add(chunks.saturating_mul(SEALED_TAG)),
            None => clear,
        }
    }

    /// An archive that is larger than this has another sidecar. This one, in so many bytes, holds its manifest, which is all
    /// that follows the entries.
    pub(crate) fn most_bytes(&self, own: u64) -> u64 {
        let clear = self.manifest.end_of_entries().saturating_add(own);
        let seal = (clear / SEALED_CHUNK + 1).saturating_mul(SEALED_TAG);
        clear.saturating_add(seal).saturating_add(ROOM)
    }

    /// The largest sidecar of an archive of this size, in bytes: indented, it is about twice as long as its manifest.
    pub(crate) fn limit(archive_bytes: u64) -> u64 {
        2 * manifest_limit(archive_bytes)
    }

    /// Stores the sidecar of an archive beside it; an older one is replaced as a whole.
    pub fn put(&self, store: &dyn Store, archive: &Key) -> Result<(), StoreError> {
        let wrong = |error| StoreError::new("writing", archive.as_str(), error);
        let key = Key::parse(&format!("{archive}{ENDING}"))
            .map_err(|error| wrong(io::Error::other(error)))?;
        let put = || self.put_as(store, &key).map_err(wrong)?;
        match put() {
            // A run that began just now took it for a leftover of a crashed one.
            Err(error) if error.kind == ErrorKind::NotFound => put(),
            done => done,
        }
    }

    /// Stores the text while a thread makes it: that of many tables is never in memory.
    fn put_as(&self, store: &dyn Store, key: &Key) -> io::Result<Result<(), StoreError>> {
        let (reader, writer) = io::pipe()?;
        Ok(thread::scope(|scope| {
            let made = scope.spawn(move || {
                let mut writer = BufWriter::with_capacity(BUFFER, writer);
                serde_json::to_writer_pretty(&mut writer, self)?;
                writer.flush()
            });
            let mut text = MadeText {
                reader,
                made: Some(made),
            };
            store.put(key, &mut text).map(|_| ())
        }))
    }

    /// The same for an archive of this machine.
    pub fn write(&self, archive: &Path) -> Result<(), StoreError> {
        let wrong = |error| {
            let shown = archive.display().to_string();
            StoreError::new("writing the sidecar manifest of", shown, error)
        };
        let name = archive.file_name().and_then(|name| name.to_str());
        let key =
            Key::parse(name.unwrap_or_default()).map_err(|error| wrong(io::Error::other(error)))?;
        let store = LocalDirectory::open(archive.parent().unwrap_or(Path::new("")))?;
        self.put(&store, &key).map_err(|error| wrong(error.source))
    }
}

/// Text that a thread makes. It ends only if the thread made all of it.
struct MadeText<'scope> {
    reader: PipeReader,
    made: Option<ScopedJoinHandle<'scope, io::Result<()>>>,
}

impl Read for MadeText<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        if n == 0
            && !buffer.is_empty()
            && let Some(made) = self.made.take()
        {
            let panicked = |_| Err(io::Error::other("writing it as JSON failed"));
            made.join().unwrap_or_else(panicked)?;
        }
        Ok(n)
    }
}

/// Whether what a sidecar says was proven is believed: it is ours, root's, or of whom the directory belongs to.
pub(super) fn is_trusted(sidecar: &Metadata, archive: &Path) -> bool {
    let parent = match archive.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let owner = fs::metadata(parent).map(|meta| meta.uid());
    let trusted = [0, rustix::process::geteuid().as_raw()];
    trusted.contains(&sidecar.uid()) || owner.is_ok_and(|owner| owner == sidecar.uid())
}

/// Whether this is a sidecar that nobody finished writing.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    // Older versions named them otherwise.
    let sidecar = replaces(path).unwrap_or_else(|| path.with_extension("json"));
    let text = sidecar.to_string_lossy();
    let archive = text.strip_suffix(ENDING).map(Path::new);
    path.extension().is_some_and(|ending| ending == FRESH)
        && archive.is_some_and(super::is_archive_name)
}

/// Whether this is the sidecar of an archive that is not there: a run died before it published.
pub(crate) fn is_stray(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let archive = text.strip_suffix(ENDING).map(Path::new);
    archive.is_some_and(|archive| super::is_archive_name(archive) && !archive.exists())
}
