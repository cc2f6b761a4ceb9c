//! Role `admit`: what sensors publish to the broker themselves, and what role `receive` pulls for them, becomes
//! recordings by the rules of `POST /api/v1/sensors/{sensor}/recordings`.
//!
//! Which sensor it is says the message's source, which the queue makes of the routing key: the broker lets an account
//! publish with its own key only, so the payload is never asked. What HTTP would refuse goes to the dead letters with
//! the words that HTTP would say; it is never stored. A message that cannot be admitted now, because the database or the
//! queue is away, is held until it can be: then this role takes no more, and what sensors publish waits at the broker.
//!
//! A sensor's health is judged by the time at which its message arrived, not by when it was admitted, so that nobody can
//! tell over which way it came.

use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::crash;
use antiphon_platform::db::{Database, DbError, Reader};
use antiphon_platform::http::{Problem, parse_json};
use antiphon_platform::queue::{Delivery, Message, Queue, QueueError};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use crate::messages;
use crate::recordings::Rows;
use crate::recordings::accept::{AcceptError, Acceptor, INLINE_LIMIT, Offer, TITLE_LIMIT};
use crate::recordings::offered::{Offered, RecordingRequest, check_audio, check_lead_in, check_start};
use crate::sensors::{self, Directory};
use crate::topics::ADMIT;
use crate::workers::{Failure, consume, settle};

/// The CloudEvents type of [`messages::Offer`].
pub const OFFER_KIND: &str = "antiphon.offer.v1";

/// What begins the type of an offer of any version.
const OFFER_OF_ANY_VERSION: &str = "antiphon.offer.v";

/// Messages that are held at a time, of at most 1.5 MiB each. Waiting for a confirm is most of the work.
const PREFETCH: usize = 32;

/// The first and the longest pause while database or queue are away.
const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What admitting needs. Cheap to clone.
#[derive(Clone)]
struct Admit {
    acceptor: Acceptor,
    directory: Directory,
    reader: Reader,
    clock: Clock,
}

/// Why a message is not admitted.
#[derive(Debug, PartialEq)]
enum Refusal {
    /// For good, or until it was tried again.
    Failed(Failure),
    /// Something of ours is away: no fault of the message.
    Away(String),
}

/// Works until `stop` fires.
///
/// # Errors
/// Those of the queue that do not pass by themselves.
pub async fn run(
    database: Database,
    queue: Arc<dyn Queue>,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), QueueError> {
    let reader = database.reader();
    let rows = Some(Rows::start(database));
    let acceptor = Acceptor { queue: Arc::clone(&queue), blobs: None, rows, clock: clock.clone() };
    let directory = Directory::new(reader.clone(), clock.clone());
    let admit = Admit { acceptor, directory, reader, clock };
    consume(queue.as_ref(), ADMIT, PREFETCH, stop, move |delivery| handle(admit.clone(), delivery)).await
}

