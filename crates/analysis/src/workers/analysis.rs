//! One audio file, or piece of one, to results: synchronous, in constant memory.

use std::time::{Duration, Instant};

use antiphon_audio::decode::Decoder;
use antiphon_features::algorithm::Stream;
use antiphon_features::session::{Item, Session};
use antiphon_platform::clock::Micros;

use super::Failure;
use super::parts::{Emit, Parts};
use crate::messages;

/// Samples after which finished blocks are handed on.
const TAKE_AFTER: u64 = 1 << 20;

/// What to do with one audio file.
pub(super) struct Job {
    /// What every part of the result says.
    pub(super) frame: messages::Result,
    /// Algorithms to run.
    pub(super) items: Vec<Item>,
    /// dB re 20 µPa of a mean square of 1.
    pub(super) calibration_db: Option<f64>,
    /// Where the file lies in time.
    pub(super) place: Place,
    /// Why there is no more audio than in this file, if the source of the file broke off.
    pub(super) fault: String,
    /// How long it may take.
    pub(super) time_limit: Duration,
}

/// Where a file lies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the absolute grid.
    Sensor {
        /// First body sample of the whole recording, µs since 1970.
        recording_start: Micros,
        /// First body sample of this file, µs since 1970.
        start: Micros,
        /// Audio before it that yields nothing, in µs.
        lead_in: u32,
    },
    /// From 0.
    Song,
}

/// Runs a job. Parts are emitted as they fill; the last one comes before this returns, also when the
/// audio broke off behind something that is worth keeping: then the reason is the failure.
pub(super) fn analyze(job: Job, mut decoder: Decoder, emit: &mut Emit<'_>) -> Result<(), Failure> {
    let begun = Instant::now();
    let info = *decoder.info();
    let numbers = Numbers::new(job.place, info.rate);
    let stream = Stream {
        rate: info.rate,
        channels: info.channels,
        first_sample: numbers.first_body - numbers.lead_in,
        first_body_sample: numbers.first_body,
        song: job.place == Place::Song,
        calibration_db: job.calibration_db,
    };
    let mut session = Session::new(&job.items, &stream)?;
    let mut parts = Parts::new(job.frame);
    let mut take_at = TAKE_AFTER;
    let broke_off = loop {
        match decoder.next_block() {
            Ok(Some(block)) => session.push(block.channels()),
            Ok(None) => break None,
            Err(error) => match Failure::from(error) {
                Failure::Permanent(reason) => break Some(reason),
                temporary @ Failure::Temporary(_) => return Err(temporary),
            },
        }
        if begun.elapsed() > job.time_limit {
            let seconds = job.time_limit.as_secs();
            return Err(Failure::Temporary(format!("the analysis took longer than {seconds} s")));
        }
        if decoder.position() >= take_at {
            take_at += TAKE_AFTER;
            parts.add_blocks(session.take_blocks(), emit)?;
        }
    };
    let frames = i64::try_from(decoder.position()).unwrap_or(i64::MAX);
    if frames <= numbers.lead_in {
        return Err(Failure::Permanent(broke_off.unwrap_or_else(|| {
            if frames == 0 { String::from("there is no audio in it") } else { String::from("it is all lead-in") }
        })));
    }
    let (from, to) = numbers.interval(frames - numbers.lead_in);
    let fault = broke_off.clone().unwrap_or(job.fault);
    let calibrated = job.calibration_db.is_some();
    let last = |part: &mut messages::Result| {
        (part.from, part.to) = (from, to);
        (part.sample_rate, part.channels) = (info.rate, u32::from(info.channels));
        part.fault = fault;
        part.calibrated = calibrated;
    };
    parts.finish(session.finish(), last, emit)?;
    broke_off.map_or(Ok(()), |reason| Err(Failure::Permanent(reason)))
}

/// Sample numbers of a file (DESIGN: round(start µs x rate / 10^6) on the absolute grid).
struct Numbers {
    rate: u32,
    recording_start: Micros,
    /// Of the recording's first body sample.
    first_of_recording: i64,
    /// Of the file's first body sample.
    first_body: i64,
    /// Samples of lead-in.
    lead_in: i64,
}

impl Numbers {
    fn new(place: Place, rate: u32) -> Self {
        match place {
            Place::Sensor { recording_start, start, lead_in } => Self {
                rate,
                recording_start,
                first_of_recording: sample_number(recording_start, rate),
                first_body: sample_number(start, rate),
                lead_in: sample_number(i64::from(lead_in), rate),
            },
            Place::Song => Self { rate, recording_start: 0, first_of_recording: 0, first_body: 0, lead_in: 0 },
        }
    }

    /// The interval of `frames` body samples. It is counted from the recording's start, so that pieces touch and
    /// the whole is as long as it was before it was cut.
    fn interval(&self, frames: i64) -> (Micros, Micros) {
        let at = |number: i64| {
            let since = i128::from(number - self.first_of_recording) * 1_000_000;
            let rate = i128::from(self.rate);
            self.recording_start + ((2 * since + rate).div_euclid(2 * rate)) as i64
        };
        (at(self.first_body), at(self.first_body.saturating_add(frames)))
    }
}

/// round(µs x rate / 10^6), halves up.
pub(crate) fn sample_number(micros: Micros, rate: u32) -> i64 {
    let scaled = i128::from(micros) * i128::from(rate);
    let number = (2 * scaled + 1_000_000).div_euclid(2_000_000);
    // At most 768,000 samples a second over 9,999 years: 2.4e17.
    number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}
