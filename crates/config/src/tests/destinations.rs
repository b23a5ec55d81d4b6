//! Where copies go, by variables, a list, tables, and several jobs.

use super::{ALICE, Environment, Inputs, Settings, load, mistakes, refused};
use hubvault_engine::job::{CopyWhen, Destinations, SealRule};
use hubvault_model::ByteSize;
use hubvault_store::{Credentials, LockMode};
use secrecy::ExposeSecret;
use std::path::Path;

fn of(variables: &[(&str, &str)], toml: &str) -> Destinations {
    let settings = load(variables, toml).unwrap();
    settings.job().destinations.clone()
}

fn places(destinations: &Destinations) -> Vec<String> {
    let all = destinations.iter();
    all.map(|it| format!("{} {}", it.name, it.location))
        .collect()
}

#[test]
fn one_variable_is_enough() {
    let list = ("BACKUP_DESTINATIONS", "file:///srv/b, s3://acme/hub");
    let both = of(&[list], "");
    assert_eq!(places(&both), ["local file:///srv/b", "s3 s3://acme/hub"]);
    assert_eq!(both.first().name, "local");
    // BACKUP_DIR is a destination wherever it is said, and named as one or not.
    let said = of(&[list, ("BACKUP_DIR", "/backups")], "");
    let expected = [
        "local file:///backups",
        "disk file:///srv/b",
        "s3 s3://acme/hub",
    ];
    assert_eq!(places(&said), expected);
    let same = of(&[list, ("BACKUP_DIR", "/srv/b")], "");
    assert_eq!(places(&same), places(&both));
    let in_file = "[archive]\ndestinations = [\"far=s3://acme/hub\", \"gs://acme\"]\n";
    assert_eq!(
        places(&of(&[], in_file)),
        ["far s3://acme/hub", "gs gs://acme"]
    );
}

#[test]
fn without_a_local_destination_the_directory_is_a_spool() {
    let far = ("BACKUP_DESTINATIONS", "s3://acme/hub");
    assert!(!of(&[far], "").keeps_local());
    assert!(of(&[far, ("BACKUP_DIR", "/b")], "").keeps_local());
    assert!(of(&[far, ("BACKUP_KEEP_LOCAL", "true")], "").keeps_local());
    let spool = of(
        &[far, ("BACKUP_DIR", "/b"), ("BACKUP_KEEP_LOCAL", "false")],
        "",
    );
    assert!(!spool.keeps_local());
    assert_eq!(spool.first().location.directory(), Some(Path::new("/b")));
    assert_eq!(places(&spool), ["s3 s3://acme/hub"]);
    assert!(of(&[], "").keeps_local());
    refused(
        &[("BACKUP_KEEP_LOCAL", "false")],
        "",
        &["archive.keep_local: is false", "BACKUP_DESTINATIONS"],
    );
}

#[test]
fn a_lease_is_kept_at_an_object_store_of_the_job() {
    let with = |name: &'static str| {
        let list = "s3://acme/hub,sftp://u@h/b,disk=/srv/c";
        [
            ("BACKUP_DESTINATIONS", list),
            ("BACKUP_DIR", "/b"),
            ("BACKUP_LEASE", name),
        ]
    };
    let settings = load(&with("s3"), "[lease]\nlength = \"2 min\"\n").unwrap();
    let lease = settings.job().lease.as_ref().unwrap();
    assert_eq!((&*lease.destination, lease.lasts.as_secs()), ("s3", 120));
    for (name, why) in [
        (
            "sftp",
            "sftp is reached by SFTP, which has no conditional writes",
        ),
        ("disk", "disk is a directory"),
        ("local", "local is a directory"),
        (
            "far",
            "\"far\" is no destination of this job (s3, sftp, disk)",
        ),
    ] {
        refused(&with(name), "", &["variable BACKUP_LEASE", why]);
    }
    refused(
        &with("s3"),
        "[lease]\nlength = 2\n",
        &["lease.length: is shorter than 3 s"],
    );
    let daily = "[[destination]]\nname = \"d\"\nurl = \"s3://d\"\nwhen = \"daily\"\n[lease]\ndestination = \"d\"\n";
    refused(&[], daily, &["d does not take every backup"]);
}