async fn handle(admit: Admit, delivery: Delivery) -> Result<(), QueueError> {
    let mut pause = AWAY.0;
    let outcome = loop {
        match admit_message(&admit, &delivery.message).await {
            Ok(()) => break Ok(()),
            Err(Refusal::Failed(failure)) => break Err(failure),
            Err(Refusal::Away(reason)) => {
                tracing::warn!(source = delivery.message.source, reason, "a message is held until it can be admitted");
                metrics::counter!("antiphon_admit_held_total").increment(1);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AWAY.1);
    };
    crash::point("admit.after-effect-before-ack");
    if matches!(outcome, Err(Failure::Permanent(_))) {
        metrics::counter!("antiphon_admit_refused_total").increment(1);
    }
    settle(delivery, outcome).await
}

async fn admit_message(admit: &Admit, message: &Message) -> Result<(), Refusal> {
    let id = sensor_of(message).map_err(permanent)?;
    let Some(sensor) = admit.directory.get(id).await? else {
        return Err(sensors::unknown(&admit.reader, id).await.into());
    };
    let arrived = arrival(message, admit.clock.now());
    let (offered, title) = read(message, id, arrived)?;
    let Offered { start, lead_in, audio } = offered;
    let offer = Offer { start, lead_in, audio, arrived, title, trace: message.trace.clone() };
    admit.acceptor.accept(&sensor, offer).await?;
    Ok(())
}

/// The sensor's id, as the queue tells it.
fn sensor_of(message: &Message) -> Result<&str, String> {
    message.source.strip_prefix("sensors/").filter(|id| !id.is_empty()).ok_or_else(|| {
        String::from("the message comes from no sensor; publish it with the routing key sensors.ID.recordings")
    })
}

/// When the queue had the message. What says nothing of it, or lies ahead of our clock, has just arrived.
fn arrival(message: &Message, now: Micros) -> Micros {
    if message.time > 0 { message.time.min(now) } else { now }
}

/// The audio and the title in a message from `sensor` that arrived at `arrived`.
fn read(message: &Message, sensor: &str, arrived: Micros) -> Result<(Offered, String), Refusal> {
    if is_json(message).map_err(permanent)? {
        let request: RecordingRequest = parse_json(&message.body)?;
        if let Some(other) = request.sensor_id.as_deref().filter(|other| *other != sensor) {
            let shown: String = other.chars().take(100).collect();
            let reason =
                format!("sensor_id is {shown:?}, but the routing key says {sensor}; leave it out, or publish there");
            return Err(permanent(reason));
        }
        return Ok((request.check(arrived, INLINE_LIMIT).map_err(with_the_way_out)?, String::new()));
    }
    let offer = messages::Offer::decode(message.body.clone())
        .map_err(|error| permanent(format!("the body is neither JSON nor an antiphon.v1.Offer: {error}")))?;
    let start = check_start("start", offer.start, arrived)?;
    let lead_in = check_lead_in(i64::from(offer.lead_in))?;
    check_audio(&offer.audio, INLINE_LIMIT).map_err(with_the_way_out)?;
    Ok((Offered { start, lead_in, audio: offer.audio }, shortened(offer.title)))
}

/// Whether the body is JSON: by the content type if that says it, else (MQTT 3.1.1 has none) by its first byte, with
/// which no `Offer` begins.
fn is_json(message: &Message) -> Result<bool, String> {
    let kind = message.kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => Ok(true),
        "" | OFFER_KIND | "application/octet-stream" | "application/protobuf" | "application/x-protobuf" => {
            let first = message.body.iter().find(|byte| !byte.is_ascii_whitespace());
            Ok(first == Some(&b'{'))
        }
        later if later.starts_with(OFFER_OF_ANY_VERSION) => Err(format!(
            "the message is of type {later}, which this version does not know; {OFFER_KIND} is the newest that it takes"
        )),
        other => {
            let shown: String = other.chars().take(100).collect();
            Err(format!(
                "the message is of type {shown:?}, which is not for this queue; {OFFER_KIND} and application/json are"
            ))
        }
    }
}

/// At most [`TITLE_LIMIT`] bytes of a title.
fn shortened(mut title: String) -> String {
    title.truncate(title.floor_char_boundary(TITLE_LIMIT));
    title
}

fn permanent(reason: String) -> Refusal {
    Refusal::Failed(Failure::Permanent(reason))
}

/// What is too long for the broker is not too long for us.
fn with_the_way_out(problem: Problem) -> Problem {
    if problem.status == 413 {
        return problem.hint(Some("longer audio is taken by POST /api/v1/sensors/{sensor}/recordings"));
    }
    problem
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let reason = match &problem.hint {
            Some(hint) if problem.status == 404 => format!("{}; did you mean {hint}?", problem.detail),
            Some(hint) => format!("{}; {hint}", problem.detail),
            None => problem.detail.clone(),
        };
        permanent(reason)
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(_) => Self::Away(error.to_string()),
            _ => Self::Failed(Failure::Temporary(error.to_string())),
        }
    }
}

