//! Connections: passwords, levels of TLS, a standby, a connection URL.

use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, Session, ThrowawayOptions, ThrowawayServer};
use hubvault_testkit::{Standby, database_with, restore_with_plain_tools, server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

const WHOLE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

/// For each role, how it proves who it is.
const METHODS: &str = "host all locked all scram-sha-256
host all plain all password
host all old all md5
hostssl all certified all cert
host all certified all reject
";

fn start(settings: &[(&str, &str)]) -> ThrowawayServer {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let options = ThrowawayOptions {
        settings: settings.iter().map(own).collect(),
        ..ThrowawayOptions::plain("/tmp")
    };
    ThrowawayServer::start(&options, &Cancel::new()).unwrap()
}

fn execute(settings: &ConnectSettings, sql: &str) {
    let mut session = Session::connect(settings, &Cancel::new()).unwrap();
    session.simple("preparing a test", sql).unwrap();
}

/// A server on loopback with a certificate for `localhost`, roles that need a password, and one that needs a certificate.
pub(crate) struct Listening {
    server: ThrowawayServer,
    directory: tempfile::TempDir,
    port: u16,
}

impl Listening {
    pub(crate) fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let server = start(&[
            ("listen_addresses", "127.0.0.1"),
            ("port", port.to_string().as_str()),
        ]);
        let directory = tempfile::tempdir().unwrap();
        let this = Self {
            server,
            directory,
            port,
        };
        this.make_certificates();
        let hba = this.server.directory().join("data/pg_hba.conf");
        let rest = std::fs::read_to_string(&hba).unwrap();
        std::fs::write(&hba, format!("{METHODS}{rest}")).unwrap();
        let admin = this.server.settings("postgres");
        for sql in [
            "CREATE TABLE public.users AS SELECT 1 AS id",
            // Before 14 the default is md5.
            "SET password_encryption = 'scram-sha-256'; CREATE ROLE locked SUPERUSER LOGIN PASSWORD 'right-password'",
            "CREATE ROLE plain SUPERUSER LOGIN PASSWORD 'right-password'",
            "SET password_encryption = md5; CREATE ROLE old SUPERUSER LOGIN PASSWORD 'right-password'",
            "CREATE ROLE certified SUPERUSER LOGIN",
            "ALTER SYSTEM SET ssl = on",
            "ALTER SYSTEM SET ssl_ca_file = 'clients.crt'",
            "SELECT pg_reload_conf()",
        ] {
            execute(&admin, sql);
        }
        this
    }

    fn make_certificates(&self) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose issuer has its own name for a self-signed one.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &authority).unwrap();
        std::fs::write(self.authority(), authority.pem()).unwrap();
        let client_key = KeyPair::generate().unwrap();
        let mut client = CertificateParams::new(Vec::new()).unwrap();
        client
            .distinguished_name
            .push(DnType::CommonName, "certified");
        let client = client.signed_by(&client_key, &authority).unwrap();
        let [certificate, private] = self.client();
        std::fs::write(certificate, client.pem()).unwrap();
        std::fs::write(&private, client_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
        let data = self.server.directory().join("data");
        let owner = std::fs::metadata(&data).unwrap();
        for (name, text) in [
            ("server.crt", leaf.pem()),
            ("server.key", key.serialize_pem()),
            ("clients.crt", authority.pem()),
        ] {
            let path = data.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The certificate of the role `certified`, and its key.
    pub(crate) fn client(&self) -> [PathBuf; 2] {
        ["client.crt", "client.key"].map(|name| self.directory.path().join(name))
    }

    pub(crate) fn service_file(&self) -> PathBuf {
        let path = self.directory.path().join("service.conf");
        std::fs::write(
            &path,
            format!("[hub]\nport={}\ndbname=postgres\n", self.port),
        )
        .unwrap();
        path
    }

    pub(crate) fn hub(&self, host: &str, user: &str) -> Hub {
        let settings = ConnectSettings {
            host: host.to_owned(),
            port: self.port,
            user: user.to_owned(),
            dbname: "postgres".to_owned(),
            ..ConnectSettings::default()
        };
        Hub::at(&settings, WHOLE)
    }
}

#[test]
fn tls_trusts_only_the_configured_authority() {
    let listening = Listening::start();
    let authority = listening.authority().display().to_string();
    let with = |host: &str, mode: &str, root: Option<&str>| {
        let mut hub = listening.hub(host, "postgres");
        hub.set("PGSSLMODE", mode);
        if let Some(root) = root {
            hub.set("PGSSLROOTCERT", root);
        }
        hub
    };
    with("localhost", "verify-full", Some(&authority)).backup();
    with("127.0.0.1", "verify-ca", Some(&authority)).backup();
    with("127.0.0.1", "require", None).backup();
    // Another name than the certificate's, and an authority that is not configured.
    with("127.0.0.1", "verify-full", Some(&authority)).backup_fails(1, &["certificate"]);
    with("localhost", "verify-full", None).backup_fails(1, &["certificate"]);
    with("localhost", "verify-ca", None).backup_fails(1, &["certificate"]);
    with("localhost", "verify-full", Some("/nowhere.pem")).backup_fails(1, &["/nowhere.pem"]);
}

#[test]
fn a_password_comes_from_a_variable_a_file_or_the_password_file() {
    let listening = Listening::start();
    let hub = || listening.hub("127.0.0.1", "locked");
    let secret = listening.directory.path().join("secret");
    std::fs::write(&secret, "right-password\n").unwrap();
    let mut by_file = hub();
    by_file.set("POSTGRES_PASSWORD_FILE", secret.display().to_string());
    by_file.backup();

    let passfile = listening.directory.path().join("pgpass");
    std::fs::write(&passfile, "127.0.0.1:*:*:locked:right-password\n").unwrap();
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut by_passfile = hub();
    by_passfile.set("PGPASSFILE", passfile.display().to_string());
    by_passfile.backup();

    let mut by_url = hub();
    let url = format!(
        "postgres://locked:right-password@127.0.0.1:{}/postgres",
        listening.port
    );
    by_url.set("DATABASE_URL", url);
    by_url.set("POSTGRES_HOST", "nowhere.invalid");
    by_url.backup();
    assert!(!stdout(&by_url.run(&["config", "show"])).contains("right-password"));
}

#[test]
fn every_way_to_give_a_password_works() {
    let listening = Listening::start();
    for role in ["locked", "plain", "old"] {
        for sslmode in ["disable", "allow", "prefer"] {
            let mut hub = listening.hub("127.0.0.1", role);
            hub.set("POSTGRES_PASSWORD", "right-password");
            hub.set("PGSSLMODE", sslmode);
            hub.backup();
        }
    }
}

#[test]
fn a_wrong_password_is_reported_and_not_retried() {
    let listening = Listening::start();
    let mut hub = listening.hub("127.0.0.1", "locked");
    hub.set("POSTGRES_PASSWORD", "wrong-password");
    let said = hub.backup_fails(1, &["password", "locked"]);
    assert!(!said.contains("wrong-password"), "{said}");
    let log = std::fs::read_to_string(listening.server.directory().join("log")).unwrap();
    assert_eq!(
        log.matches("password authentication failed").count(),
        1,
        "{log}"
    );
    listening
        .hub("127.0.0.1", "locked")
        .backup_fails(1, &["password"]);
}

#[test]
fn a_standby_is_backed_up_like_its_primary() {
    let primary = start(&[("wal_level", "replica"), ("max_wal_senders", "4")]);
    primary.create_database("hub").unwrap();
    execute(
        &primary.settings("hub"),
        "CREATE TABLE public.users AS SELECT n AS id FROM generate_series(1, 5000) n",
    );
    let standby = Standby::of(&primary);
    let hub = Hub::at(&standby.settings("hub"), WHOLE);
    let (record, archive) = hub.backup();
    assert_eq!(record["snapshot"]["standby"], true, "{record}");
    assert_eq!(record["tables"][0]["rows"], 5000);
    let target = server().database();
    restore_with_plain_tools(&archive, &target);
    assert_eq!(target.value("SELECT sum(id) FROM users"), "12502500");
}

#[test]
fn a_failed_write_leaves_no_file() {
    let database = database_with(
        "CREATE TABLE users AS SELECT n, md5(n::text) AS name FROM generate_series(1, 200000) n",
    );
    let hub = Hub::whole(&database);
    // A file size limit whose signal is ignored makes a write fail as a full disk does.
    let output = hub
        .command_of("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" backup"])
        .arg(HUBVAULT)
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("writing the archive") && said.contains("File too large"),
        "{said}"
    );
    hub.nothing_published();
}
