//! Cuts a long recording into pieces at the seconds of the epoch, without changing a sample.
//!
//! The pieces are a function of the audio, its start and its lead-in: cutting again gives the same bytes.

use std::time::Instant;

use antiphon_audio::AudioError;
use antiphon_audio::decode::{Decoder, Info};
use antiphon_audio::encode::{PcmFormat, Samples, flac, wav};
use antiphon_platform::clock::{Micros, SECOND};

use crate::workers::{Failure, sample_number};

/// What a piece aims to stay below, encoded; counted as if nothing could be compressed.
const PIECE_BYTES: usize = 1024 * 1024 - 16 * 1024;

/// What a piece must stay below, lest no queue takes it.
const MOST_BYTES: usize = 12 * 1024 * 1024;

/// Seconds of what precedes a piece that go with it as lead-in.
const LEAD_IN_SECONDS: i64 = 2;

/// One piece of a recording, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// 0, 1, 2, ...
    pub(super) number: u32,
    /// First sample after its lead-in, µs since 1970; a whole second but for the first piece.
    pub(super) start: Micros,
    /// Audio at its front that yields nothing, in µs.
    pub(super) lead_in: u32,
    /// Whether no piece follows.
    pub(super) last: bool,
    /// A FLAC or WAV file.
    pub(super) audio: Vec<u8>,
    /// Why the source broke off; only with `last`.
    pub(super) fault: String,
}

/// Cuts what `decoder` yields. When the source breaks off behind something that is worth keeping, the pieces
/// before it are emitted, the last with the reason, and the reason is the failure.
pub(super) fn cut(
    mut decoder: Decoder,
    start: Micros,
    lead_in: u32,
    deadline: Instant,
    emit: &mut dyn FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut cutter = Cutter::new(decoder.info(), start, lead_in);
    let broke_off = loop {
        match cutter.buffer.take_block(&mut decoder) {
            Ok(true) => cutter.emit_ready(emit)?,
            Ok(false) => break None,
            Err(error) => match Failure::from(error) {
                Failure::Permanent(reason) => break Some(reason),
                temporary @ Failure::Temporary(_) => return Err(temporary),
            },
        }
        if Instant::now() > deadline {
            return Err(Failure::Temporary(String::from("cutting the recording took too long")));
        }
    };
    if cutter.end() <= cutter.next {
        return Err(Failure::Permanent(broke_off.unwrap_or_else(|| String::from("it is all lead-in"))));
    }
    cutter.emit_rest(broke_off.clone().unwrap_or_default(), emit)?;
    broke_off.map_or(Ok(()), |reason| Err(Failure::Permanent(reason)))
}

/// Samples are numbered on the absolute grid.
struct Cutter {
    rate: i64,
    /// Start of the recording, µs since 1970.
    start: Micros,
    /// Number of the first body sample of the next piece.
    next: i64,
    /// Number of the first sample in the buffer.
    first: i64,
    /// Most frames in the body of a piece, if that is at least a second.
    body: i64,
    /// Most frames of lead-in; the first piece has all that the recording has.
    lead_in: i64,
    number: u32,
    buffer: Buffer,
}

impl Cutter {
    fn new(info: &Info, start: Micros, lead_in: u32) -> Self {
        let rate = i64::from(info.rate);
        let buffer = Buffer::new(info);
        let frames = |bytes: usize| i64::try_from(bytes / buffer.frame_bytes).unwrap_or(i64::MAX);
        let most_lead_in = (LEAD_IN_SECONDS * rate).min((frames(MOST_BYTES) - 2 * rate).max(0));
        let next = sample_number(start, info.rate);
        Self {
            rate,
            start,
            next,
            first: next - sample_number(i64::from(lead_in), info.rate),
            body: frames(PIECE_BYTES) - most_lead_in,
            lead_in: most_lead_in,
            number: 0,
            buffer,
        }
    }

    /// Number after the last sample in the buffer.
    fn end(&self) -> i64 {
        self.first + self.buffer.frames()
    }

    /// Where the next piece ends, unless the recording does before: as many whole seconds as fit, but one at least.
    fn border(&self) -> i64 {
        let most = (self.next + self.body).div_euclid(self.rate) * self.rate;
        let least = -(-(self.next + self.rate)).div_euclid(self.rate) * self.rate;
        most.max(least)
    }

