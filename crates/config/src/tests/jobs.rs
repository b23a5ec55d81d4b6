//! Several `[[job]]`s in one file.

use super::*;

const TWO_JOBS: &str = "[archive]\ndirectory = \"/srv\"\n[scope]\ntables = [\"users\"]\n\
    [retention]\ndays = 9\n\
    [[job]]\nname = \"hub\"\n[job.database]\nname = \"hub\"\n[job.retention]\ndays = 30\n\
    [[job]]\nname = \"shop\"\n[job.database]\nurl = \"postgres://reader@db2/shop\"\n\
    [job.scope]\ntables = [\"orders\", \"items\"]\n[job.archive]\ndirectory = \"/far/shop\"\n\
    [[job.file]]\nsource = \"/etc/shop.conf\"\n";

fn load_all(variables: &[(&str, &str)], toml: &str) -> Result<Vec<Settings>, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hubvault.toml");
    std::fs::write(&path, toml).unwrap();
    Settings::load_all(&Inputs::new(Environment::of(variables), Some(path)))
}

#[test]
fn what_a_job_says_wins_and_what_stands_at_the_top_is_every_jobs() {
    let variables = [("POSTGRES_HOST", "db1"), ("POSTGRES_DB", "ignored")];
    let all = load_all(&variables, TWO_JOBS).unwrap();
    let jobs: Vec<&Job> = all.iter().map(|it| &**it.job()).collect();
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["hub", "shop"]);
    assert_eq!(jobs[0].database.to_string(), "postgres@db1:5432/hub");
    assert_eq!(jobs[1].database.to_string(), "reader@db2:5432/shop");
    assert_eq!((jobs[0].retention.days, jobs[1].retention.days), (30, 9));
    let tables = |job: &Job| job.scope.tables.len();
    assert_eq!((tables(jobs[0]), tables(jobs[1])), (1, 2));
    assert_eq!(jobs[0].local_directory(), Path::new("/srv/hub"));
    assert_eq!(jobs[1].local_directory(), Path::new("/far/shop"));
    assert!(jobs[0].files.len() == 4 && jobs[1].files.len() == 1);
    for settings in &all {
        assert_eq!(settings.service.directory, Path::new("/srv"));
    }
    let name = all[0].values.get("database.name").unwrap();
    assert!(name.origin.starts_with("hubvault.toml line"));
    assert_eq!(name.hidden, ["variable POSTGRES_DB"]);
}

#[test]
fn a_secret_of_a_job_is_set_in_one_way() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from-file").unwrap();
    let path = file.path().display();
    let toml = format!(
        "[database]\npassword = \"top\"\n[[job]]\nname = \"a\"\n[job.database]\npassword_file = \"{path}\"\n\
         [[job]]\nname = \"b\"\n"
    );
    let all = load_all(&[("POSTGRES_PASSWORD", "variable")], &toml).unwrap();
    let passwords: Vec<String> = all
        .iter()
        .map(|settings| settings.job().database.password.clone().unwrap())
        .map(|password| password.expose_secret().to_owned())
        .collect();
    assert_eq!(passwords, ["from-file", "variable"]);
}

#[test]
fn jobs_are_told_apart_by_names_and_directories() {
    let said = |toml: &str| load_all(&[], toml).err().unwrap().to_string();
    let twice = said("[[job]]\nname = \"a\"\n[[job]]\nname = \"a\"\n[[job]]\nname = \"../b\"\n");
    assert!(
        twice.contains("line 3: job.name: \"a\" is also the name of the job in line 1"),
        "{twice}"
    );
    assert!(twice.contains("not \"../b\""), "{twice}");
    let same = said(
        "[[job]]\nname = \"a\"\narchive.directory = \"/x\"\n\
         [[job]]\nname = \"b\"\narchive.directory = \"/x\"\n",
    );
    assert!(same.contains("the jobs a and b share /x"), "{same}");
    // What is wrong at the top is wrong once.
    let once = said("[retention]\ndays = -1\n[[job]]\nname = \"a\"\n[[job]]\nname = \"b\"\n");
    assert_eq!(once.matches("retention.days").count(), 1, "{once}");
    refused(&[], TWO_JOBS, &["name one of hub, shop"]);
    let only = load(&[], "[[job]]\nname = \"a\"\n").unwrap();
    assert_eq!(only.job().local_directory(), Path::new("/backups/a"));
}

#[test]
fn a_job_with_an_address_of_its_own_does_not_get_the_password_of_another() {
    let toml = "[email]\nhost = \"smtp\"\nuser = \"u\"\npassword = \"mail-secret\"\n\
        [[job]]\nname = \"a\"\n[job.database]\nname = \"other\"\n\
        [[job]]\nname = \"b\"\n[job.database]\nhost = \"db2\"\n[job.email]\nhost = \"smtp2\"\n\
        [[job]]\nname = \"c\"\n[job.database]\nurl = \"postgres://reader:own-secret@db3/c\"\n";
    let variables = [
        ("DATABASE_URL", "postgres://hub:url-secret@db1/hub"),
        ("POSTGRES_PASSWORD", "variable"),
    ];
    let all = load_all(&variables, toml).unwrap();
    let password = |n: usize| {
        let password = all[n].job().database.password.as_ref();
        password.map(|text| text.expose_secret().to_owned())
    };
    assert_eq!(password(0).as_deref(), Some("url-secret"));
    assert_eq!(password(1), None, "~/.pgpass may have it");
    assert_eq!(password(2).as_deref(), Some("own-secret"));
    let is_secret = |n: usize, key: &str| all[n].values.secret(key).is_some();
    assert!(is_secret(0, "email.password") && !is_secret(1, "email.password"));
}

#[test]
fn archives_of_a_job_are_sealed_to_those_that_it_names_alone() {
    let toml = format!(
        "[[seal.recipient]]\nkey = \"{ALICE}\"\n\
         [[job]]\nname = \"a\"\n\
         [[job]]\nname = \"b\"\n[job.seal]\nrecipients = [\"{BOB}\"]\n\
         [[job]]\nname = \"c\"\n[[job.seal.recipient]]\nkey = \"{BOB}\"\n"
    );
    let all = load_all(&[("BACKUP_RECIPIENTS", "")], &toml).unwrap();
    let count = |all: &[Settings]| all.iter().map(|it| it.job().seal.len()).collect::<Vec<_>>();
    assert_eq!(count(&all), [1, 1, 1]);
    let all = load_all(&[("BACKUP_RECIPIENTS", ALICE)], &toml.replace(ALICE, BOB)).unwrap();
    assert_eq!(count(&all), [2, 1, 1]);
}

#[test]
fn jobs_that_hide_each_other_are_noticed() {
    let toml = "[monitor]\nping_url = \"https://ping.example/1\"\n[[job]]\nname = \"a\"\n[[job]]\nname = \"b\"\n";
    let notices = &load_all(&[], toml).unwrap()[0].notices;
    assert!(
        notices
            .iter()
            .any(|it| it.contains("a and b use the same monitor.ping_url")),
        "{notices:?}"
    );
}
