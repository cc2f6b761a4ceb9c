//! The outbox: what is to be published is written in the transaction that decides it, and published after.
//!
//! [`relay`] reads in order, publishes, and deletes what the queue has confirmed. If it dies in between, or two of
//! them compete, a message is published again under the same id, which consumers must stand anyway.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::crash;
use crate::db::{Database, DbError, Row, Statement, Value, WriteTransaction};
use crate::queue::{Group, Message, Queue, QueueError, Topic};
use crate::sql;

const ADD: Statement = sql!("outbox/add.sql");
const NEXT: Statement = sql!("outbox/next.sql");
const DELETE: Statement = sql!("outbox/delete.sql");
const COUNT: Statement = sql!("outbox/count.sql");

/// Rows that are read and published at a time; with bodies of at most 1 MiB this bounds the memory.
const BATCH: i64 = 32;

/// Waits after the queue or the database has refused, doubled up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Publishes `message` to every group of `topic` once the transaction is committed.
///
/// # Errors
/// As [`WriteTransaction::execute`].
pub async fn publish(tx: &mut WriteTransaction, topic: Topic, message: &Message) -> Result<(), DbError> {
    add(tx, topic, None, message).await
}

/// Publishes `message` to one group once the transaction is committed.
///
/// # Errors
/// As [`WriteTransaction::execute`].
pub async fn publish_to_group(tx: &mut WriteTransaction, group: Group, message: &Message) -> Result<(), DbError> {
    add(tx, group.topic, Some(group.name), message).await
}

async fn add(
    tx: &mut WriteTransaction,
    topic: Topic,
    group: Option<&'static str>,
    message: &Message,
) -> Result<(), DbError> {
    let values = [
        Value::from(topic.0),
        Value::from(group),
        Value::from(message.id.as_str()),
        Value::from(message.kind.as_str()),
        Value::from(message.source.as_str()),
        Value::Int(message.time),
        Value::from(message.trace.as_str()),
        Value::from(&message.body[..]),
    ];
    tx.execute(&ADD, &values).await.map(drop)
}

