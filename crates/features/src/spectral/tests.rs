use super::*;
use crate::testing::{assert_pieces_agree, frames, noise, sensor, sine, song};

const FLATNESS: usize = 3;
const FLUX: usize = 4;

/// Frames of a song with all outputs.
fn of_song(samples: &[f32]) -> Vec<Vec<f32>> {
    frames("spectral", &song(22_050, 1), samples)
}

#[test]
fn silence_is_0_but_flat() {
    for values in of_song(&[0.0; 22_050]) {
        let mut expected = [0.0; SCALARS + contrast::BANDS];
        expected[FLATNESS] = 1.0;
        assert_eq!(values, expected);
    }
}

/// A full-scale sine in the middle of a bin has three of them: a half, one and a half.
#[test]
fn a_sine_has_its_place_and_width() {
    let frequency = 100.0 * f64::from(HZ_PER_BIN);
    for values in &of_song(&sine(22_050, frequency, 1.0, 1.0))[4..38] {
        let [centroid, bandwidth, rolloff, flatness, flux, crest, entropy, ..] = values[..] else { panic!() };
        assert!((centroid - frequency as f32).abs() < 1.0, "{centroid}");
        assert!((bandwidth - HZ_PER_BIN * 0.5_f32.sqrt()).abs() < 1.0, "{bandwidth}");
        assert_eq!(rolloff, 101.0 * HZ_PER_BIN);
        assert!(flatness < 1e-6 && flux < 1e-3, "{flatness} {flux}");
        assert!((crest - 512.5).abs() < 1.0 && (entropy - 1.5).abs() < 0.01, "{crest} {entropy}");
    }
}

/// One sample has equal magnitudes everywhere.
#[test]
fn an_impulse_is_flat() {
    let mut samples = vec![0.0; 22_050];
    samples[20 * 512] = 1.0;
    let values = &of_song(&samples)[20];
    assert!((values[0] - 5_512.5).abs() < 1.0 && (values[1] - 3_186.0).abs() < 2.0, "{values:?}");
    assert!((values[2] - 0.85 * 11_025.0).abs() < 11.0, "{values:?}");
    assert!((values[FLATNESS] - 1.0).abs() < 1e-4 && (values[5] - 1.0).abs() < 1e-4, "{values:?}");
    assert!((values[6] - 1_025_f32.log2()).abs() < 1e-3, "{values:?}");
    assert!(values[SCALARS..].iter().all(|contrast| contrast.abs() < 1e-2), "{values:?}");
}

/// What rises from silence has changed by its whole spectrum, and by as much when it ends.
#[test]
fn flux_is_the_change_since_the_frame_before() {
    let mut samples = sine(22_050, 100.0 * f64::from(HZ_PER_BIN), 1.0, 1.0);
    let whole = 1.5_f32.sqrt();
    assert!(of_song(&samples)[0][FLUX] > 0.5, "silence lies before the start");
    samples[..8_192].fill(0.0);
    let values = of_song(&samples);
    assert_eq!(values[5][FLUX], 0.0);
    let rise: f32 = values[12..24].iter().map(|values| values[FLUX]).sum();
    assert!(rise >= whole, "{rise}");
    assert!(values[30][FLUX] < 1e-3);
}

#[test]
fn hostile_signals_give_finite_values() {
    let square: Vec<f32> = (0..22_050).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let loud: Vec<f32> = noise(1, 9_000).iter().map(|sample| sample * 1e30).collect();
    let quiet: Vec<f32> = noise(1, 9_000).iter().map(|sample| sample * 1e-18).collect();
    for samples in [vec![1.0; 22_050], square, loud, quiet, vec![1.0], vec![0.3; 220]] {
        for stream in [song(22_050, 1), sensor(22_050, 1, 7)] {
            for values in frames("spectral", &stream, &samples) {
                assert!(values.iter().all(|value| value.is_finite() && *value >= 0.0), "{values:?}");
                assert!(values[0] <= 11_025.0 && values[2] <= 11_025.0 && values[FLATNESS] <= 1.0 + 1e-4);
                assert!(values[6] <= 10.01, "{values:?}");
            }
        }
    }
}

#[test]
fn without_a_lead_in_three_frames_are_off() {
    let hop = i64::from(SPEC.hop);
    let stream = sensor(22_050, 1, 1_777_593_600 * 22_050 / hop * hop);
    let rounds = 60;
    let mut ratios = [[0.0_f32; SCALARS]; 4];
    for seed in 1..=rounds {
        // As noise, but steady.
        let samples: Vec<f32> = noise(seed, 20_000).iter().map(|sample| sample.signum() * 0.1).collect();
        let found = frames("spectral", &stream, &samples);
        for (place, ratios) in ratios.iter_mut().enumerate() {
            for (scalar, ratio) in ratios.iter_mut().enumerate() {
                let steady = found[8..38].iter().map(|values| values[scalar]).sum::<f32>() / 30.0;
                *ratio += found[place][scalar] / steady / rounds as f32;
            }
        }
    }
    for (ratios, flux) in ratios.iter().zip([0.4, 1.05, 0.88, 1.0]) {
        assert!((ratios[FLUX] - flux).abs() < 0.05, "{ratios:?}");
        for scalar in [0, 1, 2, FLATNESS, 6] {
            assert!((ratios[scalar] - 1.0).abs() < 0.03, "{ratios:?}");
        }
    }
    let tone = frames("spectral", &stream, &sine(22_050, 1_000.0, 0.5, 0.5));
    assert!(tone[0][1] > 2.0 * tone[8][1], "{} and {}", tone[0][1], tone[8][1]);
}

#[test]
fn pieces_with_lead_in_agree_with_the_whole() {
    assert_pieces_agree("spectral", 1);
}
