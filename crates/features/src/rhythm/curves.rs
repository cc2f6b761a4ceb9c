//! What is kept of each frame of a song: how much louder four ranges became, and how much the harmony changed.

use std::collections::VecDeque;

use crate::algorithm::{COMMON as SPEC, Spectrum};

/// Ranges of the 128 bands of `mel`: up to 170 Hz, 480 Hz, 1.5 kHz and 11 kHz.
const RANGES: [std::ops::Range<usize>; 4] = [0..6, 6..18, 18..56, 56..128];

/// What lies further below the loudest band so far, in dB, is not looked at: changes in it are not heard.
const DEPTH_DB: f32 = 60.0;

/// Semitones from 110 Hz on in which harmony is looked at: five octaves.
const SEMITONES: usize = 60;

/// Frames before an instant that are compared with as many after it: 0.28 s.
const SPAN: usize = 12;

/// Power relative to the strongest semitone so far at which the logarithm begins to bend.
const BEND: f64 = 1e-4;

/// The curves of a song, one value a frame each.
pub(super) struct Curves {
    /// Mean rise in dB of the bands of each range since the frame before.
    pub(super) rises: [Vec<f32>; 4],
    /// One less the likeness (cosine) of the harmony before and from this frame on; 0 near both ends.
    pub(super) changes: Vec<f32>,
    /// The last frame in dB, cut below.
    before: Vec<f32>,
    loudest: f32,
    /// First and end of the bins of each semitone.
    bins: Vec<std::ops::Range<usize>>,
    strongest: f64,
    /// The last frames, compressed; the oldest first.
    recent: VecDeque<[f64; SEMITONES]>,
}

impl Curves {
    pub(super) fn new() -> Curves {
        let bin = |semitone: f64| {
            let frequency = 110.0 * (semitone / 12.0).exp2();
            (frequency * f64::from(SPEC.size) / f64::from(SPEC.rate) + 0.5).floor() as usize
        };
        let bins = (0..SEMITONES).map(|semitone| {
            let first = bin(semitone as f64 - 0.5);
            first..bin(semitone as f64 + 0.5).max(first + 1)
        });
        Curves {
            rises: Default::default(),
            changes: Vec::new(),
            before: Vec::new(),
            loudest: f32::NEG_INFINITY,
            bins: bins.collect(),
            strongest: 0.0,
            recent: VecDeque::with_capacity(2 * SPAN + 1),
        }
    }

    /// Frames so far.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Adds a frame.
    pub(super) fn push(&mut self, spectrum: &Spectrum<'_>) {
        self.push_rises(spectrum.mel);
        self.push_change(spectrum.power);
    }

    fn push_rises(&mut self, bands: &[f32]) {
        self.loudest = bands.iter().copied().fold(self.loudest, f32::max);
        let floor = self.loudest - DEPTH_DB;
        if self.before.is_empty() {
            self.before.extend(bands.iter().map(|band| band.max(floor)));
        }
        for (curve, range) in self.rises.iter_mut().zip(RANGES) {
            let width = range.len() as f32;
            let rises = bands[range.clone()].iter().zip(&self.before[range]);
            curve.push(rises.map(|(now, before)| (now.max(floor) - before).max(0.0)).sum::<f32>() / width);
        }
        self.before.iter_mut().zip(bands).for_each(|(before, now)| *before = now.max(floor));
    }

    fn push_change(&mut self, power: &[f32]) {
        let mut tones = [0.0; SEMITONES];
        for (tone, bins) in tones.iter_mut().zip(&self.bins) {
            *tone = power[bins.clone()].iter().map(|power| f64::from(*power)).sum();
        }
        self.strongest = tones.iter().copied().fold(self.strongest, f64::max);
        let bend = self.strongest * BEND + 1e-12;
        self.recent.push_back(tones.map(|tone| (tone / bend).ln_1p()));
        self.changes.push(0.0);
        if self.recent.len() == 2 * SPAN {
            let at = self.changes.len() - SPAN;
            self.changes[at] = self.change();
            self.recent.pop_front();
        }
    }

    /// How unlike the two halves of the last frames are.
    fn change(&self) -> f32 {
        let (mut before, mut after) = ([0.0; SEMITONES], [0.0; SEMITONES]);
        for (place, frame) in self.recent.iter().enumerate() {
            let half = if place < SPAN { &mut before } else { &mut after };
            half.iter_mut().zip(frame).for_each(|(sum, tone)| *sum += tone);
        }
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let likeness = product(&before, &after) / ((product(&before, &before) * product(&after, &after)).sqrt() + 1e-9);
        // Where nothing sounds, nothing changes.
        if likeness > 0.0 { (1.0 - likeness).max(0.0) as f32 } else { 0.0 }
    }
}
