use super::*;
use crate::session::{Analysis, Item};
use crate::testing::{assert_pieces_agree, frames, noise, run, sensor, sine, song};

fn of_song(samples: &[f32]) -> Vec<Vec<f32>> {
    frames("chroma", &song(22_050, 1), samples)
}

fn tuning(samples: &[f32]) -> SummaryValue {
    let item = Item { algorithm: "chroma".into(), outputs: vec![TUNING.into()], ..Item::default() };
    let Analysis { blocks, summaries, .. } = run(&[item], &song(22_050, 1), &[samples]);
    assert!(blocks.is_empty(), "nothing else was asked for");
    let [summary] = &summaries[..] else { panic!("one summary, not {summaries:?}") };
    summary.value.clone()
}

#[test]
fn every_note_is_found_in_every_octave() {
    for semitone in 0..48 {
        let frequency = 130.812_78 * 2f64.powf(f64::from(semitone) / 12.0);
        for values in &of_song(&sine(22_050, frequency, 0.5, 0.5))[4..16] {
            let note = (0..NOTES).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
            assert_eq!(NAMES[note], NAMES[semitone as usize % NOTES], "{frequency} Hz");
            assert_eq!(values[note], 1.0);
        }
    }
}

/// Notes a fifth apart lie side by side on the circle of fifths, seven semitones of 7/6 pi each.
#[test]
fn the_tonal_centroid_of_one_note_lies_on_its_circles() {
    let directions = directions();
    for note in 0..NOTES {
        for (pair, radius) in [(0, 1.0), (2, 1.0), (4, 0.5)] {
            let (x, y) = (directions[pair][note], directions[pair + 1][note]);
            assert!((x.hypot(y) - radius).abs() < 1e-6);
        }
        let fifth = (note + 7) % NOTES;
        let angle = |note: usize| directions[0][note].atan2(directions[1][note]);
        let step = (angle(fifth) - angle(note)).rem_euclid(std::f64::consts::TAU);
        assert!((step - std::f64::consts::PI / 6.0).abs() < 1e-6, "{step}");
    }
}

#[test]
fn silence_has_no_notes_and_no_tuning() {
    assert!(of_song(&[0.0; 22_050]).iter().flatten().all(|value| *value == 0.0));
    let missing = |samples: &[f32]| matches!(tuning(samples), SummaryValue::Missing(_));
    assert!(missing(&[0.0; 22_050]) && missing(&sine(22_050, 50.0, 0.5, 1.0)) && missing(&[]));
}

#[test]
fn tuning_is_found_to_some_cents() {
    for cents in [-40.0, -10.0, 0.0, 25.0, 45.0] {
        let mut samples = vec![0.0; 44_100];
        for semitones in [0.0, 4.0, 7.0, 12.0] {
            let frequency = 440.0 * 2f64.powf((semitones + cents / 100.0) / 12.0);
            samples.iter_mut().zip(sine(22_050, frequency, 0.2, 2.0)).for_each(|(sum, sample)| *sum += sample);
        }
        let SummaryValue::Number(found) = tuning(&samples) else { panic!("{cents}") };
        // The parabola is fitted to magnitudes, not to their logarithms, and errs by some cents at 440 Hz.
        assert!((found - cents).abs() <= 10.0, "{found} is not {cents}");
    }
}

#[test]
fn hostile_signals_give_finite_values() {
    let square: Vec<f32> = (0..22_050).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let mut impulse = vec![0.0; 22_050];
    impulse[9_000] = 1.0;
    let loud: Vec<f32> = noise(1, 9_000).iter().map(|sample| sample * 1e30).collect();
    let quiet: Vec<f32> = noise(1, 9_000).iter().map(|sample| sample * 1e-18).collect();
    for samples in [vec![1.0; 22_050], square, impulse, loud, quiet, vec![1.0], vec![0.3; 220]] {
        for stream in [song(22_050, 1), sensor(22_050, 1, 7)] {
            for values in frames("chroma", &stream, &samples) {
                assert!(values[..NOTES].iter().all(|value| (0.0..=1.0).contains(value)), "{values:?}");
                assert!(values[NOTES..].iter().all(|value| (-1.0..=1.0).contains(value)), "{values:?}");
            }
        }
        tuning(&samples);
    }
}

#[test]
fn without_a_lead_in_a_tone_spreads_at_first() {
    let hop = i64::from(SPEC.hop);
    let stream = sensor(22_050, 1, 1_777_593_600 * 22_050 / hop * hop);
    let found = frames("chroma", &stream, &sine(22_050, 440.0, 0.5, 0.5));
    let sum = |values: &[f32]| values[..NOTES].iter().sum::<f32>();
    assert!(sum(&found[0]) > 2.0 * sum(&found[8]), "{:?} and {:?}", found[0], found[8]);
}

#[test]
fn pieces_with_lead_in_agree_with_the_whole() {
    assert_pieces_agree("chroma", 1);
}
