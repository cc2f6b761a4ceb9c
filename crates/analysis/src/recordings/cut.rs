//! Cuts a long recording into pieces at the seconds of the epoch, without changing a sample.
//!
//! The pieces are a function of the audio, its start and its lead-in: cutting again gives the same bytes.

use std::time::Instant;

use antiphon_audio::AudioError;
use antiphon_audio::decode::{Decoder, Info};
use antiphon_audio::encode::{PcmFormat, Samples, flac, wav};
use antiphon_platform::clock::{Micros, SECOND};

use crate::workers::{Failure, KEPT, sample_number};

/// What a piece aims to stay below, encoded; counted as if nothing could be compressed.
pub(super) const PIECE_BYTES: usize = 1024 * 1024 - 16 * 1024;

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
    /// An audio file.
    pub(super) audio: Vec<u8>,
    /// Why the source broke off; only with `last`.
    pub(super) fault: String,
}

/// What to cut, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// First sample of the recording after its lead-in, µs since 1970.
    pub(super) start: Micros,
    /// Audio before it, in µs.
    pub(super) lead_in: u32,
    /// What a piece aims to stay below: [`PIECE_BYTES`].
    pub(super) piece_bytes: usize,
    /// When to give up for now.
    pub(super) deadline: Instant,
}

/// Cuts what `decoder` yields. When the source breaks off behind something that is worth keeping, the pieces
/// before it are emitted, the last with the reason, and the reason is the failure.
pub(super) fn cut(
    task: Task,
    mut decoder: Decoder,
    emit: &mut dyn FnMut(Piece) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut cutter = Cutter::new(decoder.info(), task);
    let broke_off = loop {
        match cutter.buffer.take_block(&mut decoder) {
            Ok(true) => cutter.emit_ready(emit)?,
            Ok(false) => break None,
            Err(error) => match Failure::from(error) {
                Failure::Permanent(reason) => break Some(reason),
                temporary @ Failure::Temporary(_) => return Err(temporary),
            },
        }
        if Instant::now() > task.deadline {
            return Err(Failure::Temporary(String::from("cutting the recording took too long")));
        }
    };
    if cutter.end() <= cutter.next {
        return Err(Failure::Permanent(broke_off.unwrap_or_else(|| String::from("it is all lead-in"))));
    }
    cutter.emit_rest(broke_off.clone().unwrap_or_default(), emit)?;
    // The last piece's result says that it failed: the dead letter may be stored before any of the pieces.
    broke_off.map_or(Ok(()), |reason| Err(Failure::Permanent(reason + KEPT)))
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
    fn new(info: &Info, task: Task) -> Self {
        let rate = i64::from(info.rate);
        let buffer = Buffer::new(info);
        let frames = |bytes: usize| i64::try_from(bytes / buffer.frame_bytes).unwrap_or(i64::MAX);
        let most_lead_in = (LEAD_IN_SECONDS * rate).min((frames(MOST_BYTES) - 2 * rate).max(0));
        let next = sample_number(task.start, info.rate);
        Self {
            rate,
            start: task.start,
            next,
            first: next - sample_number(i64::from(task.lead_in), info.rate),
            body: frames(task.piece_bytes) - most_lead_in,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use antiphon_audio::decode::Limits;
    use proptest::prelude::*;

    use super::*;

    /// A stretch of noise with its place in time.
    #[derive(Clone, Debug)]
    struct Recording {
        format: PcmFormat,
        start: Micros,
        lead_in: u32,
        frames: usize,
        piece_bytes: usize,
    }

    impl Recording {
        fn task(&self) -> Task {
            let deadline = Instant::now() + Duration::from_secs(600);
            Task { start: self.start, lead_in: self.lead_in, piece_bytes: self.piece_bytes, deadline }
        }

        fn integers(&self) -> Vec<i32> {
            let mut state = 0x9e37_79b9_u32;
            let next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as i32) >> (32 - self.format.bits)
            };
            std::iter::repeat_with(next).take(self.frames * usize::from(self.format.channels)).collect()
        }

        fn file(&self) -> Vec<u8> {
            let integers = self.integers();
            if self.format.float {
                let floats: Vec<f32> = integers.iter().map(|value| *value as f32 / 1e9).collect();
                wav(&self.format, Samples::Floats(&floats)).unwrap()
            } else {
                wav(&self.format, Samples::Integers(&integers)).unwrap()
            }
        }

        fn cut(&self) -> Vec<Piece> {
            let mut pieces = Vec::new();
            cut(self.task(), open(self.file()), &mut collect(&mut pieces)).unwrap();
            pieces
        }
    }

    fn collect(pieces: &mut Vec<Piece>) -> impl FnMut(Piece) -> Result<(), Failure> {
        |piece| {
            pieces.push(piece);
            Ok(())
        }
    }

    fn open(file: Vec<u8>) -> Decoder {
        Decoder::from_bytes(file.into(), Limits::default()).unwrap()
    }

    /// Interleaved bits of every sample as the analysis sees them.
    fn samples(file: Vec<u8>) -> Vec<u32> {
        let mut decoder = open(file);
        let mut samples = Vec::new();
        while let Some(block) = decoder.next_block().unwrap() {
            for frame in 0..block.frames() {
                samples.extend(block.channels().iter().map(|channel| channel[frame].to_bits()));
            }
        }
        samples
    }

    fn recordings() -> impl Strategy<Value = Recording> {
        let format = (
            prop::sample::select(vec![1_000_u32, 1_001, 8_000, 11_025]),
            1_u16..=2,
            prop::sample::select(vec![(8_u16, false), (16, false), (24, false), (32, false), (32, true)]),
        );
        let place = (-3_000_000_i64..3_000_000, prop::sample::select(vec![0_u32, 1, 500_000, 2_000_000, 5_000_000]));
        (format, place, 0.0_f64..20.0, 1_000_usize..60_000).prop_map(
            |((rate, channels, (bits, float)), (offset, lead_in), seconds, piece_bytes)| Recording {
                format: PcmFormat { rate, channels, bits, float },
                start: 1_777_593_600 * SECOND + offset,
                lead_in,
                frames: ((seconds + f64::from(lead_in) / 1e6) * f64::from(rate)) as usize + 2,
                piece_bytes,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pieces_are_the_recording(recording in recordings()) {
            let rate = recording.format.rate;
            let channels = usize::from(recording.format.channels);
            let source = samples(recording.file());
            let pieces = recording.cut();
            let lead_in = sample_number(i64::from(recording.lead_in), rate) as usize;
            let mut at = lead_in;
            let mut end_before = None;
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert_eq!(piece.number as usize, index);
                prop_assert_eq!(piece.last, index + 1 == pieces.len());
                let decoded = samples(piece.audio.clone());
                let frames = decoded.len() / channels;
                // A worker rounds the lead-in back to the same number of samples.
                let before = sample_number(i64::from(piece.lead_in), rate) as usize;
                let wanted = if index == 0 { lead_in } else { (2 * rate as usize).min(at) };
                prop_assert_eq!(before, wanted);
                prop_assert_eq!(&decoded[..], &source[(at - before) * channels..(at - before + frames) * channels]);
                let first = sample_number(piece.start, rate);
                prop_assert_eq!(first, sample_number(recording.start, rate) + (at - lead_in) as i64);
                if index > 0 {
                    prop_assert_eq!(piece.start % SECOND, 0);
                    // No second has two pieces.
                    prop_assert_eq!(end_before, Some(first));
                    prop_assert_eq!(first % i64::from(rate), 0);
                    prop_assert!(frames - before >= rate as usize, "a body of a second at least");
                }
                at += frames - before;
                end_before = Some(first + (frames - before) as i64);
            }
            prop_assert_eq!(at * channels, source.len());
        }

        #[test]
        fn cutting_again_gives_the_same_bytes(recording in recordings()) {
            prop_assert_eq!(recording.cut(), recording.cut());
        }
    }

    fn speech(seconds: usize) -> Recording {
        let format = PcmFormat { rate: 16_000, channels: 1, bits: 16, float: false };
        let start = 1_777_593_600 * SECOND + 250_000;
        Recording { format, start, lead_in: 0, frames: seconds * 16_000, piece_bytes: PIECE_BYTES }
    }

    #[test]
    fn pieces_fit_into_messages() {
        let pieces = speech(100).cut();
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|piece| piece.audio.len() <= 1024 * 1024));
    }

    #[test]
    fn what_decodes_before_a_fault_is_cut_and_the_last_piece_says_why() {
        let mut file = speech(60).file();
        file.truncate(file.len() / 2);
        let mut pieces = Vec::new();
        let task = speech(60).task();
        let outcome = cut(task, open(file), &mut collect(&mut pieces));
        let Err(Failure::Permanent(reason)) = outcome else { panic!("{outcome:?}") };
        let (last, others) = pieces.split_last().unwrap();
        assert_eq!((last.last, Some(last.fault.as_str())), (true, reason.strip_suffix(KEPT)));
        assert!(others.iter().all(|piece| !piece.last && piece.fault.is_empty()));
    }

    #[test]
    fn nothing_but_lead_in_is_no_recording() {
        let recording = Recording { lead_in: 2_000_000, ..speech(2) };
        let outcome = cut(recording.task(), open(recording.file()), &mut |_| panic!("there is nothing to emit"));
        assert!(matches!(outcome, Err(Failure::Permanent(_))));
    }
}
