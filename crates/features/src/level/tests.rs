use super::*;
use crate::cells;
use crate::session::Item;
use crate::testing::{item, noise, overall, partials, run, sensor, sine};

const RATES: [u32; 8] = [8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000];

/// Frequency weightings with the acceptance limits of class 1: nominal frequency (exact: thirds of base 10), A, C, upper and
/// lower limit in dB (IEC 61672-1:2013, tables 3 and E.1).
#[rustfmt::skip]
const TABLE: [(f64, f64, f64, f64, f64); 34] = [
    (10.0, -70.4, -14.3, 3.0, f64::INFINITY), (12.5, -63.4, -11.2, 2.5, f64::INFINITY), (16.0, -56.7, -8.5, 2.0, 4.0),
    (20.0, -50.5, -6.2, 2.0, 2.0), (25.0, -44.7, -4.4, 2.0, 1.5), (31.5, -39.4, -3.0, 1.5, 1.5),
    (40.0, -34.6, -2.0, 1.0, 1.0), (50.0, -30.2, -1.3, 1.0, 1.0), (63.0, -26.2, -0.8, 1.0, 1.0),
    (80.0, -22.5, -0.5, 1.0, 1.0), (100.0, -19.1, -0.3, 1.0, 1.0), (125.0, -16.1, -0.2, 1.0, 1.0),
    (160.0, -13.4, -0.1, 1.0, 1.0), (200.0, -10.9, 0.0, 1.0, 1.0), (250.0, -8.6, 0.0, 1.0, 1.0),
    (315.0, -6.6, 0.0, 1.0, 1.0), (400.0, -4.8, 0.0, 1.0, 1.0), (500.0, -3.2, 0.0, 1.0, 1.0),
    (630.0, -1.9, 0.0, 1.0, 1.0), (800.0, -0.8, 0.0, 1.0, 1.0), (1_000.0, 0.0, 0.0, 0.7, 0.7),
    (1_250.0, 0.6, 0.0, 1.0, 1.0), (1_600.0, 1.0, -0.1, 1.0, 1.0), (2_000.0, 1.2, -0.2, 1.0, 1.0),
    (2_500.0, 1.3, -0.3, 1.0, 1.0), (3_150.0, 1.2, -0.5, 1.0, 1.0), (4_000.0, 1.0, -0.8, 1.0, 1.0),
    (5_000.0, 0.5, -1.3, 1.5, 1.5), (6_300.0, -0.1, -2.0, 1.5, 2.0), (8_000.0, -1.1, -3.0, 1.5, 2.5),
    (10_000.0, -2.5, -4.4, 2.0, 3.0), (12_500.0, -4.3, -6.2, 2.0, 5.0), (16_000.0, -6.6, -8.5, 2.5, 16.0),
    (20_000.0, -9.3, -11.2, 3.0, f64::INFINITY),
];

#[test]
fn weightings_hold_the_mask_of_class_1() {
    for rate in RATES {
        let weighting = Weighting::new(rate);
        for (index, (nominal, a, c, above, below)) in TABLE.into_iter().enumerate() {
            let frequency = 10f64.powf(1.0 + index as f64 / 10.0);
            if frequency > 0.4 * f64::from(rate) {
                break;
            }
            let power = weighting.power(frequency, f64::from(rate));
            for (goal, power) in [(a, power[A]), (c, power[C]), (0.0, power[Z])] {
                let off = 10.0 * power.log10() - goal;
                assert!((-below..=above).contains(&off), "{nominal} Hz at {rate}: {off:.2} dB off {goal}");
            }
        }
    }
}

/// Far better than the mask: what is left is the bilinear high-pass of A at low rates.
#[test]
fn weightings_follow_the_analogue_ones_to_a_third_of_a_decibel() {
    for rate in RATES {
        let weighting = Weighting::new(rate);
        for step in 1..100 {
            let frequency = 0.004 * f64::from(step) * f64::from(rate);
            let power = weighting.power(frequency, f64::from(rate));
            let a = 10.0 * (power[A] / (a_weighting(frequency) / a_weighting(1_000.0))).log10();
            let c = 10.0 * (power[C] / (c_weighting(frequency) / c_weighting(1_000.0))).log10();
            assert!(a.abs() < 0.33 && c.abs() < 0.33, "{frequency} Hz at {rate}: A {a:.3}, C {c:.3} dB off");
        }
    }
}

