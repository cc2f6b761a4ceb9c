//! `hpss` against librosa 0.11.0.

use crate::golden::{check, check_over, frames};
use crate::signals::Signal;
use crate::voices;

fn shares(signal: &Signal) -> Vec<Vec<f32>> {
    frames("hpss", "percussive", signal)
}

#[test]
fn every_frame_is_librosas() {
    let short = check(include_bytes!("golden/hpss.f32"), 1, shares);
    let long = check_over(&voices::all(), include_bytes!("golden/hpss_voices.f32"), 1, shares);
    assert!(short.min(long) > 0.0, "nothing is equal to the last bit");
}
