//! Real servers for objects on loopback, each in a directory of its own, and a proxy before them with the faults of HTTP.

mod supervised;
mod http;
mod azure;
mod faults;
mod forward_proxy;
mod s3;
mod scripted;
mod sessions;

pub use azure::AzureServer;
pub use faults::{HttpFault, HttpFaults};
pub use forward_proxy::ForwardProxy;
pub use s3::{S3Key, S3Server};
pub use scripted::{ScriptedServer, answer, answer_without_end};
pub use sessions::Sessions;
