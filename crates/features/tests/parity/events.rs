//! Compares events with golden ones: one number for each frame of each signal, 1 where there is one.

use antiphon_features::session::Analysis;

use crate::signals::Signal;

/// Compares the annotations of one kind that `run` makes of every signal with golden ones. F of each signal must be 0.98 or more, where
/// an event may be a frame off (23 ms; mir_eval allows onsets 50 and beats 70), but for these signals, by name: `docs/accuracy.md` says why.
/// Returns how many signals have the same frames to the last.
pub(crate) fn check(
    signals: &[Signal],
    golden: &[u8],
    kind: &str,
    exceptions: &[&str],
    run: impl Fn(&Signal) -> Analysis,
) -> usize {
    let mut golden = golden.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let (mut equal, mut failures, mut worst) = (0, Vec::new(), 1.0_f64);
    let (mut hits, mut events) = (0, 0);
    for signal in signals {
        let marks: Vec<f32> = golden.by_ref().take(signal.frames()).collect();
        let expected: Vec<usize> = (0..marks.len()).filter(|index| marks[*index] == 1.0).collect();
        let found = frames(&run(signal), kind);
        assert!(found.last().is_none_or(|last| *last < marks.len()), "{}: {found:?}", signal.name);
        if found == expected {
            equal += 1;
        } else {
            println!("{}: {found:?}, not {expected:?}", signal.name);
        }
        let matched = matches(&found, &expected);
        let f = measure(matched, found.len() + expected.len());
        if exceptions.contains(&signal.name.as_str()) {
            continue;
        }
        (hits, events, worst) = (hits + matched, events + found.len() + expected.len(), worst.min(f));
        if f < 0.98 {
            failures.push(format!("{}: F {f:.3}", signal.name));
        }
    }
    assert_eq!(golden.next(), None, "the golden file has as many frames as the signals");
    assert!(failures.is_empty(), "{failures:?}");
    let count = signals.len();
    println!(
        "{kind}: {equal} of {count} signals equal, F {:.4} of all together, {worst:.4} of the worst",
        measure(hits, events)
    );
    equal
}

/// The frames at whose centres annotations begin.
fn frames(analysis: &Analysis, kind: &str) -> Vec<usize> {
    let found = analysis.annotations.iter().filter(|annotation| annotation.kind == kind);
    found.map(|event| (event.from as f64 * 1e-6 * 22_050.0 / 512.0).round() as usize).collect()
}

/// The most pairs of events at most a frame apart, each event in one.
fn matches(a: &[usize], b: &[usize]) -> usize {
    let (mut i, mut j, mut pairs) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        if a[i].abs_diff(b[j]) <= 1 {
            (i, j, pairs) = (i + 1, j + 1, pairs + 1);
        } else if a[i] < b[j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// F of so many pairs among so many events of both; 1 if there are none.
fn measure(pairs: usize, events: usize) -> f64 {
    if events == 0 { 1.0 } else { 2.0 * pairs as f64 / events as f64 }
}

#[test]
fn f_counts_what_is_matched() {
    assert_eq!(matches(&[3, 10, 20], &[4, 9, 11, 22]), 2);
    assert_eq!(matches(&[1, 2, 3], &[2, 3, 4]), 3);
    assert_eq!(measure(2, 7), 4.0 / 7.0);
    assert_eq!((measure(0, 0), measure(0, 3)), (1.0, 0.0));
}
