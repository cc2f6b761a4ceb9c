//! Role `analyze-songs`: whole files, read from blobs.

use std::sync::Arc;
use std::time::Duration;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_catalog::SongId;
use antiphon_catalog::messages::Song;
use antiphon_platform::blobs::Blobs;
use antiphon_platform::crash;
use antiphon_platform::queue::{Delivery, Message, QueueError};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::analysis::{self, Job, Place};
use super::{BlobReader, Failure, Worker, analyze_and_publish, consume, settle};
use crate::messages;
use crate::plan;
use crate::topics::ANALYZE_SONGS;

/// The longest song.
const LONGEST_AUDIO: Duration = Duration::from_secs(24 * 3_600);

/// How long the analysis of one song may take.
const TIME_LIMIT: Duration = Duration::from_secs(4 * 3_600);

/// Works until `stop` fires.
///
/// # Errors
/// Those of the queue that do not pass by themselves.
pub async fn run(worker: Worker, blobs: Arc<dyn Blobs>, stop: CancellationToken) -> Result<(), QueueError> {
    let queue = worker.queue.clone();
    let prefetch = worker.prefetch;
    let handle = move |delivery| handle(worker.clone(), Arc::clone(&blobs), delivery);
    consume(queue.as_ref(), ANALYZE_SONGS, prefetch, stop, handle).await
}

async fn handle(worker: Worker, blobs: Arc<dyn Blobs>, delivery: Delivery) -> Result<(), QueueError> {
    let outcome = analyze(&worker, blobs.as_ref(), &delivery.message).await;
    crash::point("analyze-songs.after-effect-before-ack");
    settle(delivery, outcome).await
}

async fn analyze(worker: &Worker, blobs: &dyn Blobs, message: &Message) -> Result<(), Failure> {
    let song = Song::decode(message.body.clone())
        .map_err(|error| Failure::Permanent(format!("the message is no song: {error}")))?;
    let plan = messages::Plan::decode(song.plan.clone())
        .map_err(|error| Failure::Permanent(format!("the song's plan cannot be read: {error}")))?;
    let no_id = |_| Failure::Permanent(String::from("the message names no song"));
    let id = SongId::try_from(song.id.as_ref()).map_err(no_id)?;
    let reader = BlobReader::new(blobs.get(&song.blob, None).await?);
    analyze_and_publish(worker, format!("songs/{id}"), id.to_string(), &message.trace, move |emit| {
        let decoder = Decoder::open(reader, Limits { duration: LONGEST_AUDIO })?;
        analysis::analyze(job(&song, plan)?, decoder, emit)
    })
    .await
}

fn job(song: &Song, plan: messages::Plan) -> Result<Job, Failure> {
    let items = plan::items(&plan)?;
    let frame = messages::Result {
        kind: messages::SourceKind::Song as i32,
        id: song.id.clone(),
        accepted_at: song.accepted_at,
        last_piece: true,
        group: ANALYZE_SONGS.name.to_owned(),
        groups: plan.groups,
        plan_version: plan.version,
        ..Default::default()
    };
    let calibration_db = plan.calibration_db;
    Ok(Job {
        frame,
        items,
        calibration_db,
        place: Place::Song,
        fault: String::new(),
        title: String::new(),
        time_limit: TIME_LIMIT,
    })
}
