//! How much louder the bands of `mel` became: the curve that onsets and beats are read from.

use crate::algorithm::Spectrum;

/// Frames from the one that is centred at an instant to the one whose last sample is there.
const CENTRE_TO_END: usize = 2;

/// Onset strength, frame by frame.
pub(crate) struct Strength {
    song: bool,
    /// Bands of the frame before, in dB; empty before the first.
    before: Vec<f32>,
    /// Rises of a song's last frames, which belong to later ones; the oldest first.
    delayed: [f32; CENTRE_TO_END],
}

impl Strength {
    pub(crate) fn new(song: bool) -> Strength {
        Strength { song, before: Vec::new(), delayed: [0.0; CENTRE_TO_END] }
    }

    /// The strength at the instant of this frame, in dB. A rise belongs to the end of the frame that has it. The frames
    /// of a song are centred, so there it is that of two frames before, and 0 until there is one. `None` for a
    /// sensor's frame if it or the one before it reaches beyond what was heard.
    pub(crate) fn next(&mut self, spectrum: &Spectrum<'_>) -> Option<f32> {
        if self.song {
            let rise = if self.before.is_empty() { 0.0 } else { mean_rise(&self.before, spectrum.mel) };
            self.keep(spectrum.mel);
            let [first, second] = self.delayed;
            self.delayed = [second, rise];
            return Some(first);
        }
        if spectrum.inside != (0, spectrum.samples.len()) {
            return None;
        }
        let rise = (!self.before.is_empty()).then(|| mean_rise(&self.before, spectrum.mel));
        self.keep(spectrum.mel);
        rise
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
