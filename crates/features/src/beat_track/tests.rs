use super::*;
use crate::session::{Analysis, Item};
use crate::testing::{noise, run, sensor, song};

fn analyse(stream: &Stream, samples: &[f32]) -> Analysis {
    let outputs = vec![BEAT.to_owned(), TEMPO.to_owned()];
    run(&[Item { outputs, algorithm: "beat_track".to_owned(), ..Item::default() }], stream, &[samples])
}

fn tempo(analysis: &Analysis) -> &SummaryValue {
    let [summary] = &analysis.summaries[..] else { panic!("one summary, not {:?}", analysis.summaries) };
    &summary.value
}

/// Short bursts of noise.
fn bursts(rate: u32, tempo: f64, seconds: f64) -> Vec<f32> {
    let mut samples = noise(5, (seconds * f64::from(rate)) as usize);
    let beat = 60.0 / tempo * f64::from(rate);
    for (n, sample) in samples.iter_mut().enumerate() {
        *sample = sample.signum() * 0.5 * (-(n as f64 % beat) / (0.02 * f64::from(rate))).exp() as f32;
    }
    samples
}

#[test]
fn bursts_have_their_tempo_and_beats_at_every_rate() {
    for rate in [8_000, 22_050, 44_100, 192_000] {
        for expected in [92.0, 120.0, 150.0] {
            let analysis = analyse(&song(rate, 1), &bursts(rate, expected, 20.0));
            let SummaryValue::Number(found) = tempo(&analysis) else { panic!("{analysis:?}") };
            assert!((found / expected - 1.0).abs() < 0.03, "{found}, not {expected}, at {rate}");
            let period = 60e6 / expected;
            let off = |from: i64| ((from as f64 / period).round() * period - from as f64).abs();
            let beats = &analysis.annotations;
            assert!(beats.len() as f64 > 20.0 * expected / 60.0 - 4.0, "{} beats at {expected}", beats.len());
            let near = beats.iter().filter(|beat| off(beat.from) < 50_000.0).count();
            assert!(10 * near >= 9 * beats.len(), "{rate} {expected}: {beats:?}");
            assert!(beats.iter().all(|beat| beat.value == Some(*found as f32)));
        }
    }
}

#[test]
fn what_does_not_rise_has_no_tempo_but_a_reason() {
    for samples in [vec![], vec![0.5], noise(1, 220), noise(1, 1_000), vec![0.0; 100_000]] {
        let analysis = analyse(&song(22_050, 1), &samples);
        assert_eq!(analysis.annotations, []);
        assert!(matches!(tempo(&analysis), SummaryValue::Missing(_)), "{:?}", analysis.summaries);
    }
}

#[test]
fn wild_samples_do_no_harm() {
    let mut impulse = vec![0.0; 50_000];
    impulse[25_000] = 1.0;
    let broken = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, -1e-30, 1e-20];
    let broken: Vec<f32> = (0..50_000).map(|n| broken[n % 7 % broken.len()]).collect();
    let square: Vec<f32> = (0..50_000).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    for samples in [impulse, broken, square, vec![0.25; 50_000], noise(9, 50_000)] {
        let analysis = analyse(&song(44_100, 1), &samples);
        match tempo(&analysis) {
            SummaryValue::Number(tempo) => assert!((7.0..320.0).contains(tempo), "{tempo}"),
            missing => assert_eq!(*missing, SummaryValue::Missing("nothing begins in it".to_owned())),
        }
    }
}

#[test]
fn a_sensor_has_none() {
    assert_eq!(analyse(&sensor(22_050, 1, 0), &bursts(22_050, 120.0, 6.0)), Analysis::default());
}

#[test]
fn the_median_is_between_the_middle_two() {
    let rises = |count: usize| {
        let mut rises: [f32; BANDS] = std::array::from_fn(|band| if band < count { 1.0 + band as f32 } else { 0.0 });
        rises.reverse();
        rises
    };
    assert_eq!(median(&mut rises(128)), 64.5);
    assert_eq!(median(&mut rises(65)), 1.5);
    assert_eq!(median(&mut rises(64)), 0.5);
    assert_eq!(median(&mut rises(63)), 0.0);
}
