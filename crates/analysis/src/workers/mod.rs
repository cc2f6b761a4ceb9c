//! Algorithm workers: audio from the queue in, results to the queue out.
//!
//! A worker keeps no state between messages, so any number of them compete. Results are published and confirmed
//! before the message is acked; a crash in between repeats the work, and the writer knows a repeat by its key.

mod analysis;
pub mod analyze;
pub mod analyze_songs;
mod blob_reader;
mod failure;
mod parts;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_platform::clock::Clock;
use antiphon_platform::cpu::{CpuError, Pool};
use antiphon_platform::crash;
use antiphon_platform::queue::{Delivery, Group, Message, Queue, QueueError};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::ids::result_message;
use crate::messages;
use crate::topics::RESULTS;
pub(crate) use analysis::sample_number;
pub(crate) use blob_reader::BlobReader;
pub use failure::Failure;
pub(crate) use failure::KEPT;
pub use parts::Emit;

/// How long a worker waits before it asks a queue again that could not be used.
const QUEUE_AGAIN: Duration = Duration::from_secs(1);

/// How long work under way may go on after the worker was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Parts of a result that may wait for their publishing.
const WAITING_PARTS: usize = 2;

/// What every worker needs.
#[derive(Clone)]
pub struct Worker {
    /// Where work comes from and results go.
    pub queue: Arc<dyn Queue>,
    /// Threads that compute.
    pub pool: Arc<Pool>,
    /// How many deliveries are held at a time.
    pub prefetch: usize,
    /// Now.
    pub clock: Clock,
}

/// Consumes `group`, handling up to `prefetch` deliveries at a time, until `stop` fires; what is not done soon after that
/// is given back. Dropping the future gives back everything at once.
///
/// # Errors
/// Those of the queue that do not pass by themselves.
pub(crate) async fn consume<F, H>(
    queue: &dyn Queue,
    group: Group,
    prefetch: usize,
    stop: CancellationToken,
    handle: H,
) -> Result<(), QueueError>
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Result<(), QueueError>> + Send + 'static,
{
    let mut handling = JoinSet::new();
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => break,
            ended = consume_while_usable(queue, group, prefetch, &handle, &mut handling) => ended,
        };
        match ended {
            QueueError::Unavailable(reason) => {
                tracing::warn!(group = group.name, reason, "the queue gives nothing now")
            }
            error => return Err(error),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(QUEUE_AGAIN) => {}
        }
    }
    let finished = async {
        while let Some(handled) = handling.join_next().await {
            report(handled, group);
        }
    };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        tracing::info!(group = group.name, left = handling.len(), "work under way is given back to the queue");
    }
    Ok(())
}

/// Consumes until the queue fails; the failure.
async fn consume_while_usable<F, H>(
    queue: &dyn Queue,
    group: Group,
    prefetch: usize,
    handle: &H,
    handling: &mut JoinSet<Result<(), QueueError>>,
) -> QueueError
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Result<(), QueueError>> + Send + 'static,
{
    let mut consumer = match queue.consume(group, prefetch).await {
        Ok(consumer) => consumer,
        Err(error) => return error,
    };
    loop {
        tokio::select! {
            delivery = consumer.next() => match delivery {
                Ok(delivery) => drop(handling.spawn(handle(delivery))),
                Err(error) => return error,
            },
            Some(handled) = handling.join_next() => report(handled, group),
        }
    }
}

fn report(handled: Result<Result<(), QueueError>, JoinError>, group: Group) {
    match handled {
        Ok(Ok(())) => {}
        // It was not settled, or the queue does not know that it was: it comes again.
        Ok(Err(error)) => tracing::warn!(%error, group = group.name, "a message was not settled"),
        Err(error) => tracing::error!(%error, group = group.name, "handling a message failed"),
    }
}

/// Settles a delivery by what became of it.
pub(crate) async fn settle(delivery: Delivery, outcome: Result<(), Failure>) -> Result<(), QueueError> {
    match outcome {
        Ok(()) => delivery.ack().await,
        Err(Failure::Temporary(reason)) => {
            tracing::warn!(message = delivery.message.id, reason, "a message is tried again later");
            delivery.retry(reason).await
        }
        Err(Failure::Permanent(reason)) => {
            tracing::warn!(message = delivery.message.id, reason, "a message is set aside");
            delivery.dead(reason).await
        }
    }
}