fn levels(blocks: &[crate::session::Block]) -> [f32; 3] {
    ["level.a", "level.c", "level.z"].map(|column| overall(blocks, column, "leq", 0).expect("there is a level"))
}

#[test]
fn a_full_scale_sine_reads_3_db_below_full_scale() {
    for rate in RATES {
        // Whole periods in every second; the lead-in settles the filters.
        let tone = sine(rate, 1_000.0, 1.0, 4.0);
        let stream = Stream { first_body_sample: i64::from(rate), ..sensor(rate, 1, 0) };
        let found = run(&[item("level")], &stream, &[&tone]);
        for (level, within) in levels(&found.blocks).into_iter().zip([0.2, 0.02, 0.001]) {
            assert!((level + 3.0103).abs() < within, "{level} at {rate}");
        }
        let peak = overall(&found.blocks, "level.peak", "max", 0).expect("there is a peak");
        assert!((-0.1..=0.0).contains(&peak), "{peak} at {rate}");
        for stat in ["min", "max"] {
            let level = overall(&found.blocks, "level.z", stat, 0).expect("there is a level");
            assert!((level + 3.0103).abs() < 0.01, "{stat} {level} at {rate}");
        }
        let band = overall(&found.blocks, "level.bands", "leq", 16).expect("the band of 1 kHz");
        assert!((band + 3.0103).abs() < 0.1, "{band} at {rate}");
        let far = overall(&found.blocks, "level.bands", "leq", 4).expect("the band of 63 Hz");
        assert!(far < -70.0, "{far} at {rate}");
    }
}

#[test]
fn digital_silence_is_a_number() {
    let silence = vec![0.0; 16_000 * 3];
    let found = run(&[item("level")], &sensor(16_000, 1, 0), &[&silence]);
    assert_eq!(levels(&found.blocks), [-150.0; 3]);
    assert_eq!(overall(&found.blocks, "level.a", "l50", 0), Some(-149.95));
    assert_eq!(overall(&found.blocks, "level.a", "min", 0), Some(-150.0));
    assert_eq!(overall(&found.blocks, "level.peak", "max", 0), Some(-150.0));
    assert_eq!(overall(&found.blocks, "level.clipping", "mean", 0), Some(0.0));
    assert_eq!(overall(&found.blocks, "level.bands", "leq", 16), Some(-150.0));
    assert_eq!(overall(&found.blocks, "level.bands", "leq", 25), None, "8 kHz does not exist at 16 kHz");
}

#[test]
fn calibration_adds_its_decibels_and_channels_are_averaged() {
    let tone = sine(48_000, 1_000.0, 0.5, 3.0);
    let silence = vec![0.0; tone.len()];
    let plain = run(&[item("level")], &sensor(48_000, 1, 0), &[&tone]);
    let stream = Stream { calibration_db: Some(94.0), ..sensor(48_000, 1, 0) };
    let calibrated = run(&[item("level")], &stream, &[&tone]);
    let half = run(&[item("level")], &sensor(48_000, 2, 0), &[&silence, &tone]);
    let third = run(&[item("level")], &sensor(48_000, 3, 0), &[&silence, &silence, &tone]);
    let columns =
        [("level.a", "leq"), ("level.c", "max"), ("level.z", "min"), ("level.a", "l50"), ("level.bands", "leq")];
    for (column, stat) in columns {
        let dimension = if column == "level.bands" { 16 } else { 0 };
        let value = |analysis: &crate::session::Analysis| {
            overall(&analysis.blocks, column, stat, dimension).expect("there is a value")
        };
        let close = |a: f32, b: f32| (a - b).abs() < if stat == "l50" { 0.11 } else { 1e-4 };
        assert!(close(value(&calibrated), value(&plain) + 94.0), "{column} {stat}");
        assert!(close(value(&half), value(&plain) - 3.0103), "{column} {stat}");
        assert!(close(value(&third), value(&plain) - 4.77121), "{column} {stat}");
    }
    let peak = |analysis: &crate::session::Analysis| overall(&analysis.blocks, "level.peak", "max", 0);
    assert_eq!(peak(&half), peak(&plain));
    assert!((peak(&calibrated).expect("a peak") - peak(&plain).expect("a peak") - 94.0).abs() < 1e-4);
}

