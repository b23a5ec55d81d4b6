//! What runs for years: the daemon, and who asks it over HTTP.

pub(crate) mod token;
