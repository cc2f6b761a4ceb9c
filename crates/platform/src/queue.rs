//! The work-queue port: topics, groups that compete inside and copy outside, dead letters.
//!
//! # Law
//! - [`Queue::publish`] MUST return `Ok` only when every message is durable: it survives `kill -9`
//!   of every process and a power cut (cases: `publish_is_durable_when_it_returns`,
//!   `nothing_acknowledged_is_lost`).
//! - Every group bound to the topic MUST get each confirmed message at least once; inside a group,
//!   one consumer holds it at a time (cases: `every_group_gets_each_message_once`,
//!   `one_consumer_holds_a_message_at_a_time`).
//! - A group that is declared before a publish MUST get that message, even if nobody consumes yet
//!   (case: `a_declared_group_gets_messages_though_nobody_consumes`).
//! - [`Queue::publish_to_group`] MUST reach that group only (case: `publish_to_group_reaches_that_group_only`).
//! - A delivery that is not settled when its consumer is dropped or dies MUST be delivered again, with
//!   `deliveries` raised by one (cases: `an_unsettled_delivery_comes_back_when_dropped`,
//!   `deliveries_of_a_killed_process_come_back`).
//! - [`Consumer::next`] that is given up MUST lose nothing, and [`Queue::consume`] that is given up MUST hold nothing
//!   (cases: `next_is_cancel_safe`, `a_consumer_given_up_while_it_opens_holds_nothing`).
//! - [`Delivery::ack`] MUST be the end of the message for its group, except that a crash may bring it
//!   back: consumers are idempotent (case: `ack_is_the_end`).
//! - [`Delivery::retry`] MUST bring the message back not before its delay, and after the last step
//!   of [`BACKOFF`] or [`DELIVERY_LIMIT`] deliveries in all MUST set it aside as dead
//!   (cases: `retry_comes_back_after_its_delay`, `retries_end_in_the_dead_queue`,
//!   `the_delivery_limit_ends_in_the_dead_queue`).
//! - [`Delivery::dead`] MUST move it to the group's dead queue with reason, time and count, once; a process that dies in the
//!   middle of it may leave it in both (case: `dead_moves_it_aside_once_with_reason_time_and_count`).
//! - One message MUST never block another one of its group (case: `one_message_never_blocks_another`).
//! - A consumer MUST hold at most `prefetch` unsettled deliveries (case: `a_consumer_holds_at_most_prefetch`).
//! - A message of up to [`MESSAGE_LIMIT`] encoded bytes MUST pass, a larger one MUST be refused
//!   (case: `a_message_over_the_limit_is_refused`).
//! - An engine that cannot confirm within the bounded wait MUST answer [`QueueError::Unavailable`];
//!   the message is then consumed as a confirmed one is, or never
//!   (case: `an_engine_that_cannot_confirm_says_unavailable_and_recovers`).
//! - A handle MUST refuse topics and groups outside its [`Access`] (case: `access_is_enforced`).
//! - [`Queue::depths`] MUST tell what waits and since when, what is held, and what is dead
//!   (case: `depths_tell_what_waits_flies_and_died`).

pub mod amqp;
#[doc(hidden)]
pub mod contract;
pub mod files;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Micros;

/// Delays before the first, second, ... retry of a temporary failure. An engine adds up to 20 % of jitter, or none.
pub const BACKOFF: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];

/// Deliveries of one message to one group, crashes included, before it is set aside.
pub const DELIVERY_LIMIT: u32 = 20;

/// The largest encoded message that an engine must take, in bytes (RabbitMQ 4's default limit).
pub const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// What something is: messages of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub &'static str);

/// Who wants it: a named set of competing consumers bound to one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// The group's name, unique over all topics.
    pub name: &'static str,
    /// The topic that it is bound to.
    pub topic: Topic,
}

impl Group {
    /// What the name of a group begins with that belongs to a program of somebody else.
    pub const FOREIGN_PREFIX: &'static str = "x-";

    /// All foreign groups of a topic together, where an [`Access`] names dead queues.
    #[must_use]
    pub const fn every_foreign(topic: Topic) -> Self {
        Self { name: "x-*", topic }
    }

    /// Whether a foreign group may have that name: `x-` and 1 to 40 of `a-z`, `0-9` and `-`.
    #[must_use]
    pub fn is_foreign_name(name: &str) -> bool {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let own = name.strip_prefix(Self::FOREIGN_PREFIX).unwrap_or_default();
        (1..=40).contains(&own.len()) && own.bytes().all(is_letter)
    }