    /// Emits pieces behind which at least another second is known to follow.
    fn emit_ready(&mut self, emit: &mut dyn FnMut(Piece) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            let border = self.border();
            if self.end() < border + self.rate {
                return Ok(());
            }
            let piece = self.piece(border, false, String::new())?;
            emit(piece)?;
        }
    }

    /// Emits what is left. A rest of less than a second goes with the piece before it.
    fn emit_rest(mut self, fault: String, emit: &mut dyn FnMut(Piece) -> Result<(), Failure>) -> Result<(), Failure> {
        self.emit_ready(emit)?;
        let end = self.end();
        emit(self.piece(end, true, fault)?)
    }

    /// The next piece, up to `end`, and lets go of what no later one needs.
    fn piece(&mut self, end: i64, last: bool, fault: String) -> Result<Piece, Failure> {
        let lead_in = if self.number == 0 { self.next - self.first } else { self.lead_in.min(self.next - self.first) };
        let from = self.next - lead_in - self.first;
        let audio = self.buffer.encode(from, end - self.first)?;
        if audio.len() > MOST_BYTES {
            let reason = format!("a second of it has more than {MOST_BYTES} bytes in a message");
            return Err(Failure::Permanent(reason));
        }
        let start = if self.number == 0 { self.start } else { self.next / self.rate * SECOND };
        let lead_in = (lead_in * SECOND + self.rate / 2) / self.rate;
        let piece = Piece {
            number: self.number,
            start,
            lead_in: u32::try_from(lead_in).unwrap_or(u32::MAX),
            last,
            audio,
            fault,
        };
        self.number += 1;
        self.next = end;
        let keep_from = (end - self.lead_in).max(self.first);
        self.buffer.drop_front(keep_from - self.first);
        self.first = keep_from;
        Ok(piece)
    }
}

/// Interleaved samples as they were in the source.
struct Buffer {
    format: PcmFormat,
    samples: Kept,
    /// How far integers are shifted up to fill the format's bits, which leaves their value as it was.
    shift: u32,
    /// Bytes of a frame, uncompressed.
    frame_bytes: usize,
}

enum Kept {
    Integers(Vec<i32>),
    Floats(Vec<f32>),
}

impl Buffer {
    fn new(info: &Info) -> Self {
        let bits = match info.bits {
            _ if info.float => 32,
            0..=8 => 8,
            bits @ 9..=24 => bits,
            _ => 32,
        };
        Self {
            format: PcmFormat { rate: info.rate, channels: info.channels, bits, float: info.float },
            samples: if info.float { Kept::Floats(Vec::new()) } else { Kept::Integers(Vec::new()) },
            shift: u32::from(bits.saturating_sub(info.bits)),
            frame_bytes: usize::from(info.channels) * usize::from(bits.div_ceil(8)),
        }
    }

    /// Takes the decoder's next block; whether there was one.
    fn take_block(&mut self, decoder: &mut Decoder) -> Result<bool, AudioError> {
        match &mut self.samples {
            Kept::Integers(samples) => {
                let Some(block) = decoder.next_integers()? else { return Ok(false) };
                let shift = self.shift;
                interleave(block.channels(), samples, |sample| sample << shift);
            }
            Kept::Floats(samples) => {
                let Some(block) = decoder.next_block()? else { return Ok(false) };
                interleave(block.channels(), samples, |sample| sample);
            }
        }
        Ok(true)
    }

    fn frames(&self) -> i64 {
        let samples = match &self.samples {
            Kept::Integers(samples) => samples.len(),
            Kept::Floats(samples) => samples.len(),
        };
        (samples / usize::from(self.format.channels)) as i64
    }

    /// A file of the frames `from..to`: FLAC for integers of up to 24 bits, else WAV.
    fn encode(&self, from: i64, to: i64) -> Result<Vec<u8>, AudioError> {
        let channels = usize::from(self.format.channels);
        let range = from as usize * channels..to as usize * channels;
        match &self.samples {
            Kept::Integers(samples) if self.format.bits <= 24 => flac(&self.format, Samples::Integers(&samples[range])),
            Kept::Integers(samples) => wav(&self.format, Samples::Integers(&samples[range])),
            Kept::Floats(samples) => wav(&self.format, Samples::Floats(&samples[range])),
        }
    }

    fn drop_front(&mut self, frames: i64) {
        let count = frames as usize * usize::from(self.format.channels);
        match &mut self.samples {
            Kept::Integers(samples) => drop(samples.drain(..count)),
            Kept::Floats(samples) => drop(samples.drain(..count)),
        }
    }
}

fn interleave<T: Copy>(channels: &[&[T]], into: &mut Vec<T>, change: impl Fn(T) -> T) {
    let frames = channels.first().map_or(0, |first| first.len());
    into.reserve(frames * channels.len());
    for frame in 0..frames {
        into.extend(channels.iter().map(|channel| change(channel[frame])));
    }
}
