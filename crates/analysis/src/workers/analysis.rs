//! One audio file, or piece of one, to results: synchronous, in constant memory.

use std::time::{Duration, Instant};

use antiphon_audio::decode::Decoder;
use antiphon_features::algorithm::Stream;
use antiphon_features::session::{Item, Session};
use antiphon_platform::clock::Micros;

use super::parts::{Emit, Parts};
use super::{Failure, KEPT};
use crate::messages;
use crate::recordings::TITLE;

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
    /// What is playing, if the source says so.
    pub(super) title: String,
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
    let title = job.title;
    let calibrated = job.calibration_db.is_some();
    let last = |part: &mut messages::Result| {
        (part.from, part.to) = (from, to);
        (part.sample_rate, part.channels) = (info.rate, u32::from(info.channels));
        part.fault = fault;
        part.calibrated = calibrated;
        part.annotations.extend(titled(title, from, to));
    };
    parts.finish(session.finish(), last, emit)?;
    broke_off.map_or(Ok(()), |reason| Err(Failure::Permanent(reason + KEPT)))
}

/// What the source said is playing. It goes on in the neighbours, whose readers join it.
fn titled(title: String, from: Micros, to: Micros) -> Option<messages::Annotation> {
    (!title.is_empty()).then(|| messages::Annotation {
        algorithm: TITLE.to_owned(),
        version: 1,
        r#type: TITLE.to_owned(),
        label: title,
        from,
        to,
        open_start: true,
        open_end: true,
        ..messages::Annotation::default()
    })
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

#[cfg(test)]
mod tests {
    use antiphon_audio::decode::Limits;
    use antiphon_audio::encode::{PcmFormat, Samples, wav};
    use proptest::prelude::*;

    use super::*;

    fn collect(parts: &mut Vec<messages::Result>) -> impl FnMut(messages::Result) -> Result<(), Failure> {
        |part| {
            parts.push(part);
            Ok(())
        }
    }

    const MAY: Micros = 1_777_593_600_000_000;

    fn place(start: Micros, lead_in: u32) -> Place {
        Place::Sensor { recording_start: start, start, lead_in }
    }

    fn run(place: Place, frames: usize, truncate: usize) -> (Result<(), Failure>, Vec<messages::Result>) {
        let format = PcmFormat { rate: 8_000, channels: 1, bits: 16, float: false };
        let samples: Vec<i32> = (0..frames).map(|index| (index as i32 * 7_919) % 20_000 - 10_000).collect();
        let mut file = wav(&format, Samples::Integers(&samples)).unwrap();
        file.truncate(file.len() - truncate);
        let items = vec![Item { algorithm: String::from("level"), ..Item::default() }];
        let time_limit = Duration::from_secs(60);
        let frame = messages::Result::default();
        let job = Job {
            frame,
            items,
            calibration_db: Some(94.0),
            place,
            fault: String::new(),
            title: String::from("Trio in E"),
            time_limit,
        };
        let mut parts = Vec::new();
        let decoder = Decoder::from_bytes(file.into(), Limits::default()).unwrap();
        let outcome = analyze(job, decoder, &mut collect(&mut parts));
        (outcome, parts)
    }

    #[test]
    fn the_last_part_says_what_was_analysed() {
        let (outcome, parts) = run(place(MAY + 250_000, 500_000), 20_000, 0);
        assert_eq!(outcome, Ok(()));
        let last = parts.last().unwrap();
        assert_eq!((last.from, last.to), (MAY + 250_000, MAY + 2_250_000));
        assert_eq!((last.sample_rate, last.channels, last.calibrated, last.fault.as_str()), (8_000, 1, true, ""));
        assert!(!last.blocks.is_empty());
        let titles: Vec<_> = last.annotations.iter().filter(|annotation| annotation.r#type == TITLE).collect();
        assert_eq!(titles.iter().map(|title| title.label.as_str()).collect::<Vec<_>>(), ["Trio in E"]);
        assert_eq!((titles[0].from, titles[0].to), (last.from, last.to));
    }

    #[test]
    fn what_breaks_off_is_emitted_with_the_reason() {
        let (outcome, parts) = run(place(MAY, 0), 16_000, 8_000);
        let Err(Failure::Permanent(reason)) = outcome else { panic!("{outcome:?}") };
        let last = parts.last().unwrap();
        assert_eq!((last.from, last.to), (MAY, MAY + 1_500_000));
        assert_eq!(Some(last.fault.as_str()), reason.strip_suffix(KEPT));
    }

    #[test]
    fn all_lead_in_and_nothing_at_all_are_failures_without_a_result() {
        for frames in [0, 4_000] {
            let (outcome, parts) = run(place(MAY, 500_000), frames, 0);
            assert!(matches!(outcome, Err(Failure::Permanent(_))) && parts.is_empty(), "{frames}");
        }
        assert_eq!(run(place(MAY, 500_000), 4_001, 0).0, Ok(()));
    }

    #[test]
    fn sample_numbers_are_rounded() {
        assert_eq!(sample_number(0, 44_100), 0);
        assert_eq!(sample_number(11, 44_100), 0);
        assert_eq!(sample_number(12, 44_100), 1);
        assert_eq!(sample_number(-12, 44_100), -1);
        assert_eq!(sample_number(MAY, 48_000), 1_777_593_600 * 48_000);
        assert_eq!(sample_number(253_402_300_799_999_999, 768_000), 194_612_967_014_399_999);
    }

    proptest! {
        #[test]
        fn pieces_touch_and_the_whole_is_as_long_as_it_was(
            start in 0_i64..4_000_000_000_000_000,
            rate in prop::sample::select(vec![8_000_u32, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000]),
            frames in 1_i64..10_000_000,
        ) {
            let first = sample_number(start, rate);
            let cut = (first.div_euclid(i64::from(rate)) + 1) * i64::from(rate);
            let of = |start_of_piece| Numbers::new(
                Place::Sensor { recording_start: start, start: start_of_piece, lead_in: 0 },
                rate,
            );
            let whole = of(start).interval(frames);
            let duration = (frames as f64 * 1e6 / f64::from(rate)).round() as i64;
            prop_assert_eq!(whole, (start, start + duration));
            if cut < first + frames {
                let one = of(start).interval(cut - first);
                let other = of(cut / i64::from(rate) * 1_000_000).interval(first + frames - cut);
                prop_assert_eq!((one.0, one.1, other.1), (whole.0, other.0, whole.1));
            }
        }
    }
}
