//! `SeaweedFS`, a server that speaks S3.

use super::http::{Message, request, send, sent};
use super::supervised::{Supervised, free_ports, program};
use crate::certificates::Certificates;
use crate::waiting::PATIENCE;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Who asks an [`S3Server`].
#[derive(Clone, Copy, Debug)]
pub struct S3Key {
    /// The id of the key.
    pub id: &'static str,
    /// The key.
    pub secret: &'static str,
}

/// May do everything.
const OWNER: S3Key = S3Key {
    id: "HVOWNER",
    secret: "the/owner's+secret",
};
/// May read and list everything.
const READER: S3Key = S3Key {
    id: "HVREADER",
    secret: "the/reader's+secret",
};
/// May do what a bucket's policy allows it.
const GUEST: S3Key = S3Key {
    id: "HVGUEST",
    secret: "the/guest's+secret",
};
/// The bucket that is open to everyone, where a test makes it.
const OPEN: &str = "open-to-everyone";
const REGION: &str = "us-east-1";

/// A real server that speaks S3 on a free port of loopback; it is gone when dropped, and when the test process ends.
pub struct S3Server {
    server: Mutex<Supervised>,
    port: u16,
    https: u16,
    ca_file: PathBuf,
}

static SHARED: Mutex<Option<Arc<S3Server>>> = Mutex::new(None);

impl S3Server {
    /// The bucket that is open to everyone, where a test makes it.
    pub const OPEN: &'static str = OPEN;
    /// The key that may do everything.
    pub const OWNER: S3Key = OWNER;

