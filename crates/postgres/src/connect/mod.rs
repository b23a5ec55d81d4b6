//! Connections whose settings are pinned.

pub(crate) mod settings;
pub(crate) mod pgpass;
pub(crate) mod tls;
pub(crate) mod open;
mod socket;
pub(crate) mod wire;
pub(crate) mod pooler;
pub(crate) mod random_secret;
pub(crate) mod session;
pub(crate) mod leftovers;
pub(crate) mod unknown_setting;
