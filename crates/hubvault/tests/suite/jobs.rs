//! `[[job]]`: several databases in one configuration and one service.

use crate::hub::{Hub, stderr, stdout};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, database_with, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;

fn database(table: &str) -> Database {
    database_with(&format!(
        "CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (1), (2)"
    ))
}

/// Two jobs, of which `slow` waits before its rows for a file called `go`.
fn hub_with_two_jobs(slow: &Database, quick: &Database) -> Hub {
    let mut hub = Hub::whole(slow);
    let go = hub.config().join("go");
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[schedule]\ncron = \"0 0 29 2 *\"\n\
         [[job]]\nname = \"slow\"\n\
         [[job.hook]]\nstage = \"export\"\nwhen = \"before\"\ntimeout = \"5 min\"\n\
         command = [\"sh\", \"-c\", \"until [ -e {} ]; do sleep 0.1; done\"]\n\
         [[job]]\nname = \"quick\"\n[job.database]\nname = \"{}\"\n",
        go.display(),
        quick.name()
    ));
    hub.set("PROOF", "always");
    hub
}

fn records(hub: &Hub, job: &str) -> Value {
    let listed = hub.run(&["list", "--json", "--job", job]);
    assert!(listed.status.success(), "{}", stderr(&listed));
    serde_json::from_slice(&listed.stdout).unwrap()
}

