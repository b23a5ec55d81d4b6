//! Forged archives whose checksums are all right: the drill rejects them.

use crate::drill::drilling;
use crate::hub::{stderr, stdout};
use hubvault_archive::{
    Archive, ArchiveWriter, Compression, EntryBuilder, EntryKind, EntryMeta, Identities, Manifest,
};
use hubvault_model::{RowDigester, RowFormat};
use hubvault_testkit::{USERS, database_with};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A copy of an archive with its rows and its manifest changed, whole by every checksum.
pub(crate) fn forged(
    archive: &Path,
    to: &Path,
    change: impl Fn(&mut Vec<u8>),
    amend: impl Fn(&mut Manifest),
) -> PathBuf {
    forged_with(archive, to, |_, _| (), change, amend)
}

/// The same, with the content of other entries changed.
pub(crate) fn forged_with(
    archive: &Path,
    to: &Path,
    other: impl Fn(&str, &mut Vec<u8>),
    change: impl Fn(&mut Vec<u8>),
    amend: impl Fn(&mut Manifest),
) -> PathBuf {
    let archive = Archive::open_path(archive, &Identities::none()).unwrap();
    let compression = Compression::default();
    let mut writer = ArchiveWriter::new(std::fs::File::create(to).unwrap(), compression);
    let mut manifest = archive.manifest().clone();
    for record in &archive.manifest().entries {
        let mut content = Vec::new();
        if !record.is_bare() {
            archive
                .content(record)
                .unwrap()
                .read_to_end(&mut content)
                .unwrap();
        }
        other(&record.name, &mut content);
        let mut rows = record.rows.clone();
        if let Some(rows) = rows
            .as_mut()
            .filter(|_| record.kind == EntryKind::TableData)
        {
            change(&mut content);
            let end = content.len() - rows.footer_bytes as usize;
            let mut digester = RowDigester::new(RowFormat::Text);
            digester.update(&content[rows.header_bytes as usize..end]);
            rows.digest = digester.finish().unwrap();
            let mut tables = manifest.tables.iter_mut();
            let table = tables.find(|table| table.name == rows.table).unwrap();
            table.digest = rows.digest;
        }
        let mut builder = EntryBuilder::new(compression);
        builder.write(&content).unwrap();
        let meta = EntryMeta {
            name: record.name.clone(),
            kind: record.kind,
            mode: record.mode,
            owner: None,
            mtime: manifest.snapshot.taken_at,
            link: record.link.clone(),
            rows,
        };
        writer.append(builder.finish(meta).unwrap()).unwrap();
    }
    amend(&mut manifest);
    writer.finish(manifest).unwrap();
    to.to_owned()
}

#[test]
fn forged_archives_are_rejected_by_verify_or_by_the_drill() {
    let database = database_with(USERS);
    let (mut hub, _drills) = drilling(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"hubvault.toml\"\n");
    let (_, archive) = hub.backup();
    let copy = hub.config().join("forged.tar.gz");
    let rejected = |path: &Path, word: &str| {
        let output = hub.run(&["verify", path.to_str().unwrap(), "--drill"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}{}", stdout(&output));
        assert!(said.contains(word), "{word:?} is not in {said}");
    };
    // The control: a faithful copy is proven.
    let faithful = forged(&archive, &copy, |_| (), |_| ());
    hub.run_expecting(0, &["verify", faithful.to_str().unwrap(), "--drill"]);

    let fewer = |manifest: &mut Manifest| manifest.tables[0].digest.rows -= 1;
    rejected(&forged(&archive, &copy, |_| (), fewer), "999 rows");
    let swapped = |manifest: &mut Manifest| manifest.tables[0].digest.sum ^= 1;
    rejected(&forged(&archive, &copy, |_| (), swapped), "digest");
    let renamed = |manifest: &mut Manifest| manifest.files[0].sha256 = Some("0".repeat(64));
    rejected(
        &forged(&archive, &copy, |_| (), renamed),
        "checksum of the file",
    );
    // Consistent in itself: a row twice, as in a source whose index is damaged. The rows are equal, the key is not there.
    let twice = |content: &mut Vec<u8>| {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace("2\tuser 2\n", "1\tuser 1\n").into_bytes();
    };
    let double = forged(&archive, &copy, twice, |_| ());
    let output = hub.run_expecting(3, &["verify", double.to_str().unwrap(), "--drill"]);
    let said = stdout(&output);
    let reason = "unproven: rows equal; not rebuilt: constraint users_pkey on users (could not create unique index";
    assert!(said.contains(reason), "{said}");
    // Nor one whose rows are taken, and are others then.
    let other = |content: &mut Vec<u8>| {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace("\n2\tuser 2\n", "\n02\tuser 2\n").into_bytes();
    };
    rejected(&forged(&archive, &copy, other, |_| ()), "users: ");
}
