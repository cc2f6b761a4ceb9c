//! The RabbitMQ engine: quorum queues, confirms, and a queue per backoff step.
//!
//! [`names`] says what lies on the broker; docs/decisions/rabbitmq.md says why.
//!
//! - A publish that was not confirmed when its connection ended is sent again on the next one, within its bounded wait.
//!   Consumers know a repeat by its id.
//! - Backoff has no jitter: of a queue, only the head expires, so that different delays in one queue would all become
//!   the longest. What has waited goes back into the group's queue, where consumers take it at their own pace.
//! - `retry` and `dead` publish first and ack then; a process that dies in between leaves one message twice.
//! - What a consumer had ready and not handed out counts as delivered when its channel ends: the broker cannot tell.
//! - [`Depth::in_flight`](crate::queue::Depth) is what this process holds, and `oldest` what it knows: messages come in
//!   the order of their publishing, so what waits is at most as old as what came last. Of a group that nobody consumes
//!   it is the time since this process first saw something wait; of one that only others consume, 0.

pub mod names;

#[cfg(feature = "amqp")]
mod consumer;
#[cfg(feature = "amqp")]
mod engine;
#[cfg(feature = "amqp")]
mod guard;
#[cfg(feature = "amqp")]
mod link;
#[cfg(feature = "amqp")]
mod permissions;
#[cfg(feature = "amqp")]
mod publisher;
#[cfg(feature = "amqp")]
mod topology;
#[cfg(feature = "amqp")]
mod wire;

#[cfg(feature = "amqp")]
pub use engine::{AmqpQueue, Options};
