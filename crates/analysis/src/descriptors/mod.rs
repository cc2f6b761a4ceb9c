//! Algorithms of foreign groups: programs of somebody else that take part in the analysis.
//!
//! A foreign group tells what its algorithms yield by a message of the topic `descriptors` ([`read()`]), role `write`
//! keeps it ([`keep`]), and from then on plans, writer, query and listing know the algorithm as they know those of the
//! registry ([`Known`]). What is stored never changes, so a descriptor lives as long as the process that has met it,
//! exactly as the registry's own do, and both are one type: no rule about names, stats, layers or cells exists twice.

mod fit;
pub mod keep;
mod known;
mod read;

pub(crate) use fit::{Misfit, fit};
pub use known::{Foreign, Known, annotation_type};
pub use read::{Unusable, read};

use antiphon_platform::db::Statement;
use antiphon_platform::queue::Group;

/// The name of the foreign group that an algorithm belongs to; `None` for those of the registry.
#[must_use]
pub fn group_of(algorithm: &str) -> Option<&str> {
    let (group, _) = algorithm.split_once('.')?;
    group.starts_with(Group::FOREIGN_PREFIX).then_some(group)
}

/// Every statement of this module, for the test that prepares them on each engine.
#[must_use]
pub fn statements() -> Vec<Statement> {
    [known::STATEMENTS, keep::STATEMENTS].concat()
}

#[cfg(test)]
pub(crate) mod tests;
