//! `waveform` against librosa 0.11.0.

use crate::golden::{check, frames};

/// Counts, so they are equal or a whole count off.
#[test]
fn zero_crossing_rates_are_librosas() {
    let golden = include_bytes!("golden/waveform_zero_crossing_rate.f32");
    check(golden, 1, |signal| frames("waveform", "zero_crossing_rate", signal));
}

#[test]
fn root_mean_squares_are_librosas() {
    let golden = include_bytes!("golden/waveform_rms.f32");
    let largest = check(golden, 1, |signal| frames("waveform", "rms", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}
