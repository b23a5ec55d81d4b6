//! Rows out of a server at its own speed.

pub(crate) mod encoding;
pub(crate) mod rows;
pub(crate) mod session;
pub(crate) mod server_digest;
pub(crate) mod pages;
