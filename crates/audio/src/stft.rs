//! Short-time Fourier transform on a fixed grid.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::vector::widest;

/// Which transform: equal specs share one computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StftSpec {
    /// Samples per second of the resampled mono signal it runs on.
    pub rate: u32,
    /// Window (periodic Hann) and transform length in samples, even.
    pub size: u32,
    /// Samples between frames, at most `size`.
    pub hop: u32,
}

impl StftSpec {
    /// Number of the last sample (at the spec's rate) that frame `index` covers.
    pub fn last_sample(&self, grid: Grid, index: i64) -> i64 {
        let (size, hop) = (i64::from(self.size), i64::from(self.hop));
        match grid {
            Grid::Trailing => index * hop - 1,
            Grid::Centred => index * hop + size / 2 - 1,
        }
    }
}

/// Where frames lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Frame k covers samples `k * hop - size .. k * hop`: sensors, whose samples are numbered since 1970.
    Trailing,
    /// Frame k is centred at sample `k * hop`, with zeros beyond both ends, as librosa's `center=True`; there are
    /// `1 + samples / hop` of them: songs, whose samples are numbered from 0.
    Centred,
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// k, its index on the grid.
    pub index: i64,
    /// Number of the last sample (at the spec's rate) that it covers; beyond the end for the last centred frames.
    pub last: i64,
    /// |X|² of the windowed samples, unscaled: `size / 2 + 1` bins.
    pub power: &'a [f32],
    /// The samples that it covers, as they came: `size` of them, zeros where it reaches beyond the signal.
    pub samples: &'a [f32],
    /// First and end of what of `samples` is signal; the rest is padding. Empty if all is.
    pub inside: (usize, usize),
}

/// A running transform. It computes in f64, as librosa does: what is 200 dB below the loudest part of a frame is still
/// right, and a pure tone has no floor of rounding noise under it.
///
/// Two samples make one complex number, so that a transform of half the length does for all of them; the spectrum of the
/// even samples and that of the odd ones are told apart afterwards, and only the power of their sum is made.
pub struct Stft {
    spec: StftSpec,
    grid: Grid,
    /// Of `size / 2`.
    transform: Arc<dyn Fft<f64>>,
    /// exp(-2 pi i k / size) for k from 1 to below `size / 4`: real and imaginary parts.
    turns: [Vec<f64>; 2],
    halves: Halves,
    /// Two values side by side, as samples are.
    window: Vec<[f64; 2]>,
    windowed: Vec<Complex<f64>>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    power: Vec<f32>,
    /// Index of the next frame.
    next: i64,
    /// The samples that the next frame and those after it cover, as far as they have come.
    pending: Vec<f32>,
    /// Number of the first pending sample.
    pending_first: i64,
    /// Number of the first sample of the signal, and the number after its last once that is known.
    first: i64,
    end: i64,
}

impl Stft {
    /// A transform whose first sample has the number `first`; what lies before is taken as zeros. The first
    /// trailing frame is the first that covers a sample, the first centred one is 0 (`first` should be 0 then).
    ///
    /// # Panics
    /// If `size` is odd or 0, or `hop` is 0 or exceeds `size`.
    pub fn new(spec: StftSpec, grid: Grid, first: i64) -> Self {
        assert!(spec.size > 0 && spec.size.is_multiple_of(2), "a transform needs an even length");
        assert!((1..=spec.size).contains(&spec.hop), "frames must follow each other without holes");
        let size = spec.size as usize;
        let half = size / 2;
        let transform = FftPlanner::new().plan_fft_forward(half);
        let angle = |n: usize| std::f64::consts::TAU * n as f64 / size as f64;
        let hann = |n: usize| 0.5 - 0.5 * angle(n).cos();
        let next = match grid {
            Grid::Trailing => first.div_euclid(i64::from(spec.hop)) + 1,
            Grid::Centred => 0,
        };
        let pending_first = spec.last_sample(grid, next) + 1 - i64::from(spec.size);
        let mut pending = Vec::with_capacity(size + crate::BLOCK_FRAMES);
        pending.resize(usize::try_from(first - pending_first).unwrap_or(0), 0.0);
        Self {
            spec,
            grid,
            turns: [
                (1..=(half - 1) / 2).map(|k| angle(k).cos()).collect(),
                (1..=(half - 1) / 2).map(|k| -angle(k).sin()).collect(),
            ],
            window: (0..half).map(|n| [hann(2 * n), hann(2 * n + 1)]).collect(),
            windowed: vec![Complex::default(); half],
            spectrum: vec![Complex::default(); half],
            halves: Halves::new((half - 1) / 2),
            scratch: vec![Complex::default(); transform.get_outofplace_scratch_len()],
            power: vec![0.0; half + 1],
            transform,
            next,
            pending,
            pending_first,
            first,
            end: i64::MAX,
        }
    }

