//! The only part of hubvault that sends anything to anyone: mail, webhooks, pings.
