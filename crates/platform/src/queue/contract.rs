//! The contract suite: one case for each MUST of the [law](super), run against every engine.
//!
//! An engine's test implements [`Subject`] and makes a test of each name that
//! [`queue_contract_cases`](crate::queue_contract_cases) lists. A case panics where the engine breaks the law. Cases use
//! topics and groups of their own and may share a subject; none sleeps for a fixed time, all wait on what the port
//! itself tells, for at most [`PATIENCE`].

#![expect(clippy::expect_used, clippy::panic, reason = "a test suite that several engines share")]

pub mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Access, BACKOFF, Consumer, DELIVERY_LIMIT, Delivery, Group, MESSAGE_LIMIT, Message, Queue, QueueError, Topic,
};
use crate::clock::{Clock, SECOND};

/// How long a case waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a case waits to see that nothing comes: longer than any engine polls.
const SILENCE: Duration = Duration::from_millis(600);

const TOPIC: Topic = Topic("contract");
const OTHER_TOPIC: Topic = Topic("contract-other");
const ONE: Group = Group { name: "contract-one", topic: TOPIC };
const TWO: Group = Group { name: "contract-two", topic: TOPIC };
const OTHER: Group = Group { name: "contract-other", topic: OTHER_TOPIC };

/// An empty queue of some engine, and what the suite must do to it from outside.
#[async_trait]
pub trait Subject: Send + Sync {
    /// A connection of its own, as another process would have it. All of one subject see the same messages.
    async fn open(&self, access: Access) -> Arc<dyn Queue>;

    /// Starts a process that consumes `group` and, once it holds `count` deliveries, is killed (SIGKILL).
    async fn die_holding(&self, group: Group, count: usize);

    /// Starts a process that publishes messages `0`, `1`, ... to `topic` and is killed at some moment; the ids that
    /// it saw confirmed.
    async fn die_publishing(&self, topic: Topic) -> Vec<String>;

    /// Lets time pass.
    async fn advance(&self, by: Duration);

    /// How time passes.
    fn time(&self) -> Time {
        Time::Stands
    }

    /// The delays that the engine was opened with; shorter than [`BACKOFF`] where time runs.
    fn backoff(&self) -> Vec<Duration> {
        BACKOFF.to_vec()
    }

    /// Makes publishing impossible (disk full, broker gone) or possible again.
    async fn break_publishing(&self, broken: Switch);
}

/// Off or on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Publishing fails from now on.
    Broken,
    /// Publishing works again.
    Mended,
}

/// How a subject's time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// It stands until [`Subject::advance`] moves it.
    Stands,
    /// It runs by itself: an engine's server looks at its own clock.
    Runs,
}

/// Hands the names of all cases to the macro `$each`, which makes of them what it needs.
#[macro_export]
macro_rules! queue_contract_cases {
    ($each:ident) => {
        $each! {
            publish_is_durable_when_it_returns
            every_group_gets_each_message_once
            one_consumer_holds_a_message_at_a_time
            a_declared_group_gets_messages_though_nobody_consumes
            an_unsettled_delivery_comes_back_when_dropped
            deliveries_of_a_killed_process_come_back
            ack_is_the_end
            retry_comes_back_after_its_delay
            retries_end_in_the_dead_queue
            the_delivery_limit_ends_in_the_dead_queue
            dead_moves_it_aside_once_with_reason_time_and_count
            one_message_never_blocks_another
            a_consumer_holds_at_most_prefetch
            an_engine_that_cannot_confirm_says_unavailable_and_recovers
            access_is_enforced
            publish_to_group_reaches_that_group_only
            depths_tell_what_waits_flies_and_died
            a_message_over_the_limit_is_refused
            next_is_cancel_safe
            a_consumer_given_up_while_it_opens_holds_nothing
        }
    };
}

/// What the cases may do.
#[must_use]
pub fn full_access() -> Access {
    Access { publish: vec![TOPIC, OTHER_TOPIC], consume: vec![ONE, TWO, OTHER], dead: vec![ONE, TWO, OTHER] }
}

