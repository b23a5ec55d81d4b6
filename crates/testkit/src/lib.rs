//! Real parts for the tests: a server that the tests start themselves, a fresh database for each test, the nasty
//! schema, proxies that disturb connections, a mail server, an SSH server and a receiver of HTTP.

mod bytes;
mod waiting;
mod certificates;
mod directory;
mod database;
mod http_sink;
mod mail;
mod messages;
pub mod object_store;
mod proxy;
mod random;
mod restarting;
mod restore;
mod sftp;
mod standby;

pub use bytes::contains_bytes;
pub use database::{Database, Digests, Server, database_with, digests, execute, server, value};
pub use directory::{open_directory, server_directory};
pub use http_sink::{Answer, HttpRequest, HttpSink};
pub use mail::{Attached, MailFault, MailServer, MailServerOptions, MailTls, Parts, Received};
pub use messages::{MessageProxy, Next, Passing, Side};
pub use proxy::{Fault, Proxy};
pub use random::{Random, noise};
pub use restarting::{RestartingServer, Shutdown};
pub use restore::{
    extract, restore_at, restore_unpacked, restore_with_plain_tools, run_restore_script,
};
pub use sftp::{SftpServer, SftpServerOptions, make_key};
pub use standby::Standby;
pub use waiting::{PATIENCE, wait_for};

/// One small table.
pub const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) n; ANALYZE;";
/// A schema as nasty as real life.
pub const NASTY: &str = include_str!("nasty.sql");
/// Tables of several extents, a large `TOASTed` value set, and a bank whose sum is constant.
pub const NASTY_LARGE: &str = include_str!("nasty_large.sql");
