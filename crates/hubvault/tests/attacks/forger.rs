//! Hostile archives made from a good one: one thing is false, all else is right.

use crate::hub::Hub;
use hubvault_archive::{Archive, Codec, Identities, Source, hex};
use hubvault_testkit::Database;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

#[path = "../../../archive/tests/forged/mod.rs"]
#[expect(
    dead_code,
    reason = "the archive's own forger, of which this needs some"
)]
mod forged;

pub(crate) use forged::{member, tar_head, with_trailer};

/// How long any command may take over a hostile archive: it does nothing of use.
const BOUND: Duration = Duration::from_secs(30);

/// An archive that can be changed at any place.
#[derive(Clone)]
pub(crate) struct Forgery {
    pub(crate) manifest: Value,
    /// What the manifest says of each entry, and the bytes as they lie.
    pub(crate) entries: Vec<(Value, Vec<u8>)>,
}

impl Forgery {
    /// From an archive in gzip.
    pub(crate) fn of(path: &Path) -> Self {
        let archive = Archive::open_path(path, &Identities::none()).unwrap();
        let manifest = serde_json::to_value(archive.manifest()).unwrap();
        let entries = archive.manifest().entries.iter().map(|record| {
            let mut bytes = vec![0; record.stored_bytes as usize];
            let mut at = 0;
            while at < bytes.len() {
                let place = record.offset + at as u64;
                at += archive.source().read_at(&mut bytes[at..], place).unwrap();
            }
            (serde_json::to_value(record).unwrap(), bytes)
        });
        Self {
            entries: entries.collect(),
            manifest,
        }
    }

    /// What the manifest says of the first entry of a kind.
    pub(crate) fn entry(&mut self, kind: &str) -> &mut (Value, Vec<u8>) {
        self.entries
            .iter_mut()
            .find(|(record, _)| record["kind"] == kind)
            .unwrap()
    }

    /// What the manifest says of the rows of the first entry that has some.
    pub(crate) fn rows(&mut self) -> &mut Value {
        &mut self.entry("table-data").0["rows"]
    }

    pub(crate) fn add(&mut self, name: &str, kind: &str, content: &[u8], link: Option<&str>) {
        let packed = pack(name, kind, content, link);
        self.entries.push(packed);
    }

    /// Puts other content into an entry, given as members with their raw length.
    pub(crate) fn replace(&mut self, name: &str, members: &[Vec<u8>], raw_bytes: u64) {
        let place = self
            .entries
            .iter_mut()
            .find(|(record, _)| record["name"] == name);
        let (record, bytes) = place.unwrap();
        *bytes = member(Codec::Gzip, &tar_head(name, raw_bytes, b'0'));
        bytes.extend(members.concat());
        record["mode"] = json!(0o640);
        record["raw_bytes"] = json!(raw_bytes);
    }

    /// Writes it with offsets, lengths, checksums and trailer as they should be.
    pub(crate) fn write(&self, to: &Path) -> PathBuf {
        let mut offset = 0;
        let mut records = Vec::new();
        for (record, bytes) in &self.entries {
            let mut record = record.clone();
            record["offset"] = json!(offset);
            record["stored_bytes"] = json!(bytes.len());
            record["stored_sha256"] = json!(hex(&Sha256::digest(bytes)));
            offset += bytes.len();
            records.push(record);
        }
        self.write_with(&records, to)
    }

    /// Writes it with whatever is said of its entries.
    pub(crate) fn write_with(&self, records: &[Value], to: &Path) -> PathBuf {
        let mut manifest = self.manifest.clone();
        manifest["entries"] = json!(records);
        let text = serde_json::to_vec(&manifest).unwrap();
        let stored: Vec<&[u8]> = self
            .entries
            .iter()
            .map(|(_, bytes)| bytes.as_slice())
            .collect();
        let bytes = forged::archive(Codec::Gzip, &stored.concat(), &text, text.len() as u64);
        std::fs::write(to, bytes).unwrap();
        to.to_owned()
    }
}

fn pack(name: &str, kind: &str, content: &[u8], link: Option<&str>) -> (Value, Vec<u8>) {
    let mut head = tar::Header::new_gnu();
    let (typeflag, slash) = match kind {
        "directory" => (b'5', "/"),
        "link" => (b'2', ""),
        _ => (b'0', ""),
    };
    let name = format!("{name}{slash}");
    head.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(link) = link {
        head.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    }
    head.set_entry_type(tar::EntryType::new(typeflag));
    head.set_size(content.len() as u64);
    head.set_mode(0o600);
    head.set_mtime(0);
    head.set_cksum();
    let mut bytes = member(Codec::Gzip, head.as_bytes());
    if !content.is_empty() {
        let mut block = content.to_vec();
        block.resize(content.len().next_multiple_of(512), 0);
        bytes.extend(member(Codec::Gzip, &block));
    }
    let mut record = json!({
        "name": name, "kind": kind, "raw_bytes": content.len(), "sha256": hex(&Sha256::digest(content)), "mode": 0o600,
    });
    if let Some(link) = link {
        record["link"] = json!(link);
    }
    (record, bytes)
}

/// A backup of a database with a file, and where forgeries of it go.
pub(crate) struct Good {
    pub(crate) hub: Hub,
    pub(crate) archive: Forgery,
    /// Where the good one is.
    pub(crate) archive_path: PathBuf,
    pub(crate) place: tempfile::TempDir,
}

impl Good {
    pub(crate) fn of(database: &Database) -> Self {
        database.execute(
            "CREATE TABLE users (id int PRIMARY KEY, name text);
             INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 100) n",
        );
        let mut hub = Hub::whole(database);
        hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"hubvault.toml\"\n");
        let (_, path) = hub.backup();
        Self {
            archive: Forgery::of(&path),
            archive_path: path,
            hub,
            place: tempfile::tempdir().unwrap(),
        }
    }

    /// A text of its manifest.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let text = self.archive.manifest.pointer(pointer).unwrap();
        text.as_str().unwrap().to_owned()
    }

    /// Writes a forgery.
    pub(crate) fn forge(&self, lie: impl FnOnce(&mut Forgery)) -> PathBuf {
        let mut forgery = self.archive.clone();
        lie(&mut forgery);
        forgery.write(&self.place.path().join("forged.tar.gz"))
    }

    /// A command over an archive, which must end in time and by itself.
    pub(crate) fn run(&self, archive: &Path, before: &[&str], after: &[&str]) -> Output {
        let mut arguments = before.to_vec();
        arguments.push(archive.to_str().unwrap());
        arguments.extend(after);
        ends(self.hub.command(&arguments), &arguments)
    }
}

/// Runs a command, which must end in time and by itself: no panic, no signal.
pub(crate) fn ends(mut command: Command, what: &[&str]) -> Output {
    let out = tempfile::tempfile().unwrap();
    let err = tempfile::tempfile().unwrap();
    command
        .stdout(out.try_clone().unwrap())
        .stderr(err.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > BOUND {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{what:?} did not end in {BOUND:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let read = |mut file: std::fs::File| {
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        bytes
    };
    let output = Output {
        status,
        stdout: read(out),
        stderr: read(err),
    };
    let said = crate::hub::stderr(&output);
    assert!(
        matches!(status.code(), Some(0 | 1 | 3)),
        "{what:?}: {status}: {said}"
    );
    assert!(!said.contains("panicked"), "{what:?}: {said}");
    output
}