    /// What it computes.
    pub fn spec(&self) -> StftSpec {
        self.spec
    }

    /// Takes the next samples, and calls `each` for every frame that is complete.
    pub fn push(&mut self, samples: &[f32], mut each: impl FnMut(Frame<'_>)) {
        let (size, hop) = (self.spec.size as usize, self.spec.hop as usize);
        self.pending.extend_from_slice(samples);
        let mut start = 0;
        while let Some(covered) = self.pending.get(start..start + size) {
            let (windowed, window) = (&mut self.windowed, &self.window);
            widest(
                #[inline(always)]
                || weigh(covered, window, windowed),
            );
            self.transform.process_outofplace_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch);
            let (spectrum, turns, power) = (&self.spectrum, &self.turns, &mut self.power);
            let halves = &mut self.halves;
            widest(
                #[inline(always)]
                || halves.measure(spectrum, turns, power),
            );
            let covered_first = self.pending_first + start as i64;
            // Within 0 to `size`, so the casts are exact.
            let inside = |sample: i64| sample.saturating_sub(covered_first).clamp(0, size as i64) as usize;
            each(Frame {
                index: self.next,
                last: covered_first + size as i64 - 1,
                power: &self.power,
                samples: covered,
                inside: (inside(self.first), inside(self.end)),
            });
            self.next += 1;
            start += hop;
        }
        self.pending.drain(..start);
        self.pending_first += start as i64;
    }

    /// The end of the input: calls `each` for the centred frames that reach beyond it. Trailing frames have none.
    /// Nothing may be pushed afterwards.
    pub fn finish(&mut self, each: impl FnMut(Frame<'_>)) {
        if self.grid == Grid::Trailing {
            return;
        }
        let end = self.pending_first + self.pending.len() as i64;
        self.end = end;
        let last_frame = end / i64::from(self.spec.hop);
        let missing = self.spec.last_sample(self.grid, last_frame) + 1 - end;
        self.push(&vec![0.0; usize::try_from(missing).unwrap_or(0)], each);
    }
}

/// Samples by the window, two to a complex number.
#[inline(always)]
fn weigh(samples: &[f32], window: &[[f64; 2]], windowed: &mut [Complex<f64>]) {
    let pairs = samples.as_chunks::<2>().0;
    for ((target, [first, second]), weights) in windowed.iter_mut().zip(pairs).zip(window) {
        *target = Complex::new(f64::from(*first) * weights[0], f64::from(*second) * weights[1]);
    }
}

/// Both halves of a spectrum, real and imaginary parts, the upper one from its end: only loops over what lies side by side in the
/// same direction run over several numbers at a time.
struct Halves {
    low: [Vec<f64>; 2],
    high: [Vec<f64>; 2],
    /// The power of the upper half, from its end.
    high_power: Vec<f32>,
}

impl Halves {
    /// For so many pairs of bins.
    fn new(pairs: usize) -> Halves {
        let part = || [vec![0.0; pairs], vec![0.0; pairs]];
        Halves { low: part(), high: part(), high_power: vec![0.0; pairs] }
    }

    /// The power of real samples of which two were one complex number, from the transform Z of half the length. With m that
    /// length, E = (Z(k) + conj Z(m - k)) / 2 is the transform of the even samples and O = (Z(k) - conj Z(m - k)) / 2i that of the
    /// odd ones, so that X(k) = E + turn(k) O and X(m - k) = conj(E - turn(k) O).
    #[inline(always)]
    fn measure(&mut self, spectrum: &[Complex<f64>], turns: &[Vec<f64>; 2], power: &mut [f32]) {
        let (length, pairs) = (spectrum.len(), self.high_power.len());
        split(&spectrum[1..=pairs], &mut self.low);
        split(&spectrum[length - pairs..], &mut self.high);
        self.high.iter_mut().for_each(|part| part.reverse());
        self.measure_pairs([&turns[0], &turns[1]], &mut power[1..=pairs]);
        let high_power = &mut power[length - pairs..length];
        high_power.copy_from_slice(&self.high_power);
        high_power.reverse();
        power[0] = (spectrum[0].re + spectrum[0].im).powi(2) as f32;
        power[length] = (spectrum[0].re - spectrum[0].im).powi(2) as f32;
        if length.is_multiple_of(2) {
            power[length / 2] = spectrum[length / 2].norm_sqr() as f32;
        }
    }

