//! How much louder the bands of `mel` became: the curve that onsets and beats are read from.

use std::collections::VecDeque;

use crate::algorithm::Spectrum;

/// Frames from the one that is centred at an instant to the one whose last sample is there.
pub(super) const CENTRE_TO_END: usize = 2;

/// Frames back to which the loudest band is looked for: a second.
const RECENT: usize = 43;

/// What lies further below the loudest recent band, in dB, does not count as a rise of its own.
const DEPTH_DB: f32 = 60.0;

/// What became louder with a frame.
pub(crate) struct Rise {
    /// Mean rise of all bands, in dB, at the instant at which librosa tells it.
    pub(crate) strength: f32,
    /// Root of the mean square rise of all bands with this frame, in dB, of what is not far below the loudest.
    pub(crate) attack: f32,
}

/// Onset strength, frame by frame.
pub(crate) struct Strength {
    song: bool,
    /// Bands of the frame before, in dB; empty before the first.
    before: Vec<f32>,
    /// Loudest bands of the last frames, the oldest first.
    loudest: VecDeque<f32>,
    /// Rises of a song's last frames, which belong to later ones; the oldest first.
    delayed: [f32; CENTRE_TO_END],
}

impl Strength {
    pub(crate) fn new(song: bool) -> Strength {
        let loudest = VecDeque::with_capacity(RECENT + 1);
        Strength { song, before: Vec::new(), loudest, delayed: [0.0; CENTRE_TO_END] }
    }

    /// What rose with this frame. A strength belongs to the last sample of the frame that has it. The frames of a song are
    /// centred, so there it is that of two frames before, and 0 until there is one. `None` for a sensor's frame if
    /// it or the one before it reaches beyond what was heard.
    pub(crate) fn next(&mut self, spectrum: &Spectrum<'_>) -> Option<Rise> {
        if !self.song && spectrum.inside != (0, spectrum.samples.len()) {
            return None;
        }
        if self.loudest.len() == RECENT {
            self.loudest.pop_front();
        }
        self.loudest.push_back(spectrum.mel.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let floor = self.loudest.iter().copied().fold(f32::NEG_INFINITY, f32::max) - DEPTH_DB;
        let first = self.before.is_empty();
        let rise = if first { 0.0 } else { mean_rise(&self.before, spectrum.mel) };
        let attack = if first { 0.0 } else { attack(&self.before, spectrum.mel, floor) };
        self.keep(spectrum.mel);
        if !self.song {
            return (!first).then_some(Rise { strength: rise, attack });
        }
        let [strength, second] = self.delayed;
        self.delayed = [second, rise];
        Some(Rise { strength, attack })
    }

    fn keep(&mut self, bands: &[f32]) {
        self.before.clear();
        self.before.extend_from_slice(bands);
    }
}

/// The mean over all bands of what each rose by; falls count as 0.
fn mean_rise(before: &[f32], now: &[f32]) -> f32 {
    let rises = now.iter().zip(before).map(|(now, before)| (now - before).max(0.0));
    rises.sum::<f32>() / now.len() as f32
}

/// The root of the mean square of what each band rose by above a floor: a few bands that rise far count for more than many
/// that flicker.
fn attack(before: &[f32], now: &[f32], floor: f32) -> f32 {
    let rises = now.iter().zip(before).map(|(now, before)| (now.max(floor) - before.max(floor)).max(0.0));
    (rises.map(|rise| rise * rise).sum::<f32>() / now.len() as f32).sqrt()
}
