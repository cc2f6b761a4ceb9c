//! Role `media`, the part that cuts long recordings: audio in blobs to pieces that travel in messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_platform::blobs::{BlobError, Blobs, once};
use antiphon_platform::cpu::Pool;
use antiphon_platform::crash;
use antiphon_platform::db::Reader;
use antiphon_platform::queue::{Delivery, Message, Queue, QueueError};
use bytes::Bytes;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::accept::{RECORDING_KIND, envelope};
use super::cut::{PIECE_BYTES, Piece, Task, cut};
use crate::ids::{RecordingId, piece_message};
use crate::messages;
use crate::store::{Status, recording};
use crate::topics::{MEDIA, RECORDINGS};
use crate::workers::{BlobReader, Failure, compute_and_publish, consume, settle};

/// The longest recording.
const LONGEST_AUDIO: Duration = Duration::from_secs(24 * 3_600);

/// How long cutting one recording may take.
const TIME_LIMIT: Duration = Duration::from_secs(3_600);

/// What cutting needs.
#[derive(Clone)]
pub struct Media {
    /// Where long recordings come from and pieces go.
    pub queue: Arc<dyn Queue>,
    /// Where their audio is.
    pub blobs: Arc<dyn Blobs>,
    /// Where it says what became of a recording.
    pub reader: Reader,
    /// Threads that decode and encode.
    pub pool: Arc<Pool>,
    /// How many recordings are cut at a time.
    pub prefetch: usize,
}

/// Works until `stop` fires. A recording that is under way then may be cut again, into the same pieces.
///
/// # Errors
/// Those of the queue that do not pass by themselves.
pub async fn run(media: Media, stop: CancellationToken) -> Result<(), QueueError> {
    let queue = Arc::clone(&media.queue);
    consume(queue.as_ref(), MEDIA, media.prefetch, stop, move |delivery| handle(media.clone(), delivery)).await
}

async fn handle(media: Media, delivery: Delivery) -> Result<(), QueueError> {
    let outcome = publish_pieces(&media, &delivery.message).await;
    crash::point("media.after-effect-before-ack");
    settle(delivery, outcome).await
}

/// Cuts a recording and publishes its pieces, then removes its audio unless it is kept. The audio of one that broke
/// off stays beside its dead letter, which can be replayed, unless only features are kept of its sensor.
async fn publish_pieces(media: &Media, message: &Message) -> Result<(), Failure> {
    let long = messages::LongRecording::decode(message.body.clone())
        .map_err(|error| Failure::Permanent(format!("the message is no long recording: {error}")))?;
    let no_id = |_| Failure::Permanent(String::from("the message names no recording"));
    let id = RecordingId::try_from(long.id.as_ref()).map_err(no_id)?;
    if !long.audio.is_empty() {
        return keep_and_pass_on(media, &long, id, &message.trace).await;
    }
    let stream = match media.blobs.get(&long.blob, None).await {
        Ok(stream) => stream,
        Err(BlobError::NotFound(_)) => return without_audio(media, id).await,
        Err(error) => return Err(error.into()),
    };
    let reader = BlobReader::new(stream);
    let (start, lead_in) = (long.start, long.lead_in);
    let compute = move |emit: &mut dyn FnMut(Piece) -> Result<(), Failure>| {
        let decoder = Decoder::open(reader, Limits { duration: LONGEST_AUDIO })?;
        let deadline = Instant::now() + TIME_LIMIT;
        cut(Task { start, lead_in, piece_bytes: PIECE_BYTES, deadline }, decoder, emit)
    };
    let published = compute_and_publish(&media.pool, compute, |piece: Piece| {
        let message = piece_of(&long, id, piece, &message.trace);
        let queue = Arc::clone(&media.queue);
        async move {
            queue.publish(RECORDINGS, vec![message]).await?;
            crash::point("media.between-pieces");
            Ok(())
        }
    })
    .await;
    if long.features_only && matches!(published, Err(Failure::Permanent(_))) {
        media.blobs.delete(&long.blob).await?;
    }
    published?;
    crash::point("media.after-pieces-before-delete");
    if !long.keep {
        media.blobs.delete(&long.blob).await?;
    }
    Ok(())
}

/// Short audio of a sensor whose retention keeps it, accepted by a role without a blob store.
async fn keep_and_pass_on(
    media: &Media,
    long: &messages::LongRecording,
    id: RecordingId,
    trace: &str,
) -> Result<(), Failure> {
    if long.keep {
        media.blobs.put(&long.blob, once(long.audio.clone())).await?;
        crash::point("media.after-blob-before-publish");
    }
    let (start, lead_in, audio) = (long.start, long.lead_in, long.audio.to_vec());
    let whole = Piece { number: 0, start, lead_in, last: true, audio, fault: String::new() };
    media.queue.publish(RECORDINGS, vec![piece_of(long, id, whole, trace)]).await?;
    Ok(())
}

/// A recording was sent twice, or this process died between deleting the audio and the ack: then all its pieces are
/// published, and sooner or later it is stored.
async fn without_audio(media: &Media, id: RecordingId) -> Result<(), Failure> {
    let unusable = |error: antiphon_platform::db::DbError| Failure::Temporary(error.to_string());
    let mut transaction = media.reader.read().await.map_err(unusable)?;
    match recording(&mut transaction, id.as_bytes()).await.map_err(unusable)? {
        Some(found) if found.status != Status::Accepted => Ok(()),
        _ => Err(Failure::Temporary(String::from("its audio is not in the blob store, and it is not stored"))),
    }
}

fn piece_of(long: &messages::LongRecording, id: RecordingId, piece: Piece, trace: &str) -> Message {
    let body = messages::Recording {
        id: long.id.clone(),
        sensor: long.sensor.clone(),
        recording_start: long.start,
        start: piece.start,
        lead_in: piece.lead_in,
        piece: piece.number,
        last_piece: piece.last,
        plan: long.plan.clone(),
        audio: Bytes::from(piece.audio),
        accepted_at: long.accepted_at,
        fault: piece.fault,
        title: long.title.clone(),
    };
    let message = piece_message(id, piece.number);
    let body = body.encode_to_vec().into();
    envelope(message, RECORDING_KIND, &long.sensor, long.accepted_at, trace.to_owned(), body)
}
