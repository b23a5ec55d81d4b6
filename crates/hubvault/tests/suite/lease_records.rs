//! What machines with one lease know of each other's backups.

use crate::hub::{Hub, stderr};
use crate::leases::{Shared, backups};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::thread;

/// Makes an archive in the bucket one of another server, as its sidecar says.
fn of_another_server(shared: &Shared, archive: &str) {
    let path = format!("/{}/{archive}.manifest.json", shared.bucket);
    let (status, text) = shared.server.request("GET", &path, &[], b"");
    assert_eq!(status, 200, "{path}: {text}");
    let mut sidecar: Value = serde_json::from_str(&text).unwrap();
    sidecar["manifest"]["snapshot"]["system_identifier"] = "7123".into();
    let (status, text) = (shared.server).request("PUT", &path, &[], sidecar.to_string().as_bytes());
    assert_eq!(status, 200, "{path}: {text}");
}

#[test]
fn backups_of_another_server_are_not_taken_over_and_not_removed() {
    let shared = Shared::new("lease-servers");
    let endpoint = shared.server.endpoint();
    let production = shared.machine(&endpoint, "30 s", "0");
    let mut staging = shared.machine(&endpoint, "30 s", "0");
    production.backup();
    let theirs = shared.archives().remove(0);
    of_another_server(&shared, &theirs);
    let warning =
        "are of another PostgreSQL server (system identifier 7123) and count as nothing here";
    let said = stderr(&staging.run(&["backup", "--no-progress"]));
    assert!(said.contains(warning), "{said}");
    assert_eq!(shared.archives().len(), 2);
    let config = fs::read_to_string(staging.config().join("hubvault.toml")).unwrap();
    staging.write(&format!("{config}\n[retention]\ndays = 0\nkeep_last = 1\n"));
    // Its second server.
    production.backup();
    let second = shared.archives().pop().unwrap();
    of_another_server(&shared, &second);
    for _ in 0..2 {
        let output = staging.run(&["backup", "--no-progress"]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        // Once for each server, at the first run.
        assert!(!stderr(&output).contains(warning), "{}", stderr(&output));
    }
    let archives = shared.archives();
    assert!(
        archives.contains(&theirs) && archives.contains(&second),
        "{archives:?}"
    );
    assert_eq!((archives.len(), backups(&staging).len()), (3, 3));
}

#[test]
fn what_another_machine_removed_is_not_missing_and_counts_for_nothing() {
    let shared = Shared::new("lease-removed");
    let endpoint = shared.server.endpoint();
    let [one, mut other] = [(); 2].map(|()| shared.machine(&endpoint, "30 s", "0"));
    one.backup();
    one.backup();
    other.set("BACKUP_RETENTION_DAYS", "0");
    other.backup();
    other.set("BACKUP_RETENTION_DAYS", "30");
    other.backup();
    let archives = shared.archives();
    assert_eq!(
        archives.len(),
        2,
        "retention removed the first two: {archives:?}"
    );
    // One knows the removal, and that there are more.
    let verified = one.run_expecting(0, &["copies", "verify"]);
    assert!(
        !stderr(&verified).contains("missing"),
        "{}",
        stderr(&verified)
    );
    let said = "2 copies at s3 were removed although the retention of this machine keeps them";
    assert!(stderr(&verified).contains(said), "{}", stderr(&verified));
    let states = |hub: &Hub| {
        let listed = hub.run_expecting(0, &["copies", "list", "--json"]);
        let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        let at_s3 = listed
            .into_iter()
            .filter(|copy| copy["destination"] == "s3");
        let mut states: Vec<String> = at_s3
            .map(|copy| copy["state"].as_str().unwrap().to_owned())
            .collect();
        states.sort();
        states
    };
    assert_eq!(states(&one), ["present"; 2]);
    // No retention removes the newest one.
    for ending in ["", ".manifest.json"] {
        let path = format!("/{}/{}{ending}", shared.bucket, archives[1]);
        let (code, text) = shared.server.request("DELETE", &path, &[], b"");
        assert_eq!(code, 204, "{text}");
    }
    one.run_expecting(3, &["copies", "verify"]);
    assert_eq!(states(&one), ["missing", "present"]);
}

#[test]
fn another_destination_that_is_down_holds_up_no_run() {
    let shared = Shared::new("lease-far");
    let mut machine = shared.machine(&shared.server.endpoint(), "30 s", "0");
    // Writes the file.
    machine.run(&["config", "check"]);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = fs::read_to_string(machine.config().join("hubvault.toml")).unwrap();
    machine.write(&format!(
        "{config}[[destination]]\nname = \"far\"\nurl = \"s3://far\"\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n\
         access_key = \"A\"\nsecret_key = \"B\"\n",
        far.local_addr().unwrap()
    ));
    let begun = machine.config().join("begun");
    let asked = thread::spawn(move || {
        far.accept().unwrap();
        begun.exists()
    });
    let said = stderr(&machine.run(&["backup", "--no-progress"]));
    assert!(
        asked.join().unwrap(),
        "it was asked before the export began: {said}"
    );
    assert_eq!(shared.archives().len(), 1, "{said}");
}
