//! Mail and other channels, against real servers on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fixture;
mod mail;
mod mail_faults;
mod mail_tls;
mod channels;
mod chats;
