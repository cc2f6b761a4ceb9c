//! `indices` against scikit-maad 1.5.2.

use antiphon_features::session::SummaryValue;

use crate::golden;
use crate::signals::{self, Signal};

const NAMES: [&str; 7] = ["aci", "adi", "bi", "ndsi", "h", "ht", "hf"];

/// Where the reference itself fails: it divides 0 by 0 and calls the diversity of silence, and of a constant, the largest that can be;
/// and of a sine at half the rate all but the bin that it leaves out is rounding. Of a chirp and of chords without any
/// noise, what ACI and BI see beside them is the rounding of resampling.
fn is_exception(name: &str, index: &str) -> bool {
    match name {
        "synthetic 0 at 22050" | "synthetic 14 at 22050" => index == "adi",
        "synthetic 15 at 22050" => index != "ht",
        "synthetic 8 at 96000" => index == "aci",
        "synthetic 9 at 16000" => index == "aci" || index == "bi",
        _ => false,
    }
}

/// The indices of a whole signal; NaN where there are none.
fn summary(signal: &Signal) -> Vec<f32> {
    let found = |name: &str| {
        let analysis = golden::analyse("indices", name, signal);
        let [summary] = &analysis.summaries[..] else { panic!("one output has one summary") };
        match &summary.value {
            SummaryValue::Number(value) => *value as f32,
            SummaryValue::Missing(_) => f32::NAN,
            SummaryValue::Text(_) => panic!("an index is a number"),
        }
    };
    NAMES.iter().map(|name| found(name)).collect()
}

/// The indices of each whole block of a signal.
fn blocks(signal: &Signal) -> Vec<Vec<f32>> {
    let columns = NAMES.map(|name| golden::frames("indices", name, signal));
    (0..columns[0].len()).map(|block| columns.iter().map(|column| column[block][0]).collect()).collect()
}

/// |a - b| <= 1e-3 |b|, which is stricter than the common rule: every signal has a scale of its own. BI of an impulse is 0.
#[test]
fn indices_are_scikit_maads() {
    let golden = include_bytes!("golden/indices.f32").as_chunks::<4>().0;
    let mut golden = golden.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let whole = signals::all().into_iter().map(|signal| (signal.name.clone(), summary(&signal)));
    let parts = signals::long().into_iter().flat_map(|signal| {
        let found = blocks(&signal);
        assert_eq!(found.len(), signal.samples.len() / (5 * signal.rate as usize), "blocks of {}", signal.name);
        found.into_iter().map(move |values| (format!("a block of {}", signal.name), values))
    });
    let mut largest: [(f32, String); 7] = Default::default();
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, found) in whole.chain(parts) {
        let expected: Vec<f32> = golden.by_ref().take(7).collect();
        for (index, (a, b)) in found.into_iter().zip(expected).enumerate() {
            if is_exception(&name, NAMES[index]) {
                continue;
            }
            assert_eq!(a.is_nan(), b.is_nan(), "{} of {name}: {a}, not {b}", NAMES[index]);
            let difference = if b.is_nan() { 0.0 } else { (a - b).abs() / b.abs().max(1e-6) };
            if difference > 1e-3 {
                wrong.push(format!("{} of {name}: {a}, not {b}", NAMES[index]));
            }
            if difference > largest[index].0 {
                largest[index] = (difference, name.clone());
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(golden.next(), None, "the golden file has as many rows as there are signals and blocks");
    assert_eq!(compared, 47 * 7 - 11);
    for (name, (difference, signal)) in NAMES.iter().zip(&largest) {
        println!("{name}: largest difference {difference:e} ({signal})");
    }
}
