//! What the tests of algorithms share: signals, runs, and values out of blocks.

use crate::algorithm::Stream;
use crate::cells::{self, Cell, Partial};
use crate::session::{Analysis, Block, Item, Session};

/// A sensor's stream that starts at a sample, without lead-in.
pub(crate) fn sensor(rate: u32, channels: u16, first: i64) -> Stream {
    Stream { rate, channels, first_sample: first, first_body_sample: first, song: false, calibration_db: None }
}

/// A song's stream.
pub(crate) fn song(rate: u32, channels: u16) -> Stream {
    Stream::of_song(rate, channels)
}

/// An item of a plan with all default outputs.
pub(crate) fn item(algorithm: &str) -> Item {
    Item { algorithm: algorithm.to_owned(), ..Item::default() }
}

/// Runs items over whole channels at once.
pub(crate) fn run(items: &[Item], stream: &Stream, channels: &[&[f32]]) -> Analysis {
    let mut session = Session::new(items, stream).expect("the items are valid");
    session.push(channels);
    session.finish()
}

/// `seconds` of a sine from phase 0.
pub(crate) fn sine(rate: u32, frequency: f64, amplitude: f64, seconds: f64) -> Vec<f32> {
    let step = 2.0 * std::f64::consts::PI * frequency / f64::from(rate);
    let samples = (seconds * f64::from(rate)).round() as usize;
    (0..samples).map(|n| (amplitude * (step * n as f64).sin()) as f32).collect()
}

/// White noise with a level that wanders over 34 dB, the same for the same seed.
pub(crate) fn noise(seed: u64, samples: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut level = 0.1f32;
    (0..samples)
        .map(|n| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let uniform = (state >> 40) as f32 / (1u64 << 24) as f32;
            if n % 3_000 == 0 {
                level = (level * (0.5 + uniform)).clamp(0.01, 0.5);
            }
            level * (2.0 * uniform - 1.0)
        })
        .collect()
}

/// The partials of a layer, in order.
pub(crate) fn partials(blocks: &[Block], algorithm: &str, layer: &str) -> Vec<Partial> {
    let found = cells::layer(algorithm, layer).expect("the layer exists");
    blocks
        .iter()
        .filter(|block| block.algorithm == algorithm && block.layer == layer)
        .flat_map(|block| cells::decode_block(found, block.minute, &block.data).expect("own blocks decode"))
        .collect()
}

/// The 1 s cells of a layer with their seconds, from one recording.
pub(crate) fn seconds(blocks: &[Block], algorithm: &str, layer: &str) -> Vec<(i64, Cell)> {
    let found = cells::layer(algorithm, layer).expect("the layer exists");
    let merged: Vec<(i64, Cell)> = partials(blocks, algorithm, layer)
        .iter()
        .map(|partial| (partial.second, cells::merge_partials(found, &[partial])))
        .collect();
    let at = |second: i64| merged.iter().find(|(other, _)| *other == second).map(|(_, cell)| cell);
    merged
        .iter()
        .map(|(second, own)| {
            let previous = [at(second - 3), at(second - 2), at(second - 1)];
            (*second, cells::one_second(found, previous, own))
        })
        .collect()
}

/// One value of all of a recording.
pub(crate) fn overall(blocks: &[Block], column: &str, stat: &str, dimension: usize) -> Option<f32> {
    let (algorithm, output) = column.split_once('.').expect("ALGORITHM.OUTPUT");
    let output = crate::find(algorithm).and_then(|found| found.output(output)).expect("the output exists");
    let crate::descriptor::Kind::Series(series) = &output.kind else { panic!("{column} is no series") };
    let layer = series.layer_of(stat).expect("the stat is stored");
    let seconds = seconds(blocks, algorithm, layer);
    let children: Vec<&Cell> = seconds.iter().map(|(_, cell)| cell).collect();
    let merged = cells::merge_cells(cells::layer(algorithm, layer)?, &children);
    cells::value(&merged, output, stat, dimension)
}

/// All outputs of an algorithm, with frames kept.
fn everything_of(algorithm: &str) -> Item {
    let outputs = crate::find(algorithm).expect("the algorithm exists").outputs;
    Item { outputs: outputs.iter().map(|output| output.name.to_owned()).collect(), frames: true, ..item(algorithm) }
}

/// The frames of all outputs of an algorithm with their starts in µs, in order.
fn timed_frames(algorithm: &str, stream: &Stream, samples: &[f32]) -> Vec<cells::Frame> {
    let analysis = run(&[everything_of(algorithm)], stream, &[samples]);
    let descriptor = crate::find(algorithm).expect("the algorithm exists");
    let blocks = analysis.blocks.iter().filter(|block| block.layer == cells::FRAMES);
    blocks
        .flat_map(|block| cells::decode_frames(descriptor, block.minute, &block.data).expect("own blocks decode"))
        .collect()
}

/// The values of all framed outputs of an algorithm side by side, of one channel.
pub(crate) fn frames(algorithm: &str, stream: &Stream, samples: &[f32]) -> Vec<Vec<f32>> {
    timed_frames(algorithm, stream, samples).into_iter().map(|frame| frame.values).collect()
}

/// A sensor's signal in pieces of uneven lengths, each with up to `lead_in` seconds of lead-in, has the frames that it
/// has as a whole, to 1e-3 of what is usual in each dimension.
pub(crate) fn assert_pieces_agree(algorithm: &str, lead_in: usize) {
    for rate in [48_000_u32, 22_050, 8_000] {
        let start = 1_777_593_600 * i64::from(rate);
        let seconds = rate as usize;
        let tones = sine(rate, 440.0, 0.2, 9.0).into_iter().zip(sine(rate, 1_234.5, 0.1, 9.0));
        let samples: Vec<f32> =
            tones.zip(noise(5, 9 * seconds)).map(|((low, high), noise)| low + high + noise).collect();
        let whole = timed_frames(algorithm, &sensor(rate, 1, start), &samples);
        let usual: Vec<f32> = (0..whole[0].values.len())
            .map(|place| {
                let sizes = whole.iter().map(|frame| frame.values[place].abs());
                let mut sizes: Vec<f32> = sizes.filter(|size| size.is_finite()).collect();
                sizes.sort_by(f32::total_cmp);
                sizes[sizes.len() * 95 / 100]
            })
            .collect();
        let mut pieces = Vec::new();
        let mut from = 0;
        for length in [1_500, 700, 2_050, 333, 1_900, 9_000] {
            let to = samples.len().min(from + length * seconds / 1_000);
            let lead_in = from.min(lead_in * seconds);
            let stream =
                Stream { first_sample: start + (from - lead_in) as i64, ..sensor(rate, 1, start + from as i64) };
            pieces.extend(timed_frames(algorithm, &stream, &samples[from - lead_in..to]));
            from = to;
        }
        assert!(whole.len() > 300 && pieces.len() == whole.len(), "{} of {}", pieces.len(), whole.len());
        for (found, expected) in pieces.iter().zip(&whole) {
            assert_eq!(found.start, expected.start);
            for ((a, b), usual) in found.values.iter().zip(&expected.values).zip(&usual) {
                let agrees = a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-3 * b.abs().max(*usual);
                assert!(agrees, "{rate} {}: {:?} is not {:?}", found.start, found.values, expected.values);
            }
        }
    }
}
