//! Azurite, a server that speaks as Azure's store does.

use super::http::{request, send};
use super::supervised::{Supervised, free_ports, program};
use crate::waiting::PATIENCE;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Starts a server until one gets its port, and waits for it.
pub(crate) fn started(
    prefix: &str,
    command: impl Fn(&TempDir, u16) -> Vec<String>,
) -> (Supervised, u16) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let directory = TempDir::with_prefix(prefix).unwrap_or_else(|e| panic!("{e}"));
        let [port] = free_ports();
        let command = command(&directory, port);
        let mut server = Supervised::start(directory, "", &command);
        while !server.has_ended() && start.elapsed() < PATIENCE {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (server, port);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    panic!("a server for tests does not come up");
}

/// Azurite, in memory; it is gone when dropped, and when the test process ends.
pub struct AzureServer {
    _server: Supervised,
    port: u16,
}

impl AzureServer {
    /// The account.
    pub const ACCOUNT: &'static str = "hvaccount";
    /// Its key.
    pub const KEY: &'static str = "aHVidmF1bHQncyBrZXkgZm9yIHRlc3RzIG9mIEF6dXJl";

    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up, and where `tools/fetch-stores.sh` was not run.
    pub fn start() -> Self {
        let (server, port) = started("hv-azure-", |_, port| {
            let main = program("azurite/node_modules/azurite/dist/src/blob/main.js");
            let accounts = format!("AZURITE_ACCOUNTS={}:{}", Self::ACCOUNT, Self::KEY);
            let line = format!(
                "env {accounts} node {main} --blobPort {port} --inMemoryPersistence --silent --disableTelemetry --skipApiVersionCheck"
            );
            line.split(' ').map(String::from).collect()
        });
        Self {
            _server: server,
            port,
        }
    }

    /// The account's address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, Self::ACCOUNT)
    }

    /// Makes a container.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn create_container(&self, name: &str) {
        let target = format!("/{}/{name}?restype=container", Self::ACCOUNT);
        let made = request(self.port, "PUT", &target, &[("content-length", "0")], b"").and_then(
            |mut request| {
                let key = AzureCredential::AccessKey(AzureAccessKey::try_new(Self::KEY)?);
                AzureAuthorizer::new(&key, Self::ACCOUNT).try_authorize(&mut request)?;
                send(&request)
            },
        );
        let made = made.unwrap_or_else(|error| panic!("making the container {name}: {error}"));
        assert_eq!(made.0, 201, "making the container {name}: {}", made.1);
    }
}
