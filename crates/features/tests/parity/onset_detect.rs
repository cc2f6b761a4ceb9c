//! `onset_detect` against librosa 0.11.0.

use antiphon_features::session::Analysis;

use crate::signals::{self, Signal};
use crate::{events, golden};

fn run(signal: &Signal) -> Analysis {
    golden::analyse("onset_detect", "onset", signal)
}

#[test]
fn onsets_are_librosas() {
    events::check(&signals::all(), include_bytes!("golden/onset_detect.f32"), "onset", &[], run);
}

/// 10 s and more of real and of made sound.
#[test]
fn onsets_of_longer_signals_are_librosas() {
    let signals: Vec<Signal> = signals::long().into_iter().chain(signals::repeated()).collect();
    events::check(&signals, include_bytes!("golden/onset_detect_long.f32"), "onset", &[], run);
}
