//! `hubvault init`: whose a role is that gets rights, and whose password it gets.

use crate::hub::{stderr, stdout};
use crate::init::{Place, drop_role, pairs, role_of};
use hubvault_testkit::{Database, USERS, database_with};

/// A password as `init` makes it.
const MADE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

/// `init` with a role that is made over the owner's connection.
fn with_role(place: &Place, database: &Database, role: &str, more: &[&str]) -> (i32, String) {
    let owner = pairs(&database.settings());
    let mut arguments = vec!["init", "--yes", "--backup-dir", "b", "--owner-url", &owner];
    arguments.extend(["--role", role]);
    arguments.extend(more);
    let output = place.command(&arguments).output().unwrap();
    let said = stdout(&output) + &stderr(&output);
    (output.status.code().unwrap(), said)
}

fn may_read(database: &Database, role: &str) -> bool {
    let sql = format!(
        "SELECT (pg_has_role(oid, 'pg_read_all_data', 'member') AND NOT rolsuper)::text FROM pg_roles WHERE rolname = '{role}'"
    );
    database.value(&sql) == "true"
}

#[test]
fn a_role_that_exists_gets_rights_only_if_its_password_shows_that_it_was_made_here() {
    let source = database_with(USERS);
    let role = role_of(&source);
    let md5 = format!(
        "md5{}",
        source.value(&format!("SELECT md5('{MADE}{role}')"))
    );
    let owns = format!("CREATE TABLE of_role (a int); ALTER TABLE of_role OWNER TO \"{role}\";");
    let encrypted = format!("PASSWORD '{MADE}'");
    for (file, options, then, is_ours) in [
        ("anything", "PASSWORD 'theirs'", "", false),
        (MADE, "PASSWORD 'theirs'", "", false),
        (MADE, "", "", false),
        (MADE, &format!("{encrypted} CREATEDB"), "", false),
        (MADE, &format!("{encrypted} CREATEROLE"), "", false),
        (MADE, &format!("{encrypted} SUPERUSER"), "", false),
        (MADE, &encrypted, &owns, false),
        (MADE, &encrypted, "", true),
        (MADE, &format!("PASSWORD '{md5}'"), "", true),
    ] {
        let place = Place::new();
        let path = place.path("hubvault.database_password");
        std::fs::write(&path, file).unwrap();
        source.execute(&format!("CREATE ROLE \"{role}\" LOGIN {options}; {then}"));
        let (code, said) = with_role(&place, &source, &role, &[]);
        assert_eq!(
            may_read(&source, &role),
            is_ours,
            "{options} {then}: {said}"
        );
        assert_eq!(code, if is_ours { 3 } else { 1 }, "{said}");
        let words = if is_ours {
            "gave rights to the role"
        } else {
            "gets no rights"
        };
        assert!(
            said.contains(words) && !said.contains("made the role"),
            "{said}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), file);
        drop_role(&source, &role);
    }
    let place = Place::new();
    std::fs::write(place.path("hubvault.database_password"), MADE).unwrap();
    let user = source.settings().user;
    let (code, said) = with_role(&place, &source, &user, &["--force"]);
    assert!(code == 1 && said.contains("is a superuser"), "{said}");
    assert!(!place.path("hubvault.toml").exists());
}

#[test]
fn a_new_role_gets_no_password_of_another_role() {
    let source = database_with(USERS);
    let (place, role) = (Place::new(), role_of(&source));
    let path = place.path("hubvault.database_password");
    let settings = source.settings();
    // No role of another test has it.
    let made: String = MADE.chars().rev().collect();
    let mut owned = place.command(&["init", "--yes", "--backup-dir", "b", "--url"]);
    owned.arg(format!("{} password=SuperPw", pairs(&settings)));
    assert_eq!(owned.output().unwrap().status.code(), Some(3));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "SuperPw");
    std::fs::remove_file(place.path("hubvault.toml")).unwrap();
    let (code, said) = with_role(&place, &source, &role, &[]);
    assert!(code == 1 && said.contains("--force"), "{said}");
    let roles = format!("SELECT count(*)::text FROM pg_roles WHERE rolname = '{role}'");
    assert_eq!(source.value(&roles), "0");
    let (code, said) = with_role(&place, &source, &role, &["--force"]);
    assert!(code == 3 && said.contains("made the role"), "{said}");
    let password = std::fs::read_to_string(&path).unwrap();
    let is_hexadecimal = password.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(password.len() == 48 && is_hexadecimal, "{password}");
    // One that an interrupted call made is taken again, without what an editor put after it.
    drop_role(&source, &role);
    std::fs::remove_file(place.path("hubvault.toml")).unwrap();
    std::fs::write(&path, format!("{made}\n")).unwrap();
    let (code, said) = with_role(&place, &source, &role, &[]);
    assert_eq!(code, 3, "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made.as_str());
    // Its password is that without the line break, or it would be somebody else's now.
    let (code, said) = with_role(&place, &source, &role, &["--force"]);
    assert!(code == 3 && said.contains("gave rights to"), "{said}");
    // Another role's password may look the same.
    let other = format!("other {role}");
    source.execute(&format!("ALTER ROLE \"{role}\" RENAME TO \"{other}\""));
    let (code, said) = with_role(&place, &source, &role, &["--force"]);
    assert!(code == 3 && said.contains("made the role"), "{said}");
    assert_ne!(std::fs::read_to_string(&path).unwrap(), made.as_str());
    drop_role(&source, &other);
    drop_role(&source, &role);
}