    #[inline(always)]
    fn measure_pairs(&mut self, turns: [&[f64]; 2], low_power: &mut [f32]) {
        let pairs = low_power.len();
        let [low_real, low_imaginary] = self.low.each_ref().map(|part| &part[..pairs]);
        let [high_real, high_imaginary] = self.high.each_ref().map(|part| &part[..pairs]);
        let [cosines, sines] = turns.map(|part| &part[..pairs]);
        let high_power = &mut self.high_power[..pairs];
        for pair in 0..pairs {
            // Twice E and O, and O turned.
            let even_real = low_real[pair] + high_real[pair];
            let even_imaginary = low_imaginary[pair] - high_imaginary[pair];
            let odd_real = low_imaginary[pair] + high_imaginary[pair];
            let odd_imaginary = high_real[pair] - low_real[pair];
            let turned_real = cosines[pair] * odd_real - sines[pair] * odd_imaginary;
            let turned_imaginary = cosines[pair] * odd_imaginary + sines[pair] * odd_real;
            let square = |real: f64, imaginary: f64| (0.25 * (real * real + imaginary * imaginary)) as f32;
            low_power[pair] = square(even_real + turned_real, even_imaginary + turned_imaginary);
            high_power[pair] = square(even_real - turned_real, even_imaginary - turned_imaginary);
        }
    }
}

/// Real and imaginary parts.
#[inline(always)]
fn split(spectrum: &[Complex<f64>], [real, imaginary]: &mut [Vec<f64>; 2]) {
    for ((number, real), imaginary) in spectrum.iter().zip(real).zip(imaginary) {
        (*real, *imaginary) = (number.re, number.im);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPEC: StftSpec = StftSpec { rate: 8_000, size: 64, hop: 24 };

    fn signal(first: i64, samples: usize) -> Vec<f32> {
        (0..samples as i64).map(|n| (((first + n) * 7_919).rem_euclid(1_000) as f32 - 500.0) / 500.0).collect()
    }

    type Collected = Vec<(i64, i64, Vec<f32>)>;

    fn frames(grid: Grid, first: i64, pieces: &[&[f32]]) -> Collected {
        let mut stft = Stft::new(SPEC, grid, first);
        let mut frames = Vec::new();
        for piece in pieces {
            stft.push(piece, |frame| frames.push((frame.index, frame.last, frame.power.to_vec())));
        }
        stft.finish(|frame| frames.push((frame.index, frame.last, frame.power.to_vec())));
        frames
    }

    /// The definition, term by term.
    fn direct(samples: impl Fn(i64) -> f32, first: i64, bin: usize) -> f64 {
        let size = f64::from(SPEC.size);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for n in 0..i64::from(SPEC.size) {
            let angle = std::f64::consts::TAU * n as f64 / size;
            let windowed = f64::from(samples(first + n)) * (0.5 - 0.5 * angle.cos());
            real += windowed * (angle * bin as f64).cos();
            imaginary -= windowed * (angle * bin as f64).sin();
        }
        real * real + imaginary * imaginary
    }

    #[test]
    fn power_is_that_of_the_definition_on_both_grids() {
        for (grid, first) in [(Grid::Trailing, 1_000_003_i64), (Grid::Centred, 0)] {
            let input = signal(first, 500);
            let sample = |n: i64| {
                let place = usize::try_from(n - first).ok();
                place.and_then(|place| input.get(place)).copied().unwrap_or(0.0)
            };
            let frames = frames(grid, first, &[&input]);
            assert!(frames.len() > 15);
            for (index, last, power) in frames {
                assert_eq!(last, SPEC.last_sample(grid, index));
                for (bin, value) in power.iter().enumerate() {
                    let expected = direct(sample, last + 1 - i64::from(SPEC.size), bin);
                    assert!((f64::from(*value) - expected).abs() <= 1e-6 * expected.max(1e-3), "{index} {bin}");
                }
            }
        }
    }

    /// Halves of one number, of an odd number and of an even number.
    #[test]
    fn every_even_length_has_all_its_bins() {
        for size in [2_u32, 4, 6, 10, 12, 100] {
            let spec = StftSpec { rate: 8_000, size, hop: size };
            let input = signal(0, 2 * size as usize);
            let mut count = 0;
            Stft::new(spec, Grid::Trailing, 0).push(&input, |frame| {
                count += 1;
                assert_eq!(frame.power.len(), size as usize / 2 + 1);
                for (bin, power) in frame.power.iter().enumerate() {
                    let (mut real, mut imaginary) = (0.0, 0.0);
                    for (n, sample) in frame.samples.iter().enumerate() {
                        let angle = std::f64::consts::TAU * n as f64 / f64::from(size);
                        let windowed = f64::from(*sample) * (0.5 - 0.5 * angle.cos());
                        real += windowed * (angle * bin as f64).cos();
                        imaginary -= windowed * (angle * bin as f64).sin();
                    }
                    let expected = real * real + imaginary * imaginary;
                    assert!((f64::from(*power) - expected).abs() <= 1e-6 * expected.max(1e-3), "{size} {bin}");
                }
            });
            assert_eq!(count, 2);
        }
    }

    #[test]
    fn trailing_frames_lie_on_the_absolute_grid() {
        // Samples 100 to 199: the first multiple of 24 behind 100 is 120, the last up to 200 is 192.
        let frames = frames(Grid::Trailing, 100, &[&signal(100, 100)]);
        let places: Vec<_> = frames.iter().map(|(index, last, _)| (*index, *last)).collect();
        assert_eq!(places, [(5, 119), (6, 143), (7, 167), (8, 191)]);
        let mut at_frame_end = Stft::new(SPEC, Grid::Trailing, 119);
        let mut count = 0;
        at_frame_end.push(&[1.0], |frame| {
            assert_eq!((frame.index, frame.last), (5, 119));
            count += 1;
        });
        assert_eq!(count, 1);
    }

    #[test]
    fn padding_is_told_from_signal() {
        for (grid, first, length) in
            [(Grid::Centred, 0_i64, 100_usize), (Grid::Centred, 0, 10), (Grid::Trailing, 1_001, 150)]
        {
            let input = vec![1.0; length];
            let mut stft = Stft::new(SPEC, grid, first);
            let mut seen = 0;
            let mut check = |frame: Frame<'_>| {
                seen += 1;
                let signal = frame.inside.0..frame.inside.1;
                assert_eq!(frame.samples.len(), SPEC.size as usize);
                for (place, sample) in frame.samples.iter().enumerate() {
                    assert_eq!(
                        *sample,
                        if signal.contains(&place) { 1.0 } else { 0.0 },
                        "{grid:?} {} {place}",
                        frame.index
                    );
                }
            };
            stft.push(&input, &mut check);
            stft.finish(&mut check);
            assert!(seen > 0);
        }
    }

    #[test]
    fn centred_frames_are_as_many_as_librosas() {
        for samples in [0, 1, 23, 24, 25, 47, 48, 64, 500] {
            let frames = frames(Grid::Centred, 0, &[&signal(0, samples)]);
            assert_eq!(frames.len(), 1 + samples / 24, "{samples}");
            assert!(frames.iter().enumerate().all(|(k, frame)| frame.0 == k as i64));
        }
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_chunks(
            is_song in any::<bool>(),
            first in 0_i64..1_000_000_000_000,
            cuts in prop::collection::vec(0_usize..200, 1..12),
        ) {
            let (grid, first) = if is_song { (Grid::Centred, 0) } else { (Grid::Trailing, first) };
            let input = signal(first, cuts.iter().sum());
            let mut pieces = Vec::new();
            let mut rest = &input[..];
            for cut in cuts {
                let (piece, later) = rest.split_at(cut);
                pieces.push(piece);
                rest = later;
            }
            prop_assert_eq!(frames(grid, first, &[&input]), frames(grid, first, &pieces));
        }
    }
}