/// The groups of the cases.
#[must_use]
pub fn groups() -> [Group; 3] {
    [ONE, TWO, OTHER]
}

/// A message as the cases publish it: the body is made of the id.
#[must_use]
pub fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        kind: String::from("antiphon.contract.v1"),
        source: String::from("sensors/roof"),
        time: 1_700_000_000 * SECOND + 123_456,
        trace: String::from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        body: Bytes::from(id.repeat(50)),
    }
}

async fn open(subject: &impl Subject) -> Arc<dyn Queue> {
    let queue = subject.open(full_access()).await;
    queue.declare(&groups()).await.expect("declare");
    queue
}

async fn publish(queue: &dyn Queue, ids: impl IntoIterator<Item = usize>) {
    let messages = ids.into_iter().map(|id| message(&id.to_string())).collect();
    queue.publish(TOPIC, messages).await.expect("publish");
}

/// The next delivery, which must come.
pub async fn next(consumer: &mut dyn Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next()).await.expect("a delivery in time").expect("a delivery")
}

async fn nothing(consumer: &mut dyn Consumer) {
    if let Ok(delivery) = tokio::time::timeout(SILENCE, consumer.next()).await {
        panic!("{:?} must not be delivered now", delivery.expect("a delivery").message.id);
    }
}

/// Acks all that comes until `count` different messages have; how often each came.
async fn drain(consumer: &mut dyn Consumer, count: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    while seen.len() < count {
        let delivery = next(consumer).await;
        *seen.entry(delivery.message.id.clone()).or_insert(0) += 1;
        delivery.ack().await.expect("ack");
    }
    seen
}

fn once(count: usize) -> BTreeMap<String, usize> {
    (0..count).map(|id| (id.to_string(), 1)).collect()
}

/// `publish` MUST return `Ok` only when every message is durable: it survives `kill -9` of every process.
pub async fn publish_is_durable_when_it_returns(subject: &impl Subject) {
    let queue = open(subject).await;
    let confirmed = subject.die_publishing(TOPIC).await;
    assert!(!confirmed.is_empty(), "the case needs confirmed messages");
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    let mut missing: BTreeSet<String> = confirmed.into_iter().collect();
    while !missing.is_empty() {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!(delivery.message, message(&delivery.message.id));
        missing.remove(&delivery.message.id);
        delivery.ack().await.expect("ack");
    }
}

/// Every group bound to the topic MUST get each confirmed message at least once (undisturbed: once, and whole).
pub async fn every_group_gets_each_message_once(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), 0..100).await;
    for group in [ONE, TWO] {
        let mut consumer = queue.consume(group, 7).await.expect("consume");
        let first = next(consumer.as_mut()).await;
        assert_eq!((&first.message, first.deliveries, &first.death), (&message(&first.message.id), 1, &None));
        let id = first.message.id.clone();
        first.ack().await.expect("ack");
        let mut seen = drain(consumer.as_mut(), 99).await;
        seen.insert(id, 1);
        assert_eq!(seen, once(100));
        nothing(consumer.as_mut()).await;
    }
    let mut other = queue.consume(OTHER, 7).await.expect("consume");
    nothing(other.as_mut()).await;
}

