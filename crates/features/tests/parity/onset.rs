//! `onset` against librosa 0.11.0.

use crate::golden;

#[test]
fn every_strength_is_librosas() {
    let largest =
        golden::check(include_bytes!("golden/onset.f32"), 1, |signal| golden::frames("onset", "strength", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}
