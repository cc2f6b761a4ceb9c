//! `beat_track` against librosa 0.11.0.

use antiphon_features::session::{Analysis, SummaryValue};

use crate::signals::{self, Signal};
use crate::{events, golden};

fn run(signal: &Signal) -> Analysis {
    golden::analyse("beat_track", "beat", signal)
}

fn longer() -> Vec<Signal> {
    signals::long().into_iter().chain(signals::repeated()).collect()
}

#[test]
fn beats_are_librosas() {
    events::check(&signals::all(), include_bytes!("golden/beat_track.f32"), "beat", &[], run);
}

/// 10 s and more of real and of made sound.
#[test]
fn beats_of_longer_signals_are_librosas() {
    events::check(&longer(), include_bytes!("golden/beat_track_long.f32"), "beat", &[], run);
}

#[test]
fn tempos_are_librosas() {
    check_tempos(&signals::all(), include_bytes!("golden/beat_track_tempo.f32"));
    check_tempos(&longer(), include_bytes!("golden/beat_track_tempo_long.f32"));
}

fn check_tempos(signals: &[Signal], golden: &[u8]) {
    let golden = golden.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert_eq!(golden.len(), signals.len());
    let mut failures = Vec::new();
    for (signal, expected) in signals.iter().zip(golden) {
        let summaries = golden::analyse("beat_track", "tempo", signal).summaries;
        let [summary] = &summaries[..] else { panic!("one summary of {}, not {summaries:?}", signal.name) };
        let equal = match &summary.value {
            SummaryValue::Number(tempo) => (tempo / f64::from(expected) - 1.0).abs() < 1e-6,
            _ => expected.is_nan(),
        };
        if !equal {
            failures.push(format!("{}: {:?}, librosa {expected}", signal.name, summary.value));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
