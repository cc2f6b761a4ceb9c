use super::*;
use crate::session::Analysis;
use crate::testing::{item, noise, run, sensor, sine, song};

const RATE: u32 = 22_050;

fn analyse(samples: &[f32]) -> Analysis {
    run(&[item("rhythm")], &song(RATE, 1), &[samples])
}

fn summary<'a>(analysis: &'a Analysis, output: &str) -> &'a SummaryValue {
    let found = analysis.summaries.iter().find(|summary| summary.output == output);
    &found.expect("it was asked for").value
}

fn number(analysis: &Analysis, output: &str) -> f64 {
    let SummaryValue::Number(number) = summary(analysis, output) else {
        panic!("{output}: {:?}", summary(analysis, output))
    };
    *number
}

/// Four beats of a bar: drums low and high by turns, a bass note on each, a chord on the first; a hiss on every half beat.
fn band(beats_per_minute: f64, seconds: f64) -> Vec<f32> {
    let mut samples = vec![0.0; (seconds * f64::from(RATE)) as usize];
    let half = 30.0 / beats_per_minute;
    let hiss = steady_noise(5, 4_000);
    for number in 0..(seconds / half) as usize {
        let start = (number as f64 * half * f64::from(RATE)) as usize;
        let mut strike = |sound: &[f32], loudness: f32, decay: f32| {
            for (n, (sample, value)) in samples[start..].iter_mut().zip(sound).enumerate() {
                *sample += loudness * value * (-decay * n as f32 / RATE as f32).exp();
            }
        };
        strike(&hiss, 0.1, 60.0);
        let (beat, on_beat) = (number / 2 % 4, number % 2 == 0);
        if on_beat {
            strike(&sine(RATE, [98.0, 98.0, 146.8, 123.5][beat], 1.0, 0.5), 0.2, 4.0);
            strike(&sine(RATE, 55.0, 1.0, 0.2), [0.5, 0.0, 0.4, 0.0][beat], 15.0);
            strike(&hiss, [0.0, 0.5, 0.0, 0.5][beat], 20.0);
        }
        if on_beat && beat == 0 {
            for tone in [[196.0, 246.9, 293.7], [220.0, 261.6, 329.6]][number / 8 % 2] {
                strike(&sine(RATE, tone, 1.0, 2.0), 0.1, 2.0);
            }
        }
    }
    samples
}

/// White noise of one level; that of [`noise`] changes its level in a rhythm of its own.
fn steady_noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    (0..count).map(next).collect()
}

#[test]
fn the_tempo_and_beats_of_a_band_are_found() {
    for expected in [66.0, 80.0, 92.0, 104.0] {
        let analysis = analyse(&band(expected, 20.0));
        let tempo = number(&analysis, TEMPO);
        assert!((tempo / expected - 1.0).abs() < 0.02, "{tempo}, not {expected}");
        assert!(number(&analysis, CONFIDENCE) > 0.5, "{:?}", analysis.summaries);
        let period = 60e6 / expected;
        let off = |from: i64| ((from as f64 / period).round() * period - from as f64).abs();
        let beats = &analysis.annotations;
        assert!(beats.len() as f64 > 20.0 * expected / 60.0 - 3.0, "{} beats at {expected}", beats.len());
        assert!(beats.iter().all(|beat| off(beat.from) < 50_000.0), "{beats:?}");
        for beat in beats {
            let value = f64::from(beat.value.expect("a tempo"));
            assert!((value / expected - 1.0).abs() < 0.05 && beat.confidence.expect("a confidence") <= 1.0);
        }
    }
}

/// Two beats of fast music may as well be counted as one.
#[test]
fn a_fast_tempo_is_found_or_its_half() {
    for expected in [120.0, 148.0, 176.0] {
        let tempo = number(&analyse(&band(expected, 20.0)), TEMPO);
        let is = |of: f64| (tempo / of - 1.0).abs() < 0.02;
        assert!(is(expected) || is(expected / 2.0), "{tempo}, not {expected}");
    }
}

#[test]
fn what_has_no_pulse_has_no_tempo_but_a_reason() {
    let mut impulse = vec![0.0; 100_000];
    impulse[50_000] = 1.0;
    let square: Vec<f32> = (0..200_000).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let signals = [
        ("nothing", Vec::new()),
        ("a sample", vec![0.5]),
        ("10 ms", noise(1, 220)),
        ("silence", vec![0.0; 300_000]),
        ("direct current", vec![0.5; 300_000]),
        ("an impulse", impulse),
        ("a sine", sine(RATE, 440.0, 0.5, 10.0)),
        ("a square wave", square),
        ("noise", steady_noise(2, 2_000_000)),
        ("shorter noise", steady_noise(3, 400_000)),
        ("short noise", steady_noise(4, 120_000)),
    ];
    for (name, samples) in signals {
        let analysis = analyse(&samples);
        assert_eq!(analysis.annotations, [], "{name}");
        for output in [TEMPO, CONFIDENCE, ALTERNATIVES] {
            let value = summary(&analysis, output);
            assert!(matches!(value, SummaryValue::Missing(_)), "{name}: {output} is {value:?}");
        }
    }
}

#[test]
fn alternatives_are_other_tempos_with_probabilities() {
    let analysis = analyse(&band(92.0, 20.0));
    let SummaryValue::Text(text) = summary(&analysis, ALTERNATIVES) else { panic!("there is a tempo") };
    let mut total = number(&analysis, CONFIDENCE);
    for alternative in text.split(", ").filter(|text| !text.is_empty()) {
        let (tempo, probability) = alternative.split_once(' ').expect("two numbers");
        let (tempo, probability): (f64, f64) = (tempo.parse().expect("BPM"), probability.parse().expect("0 to 1"));
        assert!((tempo / number(&analysis, TEMPO) - 1.0).abs() > 0.04 && (30.0..240.0).contains(&tempo), "{text}");
        total += probability;
    }
    assert!(total < 1.02, "{total}");
}

#[test]
fn a_sensor_has_no_tempo() {
    assert_eq!(run(&[item("rhythm")], &sensor(RATE, 1, 0), &[&band(120.0, 6.0)]), Analysis::default());
}
