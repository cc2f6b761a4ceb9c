use super::*;
use crate::cells::{self, Cell};
use crate::session::{Analysis, SummaryValue};
use crate::testing::{item, noise, overall, partials, run, seconds, sensor, sine, song};

fn summary(analysis: &Analysis, output: &str) -> f64 {
    match analysis.summaries.iter().find(|summary| summary.output == output).map(|summary| &summary.value) {
        Some(SummaryValue::Number(value)) => *value,
        other => panic!("{output} is {other:?}"),
    }
}

/// A stereo sine of 1 kHz at 48 kHz in parts of (peak dBFS, seconds), the same in both channels.
fn tones(parts: &[(f64, f64)]) -> Vec<f32> {
    parts.iter().flat_map(|&(level, seconds)| sine(48_000, 1_000.0, 10f64.powf(level / 20.0), seconds)).collect()
}

fn stereo(samples: &[f32]) -> Analysis {
    run(&[item("loudness")], &song(48_000, 2), &[samples, samples])
}

/// Integrated loudness: by summary and by cells.
fn integrated(analysis: &Analysis) -> [f64; 2] {
    let of_cells = overall(&analysis.blocks, "loudness.integrated", "value", 0).expect("there is a value");
    [summary(analysis, INTEGRATED), f64::from(of_cells)]
}

fn range(analysis: &Analysis) -> [f64; 2] {
    let of_cells = overall(&analysis.blocks, "loudness.range", "value", 0).expect("there is a value");
    [summary(analysis, RANGE), f64::from(of_cells)]
}

fn assert_close(found: [f64; 2], expected: f64, tolerance: f64) {
    for value in found {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected} ± {tolerance}");
    }
}

/// EBU Tech 3341 (2023), table 1, cases 1 to 5: momentary, short-term, integrated ±0.1 LU.
#[test]
fn integrated_loudness_of_the_ebu_cases() {
    for (parts, expected) in [
        (vec![(-23.0, 20.0)], -23.0),
        (vec![(-33.0, 20.0)], -33.0),
        (vec![(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)], -23.0),
        (vec![(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)], -23.0),
        (vec![(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)], -23.0),
    ] {
        let found = stereo(&tones(&parts));
        assert_close(integrated(&found), expected, 0.1);
        if let [(level, _)] = parts[..] {
            for column in ["loudness.momentary", "loudness.short_term"] {
                let value = overall(&found.blocks, column, "max", 0).expect("there is a value");
                assert!((f64::from(value) - level).abs() <= 0.1, "{column} {value}");
            }
        }
    }
}

/// Of a stereo sine at -23 LUFS, 5 dB are missing to -18 LUFS; the peak is that of the samples.
#[test]
fn replay_gain_is_what_is_missing_to_18_lufs() {
    let found = stereo(&tones(&[(-23.0, 20.0)]));
    assert!((summary(&found, TRACK_GAIN) - 5.0).abs() <= 0.1);
    assert_eq!(summary(&found, TRACK_GAIN), -18.0 - summary(&found, INTEGRATED));
    assert!((summary(&found, TRACK_PEAK) - 10f64.powf(-23.0 / 20.0)).abs() < 1e-6);
    let silent = run(&[item("loudness")], &song(48_000, 1), &[&[0.0; 48_000]]);
    assert_eq!(summary(&silent, TRACK_PEAK), 0.0);
    let gain = silent.summaries.iter().find(|summary| summary.output == TRACK_GAIN).map(|summary| &summary.value);
    assert_eq!(gain, Some(&SummaryValue::Missing("no 400 ms of it is louder than -70 LUFS".to_owned())));
}

/// Case 6: 5.0 with -28 dBFS in left and right, -24 in centre, -30 in the surrounds.
#[test]
fn surround_channels_have_their_weights() {
    let channel = |level: f64| tones(&[(level, 20.0)]);
    let (front, centre, surround) = (channel(-28.0), channel(-24.0), channel(-30.0));
    let lfe = channel(-10.0);
    let five = [&front[..], &front, &centre, &surround, &surround];
    assert_close(integrated(&run(&[item("loudness")], &song(48_000, 5), &five)), -23.0, 0.1);
    let six = [&front[..], &front, &centre, &lfe, &surround, &surround];
    assert_close(integrated(&run(&[item("loudness")], &song(48_000, 6), &six)), -23.0, 0.1);
}

/// The values by the end of each 100 ms, from partials: momentary if `blocks` is 4, short-term if it is 30.
fn by_end(analysis: &Analysis, blocks: usize) -> Vec<f64> {
    let energies: Vec<f64> = partials(&analysis.blocks, "loudness", MAIN)
        .iter()
        .flat_map(|partial| match &partial.values {
            Values::Energies(energies) => energies.slots.map(|slot| f64::from(slot.energy)),
            other => panic!("{other:?}"),
        })
        .collect();
    energies.windows(blocks).map(|block| cells::lufs(block.iter().sum::<f64>() / blocks as f64)).collect()
}

