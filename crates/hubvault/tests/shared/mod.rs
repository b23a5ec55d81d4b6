//! What several test programs need: a hub and its commands, keys, mail, a service, a clock.

pub(crate) mod browser;
pub(crate) mod clock;
pub(crate) mod hub;
pub(crate) mod keys;
pub(crate) mod mailing;
pub(crate) mod service_process;
pub(crate) mod stages;
