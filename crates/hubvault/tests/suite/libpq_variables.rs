//! Variables that psql obeys, and connection URLs whose password is not encoded.

use crate::connection::Listening;
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::database_with;

#[test]
fn a_service_an_address_and_a_certificate_of_the_client_are_obeyed() {
    let listening = Listening::start();
    let mut hub = listening.hub("localhost", "certified");
    for name in ["POSTGRES_PORT", "POSTGRES_DB"] {
        hub.set(name, "");
    }
    hub.set("PGSERVICE", "hub");
    hub.set(
        "PGSERVICEFILE",
        listening.service_file().display().to_string(),
    );
    hub.set("PGHOSTADDR", "127.0.0.1");
    hub.set("PGSSLMODE", "verify-full");
    hub.set("PGSSLROOTCERT", listening.authority().display().to_string());
    hub.backup_fails(1, &["certificate", "sslcert and sslkey"]);
    hub.set("PGTARGETSESSIONATTRS", "read-write");
    hub.backup_fails(2, &["PGTARGETSESSIONATTRS", "POSTGRES_HOST"]);
    hub.set("PGTARGETSESSIONATTRS", "any");
    let [certificate, key] = listening.client();
    hub.set("PGSSLCERT", certificate.display().to_string());
    hub.set("PGSSLKEY", key.display().to_string());
    hub.backup();
    // The address is used, not the name, which verify-ca does not check.
    hub.set("POSTGRES_HOST", "nowhere.invalid");
    hub.set("PGSSLMODE", "verify-ca");
    hub.backup();
}

#[test]
fn no_part_of_a_password_that_is_not_encoded_is_repeated() {
    let database = database_with("");
    for url in [
        "postgres://app:first@127.0.0.1/SecretTail@db.invalid:5432/hub",
        "postgres://app:first/SecretTail@db.invalid:5432/hub",
        "postgres://app:first@SecretTail/x@db.invalid/hub",
        "postgres://app:x?SecretTail@db.invalid/hub",
        "postgres://app:SecretTail/x",
    ] {
        let mut hub = Hub::whole(&database);
        hub.set("DATABASE_URL", url);
        for words in [
            &["backup"][..],
            &["config", "show"],
            &["list"],
            &["config", "check"],
        ] {
            let output = hub.run_expecting(2, words);
            let said = stdout(&output) + &stderr(&output);
            assert!(
                !said.contains("Secret") && !said.contains("first"),
                "{words:?}: {said}"
            );
            assert!(said.contains("percent-encode"), "{words:?}: {said}");
        }
    }
    // The same in the place of a host.
    for name in ["POSTGRES_HOST", "SMTP_HOST"] {
        let mut hub = Hub::whole(&database);
        hub.set(name, "smtp://u:SecretTail@host");
        let said = stderr(&hub.run_expecting(2, &["config", "check"]));
        assert!(!said.contains("Secret") && said.contains(name), "{said}");
    }
}