/// Case 9: short-term is steady at -23 LUFS once 3 s are in it; case 12: so is momentary.
#[test]
fn alternating_tones_have_a_steady_loudness() {
    let parts: Vec<(f64, f64)> = [(-20.0, 1.34), (-30.0, 1.66)].repeat(5);
    let found = by_end(&stereo(&tones(&parts)), 30);
    assert!(found.iter().all(|level| (level + 23.0).abs() <= 0.1), "{found:?}");
    let parts: Vec<(f64, f64)> = [(-20.0, 0.18), (-30.0, 0.22)].repeat(25);
    let found = by_end(&stereo(&tones(&parts)), 4);
    assert!(found.iter().all(|level| (level + 23.0).abs() <= 0.1), "{found:?}");
}

/// Cases 10 and 13, as 20 files: a 3 s (400 ms) tone after a varying silence; the largest value is the tone's within
/// 0.1 LU. Blocks lie on a grid of 100 ms, so a tone that lies between them, which only live meters have to meet,
/// is 100 ms longer here.
#[test]
fn short_tones_reach_their_loudness() {
    for index in 0..20 {
        let silence = 0.15 * f64::from(index);
        let found = stereo(&tones(&[(-200.0, silence), (-23.0, 3.1), (-200.0, 1.0)]));
        let value = overall(&found.blocks, "loudness.short_term", "max", 0).expect("there is a value");
        assert!((value + 23.0).abs() <= 0.1, "{index}: {value}");
        let found = stereo(&tones(&[(-200.0, silence), (-23.0, 0.5), (-200.0, 1.0)]));
        let value = overall(&found.blocks, "loudness.momentary", "max", 0).expect("there is a value");
        assert!((value + 23.0).abs() <= 0.1, "{index}: {value}");
    }
}

/// EBU Tech 3342 (2023), table 1, cases 1 to 4: ±1 LU.
#[test]
fn loudness_range_of_the_ebu_cases() {
    for (parts, expected) in [
        (vec![(-20.0, 20.0), (-30.0, 20.0)], 10.0),
        (vec![(-20.0, 20.0), (-15.0, 20.0)], 5.0),
        (vec![(-40.0, 20.0), (-20.0, 20.0)], 20.0),
        (vec![(-50.0, 20.0), (-35.0, 20.0), (-20.0, 20.0), (-35.0, 20.0), (-50.0, 20.0)], 15.0),
    ] {
        assert_close(range(&stereo(&tones(&parts))), expected, 1.0);
    }
}

/// EBU Tech 3341, cases 15 to 19: sines at a share of the rate and a phase; +0.2/-0.4 dB.
#[test]
fn true_peaks_of_the_ebu_sines() {
    for (share, phase, amplitude, expected) in [
        (4.0, 0.0, 0.5, -6.0),
        (4.0, 45.0, 0.5, -6.0),
        (6.0, 60.0, 0.5, -6.0),
        (8.0, 67.5, 0.5, -6.0),
        (4.0, 45.0, 1.41, 3.0),
    ] {
        let step = 2.0 * std::f64::consts::PI / share;
        let phase = f64::to_radians(phase);
        let samples = 48_000 * 2;
        // Faded, for a sine that begins at once has larger peaks.
        let fade = |n: f64| (n / 4_800.0).min((f64::from(samples) - n) / 4_800.0).min(1.0);
        let tone: Vec<f32> =
            (0..samples).map(f64::from).map(|n| (amplitude * fade(n) * (step * n + phase).sin()) as f32).collect();
        let found = summary(&stereo(&tone), TRUE_PEAK);
        assert!((-0.4..=0.2).contains(&(found - expected)), "rate / {share}, {phase}: {found}");
    }
}

/// EBU Tech 3341, cases 20 to 23: peaks at 0, 1/4, 1/2 and 3/4 of the way between two samples, made at four times the
/// rate; here a band-limited pulse of half of full scale, evaluated where the samples lie.
#[test]
fn true_peaks_between_samples() {
    for quarter in 0..4 {
        let offset = f64::from(quarter) / 4.0;
        let pulse: Vec<f32> = (0..48_000)
            .map(|n| {
                // Band limited to 0.375 of the rate, windowed.
                let t = f64::from(n) - 24_000.0 - offset;
                let x = std::f64::consts::PI * 0.75 * t;
                let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
                (0.5 * sinc * (-(t / 400.0).powi(2)).exp()) as f32
            })
            .collect();
        let found = summary(&stereo(&pulse), TRUE_PEAK);
        assert!((-0.4..=0.2).contains(&(found + 6.02)), "{quarter}/4: {found}");
    }
}

