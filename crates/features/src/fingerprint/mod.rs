//! The acoustic fingerprint of a song, by which AcoustID knows it.

mod resample;

use data_encoding::BASE64URL_NOPAD;
use rusty_chromaprint::{Configuration, FingerprintCompressor, Fingerprinter};

use crate::algorithm::{Algorithm, Stream};
use crate::descriptor::{Descriptor, Kind, Output};
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};
use resample::{RATE, Resampler};

const CHROMAPRINT: &str = "chromaprint";
const DURATION: &str = "duration";

/// What fpcalc listens to: the first two minutes.
const LONGEST: usize = 120 * RATE as usize;

/// The facts about `fingerprint`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "fingerprint",
    version: 1,
    family: "identity",
    title: "Chromaprint fingerprint of a song, by which AcoustID knows it",
    about: "For songs only. The first 120 s, mixed to mono and resampled to 11,025 Hz as 16 bit numbers just as fpcalc \
            has libswresample do it (a Kaiser windowed sinc of 16 periods, beta 9, cut off at 0.8 of half the lower rate, at \
            most 256 phases, interpolated where these are not exact, the signal mirrored at its start; \
            channels weigh 1/2 each in stereo, more of them as FFmpeg mixes the layout that FLAC gives them). What is finer than 16 bit is \
            rounded first. \
            Of these, power spectra of 4,096 samples (Hamming) every 1,365, summed into 12 pitch classes from 28 to \
            3,520 Hz; each class is smoothed over five frames (1/4, 3/4, 1, 3/4, 1/4) and each frame scaled to \
            length 1, or 0 where it is below 0.01. Sixteen differences of rectangles 16 frames by 12 classes give two bits \
            each (Gray code), 32 bits a frame; the exclusive or of neighbours is packed into 3 bits a distance between \
            set bits (5 more for long ones) after a header of algorithm (1, called 2 by fpcalc) and length, and \
            written in base64 for URLs without padding: some 3,000 characters. \
            A lookup at AcoustID needs the duration beside it: whole seconds of the whole song. Songs shorter than 2.73 s have no \
            fingerprint, digital silence has one. A fingerprint is the same bits as fpcalc's unless a value lies within the rounding of \
            its 32 bit transform at a border of two codes.",
    outputs: &[
        Output {
            name: CHROMAPRINT,
            title: "The compressed fingerprint of the first 120 s",
            kind: Kind::Summary,
            unit: "1",
            labels: &[],
            default: true,
        },
        Output {
            name: DURATION,
            title: "Whole seconds of the song, as a lookup wants them",
            kind: Kind::Summary,
            unit: "s",
            labels: &[],
            default: true,
        },
    ],
    parameters: &[],
    reference: "Chromaprint 1.5.1: fpcalc FILE (algorithm 2, 120 s)",
};

/// A running `fingerprint`.
struct Fingerprint {
    rate: u32,
    /// `None` for sensors, which have no summaries.
    song: Option<Song>,
    measures_duration: bool,
}

/// The beginning of a song, as the fingerprint hears it.
struct Song {
    resampler: Resampler,
    samples: Vec<i16>,
}

/// Makes `fingerprint` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    let song = (stream.song && request.wants(CHROMAPRINT)).then(|| Song {
        resampler: Resampler::new(stream.rate, usize::from(stream.channels), LONGEST),
        samples: Vec::new(),
    });
    Box::new(Fingerprint { rate: stream.rate, song, measures_duration: request.wants(DURATION) })
}

impl Algorithm for Fingerprint {
    fn samples(&mut self, _first: i64, channels: &[&[f32]], _sink: &mut Sink) {
        if let Some(song) = &mut self.song {
            song.resampler.push(channels, &mut song.samples);
        }
    }

    fn finish(&mut self, end: i64, sink: &mut Sink) {
        if let Some(song) = &self.song {
            let missing = || SummaryValue::Missing("the song is shorter than 2.73 s".to_owned());
            sink.summary(CHROMAPRINT, fingerprint(&song.samples).map_or_else(missing, SummaryValue::Text));
        }
        if self.measures_duration {
            sink.summary(DURATION, SummaryValue::Number((end / i64::from(self.rate)) as f64));
        }
    }
}

/// The fingerprint of mono samples at [`RATE`], or `None` if they are too few for one. It is made at the end, of at most
/// 2.6 MB of samples, because a running fingerprinter cannot go from thread to thread.
fn fingerprint(samples: &[i16]) -> Option<String> {
    let configuration = Configuration::preset_test2();
    let mut fingerprinter = Fingerprinter::new(&configuration);
    fingerprinter.start(RATE, 1).ok()?;
    fingerprinter.consume(samples);
    fingerprinter.finish();
    let found = fingerprinter.fingerprint();
    let packed = FingerprintCompressor::from(&configuration).compress(found);
    (!found.is_empty()).then(|| BASE64URL_NOPAD.encode(&packed))
}