/// Inside a group, one consumer holds a message at a time: consumers of two processes compete, while others publish.
pub async fn one_consumer_holds_a_message_at_a_time(subject: &impl Subject) {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 100;
    let (here, there) = (open(subject).await, open(subject).await);
    let held = Arc::new(std::sync::Mutex::new((BTreeSet::<String>::new(), BTreeMap::<String, usize>::new())));
    let done = Arc::new(tokio::sync::Semaphore::new(0));
    let mut consumers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let queue = Arc::clone(if number % 2 == 0 { &here } else { &there });
        let (held, done) = (Arc::clone(&held), Arc::clone(&done));
        consumers.spawn(async move {
            let mut consumer = queue.consume(ONE, 5).await.expect("consume");
            loop {
                let delivery = consumer.next().await.expect("a delivery");
                let id = delivery.message.id.clone();
                assert!(held.lock().expect("lock").0.insert(id.clone()), "{id} is held twice");
                tokio::task::yield_now().await;
                held.lock().expect("lock").0.remove(&id);
                delivery.ack().await.expect("ack");
                *held.lock().expect("lock").1.entry(id).or_insert(0) += 1;
                done.add_permits(1);
            }
        });
    }
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let queue = Arc::clone(if publisher % 2 == 0 { &here } else { &there });
        publishers.spawn(async move {
            for number in 0..EACH {
                publish(queue.as_ref(), [publisher * EACH + number]).await;
            }
        });
    }
    while let Some(publisher) = publishers.join_next().await {
        publisher.expect("a publisher");
    }
    let all = u32::try_from(PUBLISHERS * EACH).expect("small");
    let acked = tokio::time::timeout(PATIENCE, done.acquire_many(all)).await;
    let seen = held.lock().expect("lock").1.clone();
    acked.unwrap_or_else(|_| panic!("{} of {all} messages came", seen.len())).expect("open").forget();
    consumers.shutdown().await;
    assert_eq!(seen, once(PUBLISHERS * EACH));
}

/// A group that is declared before a publish MUST get that message, even if nobody consumes yet.
pub async fn a_declared_group_gets_messages_though_nobody_consumes(subject: &impl Subject) {
    let queue = open(subject).await;
    queue.declare(&groups()).await.expect("declaring twice is no error");
    publish(queue.as_ref(), 0..3).await;
    let mut one = queue.consume(ONE, 1).await.expect("consume");
    assert_eq!(drain(one.as_mut(), 3).await, once(3));
    let later = open(subject).await;
    let mut two = later.consume(TWO, 1).await.expect("consume");
    assert_eq!(drain(two.as_mut(), 3).await, once(3));
}

/// A delivery that is not settled when its consumer is dropped MUST be delivered again, `deliveries` raised by one.
pub async fn an_unsettled_delivery_comes_back_when_dropped(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), [0]).await;
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    drop(next(consumer.as_mut()).await);
    let second = next(consumer.as_mut()).await;
    assert_eq!((second.message.id.as_str(), second.deliveries), ("0", 2));
    drop(consumer);
    let mut consumer = open(subject).await.consume(ONE, 10).await.expect("consume");
    let third = next(consumer.as_mut()).await;
    assert_eq!((third.message.id.as_str(), third.deliveries), ("0", 3));
    third.ack().await.expect("ack");
    // It was settled by nobody and belongs to nobody: letting go of it now changes nothing.
    drop(second);
    nothing(consumer.as_mut()).await;
}

/// A delivery that is not settled when its consumer dies MUST be delivered again, `deliveries` raised by one.
pub async fn deliveries_of_a_killed_process_come_back(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), 0..5).await;
    subject.die_holding(ONE, 5).await;
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    for _ in 0..5 {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!(delivery.deliveries, 2, "of message {}", delivery.message.id);
        delivery.ack().await.expect("ack");
    }
    nothing(consumer.as_mut()).await;
}

/// `ack` MUST be the end of the message for its group, and for its group only.
pub async fn ack_is_the_end(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), 0..20).await;
    let mut consumer = queue.consume(ONE, 3).await.expect("consume");
    assert_eq!(drain(consumer.as_mut(), 20).await, once(20));
    drop(consumer);
    let again = open(subject).await;
    let mut consumer = again.consume(ONE, 3).await.expect("consume");
    nothing(consumer.as_mut()).await;
    let mut two = again.consume(TWO, 3).await.expect("consume");
    assert_eq!(drain(two.as_mut(), 20).await, once(20));
}

