//! Role `notify`: takes notices from the queue into the table, and sends them from there.

use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros, duration};
use antiphon_platform::crash;
use antiphon_platform::db::{Database, DbError};
use antiphon_platform::outbound::{Outbound, OutboundError};
use antiphon_platform::queue::{Queue, QueueError};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use prost::Message as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::deliveries::{self, ATTEMPT, Due, Outcome, State};
use crate::signature::{HEADERS, signature};
use crate::{NOTIFY, messages};

/// Notices held unacknowledged.
const PREFETCH: usize = 16;

/// Notices that are sent at the same time, each to another hook.
const AT_ONCE: usize = 16;

/// The longest body of a notice, in bytes.
const LARGEST: usize = 64 * 1024;

/// The longest that is waited before looking for what is due, and the pause when the database is away.
const LOOK: Duration = Duration::from_secs(30);
const AWAY: Duration = Duration::from_secs(1);

/// Between two looks that others' commits cause: what is due by its time does not wait for this.
const PACE: Duration = Duration::from_millis(100);

/// What sending needs. Cheap to clone.
#[derive(Clone)]
pub struct Sending {
    /// Where notices are kept.
    pub database: Database,
    /// What reaches permitted addresses.
    pub outbound: Outbound,
    /// Now.
    pub clock: Clock,
}

/// Takes notices into the table until `stop` fires.
///
/// # Errors
/// When the queue cannot be consumed.
pub async fn receive(
    database: Database,
    queue: Arc<dyn Queue>,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), QueueError> {
    let mut consumer = queue.consume(NOTIFY, PREFETCH).await?;
    loop {
        let delivery = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            delivery = consumer.next() => delivery?,
        };
        let notice = match read(&delivery.message.id, &delivery.message.body) {
            Ok(notice) => notice,
            Err(why) => {
                tracing::warn!(id = delivery.message.id, why, "a notice cannot be sent");
                delivery.dead(why).await?;
                continue;
            }
        };
        let kept = async {
            let mut tx = database.write().await?;
            deliveries::keep(&mut tx, &delivery.message.id, &notice, clock.now()).await?;
            tx.commit().await
        };
        match kept.await {
            Ok(()) => {
                crash::point("notify.after-effect-before-ack");
                delivery.ack().await?;
            }
            Err(error) => {
                // Dropped, it comes again at once: the pause is what keeps that from spinning.
                tracing::warn!(%error, "notices wait for the database");
                drop(delivery);
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(AWAY) => {}
                }
            }
        }
    }
}

fn read(id: &str, body: &[u8]) -> Result<messages::Notice, String> {
    let is_id = (1..=200).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_id {
        return Err(String::from("its id is not 1 to 200 printable letters"));
    }
    let notice = messages::Notice::decode(body).map_err(|error| format!("it is no notice: {error}"))?;
    if notice.body.len() > LARGEST {
        return Err(format!("its body has {} bytes, {LARGEST} are sent at most", notice.body.len()));
    }
    Ok(notice)
}

/// Sends what is due until `stop` fires, and ends with the attempts that are under way. Several may do so, in one process
/// or many.
pub async fn send(sending: Sending, stop: CancellationToken) {
    let reader = sending.database.reader();
    let mut going = Going::new();
    while !stop.is_cancelled() {
        let next = async {
            begin(&sending, &mut going).await?;
            outlook(&sending).await
        };
        let pause = match next.await {
            Ok(next) => {
                let until = next.map_or(LOOK, |next| duration(next - sending.clock.now()));
                until.clamp(Duration::from_millis(10), LOOK)
            }
            Err(error) => {
                away(&error);
                AWAY
            }
        };
        let changed = async {
            tokio::time::sleep(PACE).await;
            reader.changed().await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = going.next() => ended.unwrap_or_else(|error| away(&error)),
            () = tokio::time::sleep(pause) => {}
            () = changed => {}
        }
    }
    while let Some(ended) = going.next().await {
        ended.unwrap_or_else(|error| away(&error));
    }
}

