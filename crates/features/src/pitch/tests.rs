use super::*;
use crate::cells::{FRAMES, decode_frames};
use crate::session::{Analysis, Item, Session};
use crate::testing::{item, noise, overall, sensor, sine, song};

fn all_outputs() -> Item {
    let outputs = DESCRIPTOR.outputs.iter().map(|output| output.name.to_owned()).collect();
    Item { outputs, frames: true, ..item("pitch") }
}

fn analyse(stream: &Stream, samples: &[f32], chunk: usize) -> Analysis {
    let mut session = Session::new(&[all_outputs()], stream).unwrap();
    let channels = usize::from(stream.channels);
    samples.chunks(chunk).for_each(|chunk| session.push(&vec![chunk; channels]));
    session.finish()
}

/// Start and values of each frame.
fn frames(analysis: &Analysis) -> Vec<(i64, Vec<f32>)> {
    let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
    let frames = blocks.flat_map(|block| decode_frames(&DESCRIPTOR, block.minute, &block.data).unwrap());
    frames.map(|frame| (frame.start, frame.values)).collect()
}

/// A harmonic tone that glides up an octave and back in eight seconds, with rests, over a little noise.
fn tune(rate: u32, seconds: usize) -> Vec<f32> {
    let mut phase = 0.0;
    let hiss = noise(1, seconds * rate as usize);
    let sample = |(n, hiss): (usize, f32)| {
        let t = n as f64 / f64::from(rate);
        phase +=
            std::f64::consts::TAU * 200.0 * (1.0 - (t / 8.0 * std::f64::consts::TAU).cos()).exp2() / f64::from(rate);
        let tone: f64 = (1..6).map(|number| (f64::from(number) * phase).sin() / f64::from(number)).sum();
        0.02 * hiss + if t % 1.0 < 0.7 { 0.3 * tone as f32 } else { 0.0 }
    };
    hiss.into_iter().enumerate().map(sample).collect()
}

#[test]
fn a_tone_has_its_pitch_at_every_rate() {
    for (rate, channels) in [(8_000, 1), (16_000, 2), (22_050, 1), (44_100, 8), (48_000, 1), (96_000, 2), (192_000, 1)]
    {
        for frequency in [110.0, 440.0, 1_500.0] {
            let analysis = analyse(&song(rate, channels), &sine(rate, frequency, 0.5, 1.0), 4_096);
            let frames = frames(&analysis);
            for (start, values) in &frames[3..frames.len() - 3] {
                let [yin, aperiodicity, f0, voiced, probability] = values[..] else { panic!("five values") };
                assert!((f64::from(yin) / frequency).log2().abs() < 0.01, "{rate} {frequency} {start}: {yin}");
                assert!((f64::from(f0) / frequency).log2().abs() < 0.01, "{rate} {frequency} {start}: {f0}");
                assert!(aperiodicity < 0.2 && voiced == 1.0 && probability > 0.1, "{values:?}");
            }
            let mean = overall(&analysis.blocks, "pitch.f0", "mean", 0).unwrap();
            assert!((f64::from(mean) / frequency).log2().abs() < 0.02, "{rate} {frequency}: {mean}");
        }
    }
}

#[test]
fn what_has_no_pitch_has_none() {
    let impulse: Vec<f32> = (0..22_050).map(|n| f32::from(u8::from(n == 9_000))).collect();
    for (name, samples) in [("silence", vec![0.0; 22_050]), ("an offset", vec![0.5; 22_050]), ("an impulse", impulse)] {
        let analysis = analyse(&song(22_050, 1), &samples, 1_000);
        for (start, values) in frames(&analysis) {
            assert!(values[0].is_nan() && values[2].is_nan() && values[3] == 0.0, "{name}, {start}: {values:?}");
            assert!(values[1].is_finite() && values[4].is_finite(), "{name}, {start}: {values:?}");
        }
        assert_eq!(overall(&analysis.blocks, "pitch.f0", "mean", 0), None, "{name}");
        assert_eq!(overall(&analysis.blocks, "pitch.voiced", "max", 0), Some(0.0), "{name}");
    }
}

#[test]
fn loud_and_broken_samples_do_no_harm() {
    let square: Vec<f32> = (0..22_050).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let broken = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, -1e-30, 1e-20];
    let broken: Vec<f32> = (0..22_050).map(|n| broken[n % 7 % broken.len()]).collect();
    let faint: Vec<f32> = square.iter().map(|sample| sample * 1e-19).collect();
    let one = vec![1.0];
    for samples in [&square, &broken, &faint, &one] {
        for (_, values) in frames(&analyse(&song(22_050, 1), samples, 777)) {
            assert!(values.iter().all(|value| !value.is_infinite()), "{values:?}");
            assert!(values[0].is_nan() || (60.0..2_300.0).contains(&values[0]), "{values:?}");
        }
    }
    assert_eq!(frames(&analyse(&song(22_050, 1), &[], 777)).len(), 1);
    let values = &frames(&analyse(&song(22_050, 1), &square, 777))[20].1;
    assert!((values[0] - 220.5).abs() < 0.5 && (values[2] - 220.5).abs() < 1.0, "{values:?}");
}

#[test]
fn frames_do_not_depend_on_chunks_and_come_in_order() {
    let samples = tune(44_100, 20);
    let whole = analyse(&song(44_100, 1), &samples, samples.len());
    assert_eq!(frames(&whole).len(), 1 + 20 * 22_050 / 512);
    assert_eq!(whole, analyse(&song(44_100, 1), &samples, 1_021));
}

#[test]
fn a_part_with_lead_in_says_what_the_whole_says() {
    let rate = 22_050_i64;
    let first = 1_777_593_600 * rate;
    let samples = tune(rate as u32, 20);
    let whole = frames(&analyse(&sensor(rate as u32, 1, first), &samples, 5_000));
    let stream = Stream { first_body_sample: first + 9 * rate, ..sensor(rate as u32, 1, first + 4 * rate) };
    let part = frames(&analyse(&stream, &samples[4 * rate as usize..16 * rate as usize], 5_000));
    assert!(part.len() > 290);
    // A path that ends knows nothing of what follows: its last frames may differ.
    let (body, end) = part.split_at(part.len() - 8);
    for (start, values) in body {
        let expected = &whole.iter().find(|(other, _)| other == start).unwrap().1;
        assert!(
            values.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()),
            "{start}: {values:?} {expected:?}"
        );
    }
    for (start, values) in end {
        let expected = &whole.iter().find(|(other, _)| other == start).unwrap().1;
        assert!(values[..2].iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
