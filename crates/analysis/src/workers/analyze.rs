//! Role `analyze`: sensor audio that travels in its message.

use std::time::Duration;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_platform::crash;
use antiphon_platform::queue::{Delivery, Group, Message, QueueError};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::analysis::{self, Job, Place};
use super::{Emit, Failure, Worker, analyze_and_publish, consume, settle};
use crate::ids::RecordingId;
use crate::messages;
use crate::plan;
use crate::topics::ANALYZE;

/// The longest audio in one message: what a megabyte of silence may unfold to is bounded by this.
const LONGEST_AUDIO: Duration = Duration::from_secs(2 * 3_600);

/// How long the analysis of one message may take.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// Works until `stop` fires.
///
/// # Errors
/// Those of the queue that do not pass by themselves.
pub async fn run(worker: Worker, stop: CancellationToken) -> Result<(), QueueError> {
    run_with(worker, ANALYZE, stop, compute).await
}

/// Works until `stop` fires on the recordings of `group`, with an algorithm of the caller's in place of those that plans
/// name: consuming, publishing, confirming and settling are the role's own. `compute` runs on the worker's pool. It is handed
/// one recording, whose audio nobody has looked at, and emits the parts of its result one after the other, each of at
/// most 1 MiB, of which the last one alone says how many there are.
///
/// # Errors
/// Those of the queue that do not pass by themselves.
pub async fn run_with<C>(worker: Worker, group: Group, stop: CancellationToken, compute: C) -> Result<(), QueueError>
where
    C: Fn(messages::Recording, &mut Emit<'_>) -> Result<(), Failure> + Clone + Send + 'static,
{
    let queue = worker.queue.clone();
    let prefetch = worker.prefetch;
    let handle = move |delivery| handle(worker.clone(), delivery, compute.clone());
    consume(queue.as_ref(), group, prefetch, stop, handle).await
}

async fn handle<C>(worker: Worker, delivery: Delivery, compute: C) -> Result<(), QueueError>
where
    C: FnOnce(messages::Recording, &mut Emit<'_>) -> Result<(), Failure> + Send + 'static,
{
    let outcome = analyze(&worker, &delivery.message, compute).await;
    crash::point("analyze.after-effect-before-ack");
    settle(delivery, outcome).await
}

async fn analyze<C>(worker: &Worker, message: &Message, compute: C) -> Result<(), Failure>
where
    C: FnOnce(messages::Recording, &mut Emit<'_>) -> Result<(), Failure> + Send + 'static,
{
    let recording = messages::Recording::decode(message.body.clone())
        .map_err(|error| Failure::Permanent(format!("the message is no recording: {error}")))?;
    let no_id = |_| Failure::Permanent(String::from("the message names no recording"));
    let id = RecordingId::try_from(recording.id.as_ref()).map_err(no_id)?;
    let source = format!("sensors/{}", recording.sensor);
    analyze_and_publish(worker, source, id.to_string(), &message.trace, move |emit| compute(recording, emit)).await
}

/// What the plan asks for, by the registry.
fn compute(recording: messages::Recording, emit: &mut Emit<'_>) -> Result<(), Failure> {
    let limits = Limits { duration: LONGEST_AUDIO };
    let decoder = Decoder::from_bytes(recording.audio.clone(), limits)?;
    analysis::analyze(job(recording)?, decoder, emit)
}

fn job(recording: messages::Recording) -> Result<Job, Failure> {
    let plan = recording.plan.unwrap_or_default();
    let items = plan::items(&plan)?;
    let place = Place::Sensor {
        recording_start: recording.recording_start,
        start: recording.start,
        lead_in: recording.lead_in,
    };
    let frame = messages::Result {
        kind: messages::SourceKind::Sensor as i32,
        sensor: recording.sensor,
        id: recording.id,
        recording_start: recording.recording_start,
        accepted_at: recording.accepted_at,
        piece: recording.piece,
        last_piece: recording.last_piece,
        group: ANALYZE.name.to_owned(),
        groups: plan.groups,
        plan_version: plan.version,
        ..Default::default()
    };
    let calibration_db = plan.calibration_db;
    Ok(Job {
        frame,
        items,
        calibration_db,
        place,
        fault: recording.fault,
        title: recording.title,
        time_limit: TIME_LIMIT,
    })
}
