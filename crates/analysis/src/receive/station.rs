//! One stream, for ever: connect, receive, connect again.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use antiphon_platform::clock::Clock;
use antiphon_platform::outbound::{Outbound, Response, shown};
use antiphon_platform::queue::Queue;
use http::{StatusCode, header};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::decode::{Decoding, Memory};
use super::playlist::{self, Playlist};
use super::titles::Titles;
use super::{Options, Stream, hls, publish, rtsp};

/// A stream that sends nothing, or nothing that can be decoded, for so long has ended.
const SILENCE: Duration = Duration::from_secs(15);

/// A connection that lasted so long was a good one: the next pause is the shortest.
const LASTED: Duration = Duration::from_secs(30);

/// Playlists that point to playlists.
const DEPTH: usize = 4;

/// The largest playlist, in bytes.
pub(super) const PLAYLIST_LIMIT: usize = 1024 * 1024;

/// What one stream needs.
pub(super) struct Station {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) clock: Clock,
    pub(super) outbound: Outbound,
    pub(super) options: Options,
    pub(super) stream: Stream,
}

/// Receives until `stop` fires.
pub(super) async fn run(station: Station, stop: CancellationToken) {
    let sensor = station.stream.sensor.as_str();
    let (outbox, publishing) = publish::start(Arc::clone(&station.queue), station.clock.clone(), sensor);
    let memory = Arc::new(Memory {
        sensor: sensor.to_owned(),
        clock: station.clock.clone(),
        outbox,
        title: Mutex::default(),
        heard_until: AtomicI64::new(0),
        blocks: AtomicU64::new(0),
        is_full: AtomicBool::new(false),
    });
    let mut pause = station.options.again.0;
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let connected = metrics::gauge!("antiphon_receive_connected", "sensor" => sensor.to_owned());
        connected.set(1.0);
        let reason = receive(&station, &memory, &stop).await;
        connected.set(0.0);
        if stop.is_cancelled() {
            break;
        }
        if begun.elapsed() >= LASTED {
            pause = station.options.again.0;
        }
        metrics::counter!("antiphon_receive_interruptions_total", "sensor" => sensor.to_owned()).increment(1);
        tracing::warn!(sensor, url = shown(&station.stream.url), reason, ?pause, "the stream is connected again");
        memory.title.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(station.options.again.1);
    }
    drop(memory);
    publishing.finish().await;
}

/// One connection, until it ends; why. What was decoded by then is in the outbox.
async fn receive(station: &Station, memory: &Arc<Memory>, stop: &CancellationToken) -> String {
    let pulled = async {
        match station.stream.url.scheme() {
            "rtsp" => rtsp::pull(station, memory, stop).await,
            _ => pull(station, memory, stop).await,
        }
    };
    pulled.await.err().unwrap_or_else(|| String::from("the stream ended"))
}

/// Follows what lies at the stream's address until it is a stream, and receives that.
async fn pull(station: &Station, memory: &Arc<Memory>, stop: &CancellationToken) -> Result<(), String> {
    let mut url = station.stream.url.clone();
    for _ in 0..DEPTH {
        let response = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            response = ask(station, &url, &[("icy-metadata", "1")]) => response?,
        };
        if !is_playlist(&response) {
            return receive_body(station, memory, response, stop).await;
        }
        let base = response.url.clone();
        let text = response.whole(PLAYLIST_LIMIT).await.map_err(|error| error.to_string())?;
        match playlist::parse(&String::from_utf8_lossy(&text), &base)? {
            Playlist::Points(to) => url = to,
            Playlist::Segments(list) => return hls::pull(station, memory, base, list, stop).await,
        }
    }
    Err(format!("{DEPTH} playlists point to each other"))
}

/// Asks for an address, and takes nothing but 200 and 206.
pub(super) async fn ask(station: &Station, url: &Url, headers: &[(&str, &str)]) -> Result<Response, String> {
    let response = station.outbound.get(url, headers).await.map_err(|error| error.to_string())?;
    match response.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
        status => Err(format!("{} answers {status}", shown(&response.url))),
    }
}

fn is_playlist(response: &Response) -> bool {
    let kind = response.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let path = response.url.path().to_ascii_lowercase();
    let is_named_so = [".m3u8", ".m3u", ".pls"].iter().any(|ending| path.ends_with(ending));
    // Some stations call their stream a list.
    kind.ends_with("mpegurl") || kind == "audio/x-scpls" || is_named_so && !kind.starts_with("audio/")
}

/// Receives a stream that is one endless answer, with or without titles.
async fn receive_body(
    station: &Station,
    memory: &Arc<Memory>,
    mut response: Response,
    stop: &CancellationToken,
) -> Result<(), String> {
    let interval = response.headers.get("icy-metaint").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut titles = Titles::new(interval);
    let mut decoding = Decoding::of_bytes(Arc::clone(memory), station.options.following, &station.options.ffmpeg);
    let mut watch = Watch::new(memory);
    let mut audio = Vec::new();
    let ended = loop {
        let chunk = tokio::select! {
            () = stop.cancelled() => break Ok(()),
            reason = decoding.failure() => return Err(reason),
            chunk = timeout(SILENCE, response.chunk()) => chunk,
        };
        match chunk {
            Ok(Ok(Some(bytes))) => {
                if let Some(title) = titles.take(bytes, |part| audio.push(part)) {
                    tracing::info!(sensor = memory.sensor, title, "now playing");
                    *memory.title.lock().unwrap_or_else(PoisonError::into_inner) = title;
                }
            }
            Ok(Ok(None)) => break Err(String::from("the stream ended")),
            Ok(Err(error)) => break Err(error.to_string()),
            Err(_) => break Err(format!("nothing came for {} s", SILENCE.as_secs())),
        }
        for part in audio.drain(..) {
            decoding.write(part).await?;
        }
        if let Err(reason) = watch.check(memory) {
            break Err(reason);
        }
    };
    decoding.finish().await;
    ended
}

/// Whether something is decoded of what comes.
pub(super) struct Watch {
    blocks: u64,
    since: Instant,
}

impl Watch {
    pub(super) fn new(memory: &Memory) -> Self {
        Self { blocks: memory.blocks.load(Ordering::Relaxed), since: Instant::now() }
    }

    /// Fails when nothing was decoded for some time.
    pub(super) fn check(&mut self, memory: &Memory) -> Result<(), String> {
        let blocks = memory.blocks.load(Ordering::Relaxed);
        if blocks != self.blocks {
            *self = Self { blocks, since: Instant::now() };
        }
        if self.since.elapsed() > SILENCE {
            return Err(format!("nothing could be decoded for {} s", SILENCE.as_secs()));
        }
        Ok(())
    }
}
