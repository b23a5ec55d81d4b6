//! The store behind a real SSH server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../contract/mod.rs"]
mod contract;
mod faults;
mod hostile;
mod logins;
mod places;

use contract::Has;
use hubvault_store::{Location, Options, SftpOptions, Store, open};
use hubvault_testkit::{SftpServer, SftpServerOptions};

/// A store with the server that it is on.
struct Remote {
    store: Box<dyn Store>,
    server: SftpServer,
}

impl std::ops::Deref for Remote {
    type Target = SftpServer;

    fn deref(&self) -> &SftpServer {
        &self.server
    }
}

impl Has for Remote {
    fn store(&self) -> &dyn Store {
        &*self.store
    }
}

fn options(server: &SftpServer) -> SftpOptions {
    SftpOptions {
        key_file: Some(server.key_file()),
        known_hosts: Some(server.known_hosts()),
        ..SftpOptions::default()
    }
}

fn store(url: &str, sftp: SftpOptions) -> Box<dyn Store> {
    let options = Options {
        sftp,
        ..Options::default()
    };
    open(&Location::parse(url).unwrap(), &options).unwrap()
}

fn remote(options_of_server: &SftpServerOptions) -> Remote {
    let server = SftpServer::with(options_of_server);
    Remote {
        store: store(&server.url(), options(&server)),
        server,
    }
}

fn usual() -> Remote {
    remote(&SftpServerOptions::default())
}

#[test]
fn a_directory_by_sftp_keeps_the_contract() {
    contract::all(&[], usual);
}