/// Sends what is due now, each notice once: how many, and when the next is due.
///
/// # Errors
/// Those of the database.
pub async fn send_due(sending: &Sending) -> Result<(usize, Option<Micros>), DbError> {
    let mut going = Going::new();
    begin(sending, &mut going).await?;
    let count = going.len();
    let mut failed = None;
    while let Some(ended) = going.next().await {
        failed = ended.err().or(failed);
    }
    match failed {
        Some(error) => Err(error),
        None => Ok((count, outlook(sending).await?)),
    }
}

/// Attempts that are under way.
type Going<'a> = FuturesUnordered<BoxFuture<'a, Result<(), DbError>>>;

/// Begins what is due, as far as there is room beside what is under way: so a receiver that does not answer holds up no
/// other.
async fn begin<'a>(sending: &'a Sending, going: &mut Going<'a>) -> Result<(), DbError> {
    let room = AT_ONCE.saturating_sub(going.len());
    if room > 0 {
        let due = deliveries::lease(&sending.database, sending.clock.now(), room).await?;
        going.extend(due.into_iter().map(|due| attempt(sending, due).boxed()));
    }
    Ok(())
}

/// When the next notice is due after now.
async fn outlook(sending: &Sending) -> Result<Option<Micros>, DbError> {
    let mut tx = sending.database.read().await?;
    let (next, waiting) = deliveries::outlook(&mut tx, sending.clock.now()).await?;
    metrics::gauge!("antiphon_notices_waiting").set(waiting as f64);
    Ok(next)
}

fn away(error: &DbError) {
    tracing::warn!(%error, "notices wait for the database");
}

/// One attempt, and its note.
async fn attempt(sending: &Sending, due: Due) -> Result<(), DbError> {
    let outcome = timeout(ATTEMPT, post(sending, &due)).await.unwrap_or_else(|_| Outcome {
        status: None,
        problem: Some(format!("it did not answer within {} s", ATTEMPT.as_secs())),
        is_final: false,
    });
    crash::point("notify.after-send-before-note");
    let state = deliveries::note(&sending.database, &due, &outcome, sending.clock.now()).await?;
    let result = match state {
        State::Arrived => "arrived",
        State::Waiting => "failed",
        State::GivenUp => "given-up",
    };
    metrics::counter!("antiphon_notice_attempts_total", "result" => result).increment(1);
    let (id, attempt, status) = (due.id.as_str(), due.attempt, outcome.status);
    match (state, outcome.problem) {
        (State::GivenUp, problem) => tracing::warn!(id, attempt, status, problem, "a notice was given up"),
        (State::Waiting, problem) => tracing::info!(id, attempt, status, problem, "a notice is sent again later"),
        (State::Arrived, _) => tracing::debug!(id, attempt, status, "a notice arrived"),
    }
    Ok(())
}

async fn post(sending: &Sending, due: &Due) -> Outcome {
    let failed = |status: Option<u32>, problem: String| Outcome { status, problem: Some(problem), is_final: false };
    let Ok(url) = Url::parse(&due.url) else { return failed(None, String::from("its address cannot be read")) };
    let now = sending.clock.now();
    let time = now.div_euclid(antiphon_platform::clock::SECOND).to_string();
    let signed = signature(&due.secret, &due.id, now, &due.body);
    let headers = [
        ("content-type", "application/json"),
        (HEADERS[0], due.id.as_str()),
        (HEADERS[1], time.as_str()),
        (HEADERS[2], signed.as_str()),
    ];
    match sending.outbound.post(&url, &headers, due.body.clone()).await {
        Ok(answer) => {
            let status = u32::from(answer.status.as_u16());
            let problem = match status {
                200..=299 => None,
                300..=399 => Some(format!("it answered {status}; redirects are not followed")),
                _ => Some(format!("it answered {status}")),
            };
            Outcome { status: Some(status), problem, is_final: status == 410 }
        }
        Err(error @ OutboundError::Refused { .. }) => failed(None, format!("{error} (setting notify.allow)")),
        // It names the host at most, not the path, which may be a secret.
        Err(error) => failed(None, error.to_string()),
    }
}