/// `retry` MUST bring the message back not before its delay.
pub async fn retry_comes_back_after_its_delay(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), [0]).await;
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    let mut delivery = next(consumer.as_mut()).await;
    for (step, delay) in subject.backoff().into_iter().enumerate() {
        assert_eq!(delivery.deliveries as usize, step + 1);
        let begun = std::time::Instant::now();
        delivery.retry("the database is down").await.expect("retry");
        if subject.time() == Time::Stands {
            subject.advance(delay - Duration::from_millis(1)).await;
            nothing(consumer.as_mut()).await;
            subject.advance(delay / 5 + Duration::from_millis(2)).await;
        }
        delivery = next(consumer.as_mut()).await;
        assert!(subject.time() == Time::Stands || begun.elapsed() >= delay, "back after {:?}", begun.elapsed());
    }
    delivery.ack().await.expect("ack");
    nothing(consumer.as_mut()).await;
}

/// After the last step of `BACKOFF`, `retry` MUST set the message aside as dead.
pub async fn retries_end_in_the_dead_queue(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), [0]).await;
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    for delay in subject.backoff() {
        next(consumer.as_mut()).await.retry("the database is down").await.expect("retry");
        if subject.time() == Time::Stands {
            subject.advance(delay * 6 / 5).await;
        }
    }
    next(consumer.as_mut()).await.retry("the database is still down").await.expect("retry");
    let mut dead = queue.consume_dead(ONE, 10).await.expect("consume");
    let letter = next(dead.as_mut()).await;
    let death = letter.death.clone().expect("a death");
    assert_eq!(
        (death.reason.as_str(), death.deliveries as usize),
        ("the database is still down", subject.backoff().len() + 1)
    );
    letter.ack().await.expect("ack");
    nothing(consumer.as_mut()).await;
}

/// After `DELIVERY_LIMIT` deliveries in all, the message MUST be set aside as dead, though nobody settles it.
pub async fn the_delivery_limit_ends_in_the_dead_queue(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), [0]).await;
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    for count in 1..=DELIVERY_LIMIT {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!(delivery.deliveries, count);
    }
    let mut dead = queue.consume_dead(ONE, 10).await.expect("consume");
    let letter = next(dead.as_mut()).await;
    assert_eq!(letter.death.clone().expect("a death").deliveries, DELIVERY_LIMIT);
    letter.ack().await.expect("ack");
    nothing(consumer.as_mut()).await;
}

/// `dead` MUST move the message to the group's dead queue with reason, time and count, once.
pub async fn dead_moves_it_aside_once_with_reason_time_and_count(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), 0..2).await;
    let mut consumer = queue.consume(ONE, 1).await.expect("consume");
    drop(next(consumer.as_mut()).await);
    for _ in 0..2 {
        let delivery = next(consumer.as_mut()).await;
        if delivery.message.id == "0" {
            assert_eq!(delivery.deliveries, 2);
            delivery.dead("not a sound at all").await.expect("dead");
        } else {
            delivery.ack().await.expect("ack");
        }
    }
    nothing(consumer.as_mut()).await;
    let mut dead = queue.consume_dead(ONE, 10).await.expect("consume");
    let letter = next(dead.as_mut()).await;
    let death = letter.death.clone().expect("a death");
    assert_eq!((death.reason.as_str(), death.deliveries), ("not a sound at all", 2));
    assert!(death.time > 0, "the time of the death is told");
    assert_eq!((&letter.message, letter.deliveries), (&message("0"), 1));
    // A letter that is not taken comes back, still with the same death.
    drop(letter);
    let letter = next(dead.as_mut()).await;
    assert_eq!((letter.death.clone(), letter.deliveries), (Some(death), 2));
    letter.ack().await.expect("ack");
    nothing(dead.as_mut()).await;
    let mut two = queue.consume_dead(TWO, 10).await.expect("consume");
    nothing(two.as_mut()).await;
}

/// One message MUST never block another one of its group: held, waiting for its retry, or dead.
pub async fn one_message_never_blocks_another(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), 0..3).await;
    let mut slow = queue.consume(ONE, 1).await.expect("consume");
    let held = next(slow.as_mut()).await;
    let mut consumer = queue.consume(ONE, 1).await.expect("consume");
    next(consumer.as_mut()).await.retry("later").await.expect("retry");
    next(consumer.as_mut()).await.dead("never").await.expect("dead");
    publish(queue.as_ref(), 3..10).await;
    assert_eq!(drain(consumer.as_mut(), 7).await, (3..10).map(|id| (id.to_string(), 1)).collect());
    held.ack().await.expect("ack");
}

