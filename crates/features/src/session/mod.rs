//! Runs algorithms over one stream: one pass, shared down-mix, resampling and transforms.
//!
//! The input may come in chunks of any size; the algorithms see the same steps ([`crate::algorithm`]) whatever
//! the chunks were, so results are the same bits. Memory stays constant if [`Session::take_blocks`] is called
//! now and then.

mod clock;
mod front;
mod sink;

use antiphon_audio::vector::widest;
use antiphon_audio::{MAX_CHANNELS, MAX_RATE, MIN_RATE};

pub use sink::Sink;

use crate::algorithm::{Algorithm, Stream};
use crate::registry::{FeatureError, Request};
use clock::Clock;
use front::Front;

/// One algorithm of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// The algorithm's name.
    pub algorithm: String,
    /// Names of the outputs to compute; empty: all of its default outputs.
    pub outputs: Vec<String>,
    /// Parameters that differ from their defaults.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Whether frames are kept beside what is stored per second.
    pub frames: bool,
}

/// Everything found in a stream, but for blocks that were taken before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// What is stored per minute.
    pub blocks: Vec<Block>,
    /// Intervals, in the order in which they were found.
    pub annotations: Vec<Annotation>,
    /// Values of a whole song.
    pub summaries: Vec<Summary>,
}

/// The partials (or frames, or preview) of one layer within one minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// Its version.
    pub version: u32,
    /// The layer, or [`crate::cells::FRAMES`].
    pub layer: &'static str,
    /// Minute of the epoch (songs: of the song).
    pub minute: i64,
    /// What [`crate::cells::decode_block`] or [`crate::cells::decode_frames`] reads.
    pub data: Vec<u8>,
}

/// Something with a beginning, an end and a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// Its version.
    pub version: u32,
    /// What kind of thing it is; the name of an output.
    pub kind: &'static str,
    /// Which one of that kind.
    pub label: String,
    /// Its beginning, µs since 1970 (songs: since the start).
    pub from: i64,
    /// Its end, µs, more than `from`.
    pub to: i64,
    /// A value, in the unit of the output.
    pub value: Option<f32>,
    /// 0 to 1.
    pub confidence: Option<f32>,
    /// It touches the start of a sensor's recording and may have begun before.
    pub open_start: bool,
    /// It touches the end of a sensor's recording and may go on.
    pub open_end: bool,
}

/// One value for a whole song.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// Its version.
    pub version: u32,
    /// The output's name.
    pub output: &'static str,
    /// The value, or why there is none.
    pub value: SummaryValue,
}

/// The value of a [`Summary`].
#[derive(Clone, Debug, PartialEq)]
pub enum SummaryValue {
    /// A finite number in the output's unit.
    Number(f64),
    /// A word, such as a key.
    Text(String),
    /// There is none, for this reason.
    Missing(String),
}

/// Samples beyond this are clipped (120 dB above full scale), so that no filter overflows.
const LARGEST: f32 = 1_048_576.0;

/// Samples below this count as 0: filters are slow on denormal numbers, and it lies 400 dB below full scale.
const SMALLEST: f32 = 1e-20;

/// Algorithms that run over one stream.
pub struct Session {
    clock: Clock,
    channels: usize,
    /// Number of the next sample of the step that is being gathered.
    next: i64,
    /// What has come of that step, per channel.
    pending: Vec<Vec<f32>>,
    runners: Vec<Runner>,
    front: Front,
}

/// One algorithm with where its results go.
struct Runner {
    algorithm: Box<dyn Algorithm>,
    sink: Sink,
}