/// Publishes what is in the outbox to `groups` and their topics, until `stop`. What is meant for others stays: it
/// belongs to a relay of another version.
pub async fn relay(database: Database, queue: &dyn Queue, groups: &[Group], stop: CancellationToken) {
    let reader = database.reader();
    let mut pause = PAUSE.0;
    loop {
        let pass = tokio::select! {
            () = stop.cancelled() => return,
            pass = publish_all(&database, queue, groups) => pass,
        };
        let wake = async {
            match pass {
                Ok(()) => {
                    pause = PAUSE.0;
                    reader.changed().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the outbox waits");
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(PAUSE.1);
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake => {}
        }
    }
}

/// Why a pass over the outbox ended early.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database cannot be used now.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The queue cannot be used now.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// One pass: everything that is in the outbox now.
///
/// # Errors
/// When the queue or the database is unavailable; what was not confirmed stays.
pub async fn publish_all(database: &Database, queue: &dyn Queue, groups: &[Group]) -> Result<(), RelayError> {
    let mut after = 0;
    loop {
        let mut transaction = database.read().await?;
        let rows = transaction.rows(&NEXT, &[Value::Int(after), Value::Int(BATCH)]).await?;
        let waiting: i64 = transaction.row(&COUNT, &[]).await?.map_or(Ok(0), |row| row.get(0))?;
        metrics::gauge!("antiphon_outbox_waiting").set(waiting as f64);
        drop(transaction);
        let entries = rows.iter().map(Entry::from_row).collect::<Result<Vec<_>, _>>()?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.number;
        for run in entries.chunk_by(|one, other| one.has_destination_of(other)) {
            publish_run(database, queue, groups, run).await?;
        }
    }
}

/// Publishes neighbours with one destination, and deletes them.
async fn publish_run(
    database: &Database,
    queue: &dyn Queue,
    groups: &[Group],
    run: &[Entry],
) -> Result<(), RelayError> {
    let Some(first) = run.first() else { return Ok(()) };
    let named = |group: &&Group| first.group.as_deref().is_none_or(|name| name == group.name);
    let of_topic = groups.iter().filter(|group| group.topic.0 == first.topic);
    let foreign = || Group::foreign(first.group.as_deref()?, of_topic.clone().next()?.topic);
    let Some(group) = of_topic.clone().find(named).copied().or_else(foreign) else {
        tracing::warn!(topic = first.topic, group = first.group, "nobody here knows this destination");
        return Ok(());
    };
    let published = if first.group.is_some() {
        let mut published = Ok(());
        for entry in run {
            published = published.and(queue.publish_to_group(group, entry.message.clone()).await);
        }
        published
    } else {
        queue.publish(group.topic, run.iter().map(|entry| entry.message.clone()).collect()).await
    };
    match published {
        Ok(()) => {}
        Err(error @ (QueueError::TooLarge { .. } | QueueError::NotPermitted(_))) => {
            // It will not get better by waiting, and must not hold up what comes behind.
            tracing::error!(%error, first = first.message.id, count = run.len(), "cannot be published");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    crash::point("relay.after-publish");
    let mut transaction = database.write().await?;
    for entry in run {
        transaction.execute(&DELETE, &[Value::Int(entry.number)]).await?;
    }
    transaction.commit().await?;
    Ok(())
}

struct Entry {
    number: i64,
    topic: String,
    group: Option<String>,
    message: Message,
}

impl Entry {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        let message = Message {
            id: row.get(3)?,
            kind: row.get(4)?,
            source: row.get(5)?,
            time: row.get(6)?,
            trace: row.get(7)?,
            body: row.get::<Vec<u8>>(8)?.into(),
        };
        Ok(Self { number: row.get(0)?, topic: row.get(1)?, group: row.get(2)?, message })
    }

    fn has_destination_of(&self, other: &Self) -> bool {
        self.topic == other.topic && self.group == other.group
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::db::testing::every_engine;
    use crate::queue::{Consumer, Depth};

    const SONGS: Topic = Topic("songs");
    const ANALYZE: Group = Group { name: "analyze-songs", topic: SONGS };

    /// Notes what is published, and refuses while told to. The relay needs no more of a queue than this.
    #[derive(Default)]
    struct Notes {
        published: Mutex<Vec<(String, String)>>,
        refuse: std::sync::atomic::AtomicBool,
    }

    impl Notes {
        fn note(&self, destination: &str, message: &Message) -> Result<(), QueueError> {
            if self.refuse.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(QueueError::Unavailable(String::from("told to refuse")));
            }
            self.published.lock().unwrap().push((destination.to_owned(), message.id.clone()));
            Ok(())
        }
    }

    #[async_trait]
    impl Queue for Notes {
        async fn declare(&self, _: &[Group]) -> Result<(), QueueError> {
            Ok(())
        }
        async fn publish(&self, topic: Topic, messages: Vec<Message>) -> Result<(), QueueError> {
            messages.iter().try_for_each(|message| self.note(topic.0, message))
        }
        async fn publish_to_group(&self, group: Group, message: Message) -> Result<(), QueueError> {
            self.note(group.name, &message)
        }
        async fn consume(&self, _: Group, _: usize) -> Result<Box<dyn Consumer>, QueueError> {
            Err(QueueError::NotPermitted(String::from("consume")))
        }
        async fn consume_dead(&self, _: Group, _: usize) -> Result<Box<dyn Consumer>, QueueError> {
            Err(QueueError::NotPermitted(String::from("consume")))
        }
        async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
            Ok(Vec::new())
        }
        async fn check(&self) -> Result<(), QueueError> {
            Ok(())
        }
    }

    fn message(id: usize) -> Message {
        let (kind, source) = (String::from("test"), String::from("here"));
        Message { id: id.to_string(), kind, source, time: 1, trace: String::new(), body: vec![7; id].into() }
    }

    async fn fill(database: &Database, ids: std::ops::Range<usize>) {
        let mut tx = database.write().await.unwrap();
        for id in ids {
            publish(&mut tx, SONGS, &message(id)).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn waiting(database: &Database) -> i64 {
        database.read().await.unwrap().row(&COUNT, &[]).await.unwrap().unwrap().get(0).unwrap()
    }

    #[tokio::test]
    async fn statements_prepare() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            database.reader().prepare_all(&[ADD, NEXT, DELETE, COUNT]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn published_in_order_once_and_deleted() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            fill(&database, 0..100).await;
            let mut tx = database.write().await.unwrap();
            publish_to_group(&mut tx, ANALYZE, &message(100)).await.unwrap();
            publish(&mut tx, Topic("of a newer version"), &message(101)).await.unwrap();
            tx.commit().await.unwrap();
            fill(&database, 102..103).await;
            let notes = Notes::default();
            publish_all(&database, &notes, &[ANALYZE]).await.unwrap();
            let published = notes.published.into_inner().unwrap();
            let expected = (0..100).chain([102]).map(|id: usize| (String::from("songs"), id.to_string()));
            let mut expected: Vec<_> = expected.collect();
            expected.insert(100, (String::from("analyze-songs"), String::from("100")));
            assert_eq!(published, expected);
            assert_eq!(waiting(&database).await, 1, "what nobody here knows stays");
        }
    }

    #[tokio::test]
    async fn what_is_for_a_foreign_group_reaches_it_though_it_is_not_listed() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            let birds = Group::foreign("x-birds", SONGS).unwrap();
            let mut tx = database.write().await.unwrap();
            publish_to_group(&mut tx, birds, &message(0)).await.unwrap();
            tx.commit().await.unwrap();
            let notes = Notes::default();
            publish_all(&database, &notes, &[ANALYZE]).await.unwrap();
            assert_eq!(notes.published.into_inner().unwrap(), [(String::from("x-birds"), String::from("0"))]);
            assert_eq!(waiting(&database).await, 0);
        }
    }

    #[tokio::test]
    async fn what_is_not_confirmed_or_not_committed_stays_or_never_was() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            fill(&database, 0..3).await;
            let mut tx = database.write().await.unwrap();
            publish(&mut tx, SONGS, &message(3)).await.unwrap();
            drop(tx);
            let notes = Notes::default();
            notes.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
            publish_all(&database, &notes, &[ANALYZE]).await.unwrap_err();
            assert_eq!(waiting(&database).await, 3);
            notes.refuse.store(false, std::sync::atomic::Ordering::SeqCst);
            publish_all(&database, &notes, &[ANALYZE]).await.unwrap();
            assert_eq!(notes.published.lock().unwrap().len(), 3);
            assert_eq!(waiting(&database).await, 0);
        }
    }

    #[tokio::test]
    async fn relays_that_compete_publish_everything_and_stop_when_told() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            let notes = Notes::default();
            let stop = CancellationToken::new();
            let relays =
                futures::future::join_all((0..2).map(|_| relay(database.clone(), &notes, &[ANALYZE], stop.clone())));
            let work = async {
                let reader = database.reader();
                for round in 0..5 {
                    fill(&database, 10 * round..10 * round + 10).await;
                    while waiting(&database).await > 0 {
                        reader.changed().await;
                    }
                }
                stop.cancel();
            };
            tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(relays, work) }).await.unwrap();
            let mut ids: Vec<usize> =
                notes.published.into_inner().unwrap().into_iter().map(|(_, id)| id.parse().unwrap()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids, (0..50).collect::<Vec<_>>());
        }
    }
}
