//! `tempogram` against librosa 0.11.0.

use crate::golden;

/// Every sixteenth of the 384 lags, and the last. What is below a millionth is 0 on both sides: librosa's transforms leave
/// rounding noise where nothing is.
#[test]
fn every_frame_is_librosas() {
    let largest = golden::check(include_bytes!("golden/tempogram.f32"), 25, |signal| {
        let frames = golden::frames("tempogram", "", signal);
        let rounded = |value: &f32| if *value < 1e-6 { 0.0 } else { *value };
        frames.iter().map(|frame| frame.iter().step_by(16).chain(frame.last()).map(rounded).collect()).collect()
    });
    assert!(largest > 0.0, "nothing is equal to the last bit");
}