#[test]
fn one_service_runs_several_jobs_at_the_same_time() {
    let (slow, quick) = (database("users"), database("orders"));
    let mut hub = hub_with_two_jobs(&slow, &quick);
    let made = hub.run(&["token", "create", "root", "--role", "admin"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let token = stdout(&made).trim().to_owned();
    let service = ServiceProcess::start_http(&hub);

    let unnamed = service.post("/backup/trigger", &token, "{}");
    assert_eq!(unnamed.status, 400);
    assert!(
        unnamed.text().contains("one of slow, quick"),
        "{}",
        unnamed.text()
    );
    let unknown = service.get("/backup/status?job=none", &token);
    assert_eq!(unknown.status, 400);

    let trigger = |job: &str| {
        let begun = service.post(&format!("/backup/trigger?job={job}"), &token, "{}");
        assert_eq!(begun.status, 202, "{}", begun.text());
        begun.json()["backup_id"].as_str().unwrap().to_owned()
    };
    let id_of_slow = trigger("slow");
    service.wait_for_answer("/backup/status?job=slow", &token, |status| {
        status["running"]["stage"].is_string()
    });
    let id_of_quick = trigger("quick");
    // The id says of which job it is.
    service.wait_for_answer(&format!("/backup/{id_of_quick}"), &token, |one| {
        one["backup"]["state"] == "proven"
    });
    let still = service.get("/backup/status?job=slow", &token).json();
    assert!(still["running"].is_object(), "{still}");
    let busy = service.post("/backup/trigger?job=slow", &token, "{}");
    assert_eq!(busy.status, 409);
    // Of both, the one that has nothing proven.
    let health = service.get("/health", "");
    assert_eq!(
        (health.status, &health.json()["job"]),
        (503, &json!("slow"))
    );
    assert_eq!(service.get("/health?job=quick", "").status, 200);
    fs::write(hub.config().join("go"), "").unwrap();
    service.wait_for_answer(&format!("/backup/{id_of_slow}"), &token, |one| {
        one["backup"]["state"] == "proven"
    });
    assert_eq!(service.get("/health", "").status, 200);

    let metrics = service.get("/metrics", &token).text();
    for job in ["slow", "quick"] {
        let line = format!("hubvault_archives{{job=\"{job}\"}} 1\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
        let all = records(&hub, job);
        assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
        let file = all[0]["file"].as_str().unwrap();
        assert!(file.starts_with(hub.backups().join(job).to_str().unwrap()));
    }
    assert_eq!(records(&hub, "quick")[0]["tables"][0]["name"], "orders");

    // What is changed for one is not changed for the other.
    let changed = service.put(
        "/backup/config?job=quick",
        &token,
        &json!({"retention.days": 33}),
    );
    assert_eq!(changed.status, 200, "{}", changed.text());
    let days = |job: &str| {
        let config = service
            .get(&format!("/backup/config?job={job}"), &token)
            .json();
        let settings = config["settings"].as_array().unwrap().clone();
        let found = settings
            .into_iter()
            .find(|one| one["key"] == "retention.days");
        found.unwrap()["value"].clone()
    };
    assert_eq!((days("quick"), days("slow")), (json!("33"), json!("30")));

    // A link needs no job either.
    let link = service
        .post(&format!("/backup/{id_of_quick}/link"), &token, "{}")
        .json();
    let archive = service.get_with(link["path"].as_str().unwrap(), &[]);
    assert_eq!(archive.status, 200);
    let file = records(&hub, "quick")[0]["file"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(archive.body, fs::read(file).unwrap());

    // When a job is removed, the other goes on.
    hub.write(&format!(
        "file = []\n[[job]]\nname = \"quick\"\n[job.database]\nname = \"{}\"\n",
        quick.name()
    ));
    hub.run(&["config", "check"]);
    service.signal(Signal::HUP);
    service.wait_for_answer("/backup/status", &token, |status| status["job"] == "quick");
    let said = service.stop_and_log();
    assert!(
        said.contains("slow: the job was removed from the configuration"),
        "{said}"
    );
    assert!(said.contains("quick: run"), "{said}");
}

#[test]
fn a_job_without_its_directory_blocks_no_other_and_starts_when_it_appears() {
    let database = database("users");
    let mut hub = Hub::whole(&database);
    let disk = hub.config().join("disk");
    fs::write(&disk, "not mounted yet").unwrap();
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[schedule]\ncron = \"0 0 29 2 *\"\n\
         [[job]]\nname = \"late\"\n[job.archive]\ndirectory = \"{}/late\"\n\
         [[job]]\nname = \"well\"\n",
        disk.display()
    ));
    let token = hub.token("ops", "operate");
    let service = ServiceProcess::start_http(&hub);
    let begun = service.post("/backup/trigger?job=well", &token, "{}");
    let id = begun.json()["backup_id"].as_str().unwrap().to_owned();
    service.wait_for_answer(&format!("/backup/{id}"), &token, |one| {
        one["backup"]["state"] == "unproven"
    });
    let metrics = service.get("/metrics", &token).text();
    assert!(
        metrics.contains("hubvault_archives{job=\"well\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("hubvault_catalog_readable{job=\"late\"} 0\n"),
        "{metrics}"
    );
    fs::remove_file(&disk).unwrap();
    fs::create_dir(&disk).unwrap();
    service.wait_for_answer("/backup/status?job=late", &token, |status| {
        status["last_backup"].is_null() && status["job"] == "late"
    });
    let said = service.stop_and_log();
    assert!(
        said.contains("late: ") && said.contains("trying again in"),
        "{said}"
    );
}

#[test]
fn jobs_from_standard_input_survive_a_reload() {
    let (slow, quick) = (database("users"), database("orders"));
    let hub = hub_with_two_jobs(&slow, &quick);
    hub.run(&["config", "check"]);
    let toml = fs::File::open(hub.config().join("hubvault.toml")).unwrap();
    let log = hub.config().join("log");
    let mut service = hub.command(&["--config", "-", "serve"]);
    service.stdin(toml).stderr(fs::File::create(&log).unwrap());
    let mut service = service.spawn().unwrap();
    let says = |words: &str| {
        let said = || fs::read_to_string(&log).unwrap();
        wait_for(|| said().contains(words), || format!("{words}: {}", said()));
    };
    says("quick: next run at");
    let pid = Pid::from_child(&service);
    kill_process(pid, Signal::HUP).unwrap();
    says("configuration reloaded");
    kill_process(pid, Signal::TERM).unwrap();
    assert!(service.wait().unwrap().success());
    let said = fs::read_to_string(&log).unwrap();
    assert!(!said.contains("removed from the configuration"), "{said}");
}

#[test]
fn a_command_covers_all_jobs_and_its_exit_code_is_the_worst() {
    let (first, second) = (database("users"), database("orders"));
    let mut hub = hub_with_two_jobs(&first, &second);
    fs::write(hub.config().join("go"), "").unwrap();
    let done = hub.run_expecting(0, &["backup"]);
    let said = stdout(&done);
    let (slow, quick) = (said.find("== slow\n"), said.find("== quick\n"));
    assert!(slow.unwrap() < quick.unwrap(), "{said}");
    for command in ["list", "check", "status"] {
        let output = hub.run_expecting(0, &[command]);
        assert!(stdout(&output).contains("== quick\n"));
    }
    for (arguments, words) in [
        (vec!["show", "latest"], "name one of slow, quick"),
        (vec!["show", "latest", "--json"], "name one of slow, quick"),
        (vec!["list", "--job", "quikc"], "did you mean quick?"),
    ] {
        let output = hub.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    for command in ["list", "check", "status"] {
        let output = hub.run_expecting(0, &[command, "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (number, job) in ["slow", "quick"].into_iter().enumerate() {
            let one = &answer["jobs"][number];
            assert_eq!((&one["job"], &one["exit_code"]), (&json!(job), &json!(0)));
            let of_job = hub.run(&[command, "--json", "--job", job]);
            let of_job: Value = serde_json::from_slice(&of_job.stdout).unwrap();
            let is_same = command != "list" || one["answer"] == of_job;
            assert!(
                is_same && one["answer"].is_array() == of_job.is_array(),
                "{answer}"
            );
        }
    }
    let shown = hub.run(&["show", "latest", "--job", "quick"]);
    assert!(stdout(&shown).contains("orders"), "{}", stdout(&shown));

    // One that fails does not keep the next from its turn.
    hub.set("POSTGRES_DB", "nowhere");
    hub.run_expecting(1, &["backup"]);
    assert_eq!(records(&hub, "slow")[0]["state"], "failed");
    let quick = records(&hub, "quick");
    assert_eq!(
        (&quick[0]["state"], quick.as_array().unwrap().len()),
        (&json!("proven"), 2)
    );
}
