//! Consumers: what a group's reader has claimed for them, and how deliveries end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::reader::Hub;
use super::state::{End, Kind, Return, Settlement, State};
use super::wake::Signal;
use crate::clock::{Clock, Micros, micros};
use crate::queue::{BACKOFF, Consumer, DELIVERY_LIMIT, Death, Delivery, Message, QueueError, Settle, limit_reason};

/// A message that is claimed for a consumer.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) id: i64,
    pub(super) deliveries: u32,
    pub(super) retries: u32,
    pub(super) death: Option<Death>,
    pub(super) message: Message,
}

/// Where a reader puts what it has claimed for one consumer.
#[derive(Debug)]
pub(super) struct Inbox {
    prefetch: usize,
    content: Mutex<Content>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Content {
    /// Claimed and not handed out.
    parcels: VecDeque<Parcel>,
    /// Handed out and not settled: row and delivery.
    held: HashMap<i64, u32>,
    closed: bool,
    broken: Option<String>,
}

impl Inbox {
    fn new(prefetch: usize) -> Self {
        Self { prefetch: prefetch.max(1), content: Mutex::default(), filled: Notify::new() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages it could take now. It asks when it is empty or half of its room is free, so that
    /// claims come in batches.
    pub(super) fn wanted(&self) -> usize {
        let content = self.content();
        let free = self.prefetch.saturating_sub(content.parcels.len() + content.held.len());
        let asks = content.parcels.is_empty() || free * 2 >= self.prefetch;
        if asks && !content.closed { free } else { 0 }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.content().closed
    }

    /// Puts a parcel in; gives it back when the consumer is gone.
    pub(super) fn put(&self, parcel: Parcel) -> Option<Parcel> {
        let mut content = self.content();
        if content.closed {
            return Some(parcel);
        }
        content.parcels.push_back(parcel);
        drop(content);
        self.filled.notify_one();
        None
    }

    /// Nothing will come any more.
    pub(super) fn fail(&self, reason: &str) {
        self.content().broken = Some(reason.to_owned());
        self.filled.notify_one();
    }

    fn take(&self) -> Result<Option<Parcel>, QueueError> {
        let mut content = self.content();
        let Some(parcel) = content.parcels.pop_front() else {
            return content.broken.clone().map_or(Ok(None), |reason| Err(QueueError::Broken(reason)));
        };
        content.held.insert(parcel.id, parcel.deliveries);
        Ok(Some(parcel))
    }

    /// The delivery `deliveries` of row `id` has ended.
    fn settled(&self, id: i64, deliveries: u32) {
        let mut content = self.content();
        if content.held.get(&id) == Some(&deliveries) {
            content.held.remove(&id);
        }
    }
}

/// What consumers and their deliveries share.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) state: State,
    pub(super) clock: Clock,
    pub(super) signal: Arc<Signal>,
    pub(super) topic: &'static str,
    pub(super) kind: Kind,
}

impl Context {
    /// Gives back what was never handed out.
    pub(super) fn give_back_unseen(&self, parcel: &Parcel) {
        let end = End::Return(Return { to: self.kind, not_before: 0, unseen: true, step: false, death: None });
        self.state.settle_later(self.settlement(parcel.id, parcel.deliveries, end));
    }

    pub(super) fn settlement(&self, id: i64, deliveries: u32, end: End) -> Settlement {
        Settlement { id, deliveries, topic: self.topic, from: self.kind, end }
    }
}

/// One consumer of a group or of its dead queue.
pub(super) struct FileConsumer {
    inbox: Arc<Inbox>,
    hub: Arc<Hub>,
}

impl FileConsumer {
    pub(super) fn new(hub: Arc<Hub>, prefetch: usize) -> Self {
        let inbox = Arc::new(Inbox::new(prefetch));
        hub.join(Arc::clone(&inbox));
        Self { inbox, hub }
    }
}

#[async_trait]
impl Consumer for FileConsumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        loop {
            // A parcel that comes between the look and the wait leaves a permit in `filled`.
            if let Some(parcel) = self.inbox.take()? {
                let context = self.hub.context().clone();
                if self.inbox.wanted() > 0 {
                    context.signal.ring();
                }
                let Parcel { id, deliveries, retries, death, message } = parcel;
                let before = death.as_ref().map_or(0, |death| death.deliveries);
                let settle = FileSettle { context, inbox: Arc::clone(&self.inbox), id, deliveries, retries, before };
                return Ok(Delivery::new(message, deliveries - before, death, Box::new(settle)));
            }
            self.hub.context().signal.ring();
            self.inbox.filled.notified().await;
        }
    }
}