/// Computes on the pool, and publishes what comes out while the computation goes on: `compute` is handed where to put
/// it, `publish` is called with one after the other. Done when all is confirmed; then what `compute` said counts.
pub(crate) async fn compute_and_publish<T, F>(
    pool: &Pool,
    compute: impl FnOnce(&mut dyn FnMut(T) -> Result<(), Failure>) -> Result<(), Failure> + Send + 'static,
    mut publish: impl FnMut(T) -> F + Send,
) -> Result<(), Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Failure>> + Send,
{
    let (sender, mut waiting) = mpsc::channel(WAITING_PARTS);
    let computing = pool.run(move || {
        // A receiver that is gone means that publishing failed, which is told there.
        let gone = |_| Failure::Temporary(String::from("the result could not be published"));
        compute(&mut |item| sender.blocking_send(item).map_err(gone))
    });
    let publishing = async move {
        // Returning early drops the receiver, so that the computation ends too.
        while let Some(item) = waiting.recv().await {
            publish(item).await?;
        }
        Ok(())
    };
    let (computed, published) = tokio::join!(computing, publishing);
    let computed = computed.unwrap_or_else(|error| match error {
        CpuError::Panicked(message) => Err(Failure::Permanent(format!("an algorithm failed: {message}"))),
        CpuError::Stopped => Err(Failure::Temporary(error.to_string())),
    });
    published.and(computed)
}

/// Runs a job and publishes its result part by part. `source` is the CloudEvents source of the results, `id` the text
/// of the recording's or song's id.
async fn analyze_and_publish(
    worker: &Worker,
    source: String,
    id: String,
    trace: &str,
    compute: impl FnOnce(&mut Emit<'_>) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let outcome = compute_and_publish(&worker.pool, compute, |part: messages::Result| {
        let last = part.parts > 0;
        let message = Message {
            id: result_message(&id, part.piece, &part.group, part.plan_version, part.part),
            kind: String::from("antiphon.result.v1"),
            source: source.clone(),
            time: worker.clock.now(),
            trace: trace.to_owned(),
            body: part.encode_to_vec().into(),
        };
        let queue = Arc::clone(&worker.queue);
        async move {
            queue.publish(RESULTS, vec![message]).await?;
            if !last {
                crash::point("analyze.between-parts");
            }
            Ok(())
        }
    })
    .await;
    metrics::histogram!("antiphon_analysis_seconds").record(begun.elapsed().as_secs_f64());
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use antiphon_platform::cpu::Priority;

    use super::*;

    fn pool() -> Pool {
        Pool::new("test", 1, Priority::Foreground)
    }

    #[tokio::test]
    async fn everything_is_published_in_order_before_the_outcome_counts() {
        let published = Mutex::new(Vec::new());
        let outcome = compute_and_publish(
            &pool(),
            |emit| {
                for number in 0..10 {
                    emit(number)?;
                }
                Err(Failure::Permanent(String::from("it broke off")))
            },
            |number| {
                published.lock().unwrap().push(number);
                std::future::ready(Ok(()))
            },
        )
        .await;
        assert_eq!(outcome, Err(Failure::Permanent(String::from("it broke off"))));
        assert_eq!(published.into_inner().unwrap(), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_panic_is_a_permanent_failure_and_the_pool_goes_on() {
        let pool = pool();
        let run = async |fails: bool| {
            compute_and_publish(
                &pool,
                move |emit| {
                    emit(1)?;
                    assert!(!fails, "a filter exploded");
                    Ok(())
                },
                |_| std::future::ready(Ok(())),
            )
            .await
        };
        let Err(Failure::Permanent(reason)) = run(true).await else { panic!("it must fail") };
        assert!(reason.contains("a filter exploded"), "{reason}");
        assert_eq!(run(false).await, Ok(()));
    }

    #[tokio::test]
    async fn when_publishing_fails_the_computation_ends_and_it_is_tried_again() {
        let outcome = compute_and_publish(
            &pool(),
            |emit| loop {
                emit(0)?;
            },
            |_| std::future::ready(Err(Failure::Temporary(String::from("the disk is full")))),
        )
        .await;
        assert_eq!(outcome, Err(Failure::Temporary(String::from("the disk is full"))));
    }
}
