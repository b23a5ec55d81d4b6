//! Notifying recipients of a job's runs and checks: composed from templates, recorded in the outbox, sent by mail and
//! other channels.
//!
//! Delivery never undoes a backup. What could not be delivered is in the record, and in the exit code.

mod phrases;
mod known;
mod previous_run;
mod digest;
mod facts;
mod gather;
pub mod sample;
mod template;
mod message;
mod event;
mod compose;
mod email;
mod run_command;
mod send;
mod outcome;
mod notifier;
mod link;
mod retry;
mod resend;
mod change;
mod alert;

pub use alert::AlertsOutcome;
pub use facts::{AlertFacts, ChangeFacts, ChangedSetting, Facts, LinkFacts};
pub use hubvault_notify::exchange;
pub use known::Known;
pub use notifier::{EarlierRun, Notifier};
pub use outcome::{DeliveryOutcome, nobody_notified, what_to_do};
pub use template::{About, MAIL_TYPES, Rendered, TemplateProblem, Templates};

/// The mistakes in the templates of a directory, each rendered with a sample of everything.
pub fn check_templates(directory: &std::path::Path) -> Vec<TemplateProblem> {
    Templates::new(Some(directory)).check(&sample::facts("success"))
}