impl Session {
    /// Checks the items and makes the algorithms. All allocation that depends on the stream happens here.
    pub fn new(items: &[Item], stream: &Stream) -> Result<Session, FeatureError> {
        let channels = usize::from(stream.channels);
        if !(1..=MAX_CHANNELS).contains(&channels) || !(MIN_RATE..=MAX_RATE).contains(&stream.rate) {
            return Err(FeatureError::BadStream { rate: stream.rate, channels: stream.channels });
        }
        let first_body_sample = stream.first_body_sample.max(stream.first_sample);
        let stream = &Stream { first_body_sample, ..stream.clone() };
        let clock = Clock::new(stream);
        let mut runners: Vec<Runner> = Vec::with_capacity(items.len());
        for item in items {
            let request = Request::new(item)?;
            let algorithm = request.descriptor().name;
            if runners.iter().any(|runner| runner.sink.algorithm() == algorithm) {
                return Err(FeatureError::Repeated { algorithm });
            }
            runners.push(Runner { algorithm: request.construct(stream)?, sink: Sink::new(&request, clock) });
        }
        let needs: Vec<_> = runners.iter().map(|runner| runner.algorithm.needs()).collect();
        let front = Front::new(&needs, stream);
        let pending = vec![Vec::with_capacity(clock.longest_step()); channels];
        Ok(Session { clock, channels, next: stream.first_sample, pending, runners, front })
    }

    /// Takes the next samples: one slice per channel of the stream, all of one length (the shortest decides).
    /// Samples that are not finite count as 0.
    ///
    /// # Panics
    /// If there are fewer slices than the stream has channels.
    pub fn push(&mut self, channels: &[&[f32]]) {
        assert!(channels.len() >= self.channels, "one slice for each channel of the stream");
        let channels = &channels[..self.channels];
        let frames = channels.iter().map(|channel| channel.len()).min().unwrap_or(0);
        let mut at = 0;
        while at < frames {
            let gathered = self.pending[0].len();
            let border = self.clock.step_border(self.next);
            let missing = (border - self.next) as usize - gathered;
            let end = frames.min(at + missing);
            let direct = gathered == 0 && end - at == missing && channels.iter().all(|channel| fit(&channel[at..end]));
            if direct {
                let mut step: [&[f32]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
                for (slice, channel) in step.iter_mut().zip(channels) {
                    *slice = &channel[at..end];
                }
                run(&mut self.runners, &mut self.front, self.next, &step[..self.channels]);
                self.next = border;
            } else {
                for (pending, channel) in self.pending.iter_mut().zip(channels) {
                    pending.extend(channel[at..end].iter().map(|&sample| fitted(sample)));
                }
                if end - at == missing {
                    self.run_pending();
                }
            }
            at = end;
        }
    }

    /// The stream has ended. Yields what is left.
    pub fn finish(mut self) -> Analysis {
        if !self.pending[0].is_empty() {
            self.run_pending();
        }
        let end = self.next;
        for runner in &mut self.runners {
            runner.sink.set_end(end);
        }
        self.front.finish(&mut self.runners);
        let mut analysis = Analysis::default();
        for mut runner in self.runners {
            runner.algorithm.finish(end, &mut runner.sink);
            runner.sink.finish(&mut analysis);
        }
        analysis
    }

    /// Blocks of minutes that are finished, since the last call.
    pub fn take_blocks(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for runner in &mut self.runners {
            runner.sink.take_blocks(&mut blocks);
        }
        blocks
    }

    fn run_pending(&mut self) {
        let mut step: [&[f32]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
        for (slice, pending) in step.iter_mut().zip(&self.pending) {
            *slice = pending;
        }
        let length = step[0].len();
        run(&mut self.runners, &mut self.front, self.next, &step[..self.channels]);
        self.next += length as i64;
        self.pending.iter_mut().for_each(Vec::clear);
    }
}

fn run(runners: &mut [Runner], front: &mut Front, first: i64, step: &[&[f32]]) {
    for runner in runners.iter_mut() {
        runner.algorithm.samples(first, step, &mut runner.sink);
    }
    front.push(step, runners);
}

/// Whether all samples can be used as they are.
fn fit(samples: &[f32]) -> bool {
    widest(
        #[inline(always)]
        || {
            let mut unfit = false;
            for &sample in samples {
                let size = sample.abs();
                // NaN is in no range.
                unfit |= !((SMALLEST..=LARGEST).contains(&size) | (size == 0.0));
            }
            !unfit
        },
    )
}

fn fitted(sample: f32) -> f32 {
    if !sample.is_finite() || sample.abs() < SMALLEST { 0.0 } else { sample.clamp(-LARGEST, LARGEST) }
}

#[cfg(test)]
mod tests;
