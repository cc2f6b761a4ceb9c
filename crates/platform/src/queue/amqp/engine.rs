//! The port's methods.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lapin::Channel;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::consumer::{AmqpConsumer, Kind, Seen};
use super::link::{Link, Purpose, closed, describe, reply_code};
use super::publisher::{PATIENCE, Parcel, Publisher, Trouble};
use super::wire::Note;
use super::{names, permissions, topology, wire};
use crate::address::Address;
use crate::clock::{Clock, Micros};
use crate::queue::{Access, BACKOFF, Consumer, Depth, Group, Message, Queue, QueueError, Topic};

/// How long declaring may take: brokers are slow to make queues, and have to make several for a group.
const DECLARE: Duration = Duration::from_secs(30);

/// A handle to the queues of one virtual host, with some access. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct AmqpQueue {
    engine: Arc<Engine>,
    access: Access,
}

/// What tests set otherwise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Delays before the first, second, ... retry, in whole milliseconds. Queues are declared with them: all processes
    /// of an installation need the same.
    pub backoff: Vec<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { backoff: BACKOFF.to_vec() }
    }
}

/// What handles and consumers share.
pub(super) struct Engine {
    pub(super) clock: Clock,
    pub(super) backoff: Vec<Duration>,
    pub(super) runtime: Handle,
    pub(super) take: Link,
    pub(super) seen: Seen,
    publisher: Publisher,
    /// Groups that were declared here, to be declared again on a broker that has forgotten them.
    declared: Mutex<BTreeSet<Group>>,
    /// Groups that nobody consumes, and since when something waits there.
    unserved: Mutex<HashMap<Group, Micros>>,
    is_closed: AtomicBool,
}

impl AmqpQueue {
    /// Opens the queues at `address`: `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://`, where a parameter
    /// `?cacert=PATH` names a PEM file of the authorities to trust in place of the system's. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when the broker cannot be reached, does not answer within 4 s, or refuses the
    /// account, with the reason.
    pub async fn open(address: impl Into<Address>, access: Access, clock: Clock) -> Result<Self, QueueError> {
        Self::open_with(address, access, clock, Options::default()).await
    }

    /// As [`open`](Self::open), with other delays.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(
        address: impl Into<Address>,
        access: Access,
        clock: Clock,
        options: Options,
    ) -> Result<Self, QueueError> {
        let address = address.into();
        let engine = Engine {
            clock,
            backoff: options.backoff,
            runtime: Handle::current(),
            take: Link::new(address.clone(), Purpose::Take),
            seen: Seen::default(),
            publisher: Publisher::new(Link::new(address, Purpose::Send)),
            declared: Mutex::default(),
            unserved: Mutex::default(),
            is_closed: AtomicBool::new(false),
        };
        engine.take.live(Instant::now() + PATIENCE).await?;
        Ok(Self { engine: Arc::new(engine), access })
    }

    /// The same queues and connections, with another access.
    #[must_use]
    pub fn with_access(&self, access: Access) -> Self {
        Self { engine: Arc::clone(&self.engine), access }
    }

    /// Ends this process's part: what consumers hold is given back, later calls are refused.
    pub async fn close(&self) {
        self.engine.is_closed.store(true, Ordering::SeqCst);
        self.engine.publisher.close().await;
        self.engine.take.close().await;
    }

    /// Exchanges that this handle needs to publish to and that the account may not, tried without a trace. What it may
    /// consume cannot be tried so.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when the broker does not answer, or lacks an exchange.
    pub async fn missing_permissions(&self) -> Result<Vec<String>, QueueError> {
        permissions::missing(self.engine.publisher.link(), &self.access, Instant::now() + DECLARE).await
    }

    async fn send(&self, topic: Topic, group: Option<Group>, messages: &[Message]) -> Result<(), QueueError> {
        if messages.is_empty() {
            return Ok(());
        }
        let note = Note { published: self.engine.clock.now(), ..Note::default() };
        let exchange = if group.is_some() { names::group_exchange(topic) } else { names::topic_exchange(topic) };
        let mut parcels = Vec::with_capacity(messages.len());
        for message in messages {
            wire::check(message)?;
            let key = match group {
                Some(group) => group.name.to_owned(),
                None if topic == names::INBOX => wire::inbox_key(message)?,
                None => String::new(),
            };
            let properties = wire::properties(message, &note);
            parcels.push(Parcel { exchange: exchange.clone(), key, properties, body: message.body.clone() });
        }
        let begun = Instant::now();
        self.engine.send(parcels, begun + PATIENCE).await?;
        metrics::histogram!("antiphon_queue_write_seconds", "topic" => topic.0).record(begun.elapsed().as_secs_f64());
        metrics::counter!("antiphon_queue_published_total", "topic" => topic.0).increment(messages.len() as u64);
        crate::crash::point("queue.after-confirm");
        Ok(())
    }

    /// Groups that this handle knows of.
    fn groups(&self) -> BTreeSet<Group> {
        let mut groups = self.engine.declared().clone();
        let named = self.access.consume.iter().chain(&self.access.dead);
        groups.extend(named.filter(|group| !group.is_every_foreign()));
        groups
    }
}