impl Drop for FileConsumer {
    fn drop(&mut self) {
        close(&self.inbox, self.hub.context());
    }
}

/// Ends an inbox and gives back all that is in it or was handed out of it.
pub(super) fn close(inbox: &Inbox, context: &Context) {
    let mut content = inbox.content();
    content.closed = true;
    let (parcels, held) = (std::mem::take(&mut content.parcels), std::mem::take(&mut content.held));
    drop(content);
    parcels.iter().for_each(|parcel| context.give_back_unseen(parcel));
    for (id, deliveries) in held {
        let end = given_back(context.kind, deliveries, context.clock.now());
        context.state.settle_later(context.settlement(id, deliveries, end));
    }
}

/// How a delivery ends that was handed out and not settled: again at once, until the limit.
pub(super) fn given_back(from: Kind, deliveries: u32, now: Micros) -> End {
    let dies = from == Kind::Live && deliveries >= DELIVERY_LIMIT;
    let death = dies.then(|| (limit_reason(), now));
    let to = if dies { Kind::Dead } else { from };
    End::Return(Return { to, not_before: 0, unseen: false, step: false, death })
}

struct FileSettle {
    context: Context,
    inbox: Arc<Inbox>,
    id: i64,
    deliveries: u32,
    retries: u32,
    /// Deliveries before its death; 0 for the living.
    before: u32,
}

impl FileSettle {
    async fn end(&self, end: End) -> Result<(), QueueError> {
        let settled = self.context.state.settle(self.context.settlement(self.id, self.deliveries, end)).await;
        self.inbox.settled(self.id, self.deliveries);
        if self.inbox.wanted() > 0 {
            self.context.signal.ring();
        }
        settled
    }

    fn back_after(&self, step: usize, now: Micros) -> Return {
        let delay = BACKOFF.get(step).or(BACKOFF.last()).map_or(0, |delay| micros(*delay));
        let not_before = now + delay + jitter(delay, self.id, self.deliveries);
        Return { to: self.context.kind, not_before, unseen: false, step: true, death: None }
    }
}

/// Up to 20 % of a delay, spread evenly over messages and deliveries.
fn jitter(delay: Micros, id: i64, deliveries: u32) -> Micros {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..].copy_from_slice(&deliveries.to_le_bytes());
    (delay / 5).saturating_mul(i64::from(crc32c::crc32c(&bytes) >> 16)) >> 16
}

#[async_trait]
impl Settle for FileSettle {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        self.end(End::Ack).await
    }

    async fn retry(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        let now = self.context.clock.now();
        let step = self.retries as usize;
        let dies = step >= BACKOFF.len() || self.deliveries >= DELIVERY_LIMIT;
        let back = match self.context.kind {
            // The dead do not die again: they come back at the pace of the last step.
            Kind::Dead => self.back_after((self.deliveries - self.before - 1) as usize, now),
            Kind::Live if dies => {
                Return { to: Kind::Dead, not_before: 0, unseen: false, step: false, death: Some((reason, now)) }
            }
            Kind::Live => self.back_after(step, now),
        };
        self.end(End::Return(back)).await
    }

    async fn dead(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        let now = self.context.clock.now();
        let back = match self.context.kind {
            Kind::Dead => self.back_after(BACKOFF.len() - 1, now),
            Kind::Live => {
                Return { to: Kind::Dead, not_before: 0, unseen: false, step: false, death: Some((reason, now)) }
            }
        };
        self.end(End::Return(back)).await
    }

    fn release(self: Box<Self>) {
        let end = given_back(self.context.kind, self.deliveries, self.context.clock.now());
        self.context.state.settle_later(self.context.settlement(self.id, self.deliveries, end));
        self.inbox.settled(self.id, self.deliveries);
        self.context.signal.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_at_most_a_fifth_and_not_always_the_same() {
        let delays: Vec<Micros> = (0..1000).map(|id| jitter(1_000_000, id, 1)).collect();
        assert!(delays.iter().all(|delay| (0..=200_000).contains(delay)));
        assert!(*delays.iter().max().unwrap() > 150_000 && *delays.iter().min().unwrap() < 50_000);
    }
}