#[test]
fn the_replicas_of_a_cluster_have_a_lease_at_their_bucket_and_a_spool() {
    let object = include_str!("../../../../deploy/kubernetes/replicas.yaml");
    let set = |line: &'static str| {
        let (name, value) = line
            .trim()
            .strip_prefix("- {name: ")?
            .split_once(", value: ")?;
        Some((name, value.trim_end_matches('}').trim_matches('"')))
    };
    let variables: Vec<_> = object.lines().filter_map(set).collect();
    let settings = load(&variables[2..], "").unwrap();
    let job = settings.job();
    assert!(!job.destinations.keeps_local());
    let lease = job.lease.as_ref().unwrap();
    assert!(job.destinations.named(&lease.destination).is_some());
}

const TABLE: &str = r#"
[[destination]]
name = "far"
url = "s3://acme/hub"
required = false
sealed = "required"
when = "weekly"
max_mb_per_second = 2
lock = "30 days"
lock_mode = "compliance"
endpoint = "https://s3.example:9000"
region = "eu"
access_key = "ID"
secret_key = "hunter22"
path_style = false
storage_class = "COLD"
encryption = "kms"
kms_key = "k"
proxy = "http://u:hunter33@proxy:3128"

[destination.keep]
days = 90
monthly = 12
"#;

#[test]
fn a_table_says_what_goes_there_and_how() {
    let variables = [
        ("BACKUP_RECIPIENTS", ALICE),
        ("AWS_ACCESS_KEY_ID", "another"),
        ("AWS_SECRET_ACCESS_KEY", "one"),
        ("AWS_SESSION_TOKEN", "of another"),
    ];
    let settings = load(&variables, TABLE).unwrap();
    let all = &settings.job().destinations;
    let far = all.named("far").unwrap();
    let rules = &far.rules;
    assert_eq!(rules.sealed, SealRule::Required);
    assert_eq!(rules.when, CopyWhen::Weekly);
    assert!(!rules.required);
    assert_eq!(rules.bytes_per_second, Some(ByteSize(2 << 20)));
    let keep = rules.keep.unwrap();
    assert_eq!((keep.days, keep.monthly, keep.keep_last), (90, 12, 0));
    let lock = far.options.lock.unwrap();
    assert_eq!((lock.days, lock.mode), (30, LockMode::Compliance));
    let object = &far.options.object;
    assert_eq!(object.endpoint.as_deref(), Some("https://s3.example:9000"));
    assert!(!object.path_style);
    match &object.credentials {
        Some(Credentials::Key { id, secret, token }) => {
            assert_eq!((id.as_str(), secret.expose_secret()), ("ID", "hunter22"));
            assert!(token.is_none(), "the token is of another key");
        }
        other => panic!("{other:?}"),
    }
    let masked = settings.masks().mask("hunter22 hunter33");
    assert!(!masked.contains("hunter"), "{masked}");
    let shown = settings
        .tables
        .iter()
        .find(|entry| entry.table == "destination");
    let shown = &shown.unwrap().text;
    let expected = "far: s3://acme/hub, sealed archives only, weekly, at most 2.1 MB a second, locked for 30 days \
                    (compliance), with a retention of its own, not required";
    assert_eq!(shown, expected);
}

#[test]
fn each_job_has_a_place_of_its_own_in_what_it_inherits() {
    let toml = "[[destination]]\nurl = \"s3://acme/hub\"\n[[job]]\nname = \"a\"\n[[job]]\nname = \"b\"\n\
                [[job.destination]]\nurl = \"gs://b\"\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hubvault.toml");
    std::fs::write(&path, toml).unwrap();
    let variables = [("BACKUP_DESTINATIONS", "file:///srv/b,far=az://c")];
    let inputs = Inputs::new(Environment::of(&variables), Some(path));
    let all = Settings::load_all(&inputs).unwrap();
    let of = |at: usize| places(&all[at].job().destinations);
    assert_eq!(
        of(0),
        [
            "local file:///srv/b/a",
            "far az://c/a",
            "s3 s3://acme/hub/a"
        ]
    );
    assert_eq!(
        of(1),
        ["local file:///srv/b/b", "far az://c/b", "gs gs://b"]
    );
}