impl Engine {
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Publishes all of `parcels`, before `deadline`. What has no queue is declared again, if this process declared it.
    pub(super) async fn send(&self, mut parcels: Vec<Parcel>, deadline: Instant) -> Result<(), QueueError> {
        if self.is_closed() {
            return Err(closed());
        }
        let reason = match self.publisher.publish(&mut parcels, deadline).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Missing(reason)) => reason,
            Err(trouble) => return Err(trouble.into()),
        };
        let groups = self.declared().clone();
        tracing::warn!(reason, "the broker has no queue for a message; declaring it again");
        for group in groups {
            topology::declare(&self.take, group, &self.backoff, deadline).await?;
        }
        Ok(self.publisher.publish(&mut parcels, deadline).await?)
    }

    fn declared(&self) -> MutexGuard<'_, BTreeSet<Group>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn depth(&self, channel: &Channel, group: Group) -> lapin::Result<Depth> {
        let look = async |name| topology::queue_as_is(channel, name).await;
        let queue = look(names::queue(group)).await?;
        let mut waiting = u64::from(queue.message_count());
        for step in 1..=self.backoff.len() {
            waiting += u64::from(look(names::delay_queue(group, step)).await?.message_count());
        }
        let dead = u64::from(look(names::dead_queue(group)).await?.message_count());
        let (in_flight, came) = self.seen.of(group);
        let unserved = waiting > 0 && queue.consumer_count() == 0;
        let oldest = self.oldest(group, if waiting > 0 { came } else { None }, unserved);
        Ok(Depth { group: group.name.to_owned(), waiting, oldest, in_flight, dead })
    }

    /// How old the oldest message of a group is, as far as this process knows: see the module above.
    fn oldest(&self, group: Group, last_came: Option<Micros>, unserved: bool) -> Micros {
        let now = self.clock.now();
        let mut groups = self.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if unserved {
            Some(*groups.entry(group).or_insert(now))
        } else {
            groups.remove(&group);
            None
        };
        last_came.or(since).map_or(0, |since| (now - since).max(0))
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn declare(&self, groups: &[Group]) -> Result<(), QueueError> {
        let deadline = Instant::now() + DECLARE;
        for group in groups {
            topology::declare(&self.engine.take, *group, &self.engine.backoff, deadline).await?;
            self.engine.declared().insert(*group);
        }
        Ok(())
    }

    async fn publish(&self, topic: Topic, messages: Vec<Message>) -> Result<(), QueueError> {
        self.access.check_publish(topic)?;
        self.send(topic, None, &messages).await
    }

    async fn publish_to_group(&self, group: Group, message: Message) -> Result<(), QueueError> {
        self.access.check_publish(group.topic)?;
        self.send(group.topic, Some(group), &[message]).await
    }

    async fn consume(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        self.access.check_consume(group)?;
        Ok(Box::new(AmqpConsumer::start(Arc::clone(&self.engine), group, Kind::Live, prefetch).await?))
    }

    async fn consume_dead(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        self.access.check_consume_dead(group)?;
        Ok(Box::new(AmqpConsumer::start(Arc::clone(&self.engine), group, Kind::Dead, prefetch).await?))
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let deadline = Instant::now() + PATIENCE;
        let live = self.engine.take.live(deadline).await?;
        let mut channel = live.channel(deadline).await?;
        let mut depths = Vec::new();
        for group in self.groups() {
            let depth = tokio::time::timeout_at(deadline, self.engine.depth(&channel, group)).await;
            match depth.map_err(|_| QueueError::Unavailable(live.slow()))? {
                Ok(depth) => depths.push(depth),
                // Not declared yet, by anybody: it does not exist.
                Err(error) if reply_code(&error) == Some(404) => channel = live.channel(deadline).await?,
                Err(error) => return Err(QueueError::Unavailable(describe(&error))),
            }
        }
        Ok(depths)
    }

    async fn check(&self) -> Result<(), QueueError> {
        let deadline = Instant::now() + PATIENCE;
        let live = self.engine.publisher.link().live(deadline).await?;
        if let Some(reason) = live.blocked() {
            return Err(QueueError::Unavailable(reason));
        }
        let channel = live.channel(deadline).await?;
        for topic in &self.access.publish {
            let found = topology::exchange_exists(&channel, names::topic_exchange(*topic));
            let found = tokio::time::timeout_at(deadline, found).await;
            found.map_err(|_| QueueError::Unavailable(live.slow()))?.map_err(|error| {
                QueueError::Unavailable(format!("{} cannot be published to: {}", topic.0, describe(&error)))
            })?;
        }
        Ok(())
    }
}
