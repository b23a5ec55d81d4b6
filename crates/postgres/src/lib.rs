//! The only part of hubvault that speaks to `PostgreSQL`.

mod settings;

pub use settings::{ConnectSettings, SslMode};