#[test]
fn two_destinations_are_never_one_place() {
    for (list, parts) in [
        (
            "a=s3://acme/hub,b=s3://acme/hub/deep",
            ["the destination b", "the destination a"],
        ),
        ("/b,c=/b/below", ["the destination c", "archive.directory"]),
    ] {
        let error = mistakes(&[("BACKUP_DESTINATIONS", list)], "");
        assert!(error.contains("or around the place, of"), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let link = tempfile::tempdir().unwrap();
    let (real, linked) = (link.path().join("real"), link.path().join("linked"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &linked).unwrap();
    let list = format!("a={},b={}", real.display(), linked.display());
    refused(
        &[("BACKUP_DESTINATIONS", &list)],
        "",
        &["is in the same place as"],
    );
    let jobs = "[[job]]\nname = \"a\"\n[[job.destination]]\nurl = \"s3://x/y\"\n[[job]]\nname = \"b\"\n\
                [[job.destination]]\nurl = \"s3://x\"\n";
    let error = mistakes(&[], jobs);
    assert!(error.contains("the destination s3 of the job b"), "{error}");
    // One server, however it is written.
    let again = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")];
    for other in ["http://localhost:9000/", "http://[::1]:9000"] {
        let one = format!(
            "[[destination]]\nname = \"a\"\nurl = \"s3://x\"\n\
             [[destination]]\nname = \"b\"\nurl = \"s3://x\"\nendpoint = \"{other}\"\n"
        );
        let error = mistakes(&again, &one);
        assert!(error.contains("is in the same place as"), "{error}");
    }
    let hosts = "a=sftp://u@VAULT.example/srv/hub,b=sftp://u@vault.example:22/srv/./hub/";
    refused(
        &[("BACKUP_DESTINATIONS", hosts)],
        "",
        &["is in the same place as"],
    );
    // The same bucket of two servers.
    let servers = "[[destination]]\nname = \"a\"\nurl = \"s3://x\"\nendpoint = \"https://a\"\n\
                   [[destination]]\nname = \"b\"\nurl = \"s3://x\"\nendpoint = \"https://b\"\n";
    assert_eq!(places(&of(&[], servers)).len(), 2);
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    let table = |lines: &str| format!("[[destination]]\nurl = \"s3://acme\"\n{lines}\n");
    for (toml, part) in [
        ("[[destination]]\nname = \"x\"\n".to_owned(), "url is missing"),
        (table("regoin = \"eu\""), "line 3: destination.regoin: no such key; did you mean region?"),
        (table("[destination.keep]\ndais = 3"), "did you mean keep.days?"),
        (table("known_hosts = \"/k\""), "is a setting of sftp://, not of s3://"),
        (table("sealed = \"required\""), "set seal.recipients (BACKUP_RECIPIENTS)"),
        (table("lock = \"a month\""), "expected whole days such as `30 days`"),
        (table("lock_mode = \"compliance\""), "has no effect without lock"),
        (table("max_mb_per_second = \"fast\""), "expected a whole number"),
        (table("required = \"yes\""), "expected true or false"),
        (table("name = \"local\""), "local is the name of archive.directory"),
        (table("name = \"a/b\""), "expected a name of up to 63"),
        (table("secret_key = \"hunter22\""), "AWS_ACCESS_KEY_ID"),
        (
            "[[destination]]\nurl = \"/nas\"\nlock = \"3 days\"\n".to_owned(),
            "a store of file:// cannot lock what it holds",
        ),
        (
            "[[destination]]\nurl = \"sftp://u:hunter22@h/p\"\n".to_owned(),
            "a password is a setting of its own",
        ),
        (
            "[[destination]]\nurl = \"/backups\"\nname = \"nas\"\n[archive]\ndirectory = \"/backups\"\n".to_owned(),
            "is archive.directory (BACKUP_DIR), which is called local",
        ),
    ] {
        let error = mistakes(&[], &toml);
        assert!(error.contains(part), "{part:?} is not in {error}");
        assert!(!error.contains("hunter22"), "{error}");
    }
    let twice = [("BACKUP_DESTINATIONS", "s3://a,s3://b")];
    refused(&twice, "", &["s3 is also the name", "name=url"]);
    refused(
        &[("BACKUP_DESTINATIONS", "s3://k:hunter22@b")],
        "",
        &["variable BACKUP_DESTINATIONS", "never part of the URL"],
    );
}
