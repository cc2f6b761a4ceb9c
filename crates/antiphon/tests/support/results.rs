//! What a worker of role `analyze` would publish, made without one: results of sound that was never sent.

use std::path::Path;

use antiphon_analysis::ids::{RecordingId, result_message};
use antiphon_analysis::messages::{Block, Result as Found, SourceKind};
use antiphon_analysis::topics::{ALL, ANALYZE, RESULTS};
use antiphon_features::algorithm::Stream;
use antiphon_features::session::{Item, Session};
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Message, Queue};
use prost::Message as _;

use super::MAY;

const MINUTE: i64 = 60_000_000;

/// The blocks that algorithms make of a 16-bit mono WAV of [`wav`](super::wav) that was heard at `start`, a whole second
/// in µs since 1970.
pub fn blocks(algorithms: &[&str], rate: u32, start: i64, wav: &[u8]) -> Vec<Block> {
    let items: Vec<Item> =
        algorithms.iter().map(|name| Item { algorithm: (*name).to_owned(), ..Item::default() }).collect();
    let samples: Vec<f32> =
        wav[44..].chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect();
    let first = start / 1_000_000 * i64::from(rate);
    let stream =
        Stream { rate, channels: 1, first_sample: first, first_body_sample: first, song: false, calibration_db: None };
    let mut session = Session::new(&items, &stream).expect("algorithms of the registry");
    session.push(&[&samples]);
    session.finish().blocks.into_iter().map(Block::from).collect()
}

/// The whole result of a recording that was heard from `from` to `to`, in µs since 1970, for the topic `results`.
pub fn message(sensor: &str, id: RecordingId, (from, to): (i64, i64), rate: u32, blocks: Vec<Block>) -> Message {
    let found = Found {
        kind: SourceKind::Sensor.into(),
        sensor: sensor.to_owned(),
        id: id.as_bytes().to_vec().into(),
        recording_start: from,
        accepted_at: to,
        last_piece: true,
        group: ANALYZE.name.to_owned(),
        groups: vec![ANALYZE.name.to_owned()],
        plan_version: 1,
        parts: 1,
        from,
        to,
        sample_rate: rate,
        channels: 1,
        blocks,
        ..Found::default()
    };
    Message {
        id: result_message(&id.to_string(), 0, ANALYZE.name, 1, 0),
        kind: String::from("antiphon.result.v1"),
        source: format!("sensors/{sensor}"),
        time: to,
        trace: String::new(),
        body: found.encode_to_vec().into(),
    }
}

/// Publishes results as a worker would, beside whatever runs on the data folder.
pub fn publish(data: &Path, messages: Vec<Message>) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let access = Access { publish: vec![RESULTS], consume: vec![], dead: vec![] };
        let queue = FileQueue::open(&data.join("queue"), access, Clock::system()).await.unwrap();
        queue.declare(&ALL).await.unwrap();
        queue.publish(RESULTS, messages).await.unwrap();
    });
}

/// The result of a minute of sound at a minute of the epoch.
pub fn minute(sensor: &str, number: i64, template: &[Block]) -> Message {
    let minute = MAY / MINUTE + number;
    let mut id = number.to_be_bytes().to_vec();
    id.resize(20, 9);
    let blocks = template.iter().map(|block| Block { minute, ..block.clone() }).collect();
    let range = (minute * MINUTE, (minute + 1) * MINUTE);
    message(sensor, RecordingId::try_from(id.as_slice()).unwrap(), range, 16_000, blocks)
}
