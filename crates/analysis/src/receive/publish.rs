//! From pieces to confirmed messages of the inbox. What the queue does not take now is kept as long as there is room.

use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::queue::{Message, Queue, QueueError};
use prost::Message as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::admit::OFFER_KIND;
use crate::ids::{RecordingId, audio_digest};
use crate::messages;
use crate::pieces::Piece;
use crate::topics::INBOX;

/// Room for pieces of one stream that wait, in units of [`UNIT`] bytes: some minutes of music, or half an hour of speech.
const ROOM: usize = 32 * 1024;

/// What room is counted in, in bytes.
const UNIT: usize = 1024;

/// The first and the longest pause while the queue takes nothing.
const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long what waits may take when the process ends.
const LAST: Duration = Duration::from_secs(4);

/// Where the pieces of one stream go. Cheap to clone; the last one ends the publishing.
#[derive(Clone)]
pub(super) struct Outbox {
    sensor: Arc<str>,
    clock: Clock,
    waiting: UnboundedSender<(Message, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// The task that publishes.
pub(super) struct Publishing(JoinHandle<()>);

/// Starts to publish what is put into the outbox.
pub(super) fn start(queue: Arc<dyn Queue>, clock: Clock, sensor: &str) -> (Outbox, Publishing) {
    let (waiting, messages) = unbounded_channel();
    let room = Arc::new(Semaphore::new(ROOM));
    let publishing = Publishing(tokio::spawn(publish_all(queue, sensor.to_owned(), messages)));
    (Outbox { sensor: sensor.into(), clock, waiting, room }, publishing)
}

impl Outbox {
    /// Puts a piece in, with what was playing; whether there was room.
    pub(super) fn add(&self, piece: Piece, title: String) -> bool {
        let units = u32::try_from(piece.audio.len().div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(units) else { return false };
        let lead_in = u32::try_from(piece.lead_in).unwrap_or(0);
        let id = RecordingId::derive(&self.sensor, piece.start, lead_in, &audio_digest(&piece.audio));
        let offer = messages::Offer { start: piece.start, lead_in, audio: piece.audio.into(), title };
        let message = Message {
            id: id.to_string(),
            kind: OFFER_KIND.to_owned(),
            source: format!("sensors/{}", self.sensor),
            time: self.clock.now(),
            trace: String::new(),
            body: offer.encode_to_vec().into(),
        };
        self.waiting.send((message, permit)).is_ok()
    }
}

impl Publishing {
    /// Waits a little for what is left to be published; all clones of the outbox must be gone.
    pub(super) async fn finish(mut self) {
        if tokio::time::timeout(LAST, &mut self.0).await.is_err() {
            self.0.abort();
            tracing::warn!("the queue did not take the last pieces of a stream");
        }
    }
}

async fn publish_all(
    queue: Arc<dyn Queue>,
    sensor: String,
    mut waiting: UnboundedReceiver<(Message, OwnedSemaphorePermit)>,
) {
    while let Some((message, _room)) = waiting.recv().await {
        let mut pause = AWAY.0;
        loop {
            match queue.publish(INBOX, vec![message.clone()]).await {
                Ok(()) => break,
                Err(QueueError::Unavailable(reason)) => {
                    tracing::warn!(sensor, reason, "pieces of a stream are kept until the queue takes them");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AWAY.1);
                }
                Err(error) => {
                    tracing::error!(sensor, %error, "a piece of a stream is lost");
                    break;
                }
            }
        }
    }
}

/// How long the audio is that one message may hold whatever it sounds like, so that pieces need not be encoded to know:
/// the longest of a few lengths that fit in an hour, in µs. None if not even the shortest fits.
pub(super) fn piece_length(bytes_per_second: u64, limit: u64) -> Option<Micros> {
    // The first piece of a stream may be a quarter longer.
    let fits = |seconds: &u64| (seconds * 5 / 4 + 1 + LEAD_IN_SECONDS) * bytes_per_second + HEADERS <= limit;
    [10, 6, 5, 4, 3, 2, 1].into_iter().find(fits).map(|seconds| Micros::try_from(seconds).unwrap_or(1) * 1_000_000)
}

/// Audio repeated in front of each piece, in seconds.
pub(super) const LEAD_IN_SECONDS: u64 = 1;

/// What a FLAC file may need beside its samples, in bytes: its header, and 20 for each of its frames.
const HEADERS: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use antiphon_platform::clock::SECOND;
    use antiphon_platform::queue::{Access, files::FileQueue};
    use tempfile::TempDir;

    use super::*;
    use crate::topics::ADMIT;

    fn piece(start: Micros, bytes: usize) -> Piece {
        Piece { start, lead_in: SECOND, duration: SECOND, audio: vec![7; bytes] }
    }

    #[test]
    fn pieces_are_as_long_as_a_message_is_large() {
        const LIMIT: u64 = 1024 * 1024;
        assert_eq!(piece_length(2 * 8_000, LIMIT), Some(10 * SECOND));
        assert_eq!(piece_length(2 * 48_000, LIMIT), Some(6 * SECOND));
        assert_eq!(piece_length(4 * 44_100, LIMIT), Some(3 * SECOND));
        assert_eq!(piece_length(4 * 48_000, LIMIT), Some(3 * SECOND));
        assert_eq!(piece_length(6 * 768_000, LIMIT), None);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_said_and_the_rest_is_published_in_order() {
        let folder = TempDir::new().unwrap();
        let access = Access { publish: vec![INBOX], consume: vec![ADMIT], dead: vec![] };
        let files = FileQueue::open(folder.path(), access, Clock::manual(5)).await.unwrap();
        files.declare(&[ADMIT]).await.unwrap();
        let queue = Arc::new(Gate { files: files.clone(), open: Mutex::new(false) });
        let (outbox, publishing) = start(Arc::clone(&queue) as Arc<dyn Queue>, Clock::manual(5), "radio");
        let taken: Vec<bool> =
            (0..40).map(|number| outbox.add(piece(number, UNIT * 1_000), format!("title {number}"))).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 32);
        *queue.open.lock().unwrap() = true;
        drop(outbox);
        publishing.finish().await;
        let mut consumer = files.consume(ADMIT, 64).await.unwrap();
        for number in 0..32 {
            let delivery = consumer.next().await.unwrap();
            let offer = messages::Offer::decode(delivery.message.body.clone()).unwrap();
            assert_eq!((offer.start, offer.lead_in, offer.title), (number, 1_000_000, format!("title {number}")));
            assert_eq!((delivery.message.source.as_str(), delivery.message.time), ("sensors/radio", 5));
            delivery.ack().await.unwrap();
        }
    }

    /// A queue that takes nothing until it is opened.
    struct Gate {
        files: FileQueue,
        open: Mutex<bool>,
    }

    #[async_trait::async_trait]
    impl Queue for Gate {
        async fn declare(&self, groups: &[antiphon_platform::queue::Group]) -> Result<(), QueueError> {
            self.files.declare(groups).await
        }
        async fn publish(
            &self,
            topic: antiphon_platform::queue::Topic,
            messages: Vec<Message>,
        ) -> Result<(), QueueError> {
            if !*self.open.lock().unwrap() {
                return Err(QueueError::Unavailable(String::from("the test says so")));
            }
            self.files.publish(topic, messages).await
        }
        async fn publish_to_group(
            &self,
            group: antiphon_platform::queue::Group,
            message: Message,
        ) -> Result<(), QueueError> {
            self.files.publish_to_group(group, message).await
        }
        async fn consume(
            &self,
            group: antiphon_platform::queue::Group,
            prefetch: usize,
        ) -> Result<Box<dyn antiphon_platform::queue::Consumer>, QueueError> {
            self.files.consume(group, prefetch).await
        }
        async fn consume_dead(
            &self,
            group: antiphon_platform::queue::Group,
            prefetch: usize,
        ) -> Result<Box<dyn antiphon_platform::queue::Consumer>, QueueError> {
            self.files.consume_dead(group, prefetch).await
        }
        async fn depths(&self) -> Result<Vec<antiphon_platform::queue::Depth>, QueueError> {
            self.files.depths().await
        }
        async fn check(&self) -> Result<(), QueueError> {
            self.files.check().await
        }
    }
}
