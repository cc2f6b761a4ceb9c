//! Runs algorithms over the signals and compares frames with golden ones.

use std::ops::Range;

use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{FRAMES, decode_frames, frame_columns};
use antiphon_features::find;
use antiphon_features::session::{Analysis, Item, Session};

use crate::signals::{self, Signal};

/// Analyses a signal as a song, keeping frames of one output (empty: the one without a name).
pub(crate) fn analyse(algorithm: &str, output: &str, signal: &Signal) -> Analysis {
    analyse_item(&Item { algorithm: algorithm.to_owned(), outputs: vec![output.to_owned()], ..Item::default() }, signal)
}

/// Analyses a signal as a song by an item of a plan, keeping frames.
pub(crate) fn analyse_item(item: &Item, signal: &Signal) -> Analysis {
    let item = Item { frames: true, ..item.clone() };
    let rate = signal.rate;
    let stream = Stream { rate, channels: 1, first_sample: 0, first_body_sample: 0, song: true, calibration_db: None };
    let mut session = Session::new(&[item], &stream).unwrap();
    session.push(&[&signal.samples]);
    session.finish()
}

/// The frames of one output, each with its dimensions; NaN where it has no value.
pub(crate) fn frames(algorithm: &str, output: &str, signal: &Signal) -> Vec<Vec<f32>> {
    let columns = frame_columns(find(algorithm).unwrap(), output);
    let rows = rows(algorithm, &analyse(algorithm, output, signal));
    rows.into_iter().map(|row| row[columns.clone()].to_vec()).collect()
}

/// The frames that an algorithm kept, each with all values.
pub(crate) fn rows(algorithm: &str, analysis: &Analysis) -> Vec<Vec<f32>> {
    let descriptor = find(algorithm).unwrap();
    let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
    let frames = blocks.flat_map(|block| decode_frames(descriptor, block.minute, &block.data).unwrap());
    frames.map(|frame| frame.values).collect()
}

/// Compares what `run` makes of every signal with golden frames of `dimensions` little-endian f32 each, one signal
/// after the other: |a - b| <= 1e-3 max(|b|, s) for every frame and dimension, edges included, where s is the 95th
/// percentile of |b| in that dimension and signal. NaN must be met by NaN. Returns the largest difference in that
/// measure, and prints it.
pub(crate) fn check(golden: &[u8], dimensions: usize, run: impl Fn(&Signal) -> Vec<Vec<f32>>) -> f32 {
    check_all(&signals::all(), golden, dimensions, &[], run)
}

/// As [`check`], but for some dimensions of some signals, by name: `docs/accuracy.md` says why nothing can be compared
/// there.
pub(crate) fn check_except(
    golden: &[u8],
    dimensions: usize,
    exceptions: &[(&str, Range<usize>)],
    run: impl Fn(&Signal) -> Vec<Vec<f32>>,
) -> f32 {
    check_all(&signals::all(), golden, dimensions, exceptions, run)
}

/// As [`check`], for other signals.
pub(crate) fn check_over(
    signals: &[Signal],
    golden: &[u8],
    dimensions: usize,
    run: impl Fn(&Signal) -> Vec<Vec<f32>>,
) -> f32 {
    check_all(signals, golden, dimensions, &[], run)
}

fn check_all(
    signals: &[Signal],
    golden: &[u8],
    dimensions: usize,
    exceptions: &[(&str, Range<usize>)],
    run: impl Fn(&Signal) -> Vec<Vec<f32>>,
) -> f32 {
    let mut golden = golden.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let (mut largest, mut worst, mut excepted) = (0.0_f32, String::new(), 0);
    let mut failures = Vec::new();
    for signal in signals {
        let expected: Vec<Vec<f32>> =
            (0..signal.frames()).map(|_| golden.by_ref().take(dimensions).collect()).collect();
        let found = run(signal);
        assert_eq!(found.len(), expected.len(), "frames of {}", signal.name);
        let exception = exceptions.iter().find(|(name, _)| *name == signal.name);
        excepted += usize::from(exception.is_some());
        for dimension in (0..dimensions).filter(|dimension| exception.is_none_or(|(_, not)| !not.contains(dimension))) {
            let scale = percentile_95(expected.iter().map(|frame| frame[dimension]));
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let (a, b) = (found[dimension], expected[dimension]);
                let place = || format!("{}, frame {index}, dimension {dimension}: {a}, not {b}", signal.name);
                assert_eq!(a.is_nan(), b.is_nan(), "{}", place());
                let bound = b.abs().max(scale);
                let difference = if a == b || b.is_nan() { 0.0 } else { (a - b).abs() / bound };
                if difference > largest {
                    (largest, worst) = (difference, place());
                }
                if difference > 1e-3 {
                    failures.push(format!("{} (scale {scale})", place()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} values are too far off:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(excepted, exceptions.len(), "exceptions are signals");
    assert_eq!(golden.next(), None, "the golden file has as many frames as the signals");
    println!("largest difference: {largest:e} ({worst})");
    largest
}

fn percentile_95(values: impl Iterator<Item = f32>) -> f32 {
    let mut sizes: Vec<f32> = values.filter(|value| !value.is_nan()).map(f32::abs).collect();
    sizes.sort_by(f32::total_cmp);
    sizes.get(sizes.len().saturating_sub(1) * 95 / 100).copied().unwrap_or(0.0)
}
