//! Configuration files are archived, and problems with them are reported.

use crate::hub::Hub;
use hubvault_testkit::{database_with, extract};
use std::os::unix::fs::PermissionsExt;

#[test]
fn files_and_directories_are_restored_with_their_modes() {
    let database = database_with("CREATE TABLE users (id int)");
    let etc = tempfile::tempdir().unwrap();
    let root = etc.path();
    std::fs::write(root.join("app.env"), "KEY=value\n").unwrap();
    std::fs::set_permissions(root.join("app.env"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::create_dir(root.join("ssl")).unwrap();
    std::fs::write(root.join("ssl/ключ.pem"), "key").unwrap();
    std::os::unix::fs::symlink("ключ.pem", root.join("ssl/current.pem")).unwrap();
    let toml = format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n\
         [[file]]\nsource = \"{0}/app.env\"\nname = \"config/app.env\"\nrequired = true\n\
         [[file]]\nsource = \"{0}/ssl\"\nname = \"config/ssl\"\n\
         [[file]]\nsource = \"{0}/gone\"\nname = \"config/gone\"\n",
        root.display()
    );
    let hub = Hub::with(&database, &toml);
    let (record, archive) = hub.backup();
    assert!(
        record["warnings"]
            .to_string()
            .contains("gone does not exist"),
        "{record}"
    );
    let out = tempfile::tempdir().unwrap();
    extract(&archive, out.path());
    let env = out.path().join("config/app.env");
    assert_eq!(std::fs::read_to_string(&env).unwrap(), "KEY=value\n");
    assert_eq!(env.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let link = std::fs::read_link(out.path().join("config/ssl/current.pem")).unwrap();
    assert_eq!(link.to_str(), Some("ключ.pem"));
    assert_eq!(
        std::fs::read_to_string(out.path().join("config/ssl/current.pem")).unwrap(),
        "key"
    );

    std::fs::remove_file(root.join("app.env")).unwrap();
    hub.run_expecting(1, &["backup"]);
}

#[test]
fn an_archive_and_its_directory_are_private() {
    let database = database_with("CREATE TABLE users (id int)");
    let hub = Hub::whole(&database);
    let (_, archive) = hub.backup();
    assert_eq!(
        archive.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    let state = hub.backups().join(".hubvault");
    assert_eq!(
        state.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
}
