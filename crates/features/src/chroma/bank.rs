//! From bins to notes: D. Ellis, "Chroma feature analysis and synthesis" (2007), as librosa's `filters.chroma` has it.

use antiphon_audio::vector::{dots, widest};

use super::NOTES;
use crate::algorithm::COMMON as SPEC;

const BINS: usize = SPEC.size as usize / 2 + 1;
/// A0 in Hz: 440 / 16.
const A0: f64 = 27.5;
/// Semitones from C up to A.
const A_ABOVE_C: usize = 9;
/// The octave, counted from A0, that weighs the most, and how far from it the weight falls to exp(-1/2).
const CENTRE_OCTAVE: f64 = 5.0;
const OCTAVE_WIDTH: f64 = 2.0;

/// Notes that are summed together: a divisor of their number.
const TOGETHER: usize = 4;

/// A row of weights for each note.
pub(super) struct Bank {
    weights: Vec<f32>,
}

impl Bank {
    pub(super) fn new() -> Bank {
        let mut weights = vec![0.0; NOTES * BINS];
        for bin in 0..BINS {
            let place = semitone(bin);
            let width = (semitone(bin + 1) - place).max(1.0);
            let bumps: [f64; NOTES] = std::array::from_fn(|note| {
                let half = NOTES as f64 / 2.0;
                let distance = (place - note as f64 + half).rem_euclid(NOTES as f64) - half;
                (-0.5 * (2.0 * distance / width).powi(2)).exp()
            });
            let norm = bumps.iter().map(|bump| bump * bump).sum::<f64>().sqrt();
            let octave = (-0.5 * ((place / NOTES as f64 - CENTRE_OCTAVE) / OCTAVE_WIDTH).powi(2)).exp();
            for (note, bump) in bumps.iter().enumerate() {
                weights[(note + A_ABOVE_C) % NOTES * BINS + bin] = (bump / norm * octave) as f32;
            }
        }
        Bank { weights }
    }

    /// The weighted sum of power for each note, from C.
    pub(super) fn apply(&self, power: &[f32], notes: &mut [f32]) {
        widest(
            #[inline(always)]
            || {
                // What is loaded of the power serves several notes.
                let (notes, _) = notes.as_chunks_mut::<TOGETHER>();
                for (notes, weights) in notes.iter_mut().zip(self.weights.chunks_exact(TOGETHER * BINS)) {
                    let row = |number: usize| &weights[number * BINS..][..BINS];
                    *notes = dots::<TOGETHER, 8>([power; TOGETHER], [row(0), row(1), row(2), row(3)]);
                }
            },
        );
    }
}

/// Where a bin lies, in semitones above A0. Bin 0 has no place, and is taken to lie one and a half octaves below bin 1.
fn semitone(bin: usize) -> f64 {
    if bin == 0 {
        return semitone(1) - 1.5 * NOTES as f64;
    }
    let frequency = bin as f64 * f64::from(SPEC.rate) / f64::from(SPEC.size);
    NOTES as f64 * (frequency / A0).log2()
}
