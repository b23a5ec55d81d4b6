//! Archives with flipped bits or a missing end: `verify` finds each of them, from the archive alone.

use crate::form::{is_long, points};
use crate::hub::{Hub, stderr};
use crate::keys::{Pair, text};
use crate::tally::Tally;
use hubvault_archive::{ArchiveError, Identities};
use hubvault_engine::catalog::sidecar::Seal;
use hubvault_engine::proof::IntegrityError;
use hubvault_engine::proof::integrity::{read_back, same_file};
use hubvault_model::Cancel;
use hubvault_testkit::{Database, Random, server};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Whole tables, a window, long names, empty tables, text that compresses and text that does not.
const ROWS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 4000) n;
    CREATE TABLE purchases (id int, buyer int REFERENCES users, created_at timestamptz DEFAULT now(), note text);
    INSERT INTO purchases SELECT n, 1 + n % 4000, now(), 'note, \"' || n FROM generate_series(1, 3000) n;
    CREATE TABLE \"a table with a name that is as long as PostgreSQL allows it\" (v text);
    CREATE TABLE nothing (id serial);
    ANALYZE;";
const SCOPE: &str =
    "[[scope.window]]\ntables = [\"purchases\"]\ncolumn = \"created_at\"\nlength = \"1 month\"\n
    [[file]]\nsource = \"hubvault.toml\"\nname = \"config/hubvault.toml\"\n";
/// A member is a megabyte before compression; this table has several.
const MUCH: &str = "CREATE TABLE noise (id int PRIMARY KEY, v text);
    INSERT INTO noise SELECT n, (SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 64) i)
        FROM generate_series(1, 2500) n; ANALYZE;";

/// An archive as hubvault made it, and what opens it.
struct Specimen {
    kind: String,
    bytes: Vec<u8>,
    identities: Identities,
    /// What its sidecar says, when it is sealed.
    seal: Option<Seal>,
    key: Option<Pair>,
    /// Where it lies, with its sidecar.
    file: PathBuf,
    hub: Hub,
}

impl Specimen {
    fn new(database: &Database, keys: &Path, size: &str, codec: &str, sealed: bool) -> Self {
        let scope = if size == "small" { SCOPE } else { "" };
        let mut hub = Hub::with(
            database,
            &format!("[archive]\ncodec = \"{codec}\"\n[scope]\ntables = [\"*\"]\n{scope}"),
        );
        let key = sealed.then(|| Pair::age(keys, &format!("{size}-{codec}")));
        if let Some(key) = &key {
            hub.set("BACKUP_RECIPIENTS", &key.public);
        }
        let (_, file) = hub.backup();
        let sidecar = fs::read(format!("{}.manifest.json", text(&file))).unwrap();
        let sidecar: Value = serde_json::from_slice(&sidecar).unwrap();
        let seal = key.as_ref().map(|_| Seal {
            sealed_to: Vec::new(),
            sha256: sidecar["sha256"].as_str().unwrap().to_owned(),
            head_sha256: None,
        });
        let identities = key.as_ref().map_or_else(Identities::none, |key| {
            Identities::read(Path::new(key.identity())).unwrap()
        });
        Self {
            kind: format!("{codec}{}", if sealed { ", sealed" } else { "" }),
            bytes: fs::read(&file).unwrap(),
            identities,
            seal,
            key,
            file,
            hub,
        }
    }
}

/// A position, mostly anywhere; often in the first or last bytes, where headers, seals and addresses are.
fn position(random: &mut Random, length: usize) -> usize {
    let mut below = |limit: usize| random.below(limit as u64) as usize;
    let near = length.min(1_200);
    match below(4) {
        0 => below(near),
        1 => length - 1 - below(near),
        _ => below(length),
    }
}

/// A copy that is damaged in place and made whole again.
struct Copy {
    path: PathBuf,
    file: File,
}

impl Copy {
    fn new(directory: &Path, bytes: &[u8]) -> Self {
        let path = directory.join("damaged");
        fs::write(&path, bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        Self { path, file }
    }

    fn put(&self, byte: u8, at: usize) {
        assert_eq!(self.file.write_at(&[byte], at as u64).unwrap(), 1);
    }

    fn cut(&self, keep: usize) {
        self.file.set_len(keep as u64).unwrap();
    }

    fn restore(&self, bytes: &[u8], from: usize) {
        self.file.write_all_at(&bytes[from..], from as u64).unwrap();
    }
}

/// What reading the copy back found; `Err` is a panic.
fn find_damage(specimen: &Specimen, path: &Path) -> Result<Option<&'static str>, ()> {
    let read = || {
        read_back(path, &specimen.identities, 1, &|_| {}, &Cancel::new()).map(|read| read.manifest)
    };
    let result = catch_unwind(AssertUnwindSafe(read)).map_err(|_| ())?;
    Ok(result.err().map(|error| match error {
        IntegrityError::Archive { source, .. } => match source {
            ArchiveError::Foreign(_) => "no archive any more",
            ArchiveError::Manifest(_) => "the manifest's checksum",
            ArchiveError::Entry { .. } => "an entry's checksum",
            ArchiveError::DamagedSeal(_) => "the seal",
            ArchiveError::Sealed { .. } => "the seal: no key fits",
            _ => "read error",
        },
        _ => "the manifest's sums",
    }))
}

