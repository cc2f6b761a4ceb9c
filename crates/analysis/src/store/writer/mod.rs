//! The writer: results in batches, one transaction a batch, ack after commit.
//!
//! Applying is idempotent by (recording, piece, group, plan version, part), so a crash between commit and ack, a
//! repeat and a second writer change nothing. A message that can never be stored is set aside with the reason;
//! it is found by halving the batch that it spoils, so that it holds up nothing. When the database is away,
//! the writer waits and holds what it has: unsettled deliveries are the back-pressure.

mod batch;
mod incoming;
mod results;
mod touched;

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_platform::clock::Clock;
use antiphon_platform::crash;
use antiphon_platform::db::{Database, DbError, Statement};
use antiphon_platform::queue::{Delivery, Queue, QueueError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
use self::incoming::Incoming;
use super::error::StoreError;
use super::partitions::Partitions;
use crate::descriptors::Known;
use crate::topics::WRITE;

pub(crate) use self::batch::{DAY, song_id};
pub(crate) use self::results::hash_of;

/// Most results in one transaction.
const BATCH: usize = 200;

/// How many unsettled deliveries [`run`] holds when nobody says otherwise: one batch in the transaction, one that waits.
pub const PREFETCH: usize = 2 * BATCH;

/// Bytes of results in one transaction, so that parts of a song do not fill memory.
const BATCH_BYTES: usize = 32 * 1024 * 1024;

/// Pause before trying again when database or queue are away.
const AWAY: Duration = Duration::from_millis(500);

pub(super) fn statements() -> Vec<Statement> {
    [batch::STATEMENTS, results::STATEMENTS, touched::STATEMENTS].concat()
}

/// Consumes group `write` until `stop` fires, holding at most `prefetch` (at least 1) unsettled deliveries in memory, each
/// of some kilobytes as a rule and of 1 MiB at most. Several may run, in one process or many.
pub async fn run(db: Database, queue: Arc<dyn Queue>, clock: Clock, prefetch: usize, stop: CancellationToken) {
    let prefetch = prefetch.max(1);
    let (sender, mut waiting) = mpsc::channel(prefetch);
    let fetch = tokio::spawn(fetch(queue, sender, prefetch, stop.clone()));
    let partitions = Partitions::default();
    let mut deliveries = Vec::with_capacity(BATCH);
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = waiting.recv_many(&mut deliveries, BATCH) => received,
        };
        if received == 0 {
            break;
        }
        while !deliveries.is_empty() {
            let rest = deliveries.split_off(fitting(&deliveries));
            let begun = Instant::now();
            let size = deliveries.len();
            settle_batch(&db, &partitions, &clock, deliveries, &stop).await;
            metrics::histogram!("antiphon_write_batch_seconds").record(begun.elapsed().as_secs_f64());
            metrics::counter!("antiphon_results_total").increment(size as u64);
            deliveries = rest;
        }
    }
    fetch.abort();
}