/// A consumer MUST hold at most `prefetch` unsettled deliveries.
pub async fn a_consumer_holds_at_most_prefetch(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), 0..10).await;
    let mut consumer = queue.consume(ONE, 4).await.expect("consume");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(next(consumer.as_mut()).await);
    }
    nothing(consumer.as_mut()).await;
    let depth = depth(queue.as_ref(), ONE).await;
    assert_eq!((depth.waiting, depth.in_flight), (6, 4));
    held.pop().expect("one").ack().await.expect("ack");
    held.push(next(consumer.as_mut()).await);
    nothing(consumer.as_mut()).await;
}

/// An engine that cannot confirm within the bounded wait MUST answer `Unavailable`, and works again when it can.
pub async fn an_engine_that_cannot_confirm_says_unavailable_and_recovers(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), [0]).await;
    subject.break_publishing(Switch::Broken).await;
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        match queue.publish(TOPIC, vec![message("x"), message("y")]).await {
            Err(QueueError::Unavailable(_)) => {}
            other => panic!("publishing while it is impossible gave {other:?}"),
        }
    }
    assert!(begun.elapsed() < PATIENCE, "the wait is bounded");
    queue.check().await.expect_err("readiness knows");
    subject.break_publishing(Switch::Mended).await;
    queue.check().await.expect("ready again");
    publish(queue.as_ref(), [1]).await;
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    let mut seen = BTreeMap::<String, usize>::new();
    while !(seen.contains_key("0") && seen.contains_key("1")) {
        let delivery = next(consumer.as_mut()).await;
        *seen.entry(delivery.message.id.clone()).or_insert(0) += 1;
        delivery.ack().await.expect("ack");
    }
    // What was answered Unavailable comes at most as often as it was sent.
    assert!(seen.iter().all(|(id, count)| *count <= if id == "0" || id == "1" { 1 } else { 3 }), "{seen:?}");
}

/// A handle MUST refuse topics and groups outside its `Access`.
pub async fn access_is_enforced(subject: &impl Subject) {
    open(subject).await;
    let access = Access { publish: vec![OTHER_TOPIC], consume: vec![ONE], dead: vec![TWO] };
    let queue = subject.open(access).await;
    queue.publish(OTHER_TOPIC, vec![message("0")]).await.expect("permitted");
    queue.publish_to_group(OTHER, message("1")).await.expect("permitted");
    queue.consume(ONE, 1).await.map(drop).expect("permitted");
    queue.consume_dead(TWO, 1).await.map(drop).expect("permitted");
    let refused = [
        queue.publish(TOPIC, vec![message("0")]).await,
        queue.publish_to_group(ONE, message("0")).await,
        queue.consume(TWO, 1).await.map(drop),
        queue.consume_dead(ONE, 1).await.map(drop),
    ];
    for outcome in refused {
        assert!(matches!(outcome, Err(QueueError::NotPermitted(_))), "{outcome:?}");
    }
}

/// `publish_to_group` reaches one group only.
pub async fn publish_to_group_reaches_that_group_only(subject: &impl Subject) {
    let queue = open(subject).await;
    queue.publish_to_group(TWO, message("0")).await.expect("publish");
    publish(queue.as_ref(), [1]).await;
    let mut one = queue.consume(ONE, 10).await.expect("consume");
    assert_eq!(next(one.as_mut()).await.message.id, "1");
    drop(one);
    let mut two = queue.consume(TWO, 10).await.expect("consume");
    assert_eq!(drain(two.as_mut(), 2).await, once(2));
}