#[test]
fn clipping_is_the_share_of_samples_at_full_scale() {
    let mut samples = vec![0.25f32; 8_000];
    samples[..1_000].fill(1.0);
    samples[1_000..2_000].fill(-32_767.0 / 32_768.0);
    samples[2_000..3_000].fill(32_766.0 / 32_768.0);
    let found = run(&[item("level")], &sensor(8_000, 1, 0), &[&samples]);
    assert_eq!(overall(&found.blocks, "level.clipping", "mean", 0), Some(0.25));
}

/// A tone burst's decay is that of the time constant: 34.7 dB a second (IEC 61672-1:2013, 5.8).
#[test]
fn fast_levels_rise_and_fall_by_their_time_constant() {
    let rate = 48_000;
    let mut samples = sine(rate, 4_000.0, 1.0, 2.0);
    samples.extend(vec![0.0; 2 * rate as usize]);
    let plan = Item { frames: true, outputs: vec!["z".to_owned()], ..item("level") };
    let found = run(&[plan], &sensor(rate, 1, 0), &[&samples]);
    let frames = frames(&found);
    assert_eq!(frames.len(), 32);
    assert_eq!(frames[3].start, 375_000);
    assert!(frames[3].values[0].is_nan() && frames[3].values[1].is_nan(), "only z was asked for");
    let z = |index: usize| frames[index].values[2];
    assert!((z(0) + 3.0103).abs() < 1e-3 && (z(15) + 3.0103).abs() < 1e-3);
    let fall = 10.0 / std::f32::consts::LN_10;
    for index in 16..32 {
        assert!((z(index) - (-3.0103 - fall * (index - 15) as f32)).abs() < 0.01, "frame {index}: {}", z(index));
    }
}

fn frames(analysis: &crate::session::Analysis) -> Vec<cells::Frame> {
    let blocks = analysis.blocks.iter().filter(|block| block.layer == cells::FRAMES);
    let decode = |block: &crate::session::Block| cells::decode_frames(&DESCRIPTOR, block.minute, &block.data);
    blocks.flat_map(|block| decode(block).expect("own frames decode")).collect()
}

/// A recording that is cut anywhere: each 125 ms level belongs to exactly one part, and with lead-in the parts say what
/// the whole says.
#[test]
fn parts_with_lead_in_say_what_the_whole_says() {
    for (rate, origin, cut, lead_in) in [
        (44_100u32, 1_777_593_600 * 44_100 - 30_001, 150_007usize, 100_000usize),
        (8_000, 59 * 8_000 + 77, 12_345, 12_345),
    ] {
        let samples = noise(7, 6 * rate as usize + 123);
        let plan = [Item { frames: true, ..item("level") }];
        let whole = run(&plan, &sensor(rate, 1, origin), &[&samples]);
        let first = run(&plan, &sensor(rate, 1, origin), &[&samples[..cut]]);
        let border = origin + cut as i64;
        let stream = Stream { first_sample: border - lead_in as i64, ..sensor(rate, 1, border) };
        let second = run(&plan, &stream, &[&samples[cut - lead_in..]]);

        let (all, mut parts) = (frames(&whole), frames(&first));
        parts.extend(frames(&second));
        assert_eq!(all.len(), parts.len());
        for (a, b) in all.iter().zip(&parts) {
            assert_eq!(a.start, b.start);
            for (a, b) in a.values.iter().zip(&b.values) {
                assert!((a - b).abs() < 1e-3, "{a} {b}");
            }
        }
        for name in ["main", "bands", "histogram"] {
            let layer = cells::layer("level", name).expect("the layer exists");
            let mut pieces = partials(&first.blocks, "level", name);
            pieces.extend(partials(&second.blocks, "level", name));
            for partial in partials(&whole.blocks, "level", name) {
                let same: Vec<&cells::Partial> = pieces.iter().filter(|p| p.second == partial.second).collect();
                assert_eq!(same.iter().map(|p| p.heard()).sum::<u64>(), partial.heard());
                let merged = cells::merge_partials(layer, &same);
                let expected = cells::merge_partials(layer, &[&partial]);
                assert_alike(&merged, &expected);
            }
        }
    }
}

