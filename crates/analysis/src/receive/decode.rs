//! From bytes of a stream to pieces: two threads a stream, because decoders and pipes wait.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_audio::decode::{Block, Decoder, Limits};
use antiphon_audio::encode::{PcmFormat, to_integer};
use antiphon_audio::{Format, SNIFF_BYTES, sniff};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::ffmpeg::{Ffmpeg, Source};
use super::publish::{LEAD_IN_SECONDS, Outbox, piece_length};
use crate::pieces::{Cut, Cutter, Following, Piece, Timeline};
use crate::recordings::accept::INLINE_LIMIT;

/// A stream may go on for ever.
const ENDLESS: Limits = Limits { duration: Duration::from_secs(100 * 366 * 24 * 3_600) };

/// Chunks of bytes between the network and the decoder.
const CHUNKS: usize = 16;

/// How long a decoder may take for them. It waits for nobody else.
const DECODES: Duration = Duration::from_secs(15);

/// What lies less apart is no gap.
const JITTER: Micros = 20_000;

/// What stays of a stream from one connection to the next.
pub(super) struct Memory {
    /// Who hears it.
    pub(super) sensor: String,
    /// Now.
    pub(super) clock: Clock,
    /// Where pieces go.
    pub(super) outbox: Outbox,
    /// What is playing; empty: not known.
    pub(super) title: Mutex<String>,
    /// Up to when was heard, µs since 1970; 0: nothing yet.
    pub(super) heard_until: AtomicI64,
    /// Blocks that were decoded: a stream whose count stands still is silent.
    pub(super) blocks: AtomicU64,
    /// Whether pieces were given up and nothing was said of their end yet.
    pub(super) is_full: AtomicBool,
}

/// A decoder at work. Dropped, it ends.
pub(super) struct Decoding {
    bytes: Option<mpsc::Sender<Bytes>>,
    /// None when it was told already.
    ended: Option<oneshot::Receiver<Result<(), String>>>,
    ffmpeg: Option<Ffmpeg>,
    /// The first bytes, until there are enough to tell what they are.
    head: Vec<u8>,
    start: Option<Start>,
}

struct Start {
    memory: Arc<Memory>,
    following: Following,
    program: String,
    ended: oneshot::Sender<Result<(), String>>,
}

impl Decoding {
    /// Decodes bytes that are handed over by [`write`](Self::write).
    pub(super) fn of_bytes(memory: Arc<Memory>, following: Following, program: &str) -> Self {
        let (told, ended) = oneshot::channel();
        let start = Start { memory, following, program: program.to_owned(), ended: told };
        Self { bytes: None, ended: Some(ended), ffmpeg: None, head: Vec::new(), start: Some(start) }
    }

    /// Decodes what ffmpeg pulls from our relay.
    pub(super) fn of_relay(
        memory: Arc<Memory>,
        following: Following,
        program: &str,
        url: &str,
    ) -> Result<Self, String> {
        let (ffmpeg, _, output) = Ffmpeg::start(program, Source::Relay(url))?;
        let (told, ended) = oneshot::channel();
        std::thread::spawn(move || told.send(cut_all(output, &memory, following)));
        Ok(Self { bytes: None, ended: Some(ended), ffmpeg: Some(ffmpeg), head: Vec::new(), start: None })
    }

    /// Hands bytes over, waiting until the decoder takes them.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), String> {
        let bytes = match self.start.take() {
            None => bytes,
            Some(start) => {
                self.head.extend_from_slice(&bytes);
                if self.head.len() < SNIFF_BYTES {
                    self.start = Some(start);
                    return Ok(());
                }
                self.begin(start)?;
                Bytes::from(std::mem::take(&mut self.head))
            }
        };
        let Some(sender) = &self.bytes else { return Ok(()) };
        match timeout(DECODES, sender.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.failure().await),
            Err(_) => Err(format!("the decoder took nothing for {} s", DECODES.as_secs())),
        }
    }

    fn begin(&mut self, start: Start) -> Result<(), String> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        self.bytes = Some(sender);
        let Start { memory, following, program, ended } = start;
        // A stream may be joined anywhere, and sounds go on behind damage: ffmpeg makes the best of that.
        if matches!(sniff(&self.head), Some(Format::Wav | Format::Flac)) {
            let source = Chunks { receiver, chunk: Bytes::new() };
            std::thread::spawn(move || ended.send(cut_all(source, &memory, following)));
            return Ok(());
        }
        let (ffmpeg, input, output) = Ffmpeg::start(&program, Source::Pipe)?;
        self.ffmpeg = Some(ffmpeg);
        std::thread::spawn(move || feed(receiver, input));
        std::thread::spawn(move || ended.send(cut_all(output, &memory, following)));
        Ok(())
    }

    /// Waits until decoding ends by itself; why.
    pub(super) async fn failure(&mut self) -> String {
        let told = match &mut self.ended {
            Some(ended) => ended.await.unwrap_or_else(|_| Err(String::from("the decoder was lost"))),
            None => Ok(()),
        };
        self.ended = None;
        let reason = told.err().unwrap_or_else(|| String::from("the stream ended"));
        match self.ffmpeg.as_ref().and_then(Ffmpeg::said) {
            Some(said) => format!("{reason}; ffmpeg says: {said}"),
            None => reason,
        }
    }

    /// No more bytes come: what was decoded is cut and put into the outbox before this returns.
    pub(super) async fn finish(mut self) {
        self.start = None;
        if self.bytes.take().is_none() {
            // It pulls by itself, and would go on.
            self.ffmpeg = None;
        }
        if let Some(ended) = self.ended.take()
            && timeout(DECODES, ended).await.is_err()
        {
            tracing::debug!("the last of a stream was not decoded in time");
        }
    }
}