    /// The server of this test process, until it ends. Each test makes buckets of its own in it.
    ///
    /// # Panics
    /// When it does not come up, and where `tools/fetch-stores.sh` was not run.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shared.get_or_insert_with(|| Arc::new(Self::start())))
    }

    /// Starts a server of its own.
    ///
    /// # Panics
    /// When it does not come up, and where `tools/fetch-stores.sh` was not run.
    pub fn start() -> Self {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            // It may end at once: another test took one of its ports.
            if let Some(server) = Self::try_start(start) {
                return server;
            }
        }
        panic!("the S3 server does not come up");
    }

    fn try_start(start: Instant) -> Option<Self> {
        let directory = TempDir::with_prefix("hv-s3-").unwrap_or_else(|e| panic!("{e}"));
        let ports = free_ports::<9>();
        let certificates = Certificates::make(directory.path(), "localhost");
        let config = directory.path().join("keys.json");
        std::fs::write(&config, keys()).unwrap_or_else(|e| panic!("{e}"));
        let command = command(directory.path(), ports);
        // It makes these beside the sockets that it is told of.
        let left = ["master", "volume", "filer", "s3"].map(|part| {
            let ports = ports.map(|port| port.to_string()).join(",");
            ports.split(',').fold(String::new(), |mut all, port| {
                let _ = write!(all, "/tmp/seaweedfs-{part}-grpc-{port}.sock ");
                all
            })
        });
        let server = Supervised::start(directory, &left.concat(), &command);
        let this = Self {
            server: Mutex::new(server),
            port: ports[6],
            https: ports[8],
            ca_file: certificates.authority,
        };
        while start.elapsed() < PATIENCE {
            let has_ended = |mut server: std::sync::MutexGuard<'_, Supervised>| server.has_ended();
            if has_ended(this.server.lock().unwrap_or_else(PoisonError::into_inner)) {
                return None;
            }
            // Answers come before there is room for objects.
            if this.make_probe() {
                return Some(this);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }

    fn make_probe(&self) -> bool {
        let put = |path: &str, body: &[u8]| {
            matches!(self.try_request("PUT", path, &[], body), Ok((200, _)))
        };
        let is_ready =
            (put("/hv-probe", b"") || self.exists("/hv-probe")) && put("/hv-probe/x", b"x");
        if is_ready {
            self.request("DELETE", "/hv-probe/x", &[], b"");
            self.request("DELETE", "/hv-probe", &[], b"");
        }
        is_ready
    }

    fn exists(&self, path: &str) -> bool {
        matches!(self.try_request("HEAD", path, &[], b""), Ok((200, _)))
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `https://localhost:<port>`, and the authority that its certificate can be checked with.
    pub fn https(&self) -> (String, PathBuf) {
        (
            format!("https://localhost:{}", self.https),
            self.ca_file.clone(),
        )
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The key that may do everything.
    pub fn owner(&self) -> S3Key {
        OWNER
    }

    /// The key that may only read and list.
    pub fn reader(&self) -> S3Key {
        READER
    }

    /// The key that may do what a bucket's policy allows it.
    pub fn guest(&self) -> S3Key {
        GUEST
    }

    /// Makes a bucket; with object lock it also has versions.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn create_bucket(&self, name: &str, lock: bool) {
        let headers: &[_] = if lock {
            &[("x-amz-bucket-object-lock-enabled", "true")]
        } else {
            &[]
        };
        let (status, body) = self.request("PUT", &format!("/{name}"), headers, b"");
        assert_eq!(status, 200, "making the bucket {name}: {body}");
    }

    /// Sends one request, signed by the owner: `GET`, `/bucket?versions`. Returns the status and the body.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String) {
        self.try_request(method, target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    fn try_request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(u16, String), Box<dyn std::error::Error + Send + Sync>> {
        send(&self.signed(method, target, headers, body)?)
    }

    fn signed(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpRequest, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = request(self.port, method, target, headers, body)?;
        let key = AwsCredential {
            key_id: OWNER.id.into(),
            secret_key: OWNER.secret.into(),
            token: None,
        };
        AwsAuthorizer::new(&key, "s3", REGION).try_authorize(&mut request, None)?;
        Ok(request)
    }

    /// The lines of the answer to a `HEAD` of `/bucket/key`.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn head(&self, target: &str) -> Vec<String> {
        let lines = || {
            let signed = self.signed("HEAD", target, &[], b"")?;
            let answer = Message::read(&sent(&signed)?, true, true).ok_or("no answer")?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer.lines)
        };
        lines().unwrap_or_else(|error| panic!("HEAD {target}: {error}"))
    }

    /// What the server logged, to look into.
    pub fn log(&self) -> String {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::read_to_string(server.directory().join("log")).unwrap_or_default()
    }
}

fn keys() -> String {
    let identity = |key: S3Key, actions: &[&str]| {
        serde_json::json!({
            "name": key.id.to_lowercase(),
            "credentials": [{"accessKey": key.id, "secretKey": key.secret}],
            "actions": actions,
        })
    };
    let open = ["Read", "Write", "List"].map(|action| format!("{action}:{OPEN}"));
    serde_json::json!({"identities": [
        identity(OWNER, &["Admin", "Read", "Write", "List", "Tagging"]),
        identity(READER, &["Read", "List"]),
        identity(GUEST, &[]),
        {
            "name": "anonymous",
            "actions": open,
        },
    ], "kms": {
        "default_provider": "local",
        "providers": {"local": {"type": "local", "enableOnDemandCreate": true}},
    }})
    .to_string()
}

fn command(directory: &std::path::Path, ports: [u16; 9]) -> Vec<String> {
    let path = |name: &str| directory.join(name).display().to_string();
    let mut command = vec![program("seaweedfs/weed"), "-logtostderr=true".into()];
    command.extend(
        [
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            // Small volumes, as each bucket has some of its own.
            "-master.volumeSizeLimitMB=64",
            "-volume.max=5000",
            "-volume.minFreeSpace=1",
        ]
        .map(String::from),
    );
    command.push(format!("-dir={}", directory.display()));
    command.push(format!("-s3.config={}", path("keys.json")));
    command.push(format!("-s3.cert.file={}", path("server.pem")));
    command.push(format!("-s3.key.file={}", path("server.key")));
    command.push(format!("-filer.localSocket={}", path("filer.sock")));
    command.push(format!("-s3.localSocket={}", path("s3.sock")));
    let names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
        "s3.port.https",
    ];
    command.extend(
        names
            .iter()
            .zip(ports)
            .map(|(name, port)| format!("-{name}={port}")),
    );
    command
}
