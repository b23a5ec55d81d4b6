//! What several of the test programs need: a hub and its commands, keys, mails, a service, another clock.

pub(crate) mod clock;
pub(crate) mod hub;
pub(crate) mod keys;
pub(crate) mod mailing;
pub(crate) mod service_process;
pub(crate) mod stages;