    /// The foreign group of that name. `None` if no such group may be so called, or if this process has met a thousand
    /// others: names are kept as long as it runs.
    #[must_use]
    pub fn foreign(name: &str, topic: Topic) -> Option<Self> {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        if !Self::is_foreign_name(name) {
            return None;
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match names.get(name) {
            Some(known) => known,
            None if names.len() >= 1_000 => return None,
            None => {
                let kept: &'static str = Box::leak(Box::from(name));
                names.insert(kept);
                kept
            }
        };
        Some(Self { name, topic })
    }

    /// Whether it belongs to a program of somebody else.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        self.name.starts_with(Self::FOREIGN_PREFIX)
    }

    /// Whether it stands for all foreign groups of its topic.
    #[must_use]
    pub fn is_every_foreign(self) -> bool {
        self == Self::every_foreign(self.topic)
    }
}

impl Access {
    /// Whether it may publish to a topic.
    ///
    /// # Errors
    /// [`QueueError::NotPermitted`] if not.
    pub fn check_publish(&self, topic: Topic) -> Result<(), QueueError> {
        permitted(self.publish.contains(&topic), || format!("publish to {}", topic.0))
    }

    /// Whether it may consume a group.
    ///
    /// # Errors
    /// [`QueueError::NotPermitted`] if not.
    pub fn check_consume(&self, group: Group) -> Result<(), QueueError> {
        permitted(self.consume.contains(&group), || format!("consume {}", group.name))
    }

    /// Whether it may consume the dead queue of a group.
    ///
    /// # Errors
    /// [`QueueError::NotPermitted`] if not.
    pub fn check_consume_dead(&self, group: Group) -> Result<(), QueueError> {
        permitted(self.takes_dead_of(group), || format!("consume the dead queue of {}", group.name))
    }

    /// Whether it holds the dead queue of a group, by its name or as one of [`Group::every_foreign`].
    #[must_use]
    pub fn takes_dead_of(&self, group: Group) -> bool {
        let of_all = group.is_foreign() && self.dead.contains(&Group::every_foreign(group.topic));
        of_all || self.dead.contains(&group)
    }
}

fn permitted(is_permitted: bool, what: impl FnOnce() -> String) -> Result<(), QueueError> {
    if is_permitted { Ok(()) } else { Err(QueueError::NotPermitted(what())) }
}

/// One message: the attributes of CloudEvents 1.0 that we use, and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// CloudEvents `id`: stable, derived from the source.
    pub id: String,
    /// CloudEvents `type`, such as `antiphon.recording.v1`.
    pub kind: String,
    /// CloudEvents `source`, such as `sensors/roof`.
    pub source: String,
    /// CloudEvents `time`, µs since 1970.
    pub time: Micros,
    /// W3C trace context (`traceparent`), empty if there is none.
    pub trace: String,
    /// The payload (Protobuf).
    pub body: Bytes,
}

/// What a handle may do: every topic it publishes to, every group it consumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Topics it may publish to.
    pub publish: Vec<Topic>,
    /// Groups it may consume (their dead queues included where `dead` says so).
    pub consume: Vec<Group>,
    /// Groups whose dead queues it may consume.
    pub dead: Vec<Group>,
}

/// What can go wrong at the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Not confirmed in time, disk full, broker gone: try again later.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// The handle may not use this topic or group.
    #[error("this role may not {0}")]
    NotPermitted(String),
    /// The message is over [`MESSAGE_LIMIT`].
    #[error("the message has {size} bytes, {limit} are allowed")]
    TooLarge {
        /// Its encoded size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The engine's files or topology are damaged or made by a newer version.
    #[error("the queue cannot be used: {0}")]
    Broken(String),
}

/// Why a message is dead that nobody settled, [`DELIVERY_LIMIT`] times.
#[must_use]
pub fn limit_reason() -> String {
    format!("delivered {DELIVERY_LIMIT} times without being settled")
}

/// How full a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The group's name.
    pub group: String,
    /// Messages not yet delivered, waiting for a retry included.
    pub waiting: u64,
    /// Age of the oldest of them in µs; 0 if there is none, or if this process cannot know it (RabbitMQ tells only who
    /// consumes the group).
    pub oldest: Micros,
    /// Delivered and not settled; on RabbitMQ, to this process.
    pub in_flight: u64,
    /// Set aside and not yet taken from the dead queue.
    pub dead: u64,
}

/// An engine of the port, opened with some [`Access`].
#[async_trait]
pub trait Queue: Send + Sync {
    /// Makes the groups exist; idempotent. MUST be called before the first publish to their topics.
    async fn declare(&self, groups: &[Group]) -> Result<(), QueueError>;

