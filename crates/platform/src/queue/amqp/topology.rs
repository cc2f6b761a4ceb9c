//! Exchanges and queues: declared again and again with the same arguments, or found to be there.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use tokio::time::Instant;

use super::link::{Link, describe, reply_code};
use super::names;
use crate::queue::{DELIVERY_LIMIT, Group, QueueError};

/// A delivery limit that is none: newer brokers take "none" to be 20, and older ones refuse to be told "none".
const NO_LIMIT: i64 = 1_000_000_000;

/// One thing on the broker.
enum Item {
    Exchange { name: String, kind: ExchangeKind },
    Queue { name: String, arguments: FieldTable },
    Binding { queue: String, exchange: String, key: String },
}

/// All that a group needs, in an order in which nothing gets a message before what it would go on to is there.
fn items(group: Group, steps: &[Duration]) -> Vec<Item> {
    let exchange = |name, kind| Item::Exchange { name, kind };
    let queue = |name, arguments| Item::Queue { name, arguments };
    let binding = |queue, exchange, key: &str| Item::Binding { queue, exchange, key: key.to_owned() };
    let (aside, back) = (names::aside_exchange(group), names::back_exchange(group));
    let (live, dead) = (names::queue(group), names::dead_queue(group));
    let mut items = vec![
        exchange(aside.clone(), ExchangeKind::Topic),
        exchange(back.clone(), ExchangeKind::Topic),
        exchange(names::group_exchange(group.topic), ExchangeKind::Direct),
        queue(dead.clone(), quorum(&[("x-delivery-limit", NO_LIMIT)], &[])),
        binding(dead.clone(), aside.clone(), names::DEAD),
        binding(dead, back.clone(), "dead.*"),
    ];
    for (step, delay) in (1..).zip(steps) {
        let name = names::delay_queue(group, step);
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        items.push(queue(name.clone(), quorum(&[("x-message-ttl", delay)], &[("x-dead-letter-exchange", &back)])));
        items.push(binding(name, aside.clone(), &format!("*.{step}")));
    }
    // The broker counts from zero: what was given back once more than the limit goes to the dead.
    let limit = i64::from(DELIVERY_LIMIT) - 1;
    let to_the_dead = [("x-dead-letter-exchange", aside.as_str()), ("x-dead-letter-routing-key", names::DEAD)];
    items.push(queue(live.clone(), quorum(&[("x-delivery-limit", limit)], &to_the_dead)));
    items.push(binding(live.clone(), back, "live.*"));
    items.push(binding(live.clone(), names::group_exchange(group.topic), group.name));
    if group.topic == names::INBOX {
        items.push(binding(live, names::topic_exchange(group.topic), names::INBOX_BINDING));
    } else {
        let topic = names::topic_exchange(group.topic);
        items.push(exchange(topic.clone(), ExchangeKind::Fanout));
        items.push(binding(live, topic, ""));
    }
    items
}

/// Arguments of a quorum queue. What expires or goes over a limit is moved on with a confirm between the queues.
fn quorum(numbers: &[(&str, i64)], texts: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    let mut set = |name: &str, text: &str| {
        table.insert(name.into(), AMQPValue::LongString(text.into()));
    };
    set("x-queue-type", "quorum");
    for (name, text) in texts {
        set(name, text);
    }
    if !texts.is_empty() {
        set("x-dead-letter-strategy", "at-least-once");
        // Asked for by that strategy; without a maximum length nothing is rejected.
        set("x-overflow", "reject-publish");
    }
    for (name, number) in numbers {
        table.insert((*name).into(), AMQPValue::LongLongInt(*number));
    }
    table
}

/// Declares all that `group` needs. An account that may not make it finds it made, or says what is missing.
pub(super) async fn declare(
    link: &Link,
    group: Group,
    steps: &[Duration],
    deadline: Instant,
) -> Result<(), QueueError> {
    loop {
        let live = link.live(deadline).await?;
        let channel = live.channel(deadline).await?;
        let made = tokio::time::timeout_at(deadline, make(&channel, group, steps)).await;
        let error = match made {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(QueueError::Unavailable(format!("{} was not declared: {}", group.name, live.slow()))),
        };
        match reply_code(&error) {
            Some(403) => return find(link, group, steps, deadline).await,
            Some(406) => return Err(QueueError::Broken(foreign(&describe(&error)))),
            _ => {
                live.suspect();
                let pause = tokio::time::sleep(Duration::from_millis(200));
                if tokio::time::timeout_at(deadline, pause).await.is_err() {
                    return Err(QueueError::Unavailable(format!("{}: {}", group.name, describe(&error))));
                }
            }
        }
    }
}

async fn make(channel: &Channel, group: Group, steps: &[Duration]) -> lapin::Result<()> {
    for item in items(group, steps) {
        match item {
            Item::Exchange { name, kind } => {
                let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
                channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await?;
            }
            Item::Queue { name, arguments } => {
                channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
            }
            Item::Binding { queue, exchange, key } => {
                let options = QueueBindOptions::default();
                channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await?;
            }
        }
    }
    Ok(())
}

/// Looks whether everything is there, which needs no permission.
async fn find(link: &Link, group: Group, steps: &[Duration], deadline: Instant) -> Result<(), QueueError> {
    let live = link.live(deadline).await?;
    let channel = live.channel(deadline).await?;
    let looked = tokio::time::timeout_at(deadline, look(&channel, group, steps)).await;
    let error = match looked {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) => return Err(QueueError::Unavailable(live.slow())),
    };
    Err(QueueError::Unavailable(match reply_code(&error) {
        Some(404) => format!(
            "waiting for the queues of {}, which this account may not make: {}; start a role whose account may, or \
             declare them as an administrator",
            group.name,
            describe(&error)
        ),
        _ => describe(&error),
    }))
}

async fn look(channel: &Channel, group: Group, steps: &[Duration]) -> lapin::Result<()> {
    for item in items(group, steps) {
        match item {
            Item::Exchange { name, .. } => exchange_exists(channel, name).await?,
            Item::Queue { name, .. } => drop(queue_as_is(channel, name).await?),
            Item::Binding { .. } => {}
        }
    }
    Ok(())
}

/// A queue and how much is in it, or an error with the code 404 if there is none.
pub(super) async fn queue_as_is(channel: &Channel, name: String) -> lapin::Result<lapin::Queue> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, FieldTable::default()).await
}

/// An error with the code 404 if there is no such exchange.
pub(super) async fn exchange_exists(channel: &Channel, name: String) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, FieldTable::default()).await
}

fn foreign(broker: &str) -> String {
    format!(
        "{broker}. Another program or version declared it otherwise: drain and delete it, and it is made anew; or give \
         this installation a virtual host of its own"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Topic;

    #[test]
    fn whatever_is_bound_was_declared_before_it() {
        for topic in [Topic("recordings"), names::INBOX] {
            let mut known = vec![String::from(names::INBOX_EXCHANGE)];
            for item in items(Group { name: "group", topic }, &crate::queue::BACKOFF) {
                match item {
                    Item::Exchange { name, .. } | Item::Queue { name, .. } => known.push(name),
                    Item::Binding { queue, exchange, .. } => {
                        assert!(known.contains(&queue) && known.contains(&exchange), "{queue} {exchange}");
                    }
                }
            }
            assert!(known.iter().all(|name| name.starts_with("antiphon.") || name == names::INBOX_EXCHANGE));
        }
    }
}