fn assert_alike(a: &cells::Cell, b: &cells::Cell) {
    for (output, series) in DESCRIPTOR.series() {
        for stat in series.stats.iter().map(|stat| if *stat == "lNN" { "l50" } else { stat }) {
            for dimension in 0..usize::from(series.dimensions) {
                let (a, b) = (cells::value(a, output, stat, dimension), cells::value(b, output, stat, dimension));
                let alike = match (a, b) {
                    // Of bands, 1e-3 of the energy: a part has a whole number of samples at the lowest rates.
                    (Some(a), Some(b)) if output.name == "bands" => (a - b).abs() <= 4.3e-3,
                    (Some(a), Some(b)) => (a - b).abs() <= if stat == "l50" { 0.11 } else { 1e-3 },
                    (None, None) => true,
                    _ => false,
                };
                assert!(alike, "{}.{dimension} {stat}: {a:?} {b:?}", output.name);
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn results_do_not_depend_on_how_the_input_is_chunked(
        sizes in proptest::collection::vec(1usize..9_000, 1..40),
        first in -100_000i64..100_000,
        lead_in in 0i64..9_000,
        channels in 1u16..4,
    ) {
        let samples = noise(3, 30_000);
        let slices: Vec<&[f32]> = (0..usize::from(channels)).map(|n| &samples[n * 17..29_000 + n * 17]).collect();
        let stream = Stream { first_body_sample: first + lead_in, ..sensor(16_000, channels, first) };
        let plan = [Item { frames: true, ..item("level") }];
        let whole = run(&plan, &stream, &slices);
        let mut session = crate::session::Session::new(&plan, &stream).expect("the items are valid");
        let (mut at, mut sizes) = (0, sizes.into_iter().cycle());
        while at < 29_000 {
            let end = 29_000.min(at + sizes.next().unwrap_or(1));
            let chunk: Vec<&[f32]> = slices.iter().map(|channel| &channel[at..end]).collect();
            session.push(&chunk);
            at = end;
        }
        proptest::prop_assert_eq!(whole, session.finish());
    }
}

/// What the description says of the bias without a lead-in, against sound that was there before.
#[test]
fn the_bias_without_a_lead_in_is_as_described() {
    let rate = 48_000;
    let before = 5 * rate as usize;
    let first_second = |signal: &[f32], lead_in: usize| {
        let stream = Stream { first_sample: -(lead_in as i64), ..sensor(rate, 1, 0) };
        let found = run(&[item("level")], &stream, &[&signal[before - lead_in..before + rate as usize]]);
        let level =
            |column: &str, dimension| overall(&found.blocks, column, "leq", dimension).expect("there is a level");
        (level("level.a", 0), (0..29).map(|band| level("level.bands", band)).collect::<Vec<f32>>())
    };
    for (band, within_a, within_band) in [(0, 10.0, 0.8), (3, 1.5, 0.4), (6, 0.2, 0.2), (16, 0.01, 0.02)] {
        for offset in [0, 123, 477] {
            let tone = sine(rate, bands::centre(band), 0.5, 7.0);
            let (cold_a, cold) = first_second(&tone[offset..], 0);
            let (warm_a, warm) = first_second(&tone[offset..], before);
            assert!((cold_a - warm_a).abs() <= within_a, "A of band {band}: {cold_a} {warm_a}");
            let off = cold[band] - warm[band];
            assert!((-within_band..=0.0).contains(&off), "band {band}: {off}");
        }
    }
    let hiss = noise(31, 7 * rate as usize);
    let ((cold, _), (warm, _)) = (first_second(&hiss, 0), first_second(&hiss, before));
    assert!((cold - warm).abs() < 0.01, "{cold} {warm}");
}