/// Bytes that come from another task, to be read by a decoder.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let part = self.chunk.split_to(buffer.len().min(self.chunk.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}

/// The thread that fills ffmpeg's standard input.
fn feed(mut chunks: mpsc::Receiver<Bytes>, mut input: impl Write) {
    while let Some(chunk) = chunks.blocking_recv() {
        if input.write_all(&chunk).is_err() {
            return;
        }
    }
}

/// The thread that decodes, cuts and hands over.
fn cut_all(source: impl Read + Send + Sync + 'static, memory: &Memory, following: Following) -> Result<(), String> {
    let mut decoder = Decoder::open(source, ENDLESS).map_err(|error| format!("it cannot be decoded: {error}"))?;
    let info = *decoder.info();
    let bits = if info.float || info.bits > 16 { 24 } else { 16 };
    let format = PcmFormat { rate: info.rate, channels: info.channels, bits, float: false };
    let bytes_per_second = u64::from(info.rate) * u64::from(info.channels) * u64::from(bits / 8);
    let piece = piece_length(bytes_per_second, INLINE_LIMIT as u64)
        .ok_or_else(|| format!("{bytes_per_second} bytes of samples a second are more than a message can hold"))?;
    let cut = Cut { piece, lead_in: LEAD_IN_SECONDS as Micros * SECOND };
    tracing::info!(
        sensor = memory.sensor,
        rate = info.rate,
        channels = info.channels,
        piece_seconds = piece / SECOND,
        "receiving"
    );
    let mut cutter: Option<Cutter> = None;
    let mut samples = Vec::new();
    let outcome = loop {
        match decoder.next_block() {
            Ok(Some(block)) => interleave(&block, bits, &mut samples),
            Ok(None) => break Ok(()),
            Err(error) => break Err(format!("it broke off: {error}")),
        }
        let arrival = memory.clock.now();
        memory.blocks.fetch_add(1, Ordering::Relaxed);
        let frames = (samples.len() / usize::from(info.channels)) as u64;
        let cutter = cutter.get_or_insert_with(|| {
            let timeline = Timeline::following(info.rate, frames, arrival, following);
            Cutter::new(cut, format, timeline).behind(memory.heard_until.load(Ordering::Relaxed))
        });
        let pieces = cutter.push(&samples, arrival).map_err(|error| error.to_string())?;
        pieces.into_iter().for_each(|piece| memory.hand_over(piece));
        samples.clear();
    };
    if let Some(mut cutter) = cutter {
        let last = cutter.finish().map_err(|error| error.to_string())?;
        last.into_iter().for_each(|piece| memory.hand_over(piece));
    }
    outcome
}

fn interleave(block: &Block<'_>, bits: u16, samples: &mut Vec<i32>) {
    for frame in 0..block.frames() {
        samples.extend(block.channels().iter().map(|channel| to_integer(channel[frame], bits)));
    }
}

impl Memory {
    /// Puts a piece into the outbox, and says what is missing before it.
    fn hand_over(&self, piece: Piece) {
        let sensor = self.sensor.as_str();
        let (start, end) = (piece.start, piece.start + piece.duration);
        let before = self.heard_until.swap(end, Ordering::Relaxed);
        let gap = start - before;
        if before > 0 && gap > JITTER {
            let seconds = gap as f64 / 1e6;
            tracing::info!(sensor, seconds, "there is a gap in the stream");
            metrics::counter!("antiphon_receive_gaps_total", "sensor" => self.sensor.clone()).increment(1);
            metrics::counter!("antiphon_receive_gap_seconds_total", "sensor" => self.sensor.clone())
                .increment(seconds.ceil() as u64);
        }
        metrics::gauge!("antiphon_receive_heard_until_seconds", "sensor" => self.sensor.clone()).set(end as f64 / 1e6);
        let title = self.title.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_kept = self.outbox.add(piece, title);
        let name = if is_kept { "antiphon_receive_pieces_total" } else { "antiphon_receive_lost_pieces_total" };
        metrics::counter!(name, "sensor" => self.sensor.clone()).increment(1);
        let was_full = self.is_full.swap(!is_kept, Ordering::Relaxed);
        match (was_full, is_kept) {
            (false, false) => {
                tracing::error!(sensor, "the queue takes nothing and there is no room: audio is lost from here on")
            }
            (true, true) => tracing::info!(sensor, "there is room again: no more audio is lost"),
            _ => {}
        }
    }
}
