//! What the measurements of speed listen to.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot run says so by a panic")]

use antiphon_audio::encode::{PcmFormat, Samples, flac};

/// Samples a second.
const RATE: u32 = 44_100;

/// FLAC (stereo, 16 bit) of chords whose loudness wanders, over noise: compresses as music does, to about two thirds.
pub fn sound(seconds: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut samples = Vec::with_capacity(2 * seconds * RATE as usize);
    for n in 0..seconds * RATE as usize {
        let t = n as f64 / f64::from(RATE);
        let tone = |frequency: f64| (std::f64::consts::TAU * frequency * t).sin();
        let chord = 0.2 * (tone(220.0) + tone(277.2) + tone(1_318.5)) * (0.6 + 0.4 * tone(0.3));
        for side in [0.9, 1.1] {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / 8_388_608.0 - 1.0;
            samples.push(((chord * side + 0.02 * noise) * 32_000.0) as i32);
        }
    }
    let format = PcmFormat { rate: RATE, channels: 2, bits: 16, float: false };
    flac(&format, Samples::Integers(&samples)).unwrap()
}
