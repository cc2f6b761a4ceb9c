//! `pitch` against librosa 0.11.0.

use antiphon_features::session::Item;

use crate::golden::{analyse_item, check, check_over, rows};
use crate::signals::Signal;
use crate::voices;

/// Values of a frame: yin, aperiodicity, f0, voiced, probability.
fn run(signal: &Signal, limit: f64) -> Vec<Vec<f32>> {
    let outputs = ["yin", "aperiodicity", "f0", "voiced", "probability"].map(str::to_owned).to_vec();
    let mut item = Item { algorithm: "pitch".to_owned(), outputs, ..Item::default() };
    item.parameters.insert("aperiodicity_limit".to_owned(), limit.into());
    rows("pitch", &analyse_item(&item, signal))
}

fn yin(signal: &Signal) -> Vec<Vec<f32>> {
    // Above, lags differ by rounding only.
    run(signal, 0.98).into_iter().map(|row| row[..2].to_vec()).collect()
}

fn pyin(signal: &Signal) -> Vec<Vec<f32>> {
    run(signal, 10.0).into_iter().map(|row| row[2..].to_vec()).collect()
}

#[test]
fn yin_is_librosas() {
    let short = check(include_bytes!("golden/yin.f32"), 2, yin);
    let long = check_over(&voices::all(), include_bytes!("golden/yin_voices.f32"), 2, yin);
    assert!(short.max(long) > 0.0, "nothing is equal to the last bit");
}

#[test]
fn pyin_is_librosas() {
    check(include_bytes!("golden/pyin.f32"), 3, pyin);
    check_over(&voices::all(), include_bytes!("golden/pyin_voices.f32"), 3, pyin);
}

#[test]
fn yin_is_absent_above_the_limit() {
    for signal in voices::all() {
        for (all, limited) in run(&signal, 10.0).iter().zip(run(&signal, 0.3)) {
            let expected = if all[1] <= 0.3 { all[0] } else { f32::NAN };
            assert_eq!(limited[0].to_bits(), expected.to_bits(), "{}", signal.name);
        }
    }
}