#[test]
fn mono_counts_one_channel() {
    let tone = tones(&[(-20.0, 10.0)]);
    let found = run(&[item("loudness")], &song(48_000, 1), &[&tone]);
    assert_close(integrated(&found), -23.01, 0.03);
}

#[test]
fn loudness_is_the_same_at_other_rates() {
    for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 96_000] {
        let tone = sine(rate, 1_000.0, 0.1, 6.0);
        let found = run(&[item("loudness")], &song(rate, 2), &[&tone, &tone]);
        assert_close(integrated(&found), -20.0, 0.1);
    }
}

#[test]
fn what_is_too_quiet_or_too_short_has_no_value_but_a_reason() {
    for samples in [vec![0.0; 48_000 * 5], sine(48_000, 1_000.0, 0.5, 0.3)] {
        let found = stereo(&samples);
        let value = &found.summaries[0].value;
        assert!(matches!(value, SummaryValue::Missing(reason) if reason.contains("-70 LUFS")), "{value:?}");
        assert_eq!(overall(&found.blocks, "loudness.integrated", "value", 0), None);
        assert_eq!(overall(&found.blocks, "loudness.range", "value", 0), None);
    }
    let silent = stereo(&vec![0.0; 48_000]);
    assert_eq!(overall(&silent.blocks, "loudness.momentary", "max", 0), Some(-150.0));
    assert_eq!(summary(&silent, TRUE_PEAK), -150.0);
}

/// A recording cut anywhere, with lead-in: the seconds' cells, made of both parts, say what the whole says.
#[test]
fn parts_with_lead_in_say_what_the_whole_says() {
    let (rate, origin, cut, lead_in) = (44_100u32, 1_777_593_600 * 44_100 - 30_001, 150_007usize, 100_000usize);
    let samples = noise(9, 8 * rate as usize + 123);
    let plan = [item("loudness")];
    let border = origin + cut as i64;
    let stream = crate::algorithm::Stream { first_sample: border - lead_in as i64, ..sensor(rate, 1, border) };
    let whole = run(&plan, &sensor(rate, 1, origin), &[&samples]);
    let mut parts = run(&plan, &sensor(rate, 1, origin), &[&samples[..cut]]).blocks;
    parts.extend(run(&plan, &stream, &[&samples[cut - lead_in..]]).blocks);

    let layer = cells::layer("loudness", MAIN).expect("the layer exists");
    let pieces = partials(&parts, "loudness", MAIN);
    let second_of = |second: i64| {
        let same: Vec<&cells::Partial> = pieces.iter().filter(|partial| partial.second == second).collect();
        (!same.is_empty()).then(|| cells::merge_partials(layer, &same))
    };
    for (second, expected) in seconds(&whole.blocks, "loudness", MAIN) {
        let before = [3, 2, 1].map(|back| second_of(second - back));
        let own = second_of(second).expect("the second was heard");
        let found = cells::one_second(layer, before.each_ref().map(Option::as_ref), &own);
        for (output, series) in DESCRIPTOR.series() {
            for stat in series.stats {
                let value = |cell: &Cell| cells::value(cell, output, stat, 0);
                let alike = match (value(&found), value(&expected)) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-3 || output.name == RANGE && (a - b).abs() < 0.11,
                    (a, b) => a == b,
                };
                assert!(alike, "{} {stat} {second}: {:?} {:?}", output.name, value(&found), value(&expected));
            }
        }
    }
}

/// What the description says of the bias without a lead-in: the first 100 ms of a steady sound.
#[test]
fn the_bias_without_a_lead_in_is_as_described() {
    for frequency in [50.0, 100.0, 440.0, 1_000.0, 4_000.0] {
        for offset in [0, 11, 123, 477] {
            let tone = &sine(48_000, frequency, 0.25, 8.0)[offset..];
            let cold = by_end(&run(&[item("loudness")], &sensor(48_000, 1, 0), &[&tone[240_000..336_000]]), 1);
            let stream = crate::algorithm::Stream { first_sample: -240_000, ..sensor(48_000, 1, 0) };
            let warm = by_end(&run(&[item("loudness")], &stream, &[&tone[..336_000]]), 1);
            let off: Vec<f64> = cold.iter().zip(&warm).map(|(cold, warm)| (cold - warm).abs()).collect();
            assert!(off[0] < 0.3 && off[1..].iter().all(|off| *off < 1e-5), "{frequency} Hz: {off:?}");
        }
    }
}