impl From<AcceptError> for Refusal {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Queue(QueueError::Unavailable(reason)) => Self::Away(reason),
            AcceptError::Queue(error) => Self::Failed(error.into()),
            AcceptError::Blobs(error) => Self::Failed(error.into()),
            AcceptError::TooLong(_) => permanent(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Micros = 1_777_593_600_000_000;

    fn wav() -> Bytes {
        let format = antiphon_audio::encode::PcmFormat { rate: 8_000, channels: 1, bits: 16, float: false };
        antiphon_audio::encode::wav(&format, antiphon_audio::encode::Samples::Integers(&[1; 800])).unwrap().into()
    }

    fn message(kind: &str, body: impl Into<Bytes>) -> Message {
        Message {
            id: String::new(),
            kind: kind.to_owned(),
            source: String::from("sensors/roof"),
            time: NOW,
            trace: String::new(),
            body: body.into(),
        }
    }

    fn offer() -> messages::Offer {
        messages::Offer { start: NOW, lead_in: 50_000, audio: wav(), title: String::new() }
    }

    fn encoded(offer: messages::Offer) -> Message {
        message("", offer.encode_to_vec())
    }

    /// Why it is refused.
    #[track_caller]
    fn reason(message: &Message) -> String {
        match read(message, "roof", NOW) {
            Err(Refusal::Failed(Failure::Permanent(reason))) => reason,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it is admitted"),
        }
    }

    #[test]
    fn both_forms_say_the_same_with_and_without_a_content_type() {
        let json = json!({"timestamp": "2026-05-01T00:00:00Z", "lead_in": 0.05, "audio_data": STANDARD.encode(wav())});
        let spaced = format!("\r\n {json}");
        let named = json!({"sensor_id": "roof", "timestamp": "2026-05-01T02:00:00+02:00", "lead_in": 0.05,
            "audio_data": STANDARD.encode(wav())});
        let bodies: [(&str, Bytes); 7] = [
            ("", offer().encode_to_vec().into()),
            (OFFER_KIND, offer().encode_to_vec().into()),
            ("application/x-protobuf", offer().encode_to_vec().into()),
            ("", json.to_string().into()),
            ("application/octet-stream", spaced.into()),
            ("Application/JSON; charset=utf-8", json.to_string().into()),
            ("application/json", named.to_string().into()),
        ];
        for (kind, body) in bodies {
            let (offered, title) = read(&message(kind, body), "roof", NOW).unwrap_or_else(|_| panic!("{kind}"));
            assert_eq!((offered.start, offered.lead_in, offered.audio), (NOW, 50_000, wav()), "{kind}");
            assert_eq!(title, "");
        }
    }

    #[test]
    fn what_is_refused_is_refused_in_words() {
        let json = |text: &str| message("application/json", text.to_owned());
        let cases = [
            (encoded(messages::Offer { start: NOW + 3_601_000_000, ..offer() }), "an hour ahead"),
            (encoded(messages::Offer { start: -1, ..offer() }), "before 1970"),
            (encoded(messages::Offer { lead_in: 5_000_001, ..offer() }), "from 0 to 5"),
            (encoded(messages::Offer { audio: Bytes::new(), ..offer() }), "no bytes of audio"),
            (encoded(messages::Offer { audio: Bytes::from_static(b"<html>"), ..offer() }), "not audio"),
            (
                encoded(messages::Offer { audio: vec![b'R'; INLINE_LIMIT + 1].into(), ..offer() }),
                "longer audio is taken by",
            ),
            (message("", Bytes::new()), "no bytes of audio"),
            (message("", &b"\xff\xff\xff"[..]), "neither JSON nor"),
            (json("{\"timestamp\":"), "not JSON"),
            (json("[]"), "invalid"),
            (
                json(r#"{"sensor_id": "yard", "timestamp": "2026-05-01T00:00:00Z", "audio_data": ""}"#),
                "routing key says roof",
            ),
            (json(r#"{"timestamp": "yesterday", "audio_data": ""}"#), "timestamp"),
            (json(r#"{"timestamp": "2026-05-01T00:00:00Z", "audio_data": "%"}"#), "not base64"),
            (json(r#"{"timestamp": "2026-05-01T00:00:00Z", "audio_data": ""}"#), "no bytes of audio"),
            (json(r#"{"timestamp": "2026-05-01T00:00:00Z", "audio_data": "", "start": 1}"#), "unknown field"),
            (
                message("antiphon.offer.v2", offer().encode_to_vec()),
                "antiphon.offer.v2, which this version does not know",
            ),
            (message("com.example.order", "{}"), "not for this queue"),
        ];
        for (message, expected) in cases {
            let reason = reason(&message);
            assert!(reason.contains(expected), "{expected}: {reason}");
        }
    }

    #[test]
    fn the_source_names_the_sensor() {
        let from = |source: &str| Message { source: source.to_owned(), ..encoded(offer()) };
        assert_eq!(sensor_of(&from("sensors/roof")), Ok("roof"));
        for source in ["", "sensors/", "songs/roof", "roof"] {
            assert!(sensor_of(&from(source)).is_err(), "{source}");
        }
    }

    #[test]
    fn it_arrived_when_the_queue_says_and_never_later_than_now() {
        let at = |time: Micros| arrival(&Message { time, ..encoded(offer()) }, NOW);
        assert_eq!([at(NOW - 5), at(NOW + 5), at(0), at(-7)], [NOW - 5, NOW, NOW, NOW]);
    }

    #[test]
    fn a_title_is_cut_between_letters() {
        let title = "ä".repeat(TITLE_LIMIT);
        let (_, title) = read(&encoded(messages::Offer { title, ..offer() }), "roof", NOW).map_err(|_| ()).unwrap();
        assert_eq!(title, "ä".repeat(TITLE_LIMIT / 2));
    }

    proptest! {
        #[test]
        fn no_body_panics(kind in prop::sample::select(vec!["", OFFER_KIND, "application/json"]), body: Vec<u8>) {
            let _ = read(&message(kind, body), "roof", NOW);
        }

        #[test]
        fn no_offer_begins_like_json(start: i64, lead_in: u32, audio: Vec<u8>, title: String) {
            let offer = messages::Offer { start, lead_in, audio: audio.into(), title };
            prop_assert_eq!(is_json(&encoded(offer)), Ok(false));
        }
    }
}
