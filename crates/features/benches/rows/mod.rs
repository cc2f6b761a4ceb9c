//! What the measurements of speed measure: rows of names and work.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot run says so by a panic")]

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::downmix::mono;
use antiphon_audio::vector::widest;
use antiphon_features::algorithm::Stream;
use antiphon_features::descriptor::Descriptor;
use antiphon_features::session::{Item, Session};
use antiphon_features::sets::{SETS, items};
use antiphon_features::{find, registry};
use bytes::Bytes;
use realfft::RealFftPlanner;

/// The transform of the base.
const SIZE: usize = 2_048;
const HOP: usize = 512;

/// A row: what it is called, and what is done.
pub struct Row {
    pub name: String,
    pub work: Work,
}

/// What is done with a file.
pub enum Work {
    /// It is decoded.
    Decode,
    /// It is decoded and mixed down, and transformed once: the least that any analysis of spectra does.
    Base,
    /// It is decoded and analysed as a song.
    Analyse(Vec<Item>),
}

/// The rows that have a bound or a goal, by its name in `docs/benchmarks.md`.
pub const SPECTRA: &str = "spectral, mfcc and chroma";
pub const SPECTRA_AND_LOUDNESS: &str = "spectral, mfcc, chroma and R 128 without true peak";
pub const WITHOUT_SLOW: &str = "all without pYIN, HPSS and constant-Q";
pub const ALL: &str = "all";

/// Decoding, the base, every algorithm with all its outputs, and what has a bound.
pub fn rows() -> Vec<Row> {
    let row = |name: &str, work: Work| Row { name: name.to_owned(), work };
    let mut rows = vec![row("decoding", Work::Decode), row("base", Work::Base)];
    rows.extend(registry().iter().map(|found| row(found.name, Work::Analyse(vec![whole(found)]))));
    // The spectra as they lie in files that were made for them: whole, but for what `chroma` tells of whole songs only.
    let spectra = vec![of("spectral"), of("mfcc"), some("chroma", &["stft", "tonnetz"])];
    let loudness = some("loudness", &["momentary", "short_term", "integrated", "range"]);
    let is_slow = |found: &Descriptor| ["hpss", "chroma_cqt", "melody", "pitch"].contains(&found.name);
    let mut quick: Vec<Item> = registry().iter().filter(|found| !is_slow(found)).map(|found| whole(found)).collect();
    quick.push(some("pitch", &["yin", "aperiodicity"]));
    rows.push(row(SPECTRA_AND_LOUDNESS, Work::Analyse([&spectra[..], &[loudness]].concat())));
    rows.push(row(SPECTRA, Work::Analyse(spectra)));
    rows.push(row(WITHOUT_SLOW, Work::Analyse(quick)));
    rows.push(row(ALL, Work::Analyse(registry().iter().map(|found| whole(found)).collect())));
    rows
}

/// The named sets, as [`rows`].
pub fn sets() -> impl Iterator<Item = Row> {
    SETS.iter().map(|set| Row { name: format!("set {}", set.name), work: Work::Analyse(set.to_items()) })
}

/// The row of a name: one of [`rows`] or [`sets`], or a list of sets, algorithms and outputs as plans have it.
pub fn row(name: &str) -> Option<Row> {
    let listed = rows().into_iter().chain(sets()).find(|row| row.name == name);
    listed.or_else(|| Some(Row { name: name.to_owned(), work: Work::Analyse(items(name).ok()?) }))
}

/// An algorithm with all its outputs.
fn whole(found: &Descriptor) -> Item {
    let outputs: Vec<&str> = found.outputs.iter().map(|output| output.name).collect();
    some(found.name, &outputs)
}

fn of(algorithm: &str) -> Item {
    whole(find(algorithm).unwrap())
}

fn some(algorithm: &str, outputs: &[&str]) -> Item {
    let outputs = outputs.iter().map(ToString::to_string).collect();
    Item { algorithm: algorithm.to_owned(), outputs, ..Item::default() }
}

impl Work {
    /// Does it with a file. Returns how many seconds of audio it had.
    pub fn run(&self, file: &Bytes) -> f64 {
        let mut decoder = Decoder::from_bytes(file.clone(), Limits::default()).unwrap();
        let (rate, channels) = (decoder.info().rate, decoder.info().channels);
        let mut frames = 0;
        let mut decode = |each: &mut dyn FnMut(&[&[f32]])| {
            while let Some(block) = decoder.next_block().unwrap() {
                frames += block.channels()[0].len();
                each(block.channels());
            }
        };
        match self {
            Work::Decode => decode(&mut |channels| _ = std::hint::black_box(channels)),
            Work::Base => {
                let mut base = Base::new();
                decode(&mut |channels| base.push(channels));
            }
            Work::Analyse(items) => {
                let stream =
                    Stream { rate, channels, first_sample: 0, first_body_sample: 0, song: true, calibration_db: None };
                let mut session = Session::new(items, &stream).unwrap();
                decode(&mut |channels| {
                    session.push(channels);
                    std::hint::black_box(session.take_blocks());
                });
                std::hint::black_box(session.finish());
            }
        }
        frames as f64 / f64::from(rate)
    }
}

/// The mono mix-down and its power spectra in single precision, at the rate of the file: what the bounds are multiples of.
/// (The transform of `antiphon_audio` is in double precision.)
struct Base {
    transform: std::sync::Arc<dyn realfft::RealToComplex<f32>>,
    window: Vec<f32>,
    windowed: Vec<f32>,
    spectrum: Vec<realfft::num_complex::Complex<f32>>,
    scratch: Vec<realfft::num_complex::Complex<f32>>,
    power: Vec<f32>,
    pending: Vec<f32>,
}

impl Base {
    fn new() -> Base {
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(SIZE);
        let hann = |n: usize| 0.5 - 0.5 * (std::f64::consts::TAU * n as f64 / SIZE as f64).cos();
        Base {
            window: (0..SIZE).map(|n| hann(n) as f32).collect(),
            windowed: transform.make_input_vec(),
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            power: vec![0.0; SIZE / 2 + 1],
            pending: Vec::new(),
            transform,
        }
    }

    fn push(&mut self, channels: &[&[f32]]) {
        mono(channels, &mut self.pending);
        let mut start = 0;
        while let Some(frame) = self.pending.get(start..start + SIZE) {
            let (windowed, window) = (&mut self.windowed, &self.window);
            widest(
                #[inline(always)]
                || {
                    let weighted = frame.iter().zip(window).map(|(sample, weight)| sample * weight);
                    windowed.iter_mut().zip(weighted).for_each(|(target, value)| *target = value);
                },
            );
            self.transform.process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch).unwrap();
            let (power, spectrum) = (&mut self.power, &self.spectrum);
            widest(
                #[inline(always)]
                || power.iter_mut().zip(spectrum).for_each(|(power, bin)| *power = bin.norm_sqr()),
            );
            std::hint::black_box(&self.power);
            start += HOP;
        }
        self.pending.drain(..start);
    }
}
