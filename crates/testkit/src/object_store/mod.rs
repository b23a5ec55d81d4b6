//! Real servers for objects on loopback, each in a directory of its own, and a proxy before them with the faults of HTTP.

mod supervised;
mod http;
mod azure;
mod faults;
mod forward_proxy;
mod s3;
mod sessions;

pub use azure::AzureServer;
pub use faults::{HttpFault, HttpFaults};
pub use forward_proxy::ForwardProxy;
pub use s3::{S3Key, S3Server};
pub use sessions::Sessions;
