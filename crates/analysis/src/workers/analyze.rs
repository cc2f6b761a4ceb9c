//! Role `analyze`: sensor audio that travels in its message.

use std::time::Duration;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_platform::crash;
use antiphon_platform::queue::{Delivery, Message, QueueError};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::analysis::{self, Job, Place};
use super::{Failure, Worker, analyze_and_publish, consume, settle};
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
    let queue = worker.queue.clone();
    consume(queue.as_ref(), ANALYZE, worker.prefetch, stop, move |delivery| handle(worker.clone(), delivery)).await
}

async fn handle(worker: Worker, delivery: Delivery) -> Result<(), QueueError> {
    let outcome = analyze(&worker, &delivery.message).await;
    crash::point("analyze.after-effect-before-ack");
    settle(delivery, outcome).await
}

async fn analyze(worker: &Worker, message: &Message) -> Result<(), Failure> {
    let recording = messages::Recording::decode(message.body.clone())
        .map_err(|error| Failure::Permanent(format!("the message is no recording: {error}")))?;
    let no_id = |_| Failure::Permanent(String::from("the message names no recording"));
    let id = RecordingId::try_from(recording.id.as_ref()).map_err(no_id)?;
    let source = format!("sensors/{}", recording.sensor);
    analyze_and_publish(worker, source, id.to_string(), &message.trace, move |emit| {
        let limits = Limits { duration: LONGEST_AUDIO };
        let decoder = Decoder::from_bytes(recording.audio.clone(), limits)?;
        analysis::analyze(job(recording)?, decoder, emit)
    })
    .await
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
