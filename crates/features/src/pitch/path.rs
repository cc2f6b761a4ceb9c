//! Candidates and decoder together: what is told of a frame waits until its path is decided.

use std::collections::VecDeque;

use super::candidates::{Candidates, bin_frequency};
use super::decoder::{Decision, Decoder, KEPT};
use super::yin::PERIODS;

/// A path through frames, each with something that is told of it along with its pitch.
pub(super) struct Path<T> {
    candidates: Candidates,
    decoder: Decoder,
    open: VecDeque<(T, f32)>,
}

/// What the path says of a frame.
pub(super) struct Found {
    /// Fundamental frequency in Hz; NaN if the frame is unvoiced.
    pub(super) f0: f32,
    /// 1 if it is voiced, else 0.
    pub(super) voiced: f32,
    /// Probability that the frame by itself has a pitch.
    pub(super) probability: f32,
}

impl<T> Path<T> {
    /// A path to which no frame has come.
    pub(super) fn new() -> Path<T> {
        Path { candidates: Candidates::new(), decoder: Decoder::new(), open: VecDeque::with_capacity(KEPT) }
    }

    /// The next frame, by its normalised difference function (`None` in silence). Calls `each` for every frame that is
    /// decided by it, in order.
    pub(super) fn push(&mut self, normalized: Option<&[f64; PERIODS]>, told: T, mut each: impl FnMut(T, Found)) {
        let candidates = normalized.map_or(&[][..], |normalized| self.candidates.of(normalized));
        // In the order of bins, as the reference adds them up: whether all is voiced hangs on the last bit.
        let voiced = candidates.iter().rev().map(|(_, probability)| probability).sum::<f64>().clamp(0.0, 1.0);
        self.open.push_back((told, voiced as f32));
        let open = &mut self.open;
        self.decoder.push(candidates, voiced, |decision| give_out(open, decision, &mut each));
    }

    /// There are no more frames: calls `each` for all that are open.
    pub(super) fn finish(&mut self, mut each: impl FnMut(T, Found)) {
        let open = &mut self.open;
        self.decoder.finish(|decision| give_out(open, decision, &mut each));
    }
}

/// Tells of the first frame that is open.
fn give_out<T>(open: &mut VecDeque<(T, f32)>, decision: Decision, each: &mut impl FnMut(T, Found)) {
    if let Some((told, probability)) = open.pop_front() {
        let f0 = decision.map_or(f32::NAN, |bin| bin_frequency(usize::from(bin)) as f32);
        each(told, Found { f0, voiced: f32::from(u8::from(decision.is_some())), probability });
    }
}
