//! Consumers: a channel each, opened again when it ends, and how deliveries end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::engine::Engine;
use super::link::{describe, reply_code};
use super::publisher::{PATIENCE, Parcel};
use super::wire::{Arrived, Note};
use super::{names, wire};
use crate::clock::Micros;
use crate::queue::{
    Consumer, DELIVERY_LIMIT, Death, Delivery, Group, MESSAGE_LIMIT, Message, QueueError, Settle, limit_reason,
};

/// How long a consumer waits before it opens its channel again, and a message before it is put aside again.
const AGAIN: Duration = Duration::from_millis(500);

/// How much is kept of a message that is over the limit, in bytes.
const KEPT: usize = 64 * 1024;

/// Which queue of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Live,
    Dead,
}

impl Kind {
    fn queue(self, group: Group) -> String {
        match self {
            Self::Live => names::queue(group),
            Self::Dead => names::dead_queue(group),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Dead => names::DEAD,
        }
    }
}

/// What this process holds and has seen, for depths.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<(&'static str, Kind), GroupSeen>>);

#[derive(Debug, Default)]
struct GroupSeen {
    leases: Vec<Arc<Lease>>,
    /// When what came last was published, µs since 1970.
    published: Option<Micros>,
}

/// One consumer's time on one channel: what it was handed out is its own until that ends.
#[derive(Debug, Default)]
struct Lease {
    held: AtomicU64,
    ended: AtomicBool,
}

impl Seen {
    fn lease(&self, group: Group, kind: Kind) -> Arc<Lease> {
        let lease = Arc::new(Lease::default());
        let mut groups = self.groups();
        let leases = &mut groups.entry((group.name, kind)).or_default().leases;
        leases.retain(|lease| !lease.ended.load(Ordering::Relaxed));
        leases.push(Arc::clone(&lease));
        lease
    }

    fn came(&self, group: Group, kind: Kind, published: Micros) {
        self.groups().entry((group.name, kind)).or_default().published = Some(published);
    }

