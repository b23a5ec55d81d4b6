//! A file that calls itself an archive, sealed or not: an error or a whole archive, never a panic.

#![no_main]

use hubvault_archive::{Archive, ArchiveFile, Identities};
use libfuzzer_sys::fuzz_target;
use std::io;
use std::sync::LazyLock;

/// A private key, so that seals are tried.
static KEY: LazyLock<Identities> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("hubvault-fuzz-key-{}", std::process::id()));
    let key = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    std::fs::write(&file, key).expect("the directory for temporary files is writable");
    let key = Identities::read(&file).expect("it is a key");
    let _ = std::fs::remove_file(file);
    key
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = ArchiveFile::open(bytes.to_vec(), &KEY) else {
        return;
    };
    let Ok(archive) = Archive::open(file) else {
        return;
    };
    for entry in &archive.manifest().entries {
        let verified = archive.verify_entry(entry).is_ok();
        let read = archive
            .content(entry)
            .is_ok_and(|mut content| io::copy(&mut content, &mut io::sink()).is_ok());
        assert!(
            read || !verified,
            "verified, but not to be read: {}",
            entry.name
        );
    }
});
