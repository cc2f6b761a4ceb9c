//! `mel` against librosa 0.11.0.

use crate::golden;

#[test]
fn every_frame_is_librosas() {
    let largest = golden::check(include_bytes!("golden/mel.f32"), 128, |signal| golden::frames("mel", "", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}
