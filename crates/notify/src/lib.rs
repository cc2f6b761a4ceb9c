//! Notices of other capabilities, sent as signed web hooks.
//!
//! Who has something to tell makes a [`Hook`] once, and calls [`tell`] in the transaction that decides what is told: the
//! outbox takes it to topic `notices`. Role `notify` (`run`) keeps each notice in a table by its id, acks, and sends it
//! from there under a lease, again and again with growing pauses, until it arrives or a day has passed
//! (`docs/decisions/alerts.md`). The secret of a hook never leaves the database but to sign.

mod deliveries;
mod hooks;
pub mod messages;
mod options;
mod run;
mod signature;

use antiphon_platform::db::{Migration, Statement};
use antiphon_platform::queue::{Group, Topic};

pub use deliveries::{Delivery, State, delivery, expire, last_test};
pub use hooks::{Hook, NewHook, Notice, check_address, make, remove, tell, told_to};
pub use options::{Options, OptionsError, SETTINGS};
pub use run::{Sending, receive, send, send_due};
pub use signature::{HEADERS, Secret, signature};

/// What is to be told to somebody outside.
pub const NOTICES: Topic = Topic("notices");

/// Tells it.
pub const NOTIFY: Group = Group { name: "notify", topic: NOTICES };

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[Migration {
    owner: "notify",
    version: 1,
    sqlite: include_str!("sql/migration-1.sql"),
    postgres: include_str!("sql/migration-1.postgres.sql"),
}];

/// Every statement of this crate, for the test that prepares them on each engine.
#[must_use]
pub fn statements() -> Vec<Statement> {
    [deliveries::STATEMENTS, hooks::STATEMENTS].concat()
}

#[cfg(test)]
mod tests;