/// How many deliveries from the front one transaction takes.
fn fitting(deliveries: &[Delivery]) -> usize {
    let mut bytes = 0;
    let fits = deliveries.iter().take_while(|delivery| {
        bytes += delivery.message.body.len();
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

/// Keeps the channel full, whatever becomes of the queue.
async fn fetch(queue: Arc<dyn Queue>, sender: mpsc::Sender<Delivery>, prefetch: usize, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = consume(queue.as_ref(), &sender, prefetch).await {
            tracing::warn!(%error, "results cannot be consumed; trying again");
            tokio::time::sleep(AWAY).await;
        } else {
            return;
        }
    }
}

async fn consume(queue: &dyn Queue, sender: &mpsc::Sender<Delivery>, prefetch: usize) -> Result<(), QueueError> {
    let mut consumer = queue.consume(WRITE, prefetch).await?;
    loop {
        let delivery = consumer.next().await?;
        if sender.send(delivery).await.is_err() {
            return Ok(());
        }
    }
}

/// Stores a batch and settles each of its deliveries, or gives them all back when `stop` fires first.
pub(super) async fn settle_batch(
    db: &Database,
    partitions: &Partitions,
    clock: &Clock,
    deliveries: Vec<Delivery>,
    stop: &CancellationToken,
) {
    let mut good = Vec::with_capacity(deliveries.len());
    let mut foreign = Vec::new();
    for delivery in deliveries {
        match Incoming::read(&delivery.message) {
            Ok(incoming) if incoming.is_foreign() => foreign.push((delivery, incoming)),
            Ok(incoming) => good.push((delivery, incoming)),
            Err(error) => set_aside(delivery, &error).await,
        }
    }
    if !foreign.is_empty() {
        let Some(known) = known(db, stop).await else { return };
        for (delivery, mut incoming) in foreign {
            match incoming.fit(&known) {
                Ok(()) => good.push((delivery, incoming)),
                Err(error) => set_aside(delivery, &error).await,
            }
        }
    }
    let mut batches = vec![good];
    while let Some(mut batch) = batches.pop() {
        if batch.is_empty() {
            continue;
        }
        let results: Vec<&Incoming> = batch.iter().map(|(_, incoming)| incoming).collect();
        match apply(db, partitions, clock, &results).await {
            Ok(()) => {
                crash::point("write.after-effect-before-ack");
                let acks = batch.into_iter().map(|(delivery, _)| delivery.ack());
                for error in futures::future::join_all(acks).await.into_iter().filter_map(Result::err) {
                    tracing::warn!(%error, "a stored result could not be acked; it will come again, without effect");
                }
            }
            Err(StoreError::Database(error @ (DbError::Unavailable(_) | DbError::Broken(_)))) => {
                tracing::warn!(%error, "results wait for the database");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AWAY) => batches.push(batch),
                }
            }
            Err(error) if batch.len() == 1 => {
                for (delivery, _) in batch {
                    set_aside(delivery, &error).await;
                }
            }
            Err(error) => {
                tracing::info!(%error, results = batch.len(), "a batch holds a result that cannot be stored; halving it");
                let second = batch.split_off(batch.len() / 2);
                batches.push(second);
                batches.push(batch);
            }
        }
    }
}

/// What foreign groups have told, once the database says it; `None` when `stop` fires first.
async fn known(db: &Database, stop: &CancellationToken) -> Option<Known> {
    loop {
        let loaded = async { Known::load(&mut db.read().await?).await };
        match loaded.await {
            Ok(known) => return Some(known),
            Err(error) => tracing::warn!(%error, "results wait for the database"),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(AWAY) => {}
        }
    }
}

/// Sets aside what can never be stored; what may be once its descriptor is there comes again.
async fn set_aside(delivery: Delivery, error: &StoreError) {
    let id = delivery.message.id.clone();
    tracing::warn!(id, %error, "a result cannot be stored");
    let settled = match error {
        StoreError::NotKnownYet(reason) => delivery.retry(reason.as_str()).await,
        _ => delivery.dead(error.to_string()).await,
    };
    if let Err(error) = settled {
        tracing::warn!(id, %error, "it could not be set aside; it will come again");
    }
}

/// Applies results in one transaction; only partitions for them are made before. Any error undoes all of it.
async fn apply(db: &Database, partitions: &Partitions, clock: &Clock, results: &[&Incoming]) -> Result<(), StoreError> {
    partitions.make(db, results.iter().flat_map(|incoming| incoming.minutes())).await?;
    let mut tx = db.write().await?;
    let mut batch = Batch::begin(&mut tx, clock, results).await?;
    for incoming in results {
        batch.add(incoming).await?;
    }
    batch.finish().await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
pub(crate) async fn apply_messages(
    db: &Database,
    clock: &Clock,
    messages: &[antiphon_platform::queue::Message],
) -> Result<(), StoreError> {
    let incoming = messages.iter().map(Incoming::read).collect::<Result<Vec<_>, _>>()?;
    apply(db, &Partitions::default(), clock, &incoming.iter().collect::<Vec<_>>()).await
}