    /// Publishes to every group of `topic`; `Ok` means all are durable. Concurrent calls share syncs.
    async fn publish(&self, topic: Topic, messages: Vec<Message>) -> Result<(), QueueError>;

    /// Publishes to one group only (replay of a dead letter); needs `publish` on the group's topic.
    async fn publish_to_group(&self, group: Group, message: Message) -> Result<(), QueueError>;

    /// Starts to consume a group, holding at most `prefetch` unsettled deliveries.
    async fn consume(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError>;

    /// Starts to consume the dead queue of a group.
    async fn consume_dead(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError>;

    /// How full each group is that exists.
    async fn depths(&self) -> Result<Vec<Depth>, QueueError>;

    /// Whether a publish could succeed now; for readiness. Says what to do if not.
    async fn check(&self) -> Result<(), QueueError>;
}

/// One competing consumer of a group. Dropping it gives its unsettled deliveries back.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for the next delivery. Cancel-safe.
    async fn next(&mut self) -> Result<Delivery, QueueError>;
}

/// One message held by one consumer, to be settled exactly once. Dropping it unsettled gives it back.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// How often it was delivered to this group, this time included (1 = first).
    pub deliveries: u32,
    /// On a dead queue: why, when and after how many deliveries it was set aside.
    pub death: Option<Death>,
    settle: Option<Box<dyn Settle>>,
}

/// Why a message lies in a dead queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The reason in words.
    pub reason: String,
    /// When it was set aside, µs since 1970.
    pub time: Micros,
    /// Deliveries before that.
    pub deliveries: u32,
}

/// How an engine settles a delivery of its own.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Ends the message for the group.
    async fn ack(self: Box<Self>) -> Result<(), QueueError>;
    /// Brings it back after the next backoff step, or sets it aside after the last.
    async fn retry(self: Box<Self>, reason: String) -> Result<(), QueueError>;
    /// Sets it aside at once.
    async fn dead(self: Box<Self>, reason: String) -> Result<(), QueueError>;
    /// Gives it back at once (drop).
    fn release(self: Box<Self>);
}

impl Delivery {
    /// For engines: a delivery that `settle` will end.
    #[must_use]
    pub fn new(message: Message, deliveries: u32, death: Option<Death>, settle: Box<dyn Settle>) -> Self {
        Self { message, deliveries, death, settle: Some(settle) }
    }

    /// The effect is committed: the end of this message for its group.
    pub async fn ack(mut self) -> Result<(), QueueError> {
        match self.settle.take() {
            Some(settle) => settle.ack().await,
            None => Ok(()),
        }
    }

    /// A temporary failure: again later, with backoff; dead after the last step.
    pub async fn retry(mut self, reason: impl Into<String> + Send) -> Result<(), QueueError> {
        match self.settle.take() {
            Some(settle) => settle.retry(reason.into()).await,
            None => Ok(()),
        }
    }

    /// A permanent failure: to the group's dead queue, with the reason in words.
    pub async fn dead(mut self, reason: impl Into<String> + Send) -> Result<(), QueueError> {
        match self.settle.take() {
            Some(settle) => settle.dead(reason.into()).await,
            None => Ok(()),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDINGS: Topic = Topic("recordings");

    #[test]
    fn foreign_groups_have_names_of_their_own() {
        let birds = Group::foreign("x-birds", RECORDINGS).unwrap();
        assert_eq!((birds.name, birds.is_foreign(), birds.is_every_foreign()), ("x-birds", true, false));
        assert_eq!(Group::foreign("x-birds", RECORDINGS), Some(birds));
        for bad in ["birds", "x-", "x-*", "x-Birds", "x-a.b", "x-ä", &format!("x-{}", "a".repeat(41))] {
            assert_eq!(Group::foreign(bad, RECORDINGS), None, "{bad}");
        }
    }

    #[test]
    fn the_dead_queues_of_foreign_groups_are_given_together() {
        let ours = Group { name: "analyze", topic: RECORDINGS };
        let birds = Group::foreign("x-birds", RECORDINGS).unwrap();
        let access = |dead: &[Group]| Access { dead: dead.to_vec(), ..Access::default() };
        let every = access(&[Group::every_foreign(RECORDINGS)]);
        assert!(every.takes_dead_of(birds) && !every.takes_dead_of(ours));
        assert!(!every.takes_dead_of(Group { topic: Topic("songs"), ..birds }));
        assert!(access(&[birds]).takes_dead_of(birds) && !access(&[ours]).takes_dead_of(birds));
    }
}