/// Depth and age are visible.
pub async fn depths_tell_what_waits_flies_and_died(subject: &impl Subject) {
    let queue = open(subject).await;
    assert_eq!(depth(queue.as_ref(), ONE).await, super::Depth::none(ONE));
    publish(queue.as_ref(), 0..10).await;
    let mut consumer = queue.consume(ONE, 1).await.expect("consume");
    next(consumer.as_mut()).await.retry("later").await.expect("retry");
    next(consumer.as_mut()).await.dead("never").await.expect("dead");
    next(consumer.as_mut()).await.ack().await.expect("ack");
    let _held = next(consumer.as_mut()).await;
    subject.advance(Duration::from_millis(500)).await;
    let one = depth(queue.as_ref(), ONE).await;
    assert_eq!((one.waiting, one.in_flight, one.dead), (7, 1, 1));
    assert!(one.oldest >= SECOND / 2, "{one:?}");
    let two = depth(queue.as_ref(), TWO).await;
    assert_eq!((two.waiting, two.in_flight, two.dead), (10, 0, 0));
}

async fn depth(queue: &dyn Queue, group: Group) -> super::Depth {
    let depths = queue.depths().await.expect("depths");
    depths.into_iter().find(|depth| depth.group == group.name).expect("the group")
}

/// A message of up to `MESSAGE_LIMIT` encoded bytes passes, a larger one is refused.
pub async fn a_message_over_the_limit_is_refused(subject: &impl Subject) {
    let queue = open(subject).await;
    let large = |size| Message { body: Bytes::from(vec![7; size]), ..message("large") };
    let refused = queue.publish(TOPIC, vec![large(MESSAGE_LIMIT + 1)]).await;
    assert!(matches!(refused, Err(QueueError::TooLarge { .. })), "{refused:?}");
    queue.publish(TOPIC, vec![large(MESSAGE_LIMIT - 1024)]).await.expect("publish");
    let mut consumer = queue.consume(ONE, 1).await.expect("consume");
    let delivery = next(consumer.as_mut()).await;
    assert!(delivery.message == large(MESSAGE_LIMIT - 1024), "the large message is whole");
    delivery.ack().await.expect("ack");
}

/// A `next` that is given up loses nothing.
pub async fn next_is_cancel_safe(subject: &impl Subject) {
    let queue = open(subject).await;
    let mut consumer = queue.consume(ONE, 3).await.expect("consume");
    let mut seen = BTreeMap::<String, usize>::new();
    for id in 0..20 {
        publish(queue.as_ref(), [id]).await;
        if let Ok(delivery) = tokio::time::timeout(Duration::from_micros(300), consumer.next()).await {
            let delivery = delivery.expect("a delivery");
            *seen.entry(delivery.message.id.clone()).or_insert(0) += 1;
            delivery.ack().await.expect("ack");
        }
    }
    for (id, count) in drain(consumer.as_mut(), 20 - seen.len()).await {
        *seen.entry(id).or_insert(0) += count;
    }
    assert_eq!(seen, once(20));
}

/// A [`Queue::consume`] that is given up, at whatever moment, keeps no message from others.
pub async fn a_consumer_given_up_while_it_opens_holds_nothing(subject: &impl Subject) {
    let queue = open(subject).await;
    publish(queue.as_ref(), 0..100).await;
    let begun = std::time::Instant::now();
    drop(queue.consume(ONE, 10).await.expect("consume"));
    let opening = begun.elapsed();
    // From the middle of opening, where messages begin to come, to its end; fewer times than a message is delivered.
    let moments = DELIVERY_LIMIT - 5;
    for moment in 0..moments {
        let given_up = opening / 2 + opening * moment / moments / 2;
        drop(tokio::time::timeout(given_up, queue.consume(ONE, 10)).await);
    }
    let mut consumer = queue.consume(ONE, 10).await.expect("consume");
    let seen = drain(consumer.as_mut(), 100).await;
    assert_eq!(seen, once(100));
}

/// A manual clock that a subject may use, at a time like ours.
#[must_use]
pub fn clock() -> Clock {
    Clock::manual(1_700_000_000 * SECOND)
}

impl super::Depth {
    fn none(group: Group) -> Self {
        Self { group: group.name.to_owned(), waiting: 0, oldest: 0, in_flight: 0, dead: 0 }
    }
}
