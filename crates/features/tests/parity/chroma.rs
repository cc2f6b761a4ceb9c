//! `chroma` against librosa 0.11.0.

use antiphon_features::session::SummaryValue;

use crate::golden::{analyse, check, frames};
use crate::signals;

#[test]
fn chroma_is_librosas() {
    let golden = include_bytes!("golden/chroma_stft.f32");
    let largest = check(golden, 12, |signal| frames("chroma", "stft", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}

#[test]
fn tonnetz_is_librosas() {
    let golden = include_bytes!("golden/chroma_tonnetz.f32");
    let largest = check(golden, 6, |signal| frames("chroma", "tonnetz", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}

/// To the cent. An impulse has no peaks; those that librosa finds in it are rounding.
#[test]
fn tuning_is_librosas() {
    let golden = include_bytes!("golden/chroma_tuning.f32");
    let golden = golden.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let mut compared = 0;
    for (signal, expected) in signals::all().iter().zip(golden) {
        let summaries = analyse("chroma", "tuning", signal).summaries;
        let [summary] = &summaries[..] else { panic!("one summary of {}, not {summaries:?}", signal.name) };
        if signal.name == "synthetic 1 at 22050" {
            continue;
        }
        compared += 1;
        println!("{}: {:?}, librosa {expected}", signal.name, summary.value);
        match &summary.value {
            SummaryValue::Number(cents) => assert!((cents - f64::from(expected)).abs() < 1e-3, "{}", signal.name),
            missing => assert!(expected.is_nan(), "{}: {missing:?}, librosa {expected}", signal.name),
        }
    }
    assert_eq!(compared, 35);
}
