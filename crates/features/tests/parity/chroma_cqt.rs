//! `chroma_cqt` against librosa 0.11.0.

use crate::golden::{check, frames};

#[test]
fn every_frame_is_librosas() {
    let largest = check(include_bytes!("golden/chroma_cqt.f32"), 12, |signal| frames("chroma_cqt", "", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}
