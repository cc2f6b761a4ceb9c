//! `mfcc_top_db` against librosa 0.11.0.

use crate::golden::{check, check_over, frames};
use crate::signals::{self, Signal};

fn run(signal: &Signal) -> Vec<Vec<f32>> {
    frames("mfcc_top_db", "", signal)
}

#[test]
fn every_frame_is_librosas() {
    let largest = check(include_bytes!("golden/mfcc_top_db.f32"), 20, run);
    assert!(largest > 0.0, "nothing is equal to the last bit");
}

/// Four coefficients of real sound whose level rises and falls: the loudest comes late.
#[test]
fn every_frame_of_longer_signals_is_librosas() {
    let four =
        |signal: &Signal| run(signal).iter().map(|frame| [0, 1, 6, 19].map(|place| frame[place]).to_vec()).collect();
    let largest = check_over(&signals::repeated(), include_bytes!("golden/mfcc_top_db_long.f32"), 4, four);
    assert!(largest > 0.0, "nothing is equal to the last bit");
}
