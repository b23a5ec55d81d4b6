//! The only part of hubvault that sends messages: mail, webhooks, pings.
//!
//! It knows nothing of backups, templates or the catalog: it sends an [`Email`] or an [`Event`] and returns
//! whether it arrived. It blocks, starts no threads that outlive a call, and never retries; the caller
//! decides by the [`SendError`].
//!
//! ```no_run
//! # use hubvault_notify::{Email, Mailer, SendError, SmtpSettings};
//! # fn send(settings: &SmtpSettings, email: &Email) -> Result<(), SendError> {
//! let mut mailer = Mailer::connect(settings)?;
//! let sent = mailer.send(email, &["admin@hub.example".to_owned()])?;
//! for refused in &sent.refused {
//!     println!("{} did not get it: {}", refused.address, refused.reply);
//! }
//! mailer.quit();
//! # Ok(())
//! # }
//! ```

mod address;
mod error;
mod settings;
mod attachment;
mod message;
mod reply;
mod stream;
mod tls;
mod connection;
mod smtp;
mod transaction;
mod payload;
mod chat;
mod pagerduty;
mod kind;
mod exchange;
mod http;

pub use address::check_address;
pub use attachment::{Attachment, encoded_attachment_size};
pub use error::{Problem, Refused, SendError};
pub use exchange::exchange;
pub use http::Channel;
pub use kind::{ChannelKind, command_input};
pub use message::Email;
pub use payload::{Event, EventKind};
pub use settings::{Security, SmtpSettings};
pub use smtp::Mailer;
pub use stream::is_loopback;
pub use transaction::Sent;