/// Whether somebody without the key, who has the sidecar, finds it.
fn find_damage_without_key(specimen: &Specimen, path: &Path) -> bool {
    let Some(seal) = &specimen.seal else {
        return true;
    };
    same_file(path, seal, &|_| {}, &Cancel::new()).is_err()
}

fn count(tally: &mut Tally, specimen: &Specimen, copy: &Copy, fault: &str, what: &str) {
    let kind = format!("{fault}, {}", specimen.kind);
    match find_damage(specimen, &copy.path) {
        Ok(Some(by)) => tally.passed(&kind, &format!("found by {by}")),
        Ok(None) => tally.failed(&kind, &format!("missed: {what}")),
        Err(()) => tally.failed(&kind, &format!("panicked: {what}")),
    }
    if specimen.seal.is_some() {
        let kind = format!("{kind}, without a key");
        if find_damage_without_key(specimen, &copy.path) {
            tally.passed(&kind, "found by the sidecar's SHA-256 of the file");
        } else {
            tally.failed(&kind, &format!("missed: {what}"));
        }
    }
}

/// The command itself, as a user has it: exit code 1, and no word of a panic. Without its sidecar a file is judged
/// by what is in it.
fn verify_by_command(tally: &mut Tally, specimen: &Specimen, copy: &Copy, what: &str) {
    let key = specimen.key.as_ref().map(Pair::identity);
    let mut words = vec!["verify", text(&copy.path)];
    words.extend(key.iter().flat_map(|key| ["--identity", key]));
    let output = specimen.hub.run(&words);
    let said = stderr(&output);
    let kind = format!("hubvault verify, {}", specimen.kind);
    if output.status.code() == Some(1) && said.contains("error: ") && !said.contains("panicked") {
        tally.passed(&kind, "exit code 1 and a reason");
    } else {
        let code = output.status.code();
        tally.failed(&kind, &format!("{what}: exit code {code:?}: {said}"));
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_of_an_archive_is_found() {
    let server = server();
    let (small, large) = (server.database(), server.database());
    small.execute(ROWS);
    large.execute(MUCH);
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let mut tally = Tally::new("damaged-archives");
    // Of every codec, in the clear and sealed, a small archive and one of several members a table.
    for (size, database, flips, cuts) in [
        ("small", &small, points(65, 2_250), points(13, 225)),
        ("large", &large, points(10, 250), points(2, 25)),
    ] {
        for (codec, sealed) in [
            ("gzip", false),
            ("gzip", true),
            ("zstd", false),
            ("zstd", true),
        ] {
            let specimen = Specimen::new(database, directory.path(), size, codec, sealed);
            let bytes = &specimen.bytes;
            let copy = Copy::new(directory.path(), bytes);
            assert_eq!(find_damage(&specimen, &copy.path), Ok(None), "undamaged");
            assert!(specimen.seal.is_none() || !find_damage_without_key(&specimen, &copy.path));
            let by_hand = if is_long() { 100 } else { 20 };
            for n in 0..flips {
                let (at, bit) = (position(&mut random, bytes.len()), random.below(8) as usize);
                let what = format!("bit {bit} of byte {at} of {}", bytes.len());
                copy.put(bytes[at] ^ (1 << bit), at);
                count(&mut tally, &specimen, &copy, "bit flipped", &what);
                if n % by_hand == 0 {
                    verify_by_command(&mut tally, &specimen, &copy, &what);
                }
                copy.put(bytes[at], at);
            }
            for n in 0..cuts {
                let keep = position(&mut random, bytes.len());
                let what = format!("{keep} of {} bytes", bytes.len());
                copy.cut(keep);
                count(&mut tally, &specimen, &copy, "end cut off", &what);
                if n % by_hand == 0 {
                    verify_by_command(&mut tally, &specimen, &copy, &what);
                }
                copy.restore(bytes, keep);
            }
            assert_eq!(find_damage(&specimen, &copy.path), Ok(None), "mended");
            assert!(fs::read(&specimen.file).unwrap() == *bytes);
        }
    }
    assert_eq!(
        tally.injected("bit flipped, gzip"),
        points(75, 2_500),
        "a flip was not counted"
    );
    tally.finish();
}