    /// How many of a group's messages this process holds, and when the last that came was published.
    pub(super) fn of(&self, group: Group) -> (u64, Option<Micros>) {
        let groups = self.groups();
        let Some(seen) = groups.get(&(group.name, Kind::Live)) else { return (0, None) };
        let open = seen.leases.iter().filter(|lease| !lease.ended.load(Ordering::Relaxed));
        (open.map(|lease| lease.held.load(Ordering::Relaxed)).sum(), seen.published)
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<(&'static str, Kind), GroupSeen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One consumer of a group or of its dead queue.
pub(super) struct AmqpConsumer {
    engine: Arc<Engine>,
    group: Group,
    kind: Kind,
    prefetch: u16,
    open: Option<Open>,
    /// What was logged last about why it is not open.
    said: String,
}

/// Consuming, on one channel.
struct Open {
    channel: Closing,
    deliveries: lapin::Consumer,
    lease: Arc<Lease>,
}

/// A channel that is closed with this, wherever opening or consuming was given up: only that makes the broker give back
/// what it handed out there. Dropping a client's channel or consumer does not.
struct Closing {
    channel: Channel,
    runtime: Handle,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let channel = self.channel.clone();
        self.runtime.spawn(async move {
            if let Err(error) = channel.close(200, "done".into()).await {
                tracing::debug!(%error, "a consumer's channel had ended already");
            }
        });
    }
}

impl AmqpConsumer {
    /// Opens it if the broker is there; if it is not, [`next`](Consumer::next) goes on trying.
    pub(super) async fn start(
        engine: Arc<Engine>,
        group: Group,
        kind: Kind,
        prefetch: usize,
    ) -> Result<Self, QueueError> {
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX).max(1);
        let mut consumer = Self { engine, group, kind, prefetch, open: None, said: String::new() };
        match consumer.open().await {
            Ok(open) => consumer.open = Some(open),
            Err(error) if consumer.engine.is_closed() => return Err(error),
            Err(QueueError::Unavailable(reason)) => consumer.say(reason),
            Err(error) => return Err(error),
        }
        Ok(consumer)
    }

    async fn open(&self) -> Result<Open, QueueError> {
        let deadline = Instant::now() + PATIENCE;
        let live = self.engine.take.live(deadline).await?;
        let channel = Closing { channel: live.channel(deadline).await?, runtime: self.engine.runtime.clone() };
        let queue = self.kind.queue(self.group);
        let consuming = async {
            channel.channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.channel.basic_consume(queue.as_str().into(), "".into(), options, arguments).await
        };
        let deliveries = tokio::time::timeout_at(deadline, consuming).await;
        let deliveries = deliveries.map_err(|_| QueueError::Unavailable(live.slow()))?;
        let deliveries = deliveries.map_err(|error| match reply_code(&error) {
            Some(403) => QueueError::NotPermitted(format!("consume {queue}: {}", describe(&error))),
            _ => {
                live.suspect();
                QueueError::Unavailable(format!("{queue}: {}", describe(&error)))
            }
        })?;
        Ok(Open { channel, deliveries, lease: self.engine.seen.lease(self.group, self.kind) })
    }

    fn say(&mut self, reason: String) {
        if reason != self.said {
            tracing::warn!(group = self.group.name, reason, "cannot consume now; trying again");
            self.said = reason;
        }
    }

    /// The delivery, or none if nobody is to see it.
    fn receive(&self, mut delivery: lapin::message::Delivery, open: &Open) -> Option<Delivery> {
        let Arrived { message, note, deliveries } = wire::read(&mut delivery, self.group, self.kind == Kind::Dead);
        // Other programs do not say when they published, or do not say the truth.
        let now = self.engine.clock.now();
        let published = if (1..=now).contains(&note.published) { note.published } else { now };
        self.engine.seen.came(self.group, self.kind, published);
        open.lease.held.fetch_add(1, Ordering::Relaxed);
        let death = note.death.clone();
        let settle = AmqpSettle {
            engine: Arc::clone(&self.engine),
            group: self.group,
            kind: self.kind,
            acker: delivery.acker.clone(),
            lease: Arc::clone(&open.lease),
            message: message.clone(),
            note,
            deliveries,
        };
        if message.body.len() > MESSAGE_LIMIT && self.kind == Kind::Live {
            self.engine.runtime.spawn(settle.too_large());
            return None;
        }
        if deliveries > DELIVERY_LIMIT && self.kind == Kind::Live {
            self.engine.runtime.spawn(settle.over_the_limit(deliveries - 1));
            return None;
        }
        metrics::counter!("antiphon_queue_delivered_total", "group" => self.group.name).increment(1);
        Some(Delivery::new(message, deliveries, death, Box::new(settle)))
    }

    fn close(&mut self) {
        if let Some(Open { channel, deliveries, lease }) = self.open.take() {
            lease.ended.store(true, Ordering::Relaxed);
            drop(deliveries);
            drop(channel);
        }
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        loop {
            let Some(open) = &mut self.open else {
                match self.open().await {
                    Ok(open) => {
                        self.open = Some(open);
                        self.said.clear();
                    }
                    Err(error) if self.engine.is_closed() => return Err(error),
                    Err(error) => {
                        self.say(error.to_string());
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                continue;
            };
            match open.deliveries.next().await {
                Some(Ok(delivery)) => {
                    let Some(open) = &self.open else { continue };
                    if let Some(delivery) = self.receive(delivery, open) {
                        return Ok(delivery);
                    }
                }
                Some(Err(_)) | None => self.close(),
            }
        }
    }
}

impl Drop for AmqpConsumer {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Clone)]
struct AmqpSettle {
    engine: Arc<Engine>,
    group: Group,
    kind: Kind,
    acker: Acker,
    lease: Arc<Lease>,
    message: Message,
    note: Note,
    /// This one included, those before its death not.
    deliveries: u32,
}

impl AmqpSettle {
    fn over(&self) {
        self.lease.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Puts the message where `key` leads in the group's exchange `aside`, then acks it. It is held until the broker has
    /// taken it there, or its channel has ended: then it comes again.
    async fn put_aside(self, key: String, note: Note) -> Result<(), QueueError> {
        let engine = Arc::clone(&self.engine);
        let put = engine.runtime.spawn(async move {
            let parcel = Parcel {
                exchange: names::aside_exchange(self.group),
                key,
                properties: wire::properties(&self.message, &note),
                body: self.message.body.clone(),
            };
            let put = loop {
                match self.engine.send(vec![parcel.clone()], Instant::now() + PATIENCE).await {
                    Err(QueueError::Unavailable(reason)) if self.acker.usable() && !self.engine.is_closed() => {
                        tracing::debug!(group = self.group.name, reason, "a message waits to be put aside");
                        tokio::time::sleep(AGAIN).await;
                    }
                    put => break put,
                }
            };
            self.over();
            match put {
                Ok(()) => drop(self.acker.ack(BasicAckOptions::default()).await),
                Err(_) => give_back(&self.acker),
            }
            put
        });
        match tokio::time::timeout(PATIENCE, put).await {
            Ok(Ok(put)) => put,
            Ok(Err(error)) => Err(QueueError::Unavailable(error.to_string())),
            Err(_) => Err(QueueError::Unavailable(String::from(
                "the broker does not take it now; the message is held until it does",
            ))),
        }
    }

    async fn die(self, reason: String, deliveries: u32) -> Result<(), QueueError> {
        let death = Some(Death { reason, time: self.engine.clock.now(), deliveries });
        let note = Note { published: self.note.published, death, ..Note::default() };
        metrics::counter!("antiphon_queue_dead_total", "group" => self.group.name).increment(1);
        self.put_aside(String::from(names::DEAD), note).await
    }

    /// Waits for step `step`, counted from 0, or the last one.
    async fn wait(self, step: usize, reason: String) -> Result<(), QueueError> {
        let step = step.min(self.engine.backoff.len().saturating_sub(1)) + 1;
        let retries = self.note.retries.saturating_add(1);
        let note = Note { deliveries: self.deliveries, retries, reason, ..self.note.clone() };
        let key = format!("{}.{step}", self.kind.word());
        self.put_aside(key, note).await
    }

    async fn over_the_limit(self, deliveries: u32) {
        report(self.group, self.die(limit_reason(), deliveries).await);
    }

    async fn too_large(mut self) {
        let size = self.message.body.len();
        let reason = format!("it has {size} bytes, {MESSAGE_LIMIT} are allowed; only its first {KEPT} are kept");
        // A copy, so that the whole is not kept in memory by its beginning.
        self.message.body = bytes::Bytes::copy_from_slice(&self.message.body[..KEPT]);
        let deliveries = self.deliveries;
        report(self.group, self.die(reason, deliveries).await);
    }
}

fn report(group: Group, put: Result<(), QueueError>) {
    if let Err(error) = put {
        tracing::warn!(group = group.name, %error, "a message could not be set aside yet");
    }
}

/// Gives a message back at once. On a channel that has ended this was done by the broker already.
fn give_back(acker: &Acker) {
    let options = BasicNackOptions { multiple: false, requeue: true };
    // The first poll hands it to the connection; nobody waits until it is sent.
    drop(acker.nack(options).now_or_never());
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        self.over();
        match self.acker.ack(BasicAckOptions::default()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(QueueError::Unavailable(String::from("its consumer ended before: it comes again"))),
            Err(error) => Err(QueueError::Unavailable(describe(&error))),
        }
    }

    async fn retry(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        let step = self.note.retries as usize;
        if self.kind == Kind::Dead {
            // The dead do not die again: after the last step, they come back at its pace.
            return self.wait(step, reason).await;
        }
        if step >= self.engine.backoff.len() || self.deliveries >= DELIVERY_LIMIT {
            let deliveries = self.deliveries;
            return self.die(reason, deliveries).await;
        }
        self.wait(step, reason).await
    }

    async fn dead(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        if self.kind == Kind::Dead {
            return self.wait(usize::MAX, reason).await;
        }
        let deliveries = self.deliveries;
        self.die(reason, deliveries).await
    }

    fn release(self: Box<Self>) {
        if self.kind == Kind::Live && self.deliveries >= DELIVERY_LIMIT && self.acker.usable() {
            let deliveries = self.deliveries;
            self.engine.runtime.clone().spawn(self.over_the_limit(deliveries));
            return;
        }
        self.over();
        give_back(&self.acker);
    }
}
